"""OpenAI's CLIP: the nine published models, and any checkpoint of their format.

openai-clip's `clip.model` and `clip.simple_tokenizer` are loaded as single files: importing the package
itself needs torchvision and pkg_resources, which it does not declare and we do not use.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from annotate.encoders import checkpoints, pickles
from annotate.errors import ComponentMissing, Hint, InputError, printable

if TYPE_CHECKING:
    import torch

# Radford et al. 2021: channel statistics of CLIP's training images.
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)

BYTE_TOKENS = 512  # 256 bytes, each inside a word and at its end
SPECIAL_TOKENS = 2  # start and end of text, the two highest ids
VOCABULARY = 49408  # tokens of CLIP; a pruned model has fewer
LONGEST_TEXT = 1024  # tokens; CLIP's own models read 77
LARGEST_SIDE = 4096  # pixels; CLIP's own models see 448 at most


class OpenAIClip:
    """A CLIP model that turns preprocessed images and prompts into embeddings.

    dimensions   D
    resolution   R, side of the square crop in pixels
    logit_scale  s; softmax(s * similarities) are the model's probabilities
    """

    def __init__(self, model: torch.nn.Module, *, name: str, digest: str, device: str, precision: str) -> None:
        import torch

        self.name, self.digest = name, digest
        self.device, self.precision = device, precision
        self.model: Any = fold_batch_norms(model.float().eval()).to(device)
        self.dimensions = int(self.model.text_projection.shape[1])
        self.resolution = int(self.model.visual.input_resolution)
        self.logit_scale = float(self.model.logit_scale.detach().exp())
        if not 0 < self.logit_scale < float("inf"):
            raise not_finite()
        self.tokenizer = Tokenizer(int(self.model.vocab_size))
        self._half = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(precision)
        self.model.visual.to(memory_format=torch.channels_last)

    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(B, R, R, 3) uint8 crops to (B, D) float32 unit rows."""
        import torch

        mean, std = torch.from_numpy(MEAN).to(self.device), torch.from_numpy(STD).to(self.device)
        crops = torch.from_numpy(pixels)
        if mean.is_cuda:  # copied without waiting, while the last batch is still at work
            crops = crops.pin_memory()
        channels_last = crops.to(self.device, non_blocking=True).float().div_(255).sub_(mean).div_(std)
        batch = channels_last.permute(0, 3, 1, 2)  # (B, 3, R, R)
        with (
            torch.inference_mode(),
            torch.autocast(torch.device(self.device).type, dtype=self._half, enabled=self._half is not None),
        ):
            embeddings = self.model.encode_image(batch)
        return unit_rows(embeddings)

    def encode_text(self, prompts: Sequence[str]) -> npt.NDArray[np.float32]:
        """P prompts to (P, D) float32 unit rows. Always float32: texts are few and their errors are everyone's."""
        import torch

        tokens = torch.from_numpy(self.tokenizer(prompts, int(self.model.context_length))).to(self.device)
        with torch.inference_mode():
            return unit_rows(self.model.encode_text(tokens))

    def cut(self, prompts: Sequence[str]) -> dict[str, str]:
        """Those prompts that are too long for the model, each with the part that it reads."""
        read = {prompt: self.tokenizer.readable_part(prompt, int(self.model.context_length)) for prompt in prompts}
        return {prompt: part for prompt, part in read.items() if part is not None}


