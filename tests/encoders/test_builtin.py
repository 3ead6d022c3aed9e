"""The built-in encoder's parts against independent oracles, with small random weights; and the shipped file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from annotate import encoders
from annotate.encoders.bag import Bag, joined
from annotate.encoders.builtin import Builtin
from annotate.encoders.lite import Convolution, Lite, normalised
from annotate.errors import InputError

SIDE, DIMENSIONS, PIECES = 32, 6, 520
State = dict[str, torch.Tensor]


def small_state(seed: int = 0) -> State:
    """An encoder of three blocks, the second with a shortcut, the third at half the side."""
    rng = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng) * 0.5

    state: State = {"image.strides": torch.tensor([1, 1, 2], dtype=torch.uint8), "image.tap": torch.tensor(2)}
    shapes = {
        "stem": (8, 3, 3, 3),
        "blocks.0.depthwise": (8, 1, 3, 3),
        "blocks.0.project": (4, 8, 1, 1),
        "blocks.1.expand": (12, 4, 1, 1),
        "blocks.1.depthwise": (12, 1, 5, 5),
        "blocks.1.project": (4, 12, 1, 1),
        "blocks.2.expand": (12, 4, 1, 1),
        "blocks.2.depthwise": (12, 1, 5, 5),
        "blocks.2.project": (5, 12, 1, 1),
        "head": (10, 5, 1, 1),
    }
    for name, shape in shapes.items():
        state[f"image.{name}.weight"], state[f"image.{name}.bias"] = drawn(*shape), drawn(shape[0])
    state |= {"head.what": drawn(DIMENSIONS, 10), "head.what.bias": drawn(DIMENSIONS)}
    state |= {"head.strokes": drawn(2, 4, 1, 1), "head.strokes.bias": drawn(2)}
    state |= {"head.where": drawn(7, 2 * 16 * 16), "head.where.bias": drawn(7), "head.adds": drawn(DIMENSIONS, 7)}
    state |= {"text.pieces": drawn(PIECES, 9), "text.wide.weight": drawn(11, 9), "text.wide.bias": drawn(11)}
    state |= {"text.narrow.weight": drawn(DIMENSIONS, 11), "text.narrow.bias": drawn(DIMENSIONS)}
    state |= {"text.straight.weight": drawn(DIMENSIONS, 9)}
    return state | {"logit_scale": torch.tensor(12.0), "resolution": torch.tensor(SIDE)}


def small(state: State | None = None, precision: str = "float32") -> Builtin:
    return Builtin(state or small_state(), name="small", digest="0" * 64, device="cpu", precision=precision)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


@pytest.mark.parametrize(
    ("side", "kernel", "stride"), [(8, 3, 1), (8, 3, 2), (8, 5, 2), (9, 5, 2), (9, 3, 2), (7, 5, 1)]
)
def test_a_convolution_pads_as_tensorflow_does(side: int, kernel: int, stride: int) -> None:
    rng = torch.Generator().manual_seed(1)
    x, weight = torch.randn(1, 2, side, side, generator=rng), torch.randn(3, 2, kernel, kernel, generator=rng)
    made = Convolution(weight, torch.zeros(3), stride=stride, bounded=False)(x)
    out = -(-side // stride)
    assert made.shape == (1, 3, out, out)
    # By hand: the window of output i begins at i * stride - before; before is half of what is missing, rounded down.
    before = max((out - 1) * stride + kernel - side, 0) // 2
    for i in range(out):
        for j in range(out):
            total = torch.zeros(3)
            for a in range(kernel):
                for b in range(kernel):
                    y, z = i * stride - before + a, j * stride - before + b
                    if 0 <= y < side and 0 <= z < side:
                        total += weight[:, :, a, b] @ x[0, :, y, z]
            torch.testing.assert_close(made[0, :, i, j], total, rtol=1e-4, atol=1e-4)


def test_a_shortcut_adds_what_came_in() -> None:
    state = {name.removeprefix("image."): weight for name, weight in small_state().items() if name.startswith("image.")}
    state["blocks.1.project.weight"] = torch.zeros_like(state["blocks.1.project.weight"])
    state["blocks.1.project.bias"] = torch.zeros_like(state["blocks.1.project.bias"])
    network = Lite(state)
    assert [block.shortcut for block in network.blocks] == [False, True, False]
    x = normalised(torch.from_numpy(pictures(2)))
    with torch.no_grad():
        first = network.blocks[0](network.stem(x))
        torch.testing.assert_close(network.early(x), first)


def test_the_bag_is_the_same_in_any_order_and_beside_other_texts() -> None:
    encoder = small()
    alone = encoder.encode_text(["red bird"])
    np.testing.assert_allclose(encoder.encode_text(["bird red"]), alone, atol=1e-6)
    np.testing.assert_allclose(
        encoder.encode_text(["a", "red bird", "a long text of many words " * 40])[1:2], alone, atol=1e-6
    )
    assert float((encoder.encode_text(["red birds"]) @ alone.T).item()) < 0.9999


def test_the_bag_is_two_layers_over_a_sum() -> None:
    state = {name.removeprefix("text."): weight for name, weight in small_state().items() if name.startswith("text.")}
    total = state["pieces"][3] + 2 * state["pieces"][7]
    x = total / total.norm() * 3  # the root of nine numbers
    wide = functional.gelu(state["wide.weight"] @ x + state["wide.bias"])
    expected = state["narrow.weight"] @ wide + state["narrow.bias"] + state["straight.weight"] @ x
    made = Bag(state)(*joined([[7, 3, 7]]))
    torch.testing.assert_close(made[0], expected)


@pytest.mark.parametrize("text", ["", " ", "🐶", "Ünïcödé", "<|endoftext|>", "x" * 5000])
def test_any_text_has_a_place(text: str) -> None:
    row = small().encode_text([text])
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)
    assert small().cut([text]) == {}


def test_images_are_encoded_each_for_itself() -> None:
    encoder = small()
    pixels = pictures(5)
    together = encoder.encode_images(pixels)
    assert together.shape == (5, DIMENSIONS)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together[3:4], encoder.encode_images(pixels[3:4]), atol=1e-5)


def test_bfloat16_comes_near() -> None:
    pixels = pictures(8)
    exact, fast = small().encode_images(pixels), small(precision="bfloat16").encode_images(pixels)
    assert float((exact * fast).sum(axis=1).min()) > 0.99


def broken(change: Callable[[State], object]) -> State:
    state = small_state()
    change(state)
    return state


@pytest.mark.parametrize(
    "state",
    [
        broken(lambda s: s.pop("head.what")),
        broken(lambda s: s.pop("image.blocks.1.depthwise.weight")),
        broken(lambda s: s.update({"head.what": torch.zeros(DIMENSIONS, 3)})),
        broken(lambda s: s.update({"text.straight.weight": torch.zeros(DIMENSIONS + 1, 9)})),
        broken(lambda s: s.update({"text.pieces": torch.zeros(100, 9)})),
        broken(lambda s: s.update({"resolution": torch.tensor(100_000)})),
        broken(lambda s: s.update({"logit_scale": torch.tensor(float("nan"))})),
    ],
)
def test_weights_that_do_not_fit_together_are_refused(tmp_path: Path, state: State) -> None:
    save_file(state, tmp_path / "broken.safetensors")
    with pytest.raises(InputError):
        encoders.load(encoders.find_weights(str(tmp_path / "broken.safetensors")), device="cpu", precision="float32")


def test_a_checkpoint_of_its_architecture_is_a_model_like_any_other(tmp_path: Path) -> None:
    save_file(small_state(), tmp_path / "own.safetensors")
    encoder = encoders.load(encoders.find_weights(str(tmp_path / "own.safetensors")), device="cpu", precision="float32")
    np.testing.assert_array_equal(encoder.encode_images(pictures(2)), small().encode_images(pictures(2)))


def test_the_shipped_model_places_pictures_and_words() -> None:
    encoder = encoders.load(encoders.find_weights("tiny"), device="cpu", precision="float32")
    assert (encoder.dimensions, encoder.resolution) == (384, 160)
    words = encoder.encode_text(["a photo of a dog", "a photo of a puppy", "a photo of a truck", "a photo of a lorry"])
    alike = words @ words.T
    assert alike[0, 1] > alike[0, 2]
    assert alike[2, 3] > alike[2, 1]
    red = np.zeros((1, 160, 160, 3), np.uint8)
    red[..., 0] = 220
    colours = encoder.encode_text(["red", "green", "blue"])
    assert int((encoder.encode_images(red) @ colours.T).argmax()) == 0
