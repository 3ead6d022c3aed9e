from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import annotate
from annotate.errors import ConfigError
from annotate.kernels.calibration import reliability
from annotate.kernels.chances import Chances, softmax_chances
from annotate.kernels.vectors import unit
from annotate.methods.material import with_answers
from annotate.methods.signs import signs_of_collapse
from annotate.progress import Silent
from annotate.records import Embeddings, Note, Refinement
from annotate.reports.summary import report_warnings
from annotate.settings.config import Config
from annotate.stages import refine as stage
from annotate.workspace import Workspace

Plant = Callable[..., Workspace]
Blobs = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


@pytest.mark.parametrize("method", ["direct", "dynamic", "soft", "transductive"])
def test_every_image_gets_a_label_with_its_probability(plant: Plant, blobs: Blobs, method: str) -> None:
    x, t, truth = blobs(n=300, k=5, spread=0.1)
    plant(x, t)
    made = annotate.refine(method=method)
    assert made.labels.shape == (300,)
    assert (made.labels == truth).mean() > 0.98
    np.testing.assert_allclose(made.probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(made.labels, made.probabilities.argmax(axis=1))
    np.testing.assert_array_equal(made.confidences, made.probabilities.max(axis=1))
    assert (made.micro_cluster_alignment is not None) == (method == "soft")


def test_history_keeps_a_row_per_iteration(plant: Plant, blobs: Blobs) -> None:
    plant(*blobs(blur=0.3)[:2])
    annotate.refine(method="dynamic", iterations=4)
    rows = json.loads(Path("artifacts/refine/history.json").read_text())
    assert [row["iteration"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[1]["text_weight"] == 0.95
    assert all(row["moved_percent"] == pytest.approx(100 * row["moved"] / 300) for row in rows)
    assert rows[-1]["active_classes"] == 5


def test_a_given_temperature_is_used_as_it_is(plant: Plant, blobs: Blobs) -> None:
    x, t, _ = blobs()
    plant(x, t)
    made = annotate.refine(method="dynamic", temperature=0.05)
    similarity = x.astype(float) @ made.class_prototypes.T
    expected = np.exp(similarity / 0.05) / np.exp(similarity / 0.05).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(made.probabilities, expected, atol=1e-5)


def test_without_one_the_mean_confidence_is_that_of_zero_shot(plant: Plant, blobs: Blobs) -> None:
    plant(*blobs(spread=0.4, blur=0.3)[:2])
    zero_shot = annotate.refine(method="direct").confidences.mean()
    assert annotate.refine(method="dynamic").confidences.mean() == pytest.approx(zero_shot, abs=1e-3)


def test_the_method_follows_the_number_of_images(plant: Plant, blobs: Blobs) -> None:
    plant(*blobs(n=60)[:2])
    assert annotate.refine().method == "transductive"
    assert annotate.refine(preset="large").method == "transductive"
    assert Config().resolve(999_999).refine.method == "transductive"
    assert Config().resolve(1_000_000).refine.method == "dynamic"
    assert Config({"refine.method": "direct"}).resolve(1_000_000).refine.method == "direct"


def test_balanced_classes_are_for_transduction(plant: Plant, blobs: Blobs) -> None:
    plant(*blobs(n=200, k=5, spread=0.4, blur=0.5)[:2])
    even = annotate.refine(class_sizes="balanced")
    free = annotate.refine()
    assert np.bincount(even.labels, minlength=5).std() < np.bincount(free.labels, minlength=5).std()
    with pytest.raises(ConfigError, match="needs the method transductive, not 'dynamic'"):
        annotate.refine(method="dynamic", class_sizes="balanced")


def test_neighbours_are_found_once(plant: Plant, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "WORTH_KEEPING", 100)
    x, t, _ = blobs(n=160)
    plant(x, t)
    first = annotate.refine()
    kept = list(Path("artifacts/.cache").glob("neighbours-*.npz"))
    assert len(kept) == 1
    written = kept[0].stat().st_mtime_ns
    again = annotate.refine(force=True)
    assert kept[0].stat().st_mtime_ns == written
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    kept[0].write_bytes(b"half a file")
    np.testing.assert_array_equal(annotate.refine(force=True).probabilities, first.probabilities)
    plant(x[::-1].copy(), t)
    annotate.refine()
    assert [path.name for path in Path("artifacts/.cache").glob("neighbours-*.npz")] != [kept[0].name]


def test_direct_takes_one_pass_and_ignores_iterations(plant: Plant, blobs: Blobs) -> None:
    plant(*blobs()[:2])
    assert len(annotate.refine(method="direct", iterations=7).history) == 1


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("method", ["direct", "dynamic", "soft", "transductive"])
def test_a_handful_of_images_is_enough(plant: Plant, blobs: Blobs, n: int, method: str) -> None:
    plant(*blobs(n=n, k=3)[:2])
    assert annotate.refine(method=method).labels.shape == (n,)


def test_a_collapse_is_reported_with_a_remedy(plant: Plant) -> None:
    """Images in one cone and texts in another, as CLIP has them: after one alignment few classes are left."""
    rng = np.random.default_rng(0)
    cone = unit(rng.normal(size=(2, 64)))
    centres = unit(cone[0] + 0.4 * unit(rng.normal(size=(7, 64))))
    x = unit(centres[np.arange(280) % 7] + 0.03 * rng.normal(size=(280, 64)))
    plant(x, unit(cone[1] + 0.2 * (centres - cone[0]) + 0.06 * rng.normal(size=(7, 64))))
    made = annotate.refine(method="soft")
    assert made.history[-1]["active_classes"] < made.history[0]["active_classes"]
    told = [note for note in made.notes if note["message"].startswith("classes lost all")]
    assert len(told) == 1
    assert "annotate refine --method dynamic" in told[0]["hint"]


def test_cluster_settings_that_were_asked_for_count_until_others_are(plant: Plant, blobs: Blobs) -> None:
    place = plant(*blobs()[:2])
    annotate.cluster(min_cluster_size=2)
    annotate.refine(method="soft")
    manifest = place.manifest("cluster")
    assert manifest is not None
    assert manifest["config"]["min_cluster_size"] == 2


def test_a_blurred_alignment_is_reported(plant: Plant, blobs: Blobs) -> None:
    plant(*blobs(spread=0.05)[:2])
    made = annotate.refine(method="soft", temperature=1.0)
    assert any(
        "hardly tell the classes apart" in note["message"] and "--temperature 0.01" in note["hint"]
        for note in made.notes
    )
    assert not any("hardly tell the classes apart" in note["message"] for note in annotate.refine(method="soft").notes)


def row(active: int, share: float) -> dict[str, object]:
    return {"active_classes": active, "largest_share": share}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(3, 0.4), row(3, 0.5)], []),
        (
            [row(3, 0.4), row(2, 0.5), row(3, 0.5)],
            ["classes lost all their images: 3 had some at the start, 2 during refinement"],
        ),
        ([row(3, 0.4), row(3, 0.93)], ["nearly all images went to one class: 'a' has 93 % of the images, 40 % before"]),
        ([row(3, 0.92), row(3, 0.93)], ["'a' has 93 % of the images, and had about as many before"]),
    ],
)
def test_the_signs_of_collapse(rows: list[dict[str, object]], said: list[str]) -> None:
    counts = np.array([93, 5, 2])
    notes = signs_of_collapse(rows, counts, ["a", "b", "c"], remedy="another method")  # type: ignore[arg-type]
    assert len(notes) == len(said)
    for note, start in zip(notes, said, strict=True):
        assert note["message"].startswith(start)
        assert note["hint"]


