"""Images that fit none of the names, from refine to the dataset and the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import annotate
from annotate.errors import InputError
from annotate.kernels.vectors import Ints, unit
from annotate.records import Embeddings, Refinement, Texts
from annotate.stages import background
from annotate.workspace import Workspace
from annotate.workspace.plan import Plan
from tests.kernels.test_strangers import images_of, words
from tests.stages.test_organize import Watching

NAMES = ["cat", "dog", "car", "house", "tree", "boat"]
COMMON = [f"thing {'abcdefghij'[i // 10]} {'klmnopqrst'[i % 10]}" for i in range(74)]
Plant = Callable[..., Workspace]


def mixed(plant: Plant, tmp_path: Path, own: int = 90, strange: int = 40) -> Ints:
    """A workspace of images of six names and of two things that nobody named; which images are those."""
    everything, rng = words(80), np.random.default_rng(0)
    shown = np.concatenate([rng.integers(0, 6, own), rng.choice([9, 13], strange)])
    workspace = plant(images_of(everything[shown]), everything[:6], NAMES)
    with_common = replace(workspace.read(Texts), common_embeddings=everything[6:], common_names=COMMON)
    made_of = workspace.digests("embed", "embeddings.npy")
    workspace.publish(Plan("text", 1, {"source": "imported"}, made_of), with_common, ran_on={})
    (tmp_path / "images").mkdir()
    for i in range(len(shown)):
        Image.new("RGB", (8, 8), (i, i, 90)).save(tmp_path / "images" / f"{i:05}.png")
    return np.flatnonzero(shown >= 6)


@pytest.mark.parametrize("method", ["transductive", "direct", "dynamic"])
def test_refine_finds_them_with_every_method(plant: Plant, tmp_path: Path, method: str) -> None:
    strange = mixed(plant, tmp_path)
    watching = Watching()
    made = annotate.refine(method=method, progress=watching)
    found = np.flatnonzero(made.strange)
    assert len(np.intersect1d(found, strange)) > 0.9 * len(strange) and len(np.setdiff1d(found, strange)) <= 2
    assert made.fit is not None and made.looks_like is not None
    assert made.fit[strange].mean() < 0.05 < 0.9 < np.delete(made.fit, strange).mean()
    assert {looks[0] for looks in made.looks_like[:2]} == {COMMON[9 - 6], COMMON[13 - 6]}
    note = watching.notes[-1]
    assert note["message"].startswith(f"{len(found)} images fit none of the class names")
    assert "--unknown apart" in note["hint"] and "--add-classes" in note["hint"]


def test_every_image_keeps_its_likeliest_label(plant: Plant, tmp_path: Path) -> None:
    mixed(plant, tmp_path)
    looked = annotate.refine()
    skipped = annotate.refine(strangers="skip")
    assert skipped.strangers is None and skipped.fit is None
    np.testing.assert_array_equal(looked.labels, skipped.labels)
    np.testing.assert_array_equal(looked.confidences, skipped.confidences)


def test_they_go_apart_and_are_counted_everywhere(plant: Plant, tmp_path: Path) -> None:
    mixed(plant, tmp_path)
    made = annotate.refine()
    count, n = int(made.strange.sum()), len(made.labels)
    kept = annotate.organize("kept")
    assert (kept.strangers, kept.unknown, sum(kept.folders.values())) == (count, 0, n)
    out = annotate.organize("out", unknown="apart")
    assert (out.strangers, out.unknown, out.folders["unknown"]) == (count, count, count)
    assert sum(out.folders.values()) == n and sum(out.splits.values()) == n - count
    told = json.loads(Path("out/metadata.json").read_text())
    assert sum(group["images"] for group in told["strangers"]) == count
    assert told["strangers"][0]["looks_like"][0] in COMMON
    assert sum(image["stranger"] for image in told["images"]) == count
    assert all(0 <= image["fit"] <= 1 for image in told["images"])


def test_the_report_shows_them_by_what_they_look_like(plant: Plant, tmp_path: Path) -> None:
    mixed(plant, tmp_path)
    made = annotate.refine()
    count = int(made.strange.sum())
    assert made.looks_like
    found = annotate.report().summary["strangers"]
    assert found["told"] and found["images"] == sum(group["images"] for group in found["groups"]) == count
    assert sum(found["per_class"].values()) == count
    fits = [row["fit"] for row in found["least_fitting"]]
    assert fits == sorted(fits)
    assert f"Fits none of the names: {count} images" in Path("artifacts/report/report.txt").read_text()
    page = Path("artifacts/report/report.html").read_text()
    assert '<h2 id="strangers">Fits none of the names' in page
    assert f"looks like: <bdi>{made.looks_like[0][0]}" in page


def test_a_clean_set_says_nothing_of_them(plant: Plant, tmp_path: Path) -> None:
    mixed(plant, tmp_path, strange=0)
    assert not annotate.refine().strange.any()
    annotate.report()
    assert "none of the names" not in Path("artifacts/report/report.txt").read_text()
    assert "unknown" not in annotate.organize("out", unknown="apart").folders


def test_an_answered_image_is_none(plant: Plant, tmp_path: Path) -> None:
    strange = mixed(plant, tmp_path)[:4]
    paths = Workspace().read(Embeddings).image_paths
    Path("known.csv").write_text("path,class\n" + "".join(f"{paths[i]},cat\n" for i in strange))
    assert not annotate.refine(given="known.csv").strange[strange].any()


def test_a_model_that_cannot_tell_them_puts_images_in_order(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = mixed(plant, tmp_path)
    monkeypatch.setattr(background, "ONLY_ORDERED", ("imported",))
    made = annotate.refine()
    assert made.strangers is None and made.fit is not None
    assert set(np.argsort(made.fit)[: len(strange) // 2].tolist()) <= set(strange.tolist())
    summary = annotate.report().summary["strangers"]
    assert not summary["told"] and summary["least_fitting"]
    text = Path("artifacts/report/report.txt").read_text()
    assert "Least fitting first" in text and "fit none" not in text.split("Least fitting first")[0]


def test_what_they_look_like_becomes_classes(plant: Plant, tmp_path: Path) -> None:
    mixed(plant, tmp_path)
    with pytest.raises(annotate.AnnotateError):
        annotate.refine(add_classes=True)  # no labels yet
    annotate.refine()
    from annotate.stages.refine import classes_and_looks

    context = annotate.Project().context
    added = classes_and_looks(context, [])
    assert added[:6] == NAMES and {COMMON[3], COMMON[7]} <= set(added)
    assert added[6:] == looks_of()[: len(added) - 6]
    annotate.refine(strangers="skip")
    with pytest.raises(InputError, match="no class to add"):
        classes_and_looks(context, [])


def looks_of() -> list[str]:
    return [looks[0] for looks in Workspace().read(Refinement).looks_like or []]


def test_import_takes_common_names_and_checks_them(tmp_path: Path) -> None:
    everything = words(80)
    for name, rows in {"images": images_of(everything[:20]), "texts": everything[:6], "common": everything[6:]}.items():
        np.save(f"{name}.npy", rows)
    Path("paths.txt").write_text("".join(f"{i}.png\n" for i in range(20)))
    asked = {"text_embeddings": "texts.npy", "classes": NAMES, "common_embeddings": "common.npy"}
    with pytest.raises(InputError, match=r"74, 96\).*common names need"):
        annotate.import_embeddings("images.npy", "paths.txt", **asked)
    annotate.import_embeddings("images.npy", "paths.txt", common_names=COMMON, **asked)
    texts = Workspace().read(Texts)
    assert texts.common_names == COMMON and texts.common_embeddings is not None
    np.testing.assert_allclose(texts.common_embeddings, unit(everything[6:]), atol=1e-6)
    assert annotate.refine().fit is not None


def test_a_local_model_reads_the_list_once(
    photos: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    monkeypatch.setattr(background, "common_names", lambda: [*COMMON, "red", "green"])
    annotate.embed(photos, model=str(checkpoint))
    made = annotate.refine(["red", "green", "blue"])
    assert made.fit is not None
    (kept,) = Path("kept/annotate").glob("common-*")
    written = kept.stat().st_mtime_ns
    again = annotate.refine(["red", "green", "blue"], force=True)
    np.testing.assert_array_equal(made.fit, again.fit)
    assert kept.stat().st_mtime_ns == written


def test_without_the_model_at_hand_that_is_told(
    photos: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "common_names", lambda: [*COMMON[:60], "somebody else's list"])
    annotate.embed(photos, model=str(checkpoint), classes=["red", "green"])
    monkeypatch.setattr(Path, "is_file", lambda path, real=Path.is_file: real(path) and path != checkpoint)
    watching = Watching()
    made = annotate.refine(progress=watching)
    assert made.fit is None
    assert any("not looked for by common names" in note["message"] for note in watching.notes)