def fold_batch_norms(model: Any) -> Any:
    """Multiply every batch norm into the convolution before it, which saves a step each; the model is in eval mode."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in model.modules():
        for name, norm in list(module.named_children()):
            if isinstance(norm, torch.nn.BatchNorm2d):
                # clip.model names them in pairs: conv1 and bn1; in a Sequential "0" and "1".
                before = name.replace("bn", "conv") if name.startswith("bn") else str(int(name) - 1)
                setattr(module, before, fuse_conv_bn_eval(getattr(module, before), norm))
                setattr(module, name, torch.nn.Identity())
    return model


def unit_rows(embeddings: torch.Tensor) -> npt.NDArray[np.float32]:
    rows: npt.NDArray[np.float32] = embeddings.float().cpu().numpy().astype(np.float32)
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise not_finite()
    rows /= lengths
    return rows


def not_finite() -> InputError:
    return InputError(
        "the model's embeddings are not finite: its weights are broken, or its numbers overflow in half precision",
        hint=Hint("use the precision float32, or another checkpoint", "use --precision float32, or another checkpoint"),
    )


class Tokenizer:
    """CLIP's byte-pair encoding with the first `vocabulary_size - 514` merges.

    49,408 is CLIP's own vocabulary. A smaller one keeps the ids of its first merges and spells out
    the words it has lost, so that every text can be encoded by any model.
    """

    def __init__(self, vocabulary_size: int = VOCABULARY) -> None:
        bpe = clip_file("simple_tokenizer").SimpleTokenizer()
        merges = vocabulary_size - BYTE_TOKENS - SPECIAL_TOKENS
        bpe.bpe_ranks = {pair: rank for pair, rank in bpe.bpe_ranks.items() if rank < merges}
        self._bpe: Any = bpe
        self.start, self.end = vocabulary_size - 2, vocabulary_size - 1

    def __call__(self, texts: Sequence[str], context_length: int = 77) -> npt.NDArray[np.int64]:
        """(B, context_length) token ids; longer texts are cut and keep their end token."""
        tokens = np.zeros((len(texts), context_length), np.int64)
        for row, text in zip(tokens, texts, strict=True):
            ids = [self.start, *self.words(text)[: context_length - SPECIAL_TOKENS], self.end]
            row[: len(ids)] = ids
        return tokens

    def words(self, text: str) -> list[int]:
        """The ids of a whole text, without start and end."""
        # The two special tokens are CLIP's own marks; as words of a user's text they carry no meaning.
        ids: list[int] = self._bpe.encode(text.replace("<|startoftext|>", " ").replace("<|endoftext|>", " "))
        return ids

    def readable_part(self, text: str, context_length: int) -> str | None:
        """The beginning of a text that is too long, as far as a model reads it; None where it reads all."""
        ids, room = self.words(text), context_length - SPECIAL_TOKENS
        return str(self._bpe.decode(ids[:room])).strip() if len(ids) > room else None


@lru_cache
def clip_file(name: str) -> ModuleType:
    """One file of the installed openai-clip, without running its `__init__`."""
    package = importlib.util.find_spec("clip")
    folders = list(package.submodule_search_locations or []) if package else []
    path = next((Path(folder) / f"{name}.py" for folder in folders if (Path(folder) / f"{name}.py").is_file()), None)
    spec = importlib.util.spec_from_file_location(f"annotate_clip_{name}", path) if path else None
    if spec is None or spec.loader is None:
        raise ComponentMissing("openai-clip is not installed", hint="pip install openai-clip")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a checkpoint: OpenAI's TorchScript archive, a saved state dict, or safetensors.

    raises  InputError where the file is none of these, or not a CLIP model
    """
    return as_clip(checkpoints.read_tensors(path), shown=printable(path))


def as_clip(tensors: Mapping[str, torch.Tensor], *, shown: str) -> dict[str, torch.Tensor]:
    """The state dict of a CLIP model, from the tensors of a checkpoint.

    shown   what the checkpoint is called in messages
    raises  InputError where they are not a CLIP model
    """
    state = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    if "text_projection" not in state or "visual.conv1.weight" not in state:
        raise InputError(f"{shown}: not a CLIP model of OpenAI's architecture", hint=pickles.HINT)
    return dequantised(state, shown=shown)


def dequantised(state: dict[str, torch.Tensor], *, shown: str) -> dict[str, torch.Tensor]:
    """Weights stored as int8 `NAME` with one `NAME.scale` per row become float32; others stay as they are."""
    import torch

    for name in [name for name, weight in state.items() if weight.dtype == torch.int8]:
        weight, scale = state[name].float(), state.pop(f"{name}.scale", torch.empty(0)).float()
        if weight.ndim == 0 or scale.shape != weight.shape[:1]:
            raise InputError(
                f"{shown}: not a readable checkpoint: {printable(name)} has no scale for each row",
                hint=pickles.HINT,
            )
        state[name] = weight * scale.view(-1, *[1] * (weight.ndim - 1))
    return state


def build(state: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """openai-clip's own model, its sizes read from the shapes of the weights.

    raises  InputError where weights are missing, their shapes disagree, or no text or image could be encoded
    """
    import torch

    build_model = clip_file("model").build_model
    try:
        # First without memory: shapes that do not fit together could make a model of any size.
        with torch.device("meta"):
            model: torch.nn.Module = build_model({name: weight.to("meta") for name, weight in state.items()})
        check_sizes(model)
        model = build_model(dict(state))
    except (LookupError, RuntimeError, AssertionError, ArithmeticError, ValueError, TypeError, AttributeError) as error:
        said = printable((str(error) or repr(error)).splitlines()[0])
        raise InputError(
            f"a checkpoint whose weights do not fit together: {said[:300]}",
            hint="give a CLIP checkpoint as OpenAI publishes them",
        ) from error
    return model


def check_sizes(model: Any) -> None:
    """Refuse sizes that make a model, but not one that can be used with CLIP's tokens, or with images in memory.

    raises  ValueError
    """
    for what, size, low, high in (
        ("texts of {} tokens", model.context_length, SPECIAL_TOKENS + 1, LONGEST_TEXT),
        ("a vocabulary of {} tokens", model.vocab_size, BYTE_TOKENS + SPECIAL_TOKENS, VOCABULARY),
        ("images of {} pixels a side", model.visual.input_resolution, 1, LARGEST_SIDE),
        ("embeddings of {} dimensions", model.text_projection.shape[1], 1, model.text_projection.numel()),
    ):
        if not low <= size <= high:
            raise ValueError(f"{what.format(f'{size:,}')}, expected {low:,} to {high:,}")
