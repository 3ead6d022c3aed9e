from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import annotate
from annotate import cli
from annotate.errors import ConfigError, InputError, MissingArtifact, StaleArtifact, WorkspaceBusy
from annotate.kernels.vectors import Floats, unit
from annotate.records import Embeddings, ImageFacts, Texts
from annotate.stages import refine as stage
from annotate.stages.ensemble import matched
from annotate.workspace import Workspace
from tests.conftest import small_clip

Blobs = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]
NAMES = [f"class {k}" for k in range(5)]


def bring(
    place: str,
    images: Floats,
    texts: Floats,
    *,
    names: Sequence[str] = NAMES,
    paths: Sequence[str] = (),
    logit_scale: float = 100.0,
) -> None:
    """A workspace of imported embeddings; without paths those are 0.png, 1.png …"""
    np.save("images.npy", images)
    np.save("texts.npy", texts)
    Path("paths.json").write_text(json.dumps(paths or [f"{i}.png" for i in range(len(images))]))
    annotate.import_embeddings(
        "images.npy",
        "paths.json",
        text_embeddings="texts.npy",
        classes=names,
        logit_scale=logit_scale,
        workspace=place,
    )


@pytest.fixture
def two(blobs: Blobs) -> np.ndarray:
    """Workspaces a and b: the same 300 images as two weak models see them; their right labels."""
    x, t, truth = blobs(spread=0.4, blur=0.3, seed=1)
    y, u, _ = blobs(d=24, spread=0.4, blur=0.3, seed=2)
    bring("a", x, t)
    bring("b", y, u, logit_scale=50.0)
    return truth


def made_files(place: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(place, "refine").glob("*.npy")}


# -- what it says --------------------------------------------------------------------------------------


