from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import annotate
from annotate.errors import InputError, StaleArtifact
from annotate.kernels.vectors import unit
from annotate.progress import Silent
from annotate.records import Note, Refinement

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(30, 8)).astype(np.float32)
TEXTS = RNG.normal(size=(3, 8)).astype(np.float32)
NAMES = ["a", "b", "c"]


@pytest.fixture(autouse=True)
def _files() -> None:
    np.save("e.npy", ROWS)
    np.save("t.npy", TEXTS)
    Path("paths.txt").write_text("".join(f"song {i}.wav\n" for i in range(30)))


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[Note] = []

    def note(self, note: Note) -> None:
        self.notes.append(note)


def test_embeddings_of_anything_run_through_to_labels() -> None:
    notes = Notes()
    made = annotate.import_embeddings("e.npy", "paths.txt", text_embeddings="t.npy", classes=NAMES, progress=notes)
    np.testing.assert_allclose(np.linalg.norm(made.embeddings, axis=1), 1, atol=1e-6)
    assert "30 rows were not of length one; normalised" in notes.notes[0]["message"]
    for method in ("direct", "dynamic", "soft"):
        assert annotate.refine(method=method).labels.shape == (30,)
    assert annotate.report().summary["images"] == 30


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32])
def test_any_number_type_is_taken(dtype: type) -> None:
    np.save("e.npy", (ROWS * 10).astype(dtype))
    assert annotate.import_embeddings("e.npy", "paths.txt").embeddings.dtype == np.float32


def test_paths_may_be_json(tmp_path: Path) -> None:
    paths = [f"new\nline {i}" for i in range(30)]
    for content in (paths, {"image_paths": paths}):
        Path("paths.json").write_text(json.dumps(content))
        assert annotate.import_embeddings("e.npy", "paths.json").image_paths == paths


LISTS: dict[str, tuple[str, str, str]] = {  # what begins the file, what follows each path, encoding
    "bom.txt": ("", "\n", "utf-8-sig"),
    "spaces.txt": ("", "  \t\r\n", "utf-8"),
    "paths.csv": ("path\n", "\n", "utf-8"),
    "semicolons.csv": ("image_path;id\r\n", ";1\r\n", "utf-8"),
    "utf16.txt": ("", "\r\n", "utf-16"),
    "utf16.csv": ("path,label\r\n", ",x\r\n", "utf-16"),
    "backslashes.txt": ("", "\r\n", "utf-8"),
    "comments.list": ("# songs\n\n", "\n", "utf-8"),
}


@pytest.mark.parametrize("name", LISTS)
def test_paths_are_read_as_embed_reads_its_lists(photos: Path, name: str) -> None:
    paths = sorted(photos.rglob("*.png"))
    start, end, encoding = LISTS[name]
    text = start + "".join(f"{path.relative_to(photos.parent)}{end}" for path in paths)
    Path(name).write_bytes((text.replace("/", "\\") if "backslashes" in name else text).encode(encoding))
    np.save("e.npy", ROWS[:12])
    made = annotate.import_embeddings("e.npy", name)
    assert made.image_paths == [str(path) for path in paths]
    assert None not in made.images


def test_paths_that_are_found_only_later_are_imported_anew(photos: Path) -> None:
    """The list is the same bytes: what it leads to is not."""
    paths = sorted(photos.rglob("*.png"))
    Path("paths.txt").write_text("".join(f"photos/{path.relative_to(photos)}\n" for path in paths))
    np.save("e.npy", ROWS[:12])
    photos.rename("away")
    assert annotate.import_embeddings("e.npy", "paths.txt").image_paths[0] == f"photos/{paths[0].relative_to(photos)}"
    Path("away").rename(photos)
    assert annotate.import_embeddings("e.npy", "paths.txt").image_paths == [str(path) for path in paths]


