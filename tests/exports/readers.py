"""Each format, read by its own library or by a parser that knows nothing of ours: file in the export to class name."""

from __future__ import annotations

import csv
import gc
import json
import os
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

Read = dict[str, str | None]  # file in the export to the name of its class
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's


def image_folder(root: Path, *, allow_empty: bool) -> list[tuple[str, int]]:
    """torchvision's ImageFolder: classes are the folders by their alphabet, samples their files."""
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    found = []
    for number, name in enumerate(classes):
        files = [
            os.path.join(folder, file)
            for folder, _, files in sorted(os.walk(root / name, followlinks=True))
            for file in sorted(files)
            if file.lower().endswith(EXTENSIONS)
        ]
        assert files or allow_empty, f"torchvision refuses the empty folder {name}"
        found += [(file, number) for file in files]
    return found


def by_folders(output: Path, *, allow_empty: bool = False) -> Read:
    names = {row["folder"]: row["name"] for row in json.loads((output / "classes.json").read_text("utf-8"))}
    read: Read = {}
    for part in ("train", "val", "test"):
        if (output / part).is_dir():
            classes = sorted(entry.name for entry in os.scandir(output / part))
            for file, number in image_folder(output / part, allow_empty=allow_empty):
                read[os.path.relpath(file, output)] = names[classes[number]]
    for unlabelled in sorted((output / "unlabelled").glob("*")):
        read[os.path.relpath(unlabelled, output)] = None
    return read


def yolo_classify(output: Path) -> Read:
    counts = {len(list((output / part).iterdir())) for part in ("train", "val", "test") if (output / part).is_dir()}
    assert len(counts) == 1  # the same numbers in every split
    return by_folders(output, allow_empty=True)


def from_csv(output: Path) -> Read:
    with open(output / "images.csv", encoding="utf-8", newline="") as file:
        return {row["file"]: row["class"] or None for row in csv.DictReader(file)}


def coco(output: Path) -> Read:
    from pycocotools.coco import COCO

    read: Read = {}
    for path in sorted((output / "annotations").glob("*.json")):
        part = path.stem.removeprefix("labels_")
        known = COCO(str(path))
        for image in known.loadImgs(known.getImgIds()):
            found = known.loadAnns(known.getAnnIds(imgIds=[image["id"]]))
            assert all(annotation["id"] > 0 for annotation in found)
            (name,) = [known.loadCats([one["category_id"]])[0]["name"] for one in found] or [None]
            read[f"{part}/{image['file_name']}"] = name
    return read


def hf(output: Path) -> Read:
    """In a process of its own, without a network, with a cache of its own."""
    code = """if True:
        import json, os, sys
        from datasets import Image, load_dataset
        read = {}
        for part, rows in load_dataset(os.getcwd(), cache_dir=sys.argv[1]).items():
            names = rows.features["label"]
            for row in rows.cast_column("image", Image(decode=False)):
                path = row["image"]["path"].replace("\\\\", "/").rsplit("/data/", 1)[1]
                read["data/" + path] = None if row["label"] == -1 else names.int2str(row["label"])
        print(json.dumps(read))
    """
    read: Read = json.loads(run_python(code, output, environment_without_network(output.resolve().parent / "cache")))
    return read


def environment_without_network(cache: Path) -> dict[str, str]:
    """For `datasets`; its cache is the first argument of what runs."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


def run_python(code: str, folder: Path, environment: dict[str, str]) -> str:
    """The last line that a program says."""
    said = subprocess.run(
        [sys.executable, "-c", code, environment["HF_HOME"]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    return said.stdout.splitlines()[-1]


def from_parquet(output: Path) -> Read:
    from pyarrow import parquet

    return {row["file"]: row["class"] for row in parquet.read_table(output / "images.parquet").to_pylist()}


def from_webdataset(output: Path) -> Read:
    import webdataset

    names = [row["name"] for row in json.loads((output / "classes.json").read_text("utf-8"))]
    read: Read = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files open
        for path in sorted(output.glob("*.tar")):
            for sample in webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False).decode("pil"):
                (ending,) = [key for key in sample if key in ("png", "jpg")]
                assert sample[ending].size == (sample["json"]["width"], sample["json"]["height"])
                if "cls" in sample:
                    assert names[sample["cls"]] == sample["json"]["class"]
                read[f"{sample['__key__']}.{ending}"] = names[sample["cls"]] if "cls" in sample else None
        gc.collect()
    return read


def label_studio(output: Path) -> Read:
    known = [choice.get("value") for choice in ET.parse(output / "label_config.xml").getroot().iter("Choice")]
    read: Read = {}
    for task in json.loads((output / "tasks.json").read_text("utf-8")):
        address = urlsplit(task["data"]["image"])
        (file,) = parse_qs(address.query, strict_parsing=True)["d"]
        assert (output / file).is_file()
        said = [*task.get("annotations", []), *task.get("predictions", [])]  # what people said comes first
        for one in said:
            (choice,) = one["result"]
            assert (choice["from_name"], choice["to_name"]) == ("label", "image")
            assert choice["value"]["choices"][0] in known
        read[file] = said[0]["result"][0]["value"]["choices"][0] if said else None
    return read


def fiftyone(output: Path) -> Read:
    """As its importer does it: files by their names without endings."""
    read: Read = {}
    for path in sorted(output.glob("*/labels.json")):
        content = json.loads(path.read_text("utf-8"))
        files = {file.stem: file for file in (path.parent / "data").iterdir()}
        assert len(files) == len(list((path.parent / "data").iterdir()))
        for stem, target in content["labels"].items():
            label = target["label"] if isinstance(target, dict) else target
            read[str(files[stem].relative_to(output))] = None if label is None else content["classes"][label]
    return read


def cvat(output: Path) -> Read:
    root = ET.parse(output / "annotations.xml").getroot()
    known = [label.findtext("name") for label in root.iter("label")]
    read: Read = {}
    for image in root.iter("image"):
        tags = [tag.get("label") for tag in image.iter("tag")]
        assert all(tag in known for tag in tags)
        (read[f"images/{image.get('name')}"],) = tags or [None]
    return read


def cleanlab(output: Path) -> Read:
    import numpy as np

    names = [row["name"] for row in json.loads((output / "classes.json").read_text("utf-8"))]
    labels, chances = np.load(output / "labels.npy"), np.load(output / "pred_probs.npy")
    assert chances.shape == (len(labels), len(names)) and np.allclose(chances.sum(axis=1), 1)
    assert len(np.load(output / "features.npy")) == len(labels)
    numbers = iter(labels.tolist())
    return {file: name and names[next(numbers)] for file, name in from_csv(output).items()}


READERS: dict[str, Callable[[Path], Read]] = {
    "imagefolder": by_folders,
    "yolo-classify": yolo_classify,
    "csv": from_csv,
    "coco": coco,
    "hf": hf,
    "parquet": from_parquet,
    "webdataset": from_webdataset,
    "label-studio": label_studio,
    "fiftyone": fiftyone,
    "cvat": cvat,
    "cleanlab": cleanlab,
}