def test_the_logits_are_the_mean_of_both_models(two: np.ndarray) -> None:
    made = annotate.refine(workspace="a", also=["b"], method="direct")
    logits = np.zeros((300, 5))
    for place, scale in (("a", 100), ("b", 50)):
        images = np.load(f"{place}/embed/embeddings.npy").astype(float)
        logits += scale * images @ np.load(f"{place}/text/text_embeddings.npy").T / 2
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(made.probabilities, expected / expected.sum(axis=1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize("method", ["direct", "dynamic", "transductive"])
def test_two_weak_models_together_beat_each(two: np.ndarray, method: str) -> None:
    alone = [(annotate.refine(workspace=place, method=method).labels == two).mean() for place in ("a", "b")]
    together = annotate.refine(workspace="a", also=["b"], method=method)
    assert (together.labels == two).mean() > max(alone)


def test_a_third_model_counts_as_well(two: np.ndarray, blobs: Blobs) -> None:
    z, v, _ = blobs(d=16, spread=0.4, blur=0.3, seed=3)
    bring("c", z, v)
    pair = annotate.refine(workspace="a", also=["b"], method="direct")
    three = annotate.refine(workspace="a", also=["b", "c"], method="direct")
    assert (three.labels == two).mean() > (pair.labels == two).mean()


@pytest.mark.parametrize("method", ["direct", "dynamic"])
def test_the_same_model_twice_says_the_same(blobs: Blobs, method: str) -> None:
    x, t, _ = blobs(spread=0.3)
    bring("a", x, t)
    bring("b", x, t)
    alone = annotate.refine(workspace="a", method=method)
    twice = annotate.refine(workspace="a", also=["b"], method=method)
    np.testing.assert_array_equal(alone.labels, twice.labels)
    np.testing.assert_allclose(alone.probabilities, twice.probabilities, atol=1e-3)


def test_prototypes_are_of_the_first_model(two: np.ndarray) -> None:
    made = annotate.refine(workspace="a", also=["b"], method="dynamic")
    assert made.class_prototypes.shape == (5, 32)
    np.testing.assert_allclose(np.linalg.norm(made.class_prototypes, axis=1), 1, atol=1e-6)
    direct = annotate.refine(workspace="a", also=["b"], method="direct")
    np.testing.assert_allclose(direct.class_prototypes, np.load("a/text/text_embeddings.npy"), atol=1e-6)


def test_the_same_bytes_every_time(two: np.ndarray) -> None:
    annotate.refine(workspace="a", also=["b"])
    before = made_files("a")
    annotate.refine(workspace="a", also=["b"], force=True)
    assert made_files("a") == before


# -- which image is which ------------------------------------------------------------------------------


def test_order_and_further_images_of_the_other_change_nothing(two: np.ndarray) -> None:
    annotate.refine(workspace="a", also=["b"])
    before = made_files("a")
    y, u = np.load("b/embed/embeddings.npy"), np.load("b/text/text_embeddings.npy")
    order = np.random.default_rng(0).permutation(310)
    more = np.concatenate([y, unit(np.random.default_rng(1).normal(size=(10, 24)))])
    bring("b", more[order], u, logit_scale=50.0, paths=[f"{i}.png" for i in order])
    annotate.refine(workspace="a", also=["b"])
    assert made_files("a") == before


def seen(*images: tuple[str, str | None]) -> Embeddings:
    """Images by path and digest."""
    facts: list[ImageFacts | None] = [{"size": 1, "modified_ns": 1, "digest": d} if d else None for _, d in images]
    rows = np.ones((len(images), 1), np.float32)
    return Embeddings(rows, None, [path for path, _ in images], facts, [])  # type: ignore[arg-type]


def test_images_are_known_by_their_bytes_then_by_their_path() -> None:
    mine = seen(("p", "1"), ("q", "2"), ("r", None), ("s", "4"), ("t", "5"))
    theirs = seen(("s", "4b"), ("r", "3"), ("moved", "1"), ("q", None))
    assert matched(mine, theirs).tolist() == [2, 3, 1, -1, -1]  # s has other bytes there, t is not there


def test_of_the_same_bytes_twice_the_first_path_counts() -> None:
    assert matched(seen(("x", "1")), seen(("b", "1"), ("a", "1"))).tolist() == [1]
    assert matched(seen(("x", "1")), seen(("a", "1"), ("b", "1"))).tolist() == [0]


def test_images_that_the_other_lacks_are_counted(two: np.ndarray) -> None:
    bring("b", np.load("b/embed/embeddings.npy")[:297], np.load("b/text/text_embeddings.npy"))
    with pytest.raises(InputError, match=r"3 of 300 images are not in b/, the first 297\.png") as refused:
        annotate.refine(workspace="a", also=["b"])
    assert "annotate import -w b" in refused.value.hint


# -- what is refused -----------------------------------------------------------------------------------


def test_what_cannot_be_joined_is_refused(two: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"--also .*/a: that workspace is in use already"):
        annotate.refine(workspace="a", also=["b", Path.cwd() / ".." / Path.cwd().name / "a"])
    with pytest.raises(InputError, match="--also b: that workspace is in use already"):
        annotate.refine(workspace="a", also=["b", "b"])
    with pytest.raises(MissingArtifact, match="no embeddings in nowhere/") as missing:
        annotate.refine(workspace="a", also=["nowhere"])
    assert "annotate embed IMAGES -w nowhere" in missing.value.hint
    assert not Path("nowhere").exists()
    with pytest.raises(ConfigError, match="clusters of one workspace"):
        annotate.refine(workspace="a", also=["b"], method="soft")
    with pytest.raises(ConfigError, match="in one process, not on 'ray'"):
        annotate.refine(workspace="a", also=["b"], method="dynamic", settings={"engine.name": "ray"})


def test_imported_texts_of_other_classes_are_refused(two: np.ndarray) -> None:
    bring("b", np.load("b/embed/embeddings.npy"), np.load("b/text/text_embeddings.npy"), names=NAMES[::-1])
    with pytest.raises(StaleArtifact, match="without texts of these classes in this order") as refused:
        annotate.refine(workspace="a", also=["b"])
    assert "annotate import -w b" in refused.value.hint


def test_a_workspace_that_is_in_use_is_left_alone(two: np.ndarray) -> None:
    with Workspace("b").lock(), pytest.raises(WorkspaceBusy, match="b/ is in use"):
        annotate.refine(workspace="a", also=["b"])


# -- freshness -----------------------------------------------------------------------------------------


def state(place: str = "a") -> tuple[str, str]:
    found = annotate.status(workspace=place)["refine"]
    return found.name, found.why


def refined_at() -> int:
    return Path("a/refine/labels.npy").stat().st_mtime_ns


def test_nothing_is_done_while_nothing_changed(two: np.ndarray) -> None:
    annotate.refine(workspace="a", also=["b"])
    before = refined_at()
    assert state() == ("fresh", "")
    annotate.refine(workspace="a", also=["b"])
    assert refined_at() == before


def test_a_change_of_the_other_makes_it_stale(two: np.ndarray) -> None:
    annotate.refine(workspace="a", also=["b"])
    before = refined_at()
    bring("b", np.load("b/embed/embeddings.npy")[:, ::-1], np.load("b/text/text_embeddings.npy"), logit_scale=50.0)
    assert state() == ("stale", "also 1 embed/embeddings.npy changed")
    annotate.refine(workspace="a", also=["b"])
    assert refined_at() != before
    Path("b").rename("moved")
    assert state()[0] == "stale"


def test_the_scale_and_the_texts_of_the_other_count(two: np.ndarray) -> None:
    annotate.refine(workspace="a", also=["b"])
    y, u = np.load("b/embed/embeddings.npy"), np.load("b/text/text_embeddings.npy")
    bring("b", y, u, logit_scale=70.0)
    assert state() == ("stale", "also 1 logit scale changed")
    bring("b", y, u[::-1], logit_scale=50.0)
    assert state() == ("stale", "also 1 text/text_embeddings.npy changed")


def test_with_and_without_the_other_are_two_things(two: np.ndarray) -> None:
    annotate.refine(workspace="a")
    alone = made_files("a")
    annotate.refine(workspace="a", also=["b"])
    assert made_files("a") != alone
    annotate.refine(workspace="a")
    assert made_files("a") == alone
    assert state() == ("fresh", "")


def test_neighbours_that_were_kept_are_those_of_the_same_models(
    two: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate.refine(workspace="a", also=["b"])
    unkept = made_files("a")
    monkeypatch.setattr(stage, "WORTH_KEEPING", 100)
    y, u = np.load("b/embed/embeddings.npy"), np.load("b/text/text_embeddings.npy")
    annotate.refine(workspace="a", force=True)
    bring("b", y[::-1], u)
    annotate.refine(workspace="a", also=["b"])
    bring("b", y, u, logit_scale=50.0)
    annotate.refine(workspace="a", also=["b"])
    assert made_files("a") == unkept


# -- our own models ------------------------------------------------------------------------------------


@pytest.fixture
def embedded(photos: Path, checkpoint: Path, tmp_path: Path) -> Path:
    """Workspaces a and b: photos as two checkpoints see them, with texts in a alone."""
    import torch

    torch.save(small_clip(seed=1).state_dict(), tmp_path / "other.pt")
    annotate.embed(photos, classes=["red", "green"], model=str(checkpoint), workspace="a")
    annotate.embed(photos, model="other.pt", workspace="b")
    return photos


def test_the_other_model_reads_the_same_classes_in_the_same_words(embedded: Path) -> None:
    annotate.embed_text(["red", "green"], workspace="a", settings={"text.prompts": "clip7"})
    annotate.refine(workspace="a", also=["b"])
    mine, theirs = Workspace("a").read(Texts), Workspace("b").read(Texts)
    assert theirs.prompts == mine.prompts
    assert not np.array_equal(theirs.text_embeddings, mine.text_embeddings)


def test_texts_that_would_be_made_again_as_they_were_leave_it_fresh(embedded: Path) -> None:
    annotate.refine(workspace="a", also=["b"])
    before = refined_at()
    annotate.embed_text(["red", "blue"], workspace="b")
    assert state() == ("fresh", "")
    annotate.refine(workspace="a", also=["b"])
    assert refined_at() == before
    assert Workspace("b").read(Texts).class_names == ["red", "green"]


def test_another_image_asks_for_it_in_both(embedded: Path) -> None:
    Image.new("RGB", (9, 9)).save(embedded / "new.png")
    annotate.embed(embedded, model=str(next(Path.cwd().parent.rglob("small.pt"))), workspace="a")
    with pytest.raises(InputError, match="1 of 13 images are not in b/") as refused:
        annotate.refine(workspace="a", also=["b"])
    assert f"`annotate embed {embedded} -w b --model {Path.cwd() / 'other.pt'}`" in refused.value.hint


def test_a_dataset_of_two_models_from_the_command_line(
    embedded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in ("refine -w a --also b", "organize out -w a", "report -w a", "status -w a --json"):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["annotate", *line.split()])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0, capsys.readouterr().err
    states = json.loads(capsys.readouterr().out)
    assert {stage: states[stage]["state"] for stage in ("refine", "organize", "report")} == dict.fromkeys(
        ("refine", "organize", "report"), "fresh"
    )
    made_by = json.loads(Path("out/metadata.json").read_text())["provenance"]["config"]["refine"]
    assert made_by["also"] == [str(Path("b").absolute())]
    assert len(made_by["models"]) == 2
