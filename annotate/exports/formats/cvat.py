"""CVAT for images 1.1: a folder of images and annotations.xml, in which a class of an image is a tag."""

from __future__ import annotations

from collections.abc import Iterator

from annotate.exports.boxes import cvat
from annotate.exports.catalogue import UNLABELLED, Catalogue, Entry
from annotate.exports.formats import Format, Paper
from annotate.exports.formats.csv import place
from annotate.exports.pieces import xml_attribute, xml_text


def papers(catalogue: Catalogue) -> Iterator[Paper]:
    yield "annotations.xml", document(catalogue)


def document(catalogue: Catalogue) -> Iterator[bytes]:
    names = "".join(
        f"        <label><name>{xml_text(name)}</name><type>tag</type><attributes></attributes></label>\n"
        for name in catalogue.class_names
    )
    yield (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
        f"      <size>{len(catalogue.entries)}</size>\n      <mode>annotation</mode>\n"
        f"      <labels>\n{names}      </labels>\n    </task>\n  </meta>\n"
    ).encode()
    for number, entry in enumerate(catalogue.entries):
        yield image(catalogue, entry, number).encode()
    yield b"</annotations>\n"


def image(catalogue: Catalogue, entry: Entry, number: int) -> str:
    subset = "" if entry.part == UNLABELLED else f' subset="{entry.part}"'
    size = f'width="{entry.width}" height="{entry.height}"'
    head = f'  <image id="{number}" name={xml_attribute(entry.name)}{subset} {size}'
    if entry.label is None:
        return f"{head}/>\n"
    source = "manual" if entry.answer is not None else "auto"
    tag = f'<tag label={xml_attribute(catalogue.class_names[entry.label])} source="{source}"></tag>'
    return f"{head}>\n    {tag}\n  </image>\n"


def loading(catalogue: Catalogue) -> str:
    return (
        "import xml.etree.ElementTree as ET\n"
        'images = ET.parse("annotations.xml").getroot().iter("image")\n'
        'classes = {i.get("name"): [tag.get("label") for tag in i.iter("tag")] for i in images}'
    )


def traps(catalogue: Catalogue) -> list[str]:
    return [
        "To import: make a task with the class names as labels and the files of `images`, then upload annotations.xml "
        "as `CVAT 1.1`. Names of files in the task must be those of this folder.",
    ]


FORMAT = Format(
    "cvat",
    "A folder of images and annotations.xml in the format CVAT for images 1.1; a class is a tag.",
    place,
    papers,
    loading,
    traps,
    measures=True,
    boxes=Format(
        "cvat",
        "A folder of images and annotations.xml in the format CVAT for images 1.1.",
        place,
        lambda catalogue: cvat.write(catalogue.boxed, catalogue.class_names),
        lambda catalogue: loading(catalogue).replace("classes = ", "boxes = ").replace('"tag"', '"box"'),
        traps,
        measures=True,
    ),
)
