"""Against openai-clip's own code: its `load`, `tokenize` and `_transform`, run as they stand.

Importing the package needs torchvision and pkg_resources; the four transforms it uses are written here from
torchvision's formulas, so that the comparison is with openai-clip's composition of them.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from annotate import encoders
from annotate.encoders.openai import Tokenizer, build, clip_file, read_checkpoint
from annotate.errors import ComponentMissing, InputError
from annotate.images.crop import square
from tests.conftest import small_clip


@pytest.fixture
def openai_clip(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module clip.clip of the installed openai-clip."""

    class Compose:
        def __init__(self, steps: list[Callable[[Any], Any]]) -> None:
            self.steps = steps

        def __call__(self, image: Any) -> Any:
            for step in self.steps:
                image = step(image)
            return image

    class Resize:
        def __init__(self, size: int, interpolation: Any) -> None:
            self.size, self.interpolation = size, interpolation

        def __call__(self, image: Image.Image) -> Image.Image:
            w, h = image.size
            short, long = (w, h) if w <= h else (h, w)
            new_short, new_long = self.size, int(self.size * long / short)
            new = (new_short, new_long) if w <= h else (new_long, new_short)
            return image if new == (w, h) else image.resize(new, self.interpolation)

    class CenterCrop:
        def __init__(self, size: int) -> None:
            self.size = size

        def __call__(self, image: Image.Image) -> Image.Image:
            w, h = image.size
            top, left = int(round((h - self.size) / 2.0)), int(round((w - self.size) / 2.0))  # noqa: RUF046
            return image.crop((left, top, left + self.size, top + self.size))

    class ToTensor:
        def __call__(self, image: Image.Image) -> torch.Tensor:
            return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)

    class Normalize:
        def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
            self.mean, self.std = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)

        def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
            return tensor.sub(self.mean).div(self.std)

    import packaging.version

    torchvision, transforms, resources = (types.ModuleType(n) for n in ("torchvision", "torchvision.transforms", "x"))
    for cls in (Compose, Resize, CenterCrop, ToTensor, Normalize):
        setattr(transforms, cls.__name__, cls)
    resources.packaging = packaging  # type: ignore[attr-defined]
    stand_ins = {"torchvision": torchvision, "torchvision.transforms": transforms, "pkg_resources": resources}
    for name, module in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, module)
    before = set(sys.modules)
    yield importlib.import_module("clip.clip")
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "clip":
            del sys.modules[name]


def saved(model: torch.nn.Module, path: Path, form: str) -> Path:
    if form == "state dict":
        torch.save(model.state_dict(), path)
    elif form == "wrapped":
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, path)
    elif form == "safetensors":
        from safetensors.torch import save_file

        path = path.with_suffix(".safetensors")
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
    else:
        side = model.visual.input_resolution
        example = (torch.zeros(1, 3, side, side), torch.zeros(1, 77, dtype=torch.int64))
        for name in ("input_resolution", "context_length", "vocab_size"):  # as in OpenAI's archives
            value = side if name == "input_resolution" else getattr(model, name)
            vars(model).pop(name, None)
            model.register_buffer(name, torch.tensor(value))
        traced = torch.jit.trace(model, example, check_trace=False)
        if form == "TorchScript in float16":
            clip_file("model").convert_weights(model)  # the traced module has the same parameters
        traced.save(str(path))
    return path


ARCHITECTURES = {"ViT": 2, "ResNet": (1, 1, 1, 1)}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("form", ["TorchScript", "state dict", "wrapped", "safetensors"])
@pytest.mark.parametrize("architecture", ["ViT", "ResNet"])
def test_a_checkpoint_of_any_form_gives_the_same_embeddings(tmp_path: Path, architecture: str, form: str) -> None:
    model = small_clip(ARCHITECTURES[architecture])  # type: ignore[arg-type]
    expected = clip_file("model").build_model(model.state_dict()).float()
    path = saved(model, tmp_path / "c.pt", form)
    encoder = encoders.load(encoders.find_weights(str(path)), device="cpu", precision="float32")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    with torch.no_grad():
        images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
        rows = expected.encode_image(images)
        rows /= rows.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(encoder.encode_images(pixels), rows.numpy(), atol=2e-6)
    assert encoder.dimensions == 32
    assert encoder.resolution == 32
    assert np.isclose(encoder.logit_scale, 1 / 0.07, rtol=1e-5)


def test_a_weight_called_scale_is_a_weight_like_any_other(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = {"text_projection": torch.ones(2, 2), "visual.conv1.weight": torch.ones(2, 3, 1, 1)}
    save_file(state | {"text_projection.scale": torch.full((2,), 9.0)}, tmp_path / "c.safetensors")
    read = read_checkpoint(tmp_path / "c.safetensors")
    assert torch.equal(read["text_projection"], state["text_projection"])


def test_int8_without_its_scale_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = {"text_projection": torch.ones(2, 2, dtype=torch.int8), "visual.conv1.weight": torch.ones(2, 3, 1, 1)}
    save_file(state, tmp_path / "c.safetensors")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        read_checkpoint(tmp_path / "c.safetensors")


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.mark.filterwarnings("ignore")
def test_the_weights_of_an_archive_are_those_that_torch_reads(tmp_path: Path) -> None:
    path = saved(small_clip(), tmp_path / "c.pt", "TorchScript in float16")
    expected = torch.jit.load(str(path)).state_dict()
    read = read_checkpoint(path)
    assert read.keys() == expected.keys()
    assert {"input_resolution", "context_length", "vocab_size"} <= read.keys()
    assert read["visual.conv1.weight"].dtype == torch.float16
    for name, weight in expected.items():
        assert read[name].dtype == weight.dtype
        assert torch.equal(read[name], weight)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("architecture", "form"), [("ViT", "TorchScript"), ("ResNet", "TorchScript in float16")])
