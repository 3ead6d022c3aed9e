"""Label Studio: tasks.json to import, and the labelling interface that it needs.

What people answered becomes an annotation, what annotate says a prediction, which people then accept or change.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from annotate.exports.boxes import label_studio
from annotate.exports.catalogue import Catalogue, Entry
from annotate.exports.formats import Format, Paper
from annotate.exports.formats.csv import place
from annotate.exports.pieces import json_list, xml_attribute, xml_name

FROM, TO = "label", "image"  # what tasks and interface call the choice and the picture


def papers(catalogue: Catalogue) -> Iterator[Paper]:
    yield "tasks.json", tasks(catalogue)
    yield "label_config.xml", [interface(catalogue)]


def tasks(catalogue: Catalogue) -> Iterator[bytes]:
    yield from json_list(task(catalogue, number, entry) for number, entry in enumerate(catalogue.entries, 1))
    yield b"\n"


def task(catalogue: Catalogue, number: int, entry: Entry) -> dict[str, Any]:
    address = f"/data/local-files/?d={quote(place(catalogue, entry))}"
    made: dict[str, Any] = {"id": number, "data": {"image": address, "file": entry.name, "split": entry.part}}
    if entry.answer is not None:
        made["annotations"] = [{"result": [choice(catalogue, entry, entry.answer)], "was_cancelled": False}]
    if entry.proposal is not None:
        score = None if entry.confidence is None else round(entry.confidence, 6)
        found = [choice(catalogue, entry, entry.proposal)]
        made["predictions"] = [{"model_version": catalogue.model, "score": score, "result": found}]
    return made


def choice(catalogue: Catalogue, entry: Entry, label: int) -> dict[str, Any]:
    return {
        "id": sha256(entry.name.encode("utf-8")).hexdigest()[:10],
        "type": "choices",
        "from_name": FROM,
        "to_name": TO,
        "original_width": entry.width,
        "original_height": entry.height,
        "image_rotation": 0,
        "value": {"choices": [xml_name(catalogue.class_names[label])]},
    }


def interface(catalogue: Catalogue) -> bytes:
    choices = "\n".join(f"    <Choice value={xml_attribute(name)}/>" for name in catalogue.class_names)
    return (
        f'<View>\n  <Image name="{TO}" value="$image"/>\n'
        f'  <Choices name="{FROM}" toName="{TO}" choice="single" showInline="true">\n{choices}\n  </Choices>\n</View>\n'
    ).encode()


def loading(catalogue: Catalogue) -> str:
    return (
        "import json\n"
        'tasks = json.load(open("tasks.json"))\n'
        'predicted = {t["data"]["file"]: t["predictions"][0]["result"][0]["value"]["choices"][0] '
        'for t in tasks if "predictions" in t}'
    )


def traps(catalogue: Catalogue) -> list[str]:
    return [
        "To import: start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT set to this folder. Make a project with label_config.xml as its "
        "labelling interface, add the folder `images` as local storage, and import tasks.json.",
        "Answers of people are annotations. Labels of annotate are predictions.",
    ]


FORMAT = Format(
    "label-studio",
    "A folder of images, tasks.json for Label Studio, and the labelling interface that goes with it.",
    place,
    papers,
    loading,
    traps,
    measures=True,
    boxes=Format(
        "label-studio",
        "A folder of images, tasks.json for Label Studio with boxes, and the labelling interface that goes with it.",
        place,
        lambda catalogue: label_studio.write(catalogue.boxed, catalogue.class_names, model=catalogue.model),
        lambda catalogue: (
            'import json\ntasks = json.load(open("tasks.json"))\n'
            'drawn = {t["data"]["image"]: t["annotations"][0]["result"] for t in tasks if "annotations" in t}'
        ),
        traps,
        measures=True,
    ),
)
