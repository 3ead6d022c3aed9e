"""`tiny`, the model that comes with annotate: an EfficientNet-Lite for images, a bag of word pieces for texts.

Its weights are one safetensors file: `image.NAME` of lite.py, `head.NAME` of head.py, `text.NAME` of bag.py,
`logit_scale` and `resolution`. Matrices are int8 `NAME` with a `NAME.scale` for each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from annotate.encoders import openai, pickles
from annotate.encoders.openai import BYTE_TOKENS, LARGEST_SIDE, SPECIAL_TOKENS, VOCABULARY, Tokenizer, unit_rows
from annotate.errors import InputError, printable

if TYPE_CHECKING:
    import torch


class Builtin:
    """The protocol of `annotate.encoders.Encoder`, for weights of `tiny`'s architecture."""

    def __init__(
        self, state: Mapping[str, torch.Tensor], *, name: str, digest: str, device: str, precision: str
    ) -> None:
        import torch

        from annotate.encoders.bag import Bag
        from annotate.encoders.head import Head
        from annotate.encoders.lite import Lite

        self.name, self.digest = name, digest
        self.device, self.precision = device, precision
        half = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(precision, torch.float32)
        image = Lite(part(state, "image")).to(device, half)
        self.image = image.eval().to(memory_format=torch.channels_last)
        self.text = Bag(part(state, "text")).to(device).eval()
        self.head = Head(part(state, "head")).to(device).eval()
        self.dimensions = len(self.head.what)
        self.resolution = int(state["resolution"])
        self.logit_scale = float(state["logit_scale"])
        self.tokenizer = Tokenizer(len(state["text.pieces"]))
        self._half = half
        self._check()

    def _check(self) -> None:
        """Refuse sizes that do not fit together: an image and a text are encoded.

        raises  ValueError, RuntimeError
        """
        pieces = len(self.text.pieces)
        if not 1 <= self.resolution <= LARGEST_SIDE or not BYTE_TOKENS + SPECIAL_TOKENS <= pieces <= VOCABULARY:
            raise ValueError(f"images of {self.resolution:,} pixels a side, {pieces:,} word pieces")
        if not 0 < self.logit_scale < float("inf"):
            raise openai.not_finite()
        image = self.encode_images(np.full((1, self.resolution, self.resolution, 3), 99, np.uint8))
        if image.shape != self.encode_text(["a photo"]).shape:
            raise ValueError("images and texts have embeddings of different lengths")

    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(B, R, R, 3) uint8 crops to (B, D) float32 unit rows."""
        import torch

        from annotate.encoders.lite import normalised

        crops = torch.from_numpy(pixels)
        if self.device.startswith("cuda"):  # copied without waiting, while the last batch is still at work
            crops = crops.pin_memory()
        with torch.inference_mode():
            batch = normalised(crops.to(self.device, non_blocking=True)).to(self._half)
            return unit_rows(self.head(*self.image(batch)))

    def encode_text(self, prompts: Sequence[str]) -> npt.NDArray[np.float32]:
        """P prompts to (P, D) float32 unit rows. Always float32: texts are few and their errors are everyone's."""
        import torch

        from annotate.encoders.bag import joined

        ids, starts = joined([self.tokenizer.words(prompt) for prompt in prompts])
        with torch.inference_mode():
            return unit_rows(self.text(ids.to(self.device), starts.to(self.device)))

    def cut(self, prompts: Sequence[str]) -> dict[str, str]:
        """Nothing: a text of any length is read whole."""
        return {}


def part(state: Mapping[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """The weights of one part, without its name in front."""
    return {key.removeprefix(f"{name}."): weight for key, weight in state.items() if key.startswith(f"{name}.")}


def is_builtin(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether these are weights of `tiny`'s architecture."""
    return "image.strides" in state and "text.pieces" in state


def build(
    state: dict[str, torch.Tensor], *, name: str, digest: str, device: str, precision: str, shown: str
) -> Builtin:
    """The encoder of a file's tensors.

    shown   what the file is called in messages
    raises  InputError where weights are missing or do not fit together
    """
    state = openai.dequantised(state, shown=shown)
    try:
        whole = {key: weight if key == "image.strides" else weight.float() for key, weight in state.items()}
        return Builtin(whole, name=name, digest=digest, device=device, precision=precision)
    except (LookupError, RuntimeError, AssertionError, ArithmeticError, ValueError, TypeError, AttributeError) as error:
        said = printable((str(error) or repr(error)).splitlines()[0])
        raise InputError(f"{shown}: weights that do not fit together: {said[:300]}", hint=pickles.HINT) from error
