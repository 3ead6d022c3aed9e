"""A project with labels, planted without a model, and what an export of it must say."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotate.kernels.vectors import unit
from annotate.records import Embeddings, ImageFacts, Refinement, Texts
from annotate.workspace import Workspace
from annotate.workspace.plan import Plan

WIDTH, HEIGHT = 12, 8
# Some program trips over each: case, spellings of Unicode, endings, dots, quotes, formulas, reserved words, depth.
HOSTILE = [
    "a/1.png",
    "a/1.PNG",
    "b/1.png",
    "b/Straße.v1.2.png",
    "b/STRASSE.v1.2.png",
    "cafe\N{COMBINING ACUTE ACCENT}.png",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE}.png",
    "=cmd|' /C calc'!A0.png",
    "con.png",
    'quote".png',
    "comma,semi;colon.png",
    "per%20cent & <b>bold</b>.png",
    ".png/x.png",
    "a__1.png",
    "deep/er/and/deeper/still/NA.png",
    "x" * 200 + ".png",
]
HOSTILE_CLASSES = ["zebra", "7", "NA", "a/b", "<i>&amp;\"'", "no", "Ünï,cödé", "con", "=1+1", "\N{FOX FACE}\\"]


@dataclass
class Scene:
    """A folder of images and a workspace with their labels.

    labels  relative path to class id, as an export of everything has it
    """

    folder: Path
    workspace: Workspace
    class_names: Sequence[str]
    labels: Mapping[str, int]


Plant = Callable[..., Scene]


@pytest.fixture
def scene(tmp_path: Path) -> Plant:
    """Make one.

    labels       relative path to class id
    answers      relative path to the class that a person gave
    confidences  relative path to the confidence of annotate's label; .9 for all others
    turned       relative path to EXIF orientation
    """

    def planted(
        labels: Mapping[str, int],
        class_names: Sequence[str] = ("red", "green", "blue"),
        *,
        answers: Mapping[str, int] | None = None,
        confidences: Mapping[str, float] | None = None,
        turned: Mapping[str, int] | None = None,
    ) -> Scene:
        folder, rng = tmp_path / "photos", np.random.default_rng(0)
        paths = sorted(labels)
        facts: list[ImageFacts | None] = []
        for path in paths:
            orientation = (turned or {}).get(path, 1)
            content = picture(rng, orientation)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
            status = (folder / path).stat()
            width, height = (HEIGHT, WIDTH) if orientation >= 5 else (WIDTH, HEIGHT)
            facts.append(
                {
                    "size": status.st_size,
                    "modified_ns": status.st_mtime_ns,
                    "digest": hashlib.sha256(content).hexdigest(),
                    "orientation": orientation,
                    "width": width,
                    "height": height,
                }
            )
        n, k, d = len(paths), len(class_names), 8
        workspace = Workspace("artifacts")
        images = Embeddings(
            unit(rng.normal(size=(n, d))),
            {"name": "planted", "path": None, "digest": "0" * 64, "dimensions": d, "logit_scale": 100.0},
            image_paths=[str(folder / path) for path in paths],
            images=facts,
            skipped=[],
            folder=str(folder),
        )
        texts = Texts(unit(rng.normal(size=(k, d))), {name: [name] for name in class_names}, "photo")
        called = np.array([labels[path] for path in paths])
        given = np.array([(answers or {}).get(path, -1) for path in paths])
        sure = np.array([(confidences or {}).get(path, 0.9) for path in paths], np.float32)
        chances = np.full((n, k), 0.1 / (k - 1), np.float32)
        chances[np.arange(n), called] = 0.9
        said: dict[str, Any] = {}
        if answers:
            said = {"answers": given, "labels_without_answer": called, "confidences_without_answer": sure}
        refinement = Refinement(
            np.where(given >= 0, given, called),
            chances,
            np.where(given >= 0, 1, sure).astype(np.float32),
            unit(rng.normal(size=(k, d))),
            [],
            "direct",
            0.01,
            [],
            **said,
        )
        workspace.publish(Plan("embed", 1, {}), images, ran_on={})
        workspace.publish(Plan("text", 1, {}), texts, ran_on={})
        workspace.publish(Plan("refine", 1, {}), refinement, ran_on={})
        return Scene(folder, workspace, class_names, {**labels, **(answers or {})})

    return planted


def picture(rng: np.random.Generator, orientation: int = 1) -> bytes:
    """Random squares of one colour each. A photo that is turned is a JPEG with the tag."""
    pixels = rng.integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3)).astype(np.uint8)
    image = Image.fromarray(np.kron(pixels, np.ones((4, 4, 1), np.uint8)))
    file = io.BytesIO()
    if orientation == 1:
        image.save(file, "PNG")
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(file, "JPEG", quality=100, subsampling=0, exif=exif)
    return file.getvalue()


@pytest.fixture
def hostile(scene: Plant) -> Scene:
    """Images and classes with names that programs trip over."""
    return scene({path: i % len(HOSTILE_CLASSES) for i, path in enumerate(HOSTILE)}, HOSTILE_CLASSES)


@pytest.fixture
def plain(scene: Plant) -> Scene:
    """60 images of three classes, some of them answered, some turned."""
    labels = {f"{name}/{i}.png": k for k, name in enumerate(("red", "green", "blue")) for i in range(20)}
    answers = {"red/0.png": 1, "red/1.png": 0, "blue/3.png": 2}
    confidences = {"green/5.png": 0.2, "red/0.png": 0.3}
    return scene(labels, answers=answers, confidences=confidences, turned={"red/2.png": 6, "blue/4.png": 3})
