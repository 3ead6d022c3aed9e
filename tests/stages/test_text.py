from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import annotate
from annotate import encoders
from annotate.errors import DamagedArtifact, InputError, MissingArtifact, StaleArtifact
from annotate.kernels.vectors import unit
from tests.conftest import small_clip


@pytest.fixture
def embedded(photos: Path, checkpoint: Path) -> Path:
    annotate.embed(photos, model=str(checkpoint))
    return checkpoint


def test_prompts_are_normalised_averaged_and_normalised_again(embedded: Path) -> None:
    made = annotate.embed_text(["2", "3"])
    encoder = encoders.load(encoders.find(str(embedded)), device="cpu", precision="float32")
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