@pytest.mark.parametrize("names", [["a", "a", "b"], ["caf\u00e9", "cafe\u0301", "b"], ["a", "b", "A "]])
def test_imported_class_names_are_named_once(names: list[str]) -> None:
    with pytest.raises(InputError, match="is named twice"):
        annotate.import_embeddings("e.npy", "paths.txt", text_embeddings="t.npy", classes=names)


def test_clusters_may_come_along() -> None:
    np.save("micro.npy", np.arange(30) % 4 - 1)
    made = annotate.import_embeddings(
        "e.npy", "paths.txt", text_embeddings="t.npy", classes=NAMES, micro_assignments="micro.npy"
    )
    assert made.embeddings.shape == (30, 8)
    refined = annotate.refine(method="soft")
    assert refined.micro_cluster_alignment is not None
    assert refined.micro_cluster_alignment.shape == (3, 3)
    np.save("e.npy", ROWS[:, ::-1])
    annotate.import_embeddings("e.npy", "paths.txt", text_embeddings="t.npy", classes=NAMES)
    with pytest.raises(StaleArtifact, match="of other embeddings"):
        annotate.refine(method="soft")


def with_row(value: float) -> np.ndarray:
    rows = ROWS.copy()
    rows[7] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (with_row(np.nan), "row 7 is not finite"),
        (with_row(np.inf), "row 7 is not finite"),
        (with_row(0), "row 7 is all zeros"),
        (ROWS[:29], "29 rows, paths.txt 30 paths"),
        (ROWS[0], "expected numbers of shape"),
        (ROWS[:0], "no rows"),
        (np.array(["x"]), "expected numbers of shape"),
    ],
)
def test_rows_that_make_no_sense_are_refused(rows: np.ndarray, said: str) -> None:
    np.save("e.npy", rows)
    with pytest.raises(InputError, match=said) as caught:
        annotate.import_embeddings("e.npy", "paths.txt")
    assert caught.value.hint
    assert not Path("artifacts/embed").exists()


@pytest.mark.parametrize(
    ("texts", "names", "said"),
    [
        (TEXTS[:, :5], NAMES, "5 dimensions, the embeddings have 8"),
        (TEXTS, NAMES[:2], "3 rows for 2 classes"),
        (TEXTS, [], "--classes is missing"),
        (with_row(np.nan)[5:8], NAMES, "row 2 is not finite"),
    ],
)
def test_texts_that_do_not_fit_are_refused(texts: np.ndarray, names: list[str], said: str) -> None:
    np.save("t.npy", texts)
    with pytest.raises(InputError, match=said):
        annotate.import_embeddings("e.npy", "paths.txt", text_embeddings="t.npy", classes=names)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\x93NUMPY broken", "not a .npy array"), (b"", "not a .npy array")],
)
def test_a_file_that_is_no_array_is_refused(content: bytes, said: str) -> None:
    Path("e.npy").write_bytes(content)
    with pytest.raises(InputError, match=said):
        annotate.import_embeddings("e.npy", "paths.txt")


@pytest.mark.parametrize("micro", [np.arange(29), np.arange(30) - 5, np.arange(30) * 2, np.zeros(30)])
def test_assignments_that_do_not_fit_are_refused(micro: np.ndarray) -> None:
    np.save("micro.npy", micro)
    with pytest.raises(InputError):
        annotate.import_embeddings("e.npy", "paths.txt", micro_assignments="micro.npy")


def test_other_class_names_need_their_embeddings() -> None:
    annotate.import_embeddings("e.npy", "paths.txt", text_embeddings="t.npy", classes=NAMES)
    with pytest.raises(InputError, match="were imported"):
        annotate.refine(["x", "y"])


def test_a_path_listed_twice_is_refused() -> None:
    Path("paths.txt").write_text("same\n" * 30)
    with pytest.raises(InputError, match="same is listed twice"):
        annotate.import_embeddings("e.npy", "paths.txt")


def test_texts_of_another_model_are_not_used(photos: Path, checkpoint: Path) -> None:
    annotate.embed(photos, model=str(checkpoint), classes=["red", "green"])
    np.save("e.npy", RNG.normal(size=(30, 32)))
    annotate.import_embeddings("e.npy", "paths.txt")
    with pytest.raises(InputError, match="were imported"):
        annotate.refine()


