"""Encoders: the models that turn images and texts into embeddings, chosen by name.

ViT-B/32 and OpenAI's other eight   weights fetched once into openai-clip's own cache
tiny                                shipped in the wheel, works offline
FILE.pt, FILE.safetensors           a local checkpoint of OpenAI's architecture
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict

import numpy as np
import numpy.typing as npt

from annotate.encoders.precision import choose_precision as choose_precision
from annotate.encoders.weights import OPENAI_WEIGHTS, ByteProgress, WeightStore
from annotate.errors import ComponentMissing, Hint, InputError, printable
from annotate.workspace.digests import file_digest

TINY_WEIGHTS = Path(__file__).parent / "tiny" / "weights.safetensors"
PUBLISHED = ("tiny", *OPENAI_WEIGHTS)  # models known by name
CHECKPOINT_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")


class Encoder(Protocol):
    """Anything that turns images and prompts into unit vectors of one space.

    name, digest  which weights; the digest is the sha256 of the file
    dimensions    D
    resolution    R, side of the square crop in pixels
    logit_scale   softmax(logit_scale * similarities) are the model's own probabilities
    device        where it runs: cuda, mps or cpu
    precision     of the image side: float32, float16 or bfloat16
    """

    name: str
    digest: str
    dimensions: int
    resolution: int
    logit_scale: float
    device: str
    precision: str

    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(B, R, R, 3) uint8 crops to (B, D) float32 unit rows."""
        ...

    def encode_text(self, prompts: Sequence[str]) -> npt.NDArray[np.float32]:
        """P prompts to (P, D) float32 unit rows."""
        ...

    def cut(self, prompts: Sequence[str]) -> dict[str, str]:
        """Those prompts that are too long for the model, each with the part that it reads."""
        ...


class Named(TypedDict):
    """What an encoder is told of itself."""

    name: str
    digest: str
    device: str
    precision: str


@dataclass(frozen=True)
class Source:
    """An encoder's weights before they are loaded: enough to tell whether embeddings are fresh."""

    name: str
    digest: str
    path: Path | None  # None: to be fetched
    local: bool = False  # a checkpoint of the user's


def find_weights(model: str) -> Source:
    """Find the weights of a model by its name, without loading torch and without the network.

    raises  InputError where there is no such model, ComponentMissing where tiny's weights are not shipped
    """
    if model in OPENAI_WEIGHTS:
        return Source(model, OPENAI_WEIGHTS[model].digest, None)
    if model == "tiny":
        if not TINY_WEIGHTS.is_file():
            raise ComponentMissing("the weights of `tiny` are not installed", hint="reinstall annotate-images")
        return Source(model, file_digest(TINY_WEIGHTS), TINY_WEIGHTS)
    path = Path(os.path.abspath(os.path.expanduser(model)))
    if path.suffix.lower() in CHECKPOINT_SUFFIXES or path.is_file():
        if not path.is_file():
            raise InputError(
                f"no checkpoint {printable(model)}",
                hint=Hint("check the path, or use the model tiny", "check the path, or use --model tiny"),
            )
        return Source(path.name, file_digest(path), path, local=True)
    nearest = difflib.get_close_matches(model, PUBLISHED, n=1, cutoff=0.5)
    others = f"use auto, one of {', '.join(PUBLISHED)}, or the path of a checkpoint"
    hint = f"did you mean '{nearest[0]}'?" if nearest else others
    raise InputError(f"no model '{printable(model)}'", hint=hint)


def load(
    source: Source, *, device: str = "auto", precision: str = "auto", progress: ByteProgress | None = None
) -> Encoder:
    """Load an encoder, fetching its weights where they are not here yet.

    device     auto takes CUDA, then MPS, then CPU
    precision  auto is half precision on GPUs, and bfloat16 on CPUs where it was found to be faster
    raises     ComponentMissing where weights cannot be had, InputError for a broken checkpoint or absent device
    """
    # OpenMP's threads wait for each other by spinning: beside another busy program that is 20 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with outside_a_deleted_folder():
        import torch  # noqa: F401

        from annotate.encoders import builtin, checkpoints, openai

    shipped = TINY_WEIGHTS if source.name == "tiny" and not source.local else None  # where it lies on this very machine
    path = shipped or source.path or WeightStore().fetch(source.name, progress)
    where = choose_device(device)
    named: Named = {
        "name": source.name,
        "digest": source.digest,
        "device": where,
        "precision": choose_precision(precision, where),
    }
    tensors = checkpoints.read_tensors(path)
    if builtin.is_builtin(tensors):
        return builtin.build(tensors, shown=printable(path), **named)
    return openai.OpenAIClip(openai.build(openai.as_clip(tensors, shown=printable(path))), **named)


@contextmanager
def outside_a_deleted_folder() -> Iterator[None]:
    """Where the working folder was deleted, work in another one meanwhile.

    Intel's MKL looks for its own files from the working folder, and ends the program where that fails.
    """
    try:
        os.getcwd()
        yield
        return
    except FileNotFoundError:
        here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(os.path.abspath(os.sep))
        yield
    finally:
        os.fchdir(here)
        os.close(here)


def load_sessions(
    source: Source,
    *,
    device: str = "auto",
    precision: str = "auto",
    count: int | None = None,
    progress: ByteProgress | None = None,
) -> list[Encoder]:
    """Encoders to be used at once, a thread each: one model that a CPU's cores share, or a model on each GPU.

    count  of sessions on a CPU; one per core unless given
    """
    first = load(source, device=device, precision=precision, progress=progress)
    if first.device == "cpu":
        return [first] * (count or cores())
    if first.device == "cuda":
        import torch

        others = range(1, torch.cuda.device_count())
        return [first, *(load(source, device=f"cuda:{i}", precision=precision) for i in others)]
    return [first]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_thread() -> None:
    """Let PyTorch's work for the calling thread run on that thread alone."""
    import torch

    torch.set_num_threads(1)


@contextmanager
def threads_kept() -> Iterator[None]:
    """Give PyTorch back as many threads as it had before, whatever `one_thread` set in between."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def out_of_memory(error: Exception) -> bool:
    """Whether a device or this machine had too little memory for a batch."""
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def choose_device(wanted: str) -> str:
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(device for device, there in available.items() if there)
    if not available[wanted.partition(":")[0]]:
        raise InputError(
            f"no {wanted} device on this machine", hint=Hint("choose the device auto", "use --device auto")
        )
    return wanted
