"""Pascal VOC: JPEGImages, Annotations with an XML file per image, and ImageSets/Main with the splits."""

from __future__ import annotations

from annotate.exports.boxes import voc
from annotate.exports.catalogue import Catalogue, Entry
from annotate.exports.formats import Format


def place(catalogue: Catalogue, entry: Entry) -> str:
    return f"JPEGImages/{entry.name}"


def loading(catalogue: Catalogue) -> str:
    return (
        "import glob, xml.etree.ElementTree as ET\n"
        'roots = [ET.parse(path).getroot() for path in sorted(glob.glob("Annotations/*.xml"))]\n'
        'boxes = {r.findtext("filename"): [o.findtext("name") for o in r.iter("object")] for r in roots}'
    )


def traps(catalogue: Catalogue) -> list[str]:
    return ["The first pixel is 1, and coordinates are whole numbers, as VOC has them: a corner moves by up to half."]


FORMAT = Format(
    "voc",
    "Images, an XML file per image, and the splits as lists, as Pascal VOC has them.",
    place,
    lambda catalogue: voc.write(catalogue.boxed, catalogue.class_names),
    loading,
    traps,
    measures=True,
    boxes_only=True,
)