def test_numbers_of_any_size_are_normalised() -> None:
    np.save(
        "e.npy", np.where(np.arange(30)[:, None] % 2, ROWS.astype(np.float64) * 1e200, ROWS.astype(np.float64) * 1e-200)
    )
    rows = annotate.import_embeddings("e.npy", "paths.txt").embeddings
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_paths_keep_their_meaning_in_another_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(path.relative_to(photos.parent)) for path in sorted(photos.rglob("*.png"))]
    Path("paths.txt").write_text("\n".join(names) + "\n")
    np.save("e.npy", ROWS[:12])
    annotate.import_embeddings("e.npy", "paths.txt", text_embeddings="t.npy", classes=NAMES)
    annotate.refine()
    (photos.parent / "elsewhere").mkdir()
    monkeypatch.chdir(photos.parent / "elsewhere")
    assert annotate.organize("out", workspace=photos.parent / "artifacts").images == 12


@pytest.mark.parametrize("paths", [["a\0b"] + ["x"] * 29, ["\ud800"] + ["x"] * 29])
def test_what_cannot_be_a_path_is_refused(paths: list[str]) -> None:
    Path("paths.json").write_text(json.dumps(paths))
    with pytest.raises(InputError, match="cannot be a path"):
        annotate.import_embeddings("e.npy", "paths.json")


def test_what_cannot_be_a_path_is_refused_in_a_text_too() -> None:
    Path("paths.txt").write_text("song\0.wav\n" + "".join(f"song {i}.wav\n" for i in range(29)))
    with pytest.raises(InputError, match="cannot be a path"):
        annotate.import_embeddings("e.npy", "paths.txt")


def test_a_cluster_whose_images_cancel_out_is_refused() -> None:
    np.save("e.npy", np.concatenate([ROWS[:15], -ROWS[:15]]))
    np.save("micro.npy", np.zeros(30, int))
    with pytest.raises(InputError, match="cancel out"):
        annotate.import_embeddings("e.npy", "paths.txt", micro_assignments="micro.npy")


@pytest.mark.parametrize("scale", [0, -1, float("inf"), float("nan")])
def test_a_logit_scale_that_is_no_scale_is_refused(scale: float) -> None:
    with pytest.raises(InputError, match="not a number above 0"):
        annotate.import_embeddings("e.npy", "paths.txt", logit_scale=scale)


@pytest.mark.parametrize("off", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_large_file_is_mapped_and_read_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type[np.floating], off: bool
) -> None:
    """Large here is above 1 kB: the same labels as when it is read."""
    rng = np.random.default_rng(0)
    rows = unit(rng.normal(size=(300, 16)))
    np.save(tmp_path / "rows.npy", (3 * rows if off else rows).astype(dtype))
    np.save(tmp_path / "texts.npy", rows[:3])
    (tmp_path / "paths.txt").write_text("".join(f"{i}.png\n" for i in range(300)))

    def labels(place: str) -> Refinement:
        annotate.import_embeddings(
            "rows.npy", "paths.txt", text_embeddings="texts.npy", classes=["a", "b", "c"], workspace=place
        )
        return annotate.refine(workspace=place, method="dynamic")

    read = labels("read")
    monkeypatch.setattr("annotate.workspace.artifacts.LARGE_FILE", 1000)
    mapped = labels("mapped")
    stored = np.load("mapped/embed/embeddings.npy")
    assert stored.dtype == (np.float16 if dtype == np.float16 else np.float32)
    np.testing.assert_array_equal(read.labels, mapped.labels)
    np.testing.assert_allclose(read.probabilities, mapped.probabilities, atol=0.02)
    assert {path.name for path in Path("mapped").iterdir()} == {".lock", "embed", "text", "refine"}
    annotate.cluster(workspace="mapped")
    annotate.organize("dataset", workspace="mapped", dry_run=True)
