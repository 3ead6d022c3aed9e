from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

import annotate
from annotate import encoders
from annotate.errors import DamagedArtifact, InputError, MissingArtifact, StaleArtifact
from annotate.kernels.vectors import unit
from annotate.progress import Silent
from annotate.records import Embeddings, Model, Note
from annotate.workspace import Workspace
from annotate.workspace.plan import Plan
from tests.conftest import small_clip


@pytest.fixture
def embedded(photos: Path, checkpoint: Path) -> Path:
    annotate.embed(photos, model=str(checkpoint))
    return checkpoint


def test_prompts_are_normalised_averaged_and_normalised_again(embedded: Path) -> None:
    made = annotate.embed_text(["2", "3"])
    encoder = encoders.load(encoders.find_weights(str(embedded)), device="cpu", precision="float32")
    rows = [encoder.encode_text(prompts).astype(np.float64).mean(axis=0) for prompts in made.prompts.values()]
    np.testing.assert_allclose(made.text_embeddings, unit(np.array(rows)), atol=1e-6)
    assert made.prompt_set == "digits"


def test_a_class_is_encoded_once_and_needs_no_image(
    embedded: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[list[str]] = []
    original = encoders.openai.OpenAIClip.encode_text

    def counting(self: object, prompts: list[str]) -> np.ndarray:
        encoded.append(prompts)
        return original(self, prompts)  # type: ignore[arg-type]

    monkeypatch.setattr(encoders.openai.OpenAIClip, "encode_text", counting)
    annotate.embed_text(["cat", "dog"])
    photos.rename(photos.with_name("moved"))
    annotate.embed_text(["dog", "horse", "cat"])
    assert encoded == [["a photo of a cat"], ["a photo of a dog"], ["a photo of a horse"]]


def test_a_class_has_the_same_bytes_whatever_came_before(embedded: Path) -> None:
    alone = annotate.embed_text(["cat", "dog"]).text_embeddings[1]
    for cache in Path("artifacts/.cache").iterdir():
        cache.unlink()
    beside = annotate.embed_text(["dog", "horse", "zebra"]).text_embeddings[0]
    np.testing.assert_array_equal(alone, beside)


def test_a_broken_cache_is_an_empty_one(embedded: Path) -> None:
    before = annotate.embed_text(["cat", "dog"]).text_embeddings
    for cache in Path("artifacts/.cache").iterdir():
        cache.write_bytes(b"broken")
    np.testing.assert_array_equal(annotate.embed_text(["cat", "dog"], force=True).text_embeddings, before)


def test_without_names_those_of_the_workspace_count(embedded: Path) -> None:
    with pytest.raises(MissingArtifact, match="no classes"):
        annotate.refine()
    annotate.embed_text(["cat", "dog"])
    assert annotate.refine().probabilities.shape == (12, 2)


def test_a_checkpoint_that_was_replaced_is_not_used(photos: Path, checkpoint: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.pt"
    own.write_bytes(checkpoint.read_bytes())
    annotate.embed(photos, model=str(own))
    own.write_bytes(b"another")
    with pytest.raises(StaleArtifact, match="is not the model that embedded the images any more"):
        annotate.embed_text(["cat", "dog"])


def test_prompts_stay_as_they_were_worded_until_others_are_asked_for(embedded: Path) -> None:
    annotate.embed_text(["cat", "dog"], prompts="clip7")
    annotate.refine()
    assert annotate.embed_text().prompt_set == "clip7"
    assert annotate.embed_text(prompts="photo").prompts["cat"] == ["a photo of a cat"]
    annotate.embed_text(["cat", "dog"], prompts="clip7")
    assert annotate.embed_text(["cat", "dog"]).prompt_set == "photo"  # named classes start from the defaults


def test_a_checkpoint_that_moved_is_found_where_it_is_now(photos: Path, checkpoint: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a" / "m.pt").write_bytes(checkpoint.read_bytes())
    annotate.embed(photos, model="a/m.pt")
    (tmp_path / "a" / "m.pt").rename(tmp_path / "b" / "m.pt")
    annotate.embed(photos, model="b/m.pt")
    assert annotate.refine(["cat", "dog"]).labels.shape == (12,)


def test_damaged_texts_are_repaired_by_the_command_that_the_hint_names(embedded: Path) -> None:
    annotate.embed_text(["cat", "dog"])
    Path("artifacts/text/text_embeddings.npy").write_bytes(b"?")
    with pytest.raises(DamagedArtifact, match="text_embeddings") as caught:
        annotate.refine()
    assert caught.value.hint == "run `annotate refine --classes A,B`"
    assert annotate.refine(["cat", "dog"]).labels.shape == (12,)


def test_broken_weights_are_said(tmp_path: Path, photos: Path) -> None:
    model = small_clip()
    state = model.state_dict()
    state["visual.proj"] = state["visual.proj"] * float("nan")
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(InputError, match="not finite"):
        annotate.embed(photos, model="nan.pt")
    del state["ln_final.weight"]
    torch.save(state, tmp_path / "part.pt")
    with pytest.raises(InputError, match="do not fit together"):
        annotate.embed(photos, model="part.pt")


def republished(workspace: Path, **facts: object) -> None:
    """The embeddings again, with a manifest that says something else of their model."""
    place = Workspace(workspace)
    images, manifest = place.read(Embeddings), place.manifest("embed") or {}
    model = {**images.model, **facts}
    plan = Plan("embed", manifest["version"], manifest["config"], manifest["inputs"])
    place.publish(plan, dataclasses.replace(images, model=cast(Model, model)), ran_on=manifest["ran_on"])


@pytest.mark.parametrize("named", ["artifacts/own.pt", "link.pt", "relative"])
def test_a_model_that_a_workspace_brings_along_is_asked_for(
    photos: Path, checkpoint: Path, tmp_path: Path, named: str
) -> None:
    annotate.embed(photos, model=str(checkpoint))
    brought = tmp_path / "artifacts" / "own.pt"
    brought.write_bytes(checkpoint.read_bytes())
    (tmp_path / "link.pt").symlink_to(brought)
    (tmp_path / "beside.pt").write_bytes(checkpoint.read_bytes())
    republished(tmp_path / "artifacts", path="beside.pt" if named == "relative" else str(tmp_path / named))
    with pytest.raises(StaleArtifact, match="the workspace itself names, not you") as caught:
        annotate.refine(["cat", "dog"])
    assert "`annotate refine --set embed.model=MODEL`" in caught.value.hint
    assert annotate.refine(["cat", "dog"], settings={"embed.model": str(brought)}).labels.shape == (12,)


def test_status_loads_no_model_that_a_manifest_names(
    photos: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate.embed(photos, model=str(checkpoint))
    republished(Path("artifacts"), name="another")
    loaded: list[object] = []
    monkeypatch.setattr(encoders, "load", lambda source, **_: loaded.append(source))
    monkeypatch.setattr(encoders, "load_sessions", lambda source, **_: loaded.append(source))
    assert "embed" in annotate.status()
    assert loaded == []


def test_a_model_without_a_path_is_one_that_is_known_by_name(photos: Path, checkpoint: Path, tmp_path: Path) -> None:
    annotate.embed(photos, model=str(checkpoint))
    (tmp_path / "small.pt").write_bytes(checkpoint.read_bytes())
    republished(tmp_path / "artifacts", path=None)
    with pytest.raises(StaleArtifact, match=r"small\.pt is not the model"):
        annotate.refine(["cat", "dog"])


def test_a_model_that_is_gone_is_asked_for(photos: Path, checkpoint: Path, tmp_path: Path) -> None:
    annotate.embed(photos, model=shutil.copy(checkpoint, "own.pt"))
    Path("own.pt").rename("elsewhere.pt")
    with pytest.raises(StaleArtifact, match="not there any more"):
        annotate.refine(["cat", "dog"])
    assert annotate.refine(["cat", "dog"], settings={"embed.model": "elsewhere.pt"}).labels.shape == (12,)


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[Note] = []

    def note(self, note: Note) -> None:
        self.said.append(note)


def noted(classes: list[str], prompts: Mapping[str, object] | list[str] | None = None) -> list[str]:
    """What is said of these classes, the first time and again."""
    settings: dict[str, object] = {}
    if prompts is not None:
        Path("prompts.yaml").write_text(json.dumps(prompts))
        settings["text.prompts"] = "prompts.yaml"
    first, again = Notes(), Notes()
    annotate.embed_text(classes, settings=settings, progress=first)
    annotate.embed_text(classes, settings=settings, progress=again)
    assert first.said == again.said
    return [note["message"] for note in first.said]


def test_a_text_that_is_cut_is_told_with_what_is_read_of_it(embedded: Path) -> None:
    (said,) = noted(["cat", "dog " * 90 + "outdoors"])
    assert said.startswith("1 prompt is too long for the model: of 'a photo of a dog dog")
    assert "dog outdoors' it reads 'a photo of a dog dog" in said
    assert said.endswith("dog dog'")
    assert noted(["cat", "dog"]) == []


@pytest.mark.parametrize("prompts", [None, ["a {}"], ["word " * 80 + "{}"]])
def test_names_that_become_one_text_are_told(embedded: Path, prompts: list[str] | None) -> None:
    long = "word " * 80
    cut, alike = noted([long + "cat", long + "dog"], prompts)
    assert "too long for the model" in cut
    assert re.fullmatch(r"'word .* word cat', 'word .* word dog' are the same text to the model: .*", alike)


def test_prompts_of_a_file_that_are_cut_or_alike_are_told(embedded: Path) -> None:
    cut, alike = noted(["a", "b", "c"], {"a": ["x", "word " * 80], "b": "one pet", "c": ["one pet"]})
    assert cut.startswith("1 prompt is too long")
    assert alike.startswith("'b', 'c' are the same text")


def test_artifacts_are_the_same_bytes_for_any_number_of_threads(photos: Path, checkpoint: Path, tmp_path: Path) -> None:
    script = """
import hashlib, json, sys
from pathlib import Path
import annotate
for model in ("tiny", sys.argv[1]):
    place = Path(sys.argv[2]) / Path(model).stem
    annotate.embed("photos", model=model, workspace=place)
    annotate.embed_text(["red", "green", "a rather long name for blue", "2"], prompts="clip7", workspace=place)
    annotate.refine(workspace=place)
digests = {
    path.relative_to(sys.argv[2]).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(Path(sys.argv[2]).glob("*/*/*"))
    if path.name != "manifest.json"  # says how many cores there were
}
print(json.dumps(digests))
"""
    started: dict[str, subprocess.Popen[str]] = {}
    for threads in ("1", "4"):
        started[threads] = run_with(threads, [sys.executable, "-c", script, str(checkpoint), f"with-{threads}"])
    if shutil.which("taskset"):
        core = str(min(os.sched_getaffinity(0)))
        command = ["taskset", "-c", core, sys.executable, "-c", script, str(checkpoint), "on-one-core"]
        started["one core"] = run_with("2", command)
    made = {}
    for way, process in started.items():
        out, err = process.communicate()
        assert process.returncode == 0, err
        made[way] = json.loads(out)
    assert {"tiny/text/text_embeddings.npy", "small/refine/probabilities.npy"} <= made["1"].keys()
    for way, digests in made.items():
        assert digests == made["1"], way


def run_with(threads: str, command: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