def test_images_and_texts_come_out_as_from_openai_clip(
    tmp_path: Path, openai_clip: Any, architecture: str, form: str
) -> None:
    path = saved(small_clip(ARCHITECTURES[architecture]), tmp_path / "c.pt", form)  # type: ignore[arg-type]
    model, preprocess = openai_clip.load(str(path), device="cpu")
    encoder = encoders.load(encoders.find_weights(str(path)), device="cpu", precision="float32")
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)) for size in
                [(50, 70, 3), (71, 33, 3), (32, 32, 3), (33, 200, 3), (8, 8, 3), (301, 200, 3)]]  # fmt: skip
    texts = ["a photo of a cat", "Sign language number two", "café 猫 &amp; 🐶", ""]
    resize, crop, *_ = preprocess.steps
    with torch.no_grad():
        images = model.encode_image(torch.stack([preprocess(picture) for picture in pictures]))
        words = model.encode_text(openai_clip.tokenize(texts))
    theirs = np.stack([np.asarray(crop(resize(picture))) for picture in pictures])
    np.testing.assert_allclose(encoder.encode_images(theirs), images / images.norm(dim=1, keepdim=True), atol=2e-6)
    ours = encoder.encode_images(np.stack([square(np.array(picture), 32) for picture in pictures]))
    assert (ours * encoder.encode_images(theirs)).sum(
        axis=1
    ).min() > 0.9999  # noise, a level of 255 apart here and there
    np.testing.assert_allclose(encoder.encode_text(texts), words / words.norm(dim=1, keepdim=True), atol=2e-6)


@pytest.mark.filterwarnings("ignore")
def test_preprocessing_follows_torchvisions(openai_clip: Any) -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        height, width = rng.integers(20, 400, 2)
        picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        resize, crop, *_ = openai_clip._transform(64).steps
        difference = np.abs(square(np.array(picture), 64).astype(int) - np.asarray(crop(resize(picture))))
        assert difference.max() <= 6
        assert difference.mean() < 0.25


@pytest.mark.filterwarnings("ignore")
def test_tokens_are_openai_clips(openai_clip: Any) -> None:
    texts = ["a photo of a dog.", "it's   two o'clock", "naïve 東京", "x" * 40, "<|endoftext|> is a word"]
    expected = openai_clip.tokenize(texts[:4]).numpy()
    np.testing.assert_array_equal(Tokenizer()(texts[:4]), expected)
    assert (Tokenizer()(texts[4:]) == 49407).sum() == 1


def test_a_long_text_is_cut_and_keeps_its_end() -> None:
    tokens = Tokenizer()(["word " * 200])
    assert tokens.shape == (1, 77)
    assert tokens[0, -1] == 49407


@pytest.mark.parametrize("size", [514, 2000, 6514])
def test_any_text_can_be_encoded_with_a_smaller_vocabulary(size: int) -> None:
    tokens = Tokenizer(size)(["a photo of an axolotl, 猫 🐶", "two"], 64)
    assert tokens.max() == size - 1
    assert (tokens.argmax(axis=1) > 0).all()


def test_a_smaller_vocabulary_keeps_the_ids_of_its_words() -> None:
    whole, pruned = Tokenizer()(["a photo of the cat"])[0], Tokenizer(6514)(["a photo of the cat"])[0]
    assert whole[1:6].tolist() == pruned[1:6].tolist()


@pytest.mark.parametrize("content", [b"not a checkpoint", b"", b"PK\x03\x04 half an archive"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(InputError, match="not a readable checkpoint"):
        read_checkpoint(tmp_path / "x.pt")


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="not a CLIP model"):
        read_checkpoint(tmp_path / "x.pt")


def test_an_unknown_model_suggests_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        encoders.find_weights("ViT-B32")
    assert caught.value.hint == "did you mean 'ViT-B/32'?"


def test_a_missing_checkpoint_is_named() -> None:
    with pytest.raises(InputError, match=r"no checkpoint nowhere\.pt"):
        encoders.find_weights("nowhere.pt")


def test_an_absent_device_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(InputError, match="no cuda device"):
        encoders.choose_device("cuda")


def test_without_openai_clip_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    clip_file.cache_clear()
    with pytest.raises(ComponentMissing) as caught:
        clip_file("model")
    assert caught.value.hint == "pip install openai-clip"
    clip_file.cache_clear()


def test_half_precision_stays_near_float32(checkpoint: Path) -> None:
    source = encoders.find_weights(str(checkpoint))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    exact = encoders.load(source, device="cpu", precision="float32").encode_images(pixels)
    model = build(read_checkpoint(checkpoint))
    half = encoders.openai.OpenAIClip(model, name="x", digest="", device="cpu", precision="bfloat16")
    assert (exact * half.encode_images(pixels)).sum(axis=1).min() > 0.999