def test_identical_bytes_after_a_rerun_leave_later_stages_fresh(plant: Plant, blobs: Blobs) -> None:
    place = plant(*blobs()[:2])
    annotate.refine(method="dynamic")
    before = place.manifest("refine")
    annotate.refine(method="dynamic", force=True)
    after = place.manifest("refine")
    assert before is not None
    assert after is not None
    digests = [{name: entry["sha256"] for name, entry in m["files"].items()} for m in (before, after)]
    assert digests[0] == digests[1]


def test_names_without_images_are_told_not_called_a_collapse(plant: Plant, blobs: Blobs) -> None:
    images, texts, _ = blobs(60)
    plant(images, np.concatenate([texts, -texts[:1]]), ["a", "b", "c", "d", "e", "giraffe"])
    made = annotate.refine(method="transductive")
    assert any(note["message"] == "no image looks like 'giraffe'" for note in made.notes)
    assert not any("collapse" in note["message"] for note in made.notes)
    told = report_warnings(made, np.bincount(made.labels, minlength=6), ["a", "b", "c", "d", "e", "giraffe"])
    assert sum("giraffe" in note["message"] for note in told) == 1


class Told(Silent):
    """What a run says to whoever watches."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def note(self, note: Note) -> None:
        self.messages.append(note["message"])


def messages(record: Refinement) -> str:
    return " | ".join(note["message"] for note in record.notes)


@pytest.mark.parametrize("method", ["direct", "dynamic", "transductive"])
def test_words_of_another_world_are_told(plant: Plant, blobs: Blobs, method: str) -> None:
    x, t, _ = blobs(n=300, k=8, d=64)
    plant(x, unit(np.random.default_rng(1).normal(size=t.shape)))
    assert "the class names may not describe these images" in messages(annotate.refine(method=method))
    plant(x, t)
    assert "may not describe" not in messages(annotate.refine(method=method, force=True))


@pytest.mark.parametrize("method", ["dynamic", "transductive"])
def test_too_few_images_to_learn_from_are_told(plant: Plant, blobs: Blobs, method: str) -> None:
    plant(*blobs(n=30, k=10, d=64)[:2])
    assert "about 3.0 images for each class, too few to learn from" in messages(annotate.refine(method=method))
    plant(*blobs(n=300, k=10, d=64)[:2])
    assert "too few" not in messages(annotate.refine(method=method, force=True))


def test_neighbours_beyond_what_can_be_compared_say_their_recall(
    plant: Plant, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotate.kernels.neighbours.COMPARE_ALL_UP_TO", 1000)
    monkeypatch.setattr(stage, "COMPARE_ALL_UP_TO", 1000)
    monkeypatch.setattr(stage, "WORTH_KEEPING", 1000)
    x, t, truth = blobs(n=3000, k=8, spread=0.2)
    plant(x, t)
    made = annotate.refine(method="transductive")
    assert "% of the nearest neighbours were found" in messages(made)
    assert (made.labels == truth).mean() > 0.95


@pytest.mark.parametrize("method", ["direct", "dynamic", "transductive"])
def test_given_labels_are_borne_and_mend_confidence(plant: Plant, blobs: Blobs, method: str) -> None:
    """Words so poor that confidence is off: with forty known classes it is less so, on the other images."""
    x, t, truth = blobs(n=2000, k=6, d=48, spread=0.3, blur=0.25, seed=1)
    plant(x, t)
    rng = np.random.default_rng(0)
    known = rng.permutation(2000)[:40]
    write_known(known, truth)

    def error(made: Refinement) -> float:
        others = np.setdiff1d(np.arange(2000), known)
        return reliability(made.confidences[others].astype(float), (made.labels == truth)[others]).error

    before = annotate.refine(method=method)
    after = annotate.refine(method=method, given="known.csv")
    np.testing.assert_array_equal(after.labels[known], truth[known])
    np.testing.assert_array_equal(after.confidences[known], 1)
    np.testing.assert_allclose(after.probabilities.sum(axis=1), 1, atol=1e-5)
    assert error(after) < max(0.05, error(before))
    annotate.refine(method=method)
    assert annotate.status()["refine"].fresh


def write_known(rows: np.ndarray, truth: np.ndarray) -> None:
    paths = Workspace().read(Embeddings).image_paths
    Path("known.csv").write_text("path,class\n" + "".join(f"{paths[i]},class {truth[i]}\n" for i in rows))


@pytest.mark.parametrize("whole", [1 << 25, 1 << 12])
def test_given_labels_name_what_the_words_call_otherwise(
    plant: Plant, blobs: Blobs, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    monkeypatch.setattr("annotate.kernels.chances.MOST_WHOLE", whole)  # below N K: only the largest are kept
    x, t, truth = blobs(n=900, k=20, d=48, spread=0.1)
    plant(x, t[[1, 0, *range(2, 20)]])  # the words of two classes are each other's
    assert (annotate.refine().labels == truth).mean() < 0.95
    told = Told()
    rows = np.concatenate([np.flatnonzero(truth == k)[:3] for k in range(20)])
    write_known(rows, truth)
    made = annotate.refine(given="known.csv", progress=told)
    assert (made.labels == truth).mean() > 0.98
    first = made.probabilities.argmax(axis=1) if made.top_classes is None else made.top_classes[:, 0]
    np.testing.assert_array_equal(made.labels, first)
    np.testing.assert_allclose(made.probabilities.sum(axis=1), 1, atol=0.02)  # sixteen of twenty at least
    assert ((x @ made.class_prototypes.T).argmax(axis=1) == truth).mean() > 0.98
    np.testing.assert_array_equal(annotate.refine(given="known.csv", temperature=0.05).labels, made.labels)


def test_a_name_that_only_given_labels_bring_is_not_told_to_have_no_image(plant: Plant, blobs: Blobs) -> None:
    x, t, truth = blobs(n=900, k=20, d=48, spread=0.1)
    strange = np.random.default_rng(1).normal(size=48)
    plant(x, np.stack([strange / np.linalg.norm(strange), *t[1:], t[0]]).astype(np.float32))  # class 20's are class 0's
    assert any("no image looks like 'class 0'" in note["message"] for note in annotate.refine().notes)
    write_known(np.concatenate([np.flatnonzero(truth == k)[:3] for k in range(20)]), truth)
    made = annotate.refine(given="known.csv")
    assert (made.labels == truth).mean() > 0.98
    assert not any("no image looks like 'class 0'" in note["message"] for note in made.notes)


def test_given_labels_teach_where_classes_are_known_to_be_balanced(plant: Plant, blobs: Blobs) -> None:
    x, t, truth = blobs(n=900, k=20, d=48, spread=0.1)
    plant(x, t[[1, 0, *range(2, 20)]])
    rows = np.concatenate([np.flatnonzero(truth == k)[:3] for k in range(20)])
    before = annotate.refine(class_sizes="balanced").labels
    write_known(rows, truth)
    after = annotate.refine(class_sizes="balanced", given="known.csv").labels
    others = np.setdiff1d(np.arange(900), rows)
    assert (before == truth)[others].mean() < 0.95 < 0.98 < (after == truth)[others].mean()


def test_given_corrections_change_no_other_image(plant: Plant, blobs: Blobs) -> None:
    """Three images of one class that somebody knows better: the hundred others keep their name."""
    x, t, truth = blobs(n=600, k=6, d=48, spread=0.1)
    plant(x, t)
    before = annotate.refine().labels
    rows = np.flatnonzero(truth == 2)[:3]
    write_known(rows, np.full(600, 4))
    after = annotate.refine(given="known.csv").labels
    np.testing.assert_array_equal(after[rows], 4)
    np.testing.assert_array_equal(np.delete(after, rows), np.delete(before, rows))


@pytest.mark.parametrize("kept", [None, 16])
def test_given_labels_are_borne_whatever_block_they_are_in(kept: int | None) -> None:
    rng = np.random.default_rng(0)
    similarity = rng.uniform(size=(30, 20)).astype(np.float32)
    given = np.full(30, -1)
    given[[0, 9, 10, 29]] = [3, 4, 5, 6]

    def blocks(*ends: int) -> Chances:
        parts = [softmax_chances(part.copy(), 0.1, kept) for part in np.split(similarity, ends)]
        for part in parts:  # as those of another process are
            for rows in vars(part).values():
                if rows is not None:
                    rows.flags.writeable = False
        return Chances.joined(30, with_answers(parts, given))

    whole, cut = blocks(), blocks(10, 17)
    np.testing.assert_array_equal(whole.labels[[0, 9, 10, 29]], [3, 4, 5, 6])
    for name, rows in vars(whole).items():
        np.testing.assert_array_equal(vars(cut)[name], rows)


def test_given_labels_stand_first_where_sixteen_are_kept(
    plant: Plant, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotate.kernels.chances.MOST_WHOLE", 100)
    x, t, truth = blobs(n=300, k=30, d=48)
    plant(x, t)
    paths = Workspace().read(Embeddings).image_paths
    Path("known.csv").write_text(f"path,class\n{paths[7]},class {(truth[7] + 11) % 30}\n")
    made = annotate.refine(given="known.csv")
    assert made.top_classes is not None
    assert made.top_classes.shape == made.probabilities.shape == (300, 16)
    assert made.labels[7] == made.top_classes[7, 0] == (truth[7] + 11) % 30
    assert all(len(set(row)) == 16 for row in made.top_classes.tolist())
    annotate.organize("out", dry_run=True)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_a_few_given_labels_leave_confidence_nearly_as_it_is(plant: Plant, blobs: Blobs, count: int) -> None:
    x, t, truth = blobs(n=1000, k=6, d=48, spread=0.2, blur=0.2, seed=2)
    plant(x, t)
    before = annotate.refine(method="dynamic").confidences
    rows = np.random.default_rng(3).permutation(1000)[:count]
    write_known(rows, truth)
    after = np.delete(annotate.refine(method="dynamic", given="known.csv").confidences, rows)
    assert abs(after.mean() - np.delete(before, rows).mean()) < 0.12


def test_given_labels_that_count_for_nothing_are_told(plant: Plant, blobs: Blobs) -> None:
    x, t, _ = blobs(n=60)
    plant(x, t)
    paths = Workspace().read(Embeddings).image_paths
    Path("known.csv").write_text(f"path,class\n{paths[0]},class 1\n{paths[1]},clas 2\nnowhere.png,class 1\n")
    told = Told()
    annotate.refine(given="known.csv", progress=told)
    assert any("2 of the given labels were not used: 'clas 2' is no class" in m for m in told.messages)


def test_confidence_tells_right_labels_from_wrong_ones(plant: Plant, blobs: Blobs) -> None:
    x, t, truth = blobs(n=1500, k=8, d=48, spread=0.3, blur=0.3, seed=4)
    plant(x, t, None, 16.0)  # a scale at which words are about as sure as they are right, as CLIP's are
    made = annotate.refine(method="transductive")
    right = made.labels == truth
    assert 0.5 < right.mean() < 0.98
    ranks = made.confidences.argsort().argsort()
    area = (ranks[right].sum() - right.sum() * (right.sum() - 1) / 2) / (right.sum() * (~right).sum())
    assert area > 0.7
    assert made.confidences.mean() == pytest.approx(right.mean(), abs=0.15)


@pytest.mark.parametrize("whole", [1 << 25, 1 << 12])
def test_confidence_is_the_same_bytes_for_any_block_and_threads(
    plant: Plant, blobs: Blobs, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    plant(*blobs(n=1500, k=20, spread=0.3, blur=0.3)[:2])
    monkeypatch.setattr("annotate.kernels.chances.MOST_WHOLE", whole)  # below N K: only the largest are kept

    def outcome(block: int, threads: int) -> list[bytes]:
        kernels = ("kernels.blocks", "kernels.transduction", "kernels.joint_images", "kernels.neighbours")
        for module in (*kernels, "methods.transductive"):
            monkeypatch.setattr(f"annotate.{module}.BLOCK", block)
        monkeypatch.setattr("annotate.kernels.blocks.cores", lambda: threads)
        made = annotate.refine(method="transductive", force=True)
        assert (made.top_classes is None) == (whole > 30_000)
        return [made.labels.tobytes(), made.confidences.tobytes(), made.probabilities.tobytes()]

    expected = outcome(16_384, 1)
    assert outcome(256, 3) == expected
    assert outcome(1024, 2) == expected


def test_the_label_stands_first_also_where_all_are_nearly_equal(plant: Plant, blobs: Blobs) -> None:
    plant(*blobs(n=200)[:2])
    made = annotate.refine(method="direct", temperature=1e5)
    classes, _ = made.likeliest(slice(0, 200), 2)
    np.testing.assert_array_equal(classes[:, 0], made.labels)
    assert (classes[:, 0] != classes[:, 1]).all()
