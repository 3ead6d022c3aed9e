"""Scenes that many tests share: pictures on disk, a small real CLIP, a planted workspace."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotate.kernels.vectors import unit
from annotate.records import IMPORTED, Embeddings, Model, Texts
from annotate.workspace import Workspace
from annotate.workspace.plan import Plan
from tests.postgres import server

__all__ = ["server"]  # a fixture of many

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (30, 60, 220)}


@pytest.fixture(autouse=True, scope="session")
def _interrupts_arrive() -> None:
    """Started in the background, a shell's children ignore Ctrl-C, and so would the commands that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts in an empty folder of its own, without anything from the user's environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANNOTATE_WORKSPACE", raising=False)
    monkeypatch.delenv("ANNOTATE_DATABASE", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """photos/: 12 noisy squares, four each of red, green and blue, in a folder per colour."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(4):
            noise = rng.integers(-25, 25, (40, 48, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised ViT of OpenAI's architecture, saved as a state dict: small, but the real code."""
    import torch

    path = tmp_path_factory.mktemp("weights") / "small.pt"
    torch.save(small_clip().state_dict(), path)
    return path


def small_clip(layers: int | tuple[int, int, int, int] = 2, seed: int = 0) -> "torch.nn.Module":  # type: ignore[name-defined]  # noqa: F821, UP037
    """CLIP at 32 pixels: a ViT with 8-pixel patches, or a ResNet where layers are four."""
    import torch

    from annotate.encoders.openai import clip_file

    torch.manual_seed(seed)
    return (
        clip_file("model")
        .CLIP(
            embed_dim=32,
            image_resolution=32,
            vision_layers=layers,
            vision_width=16 if isinstance(layers, tuple) else 64,
            vision_patch_size=8,
            context_length=77,
            vocab_size=49408,
            transformer_width=64,
            transformer_heads=1,
            transformer_layers=2,
        )
        .eval()
    )


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """An empty bucket on an S3 server of the tests' own, found by the environment as s3fs finds it."""
    import boto3
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as environment:
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "testing")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        client.close()
        yield "s3://bucket"
        server.stop()


@pytest.fixture
def plant(tmp_path: Path) -> Callable[..., Workspace]:
    """A workspace with embeddings and texts published as a stage would."""

    def planted(
        embeddings: np.ndarray, texts: np.ndarray, class_names: list[str] | None = None, logit_scale: float = 100.0
    ) -> Workspace:
        names = class_names or [f"class {k}" for k in range(len(texts))]
        n, d = embeddings.shape
        model: Model = {"name": IMPORTED, "path": None, "digest": "0" * 64, "dimensions": d, "logit_scale": logit_scale}
        paths = [str(tmp_path / "images" / f"{i:05}.png") for i in range(n)]
        workspace = Workspace(tmp_path / "artifacts")
        images = Embeddings(embeddings=unit(embeddings), model=model, image_paths=paths, images=[None] * n, skipped=[])
        workspace.publish(Plan("embed", 1, {"source": IMPORTED}), images, ran_on={})
        wording = Texts(unit(texts), {name: [] for name in names}, IMPORTED)
        workspace.publish(
            Plan("text", 1, {"source": IMPORTED}, workspace.digests("embed", "embeddings.npy")), wording, ran_on={}
        )
        return workspace

    return planted


@pytest.fixture
def blobs() -> Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Images around K random directions, texts near those: (N, D), (K, D), labels (N,)."""

    def made(n: int = 300, k: int = 5, d: int = 32, spread: float = 0.15, blur: float = 0.1, seed: int = 0):  # type: ignore[no-untyped-def]
        rng = np.random.default_rng(seed)
        centres = unit(rng.normal(size=(k, d)))
        labels = np.arange(n) % k
        images = unit(centres[labels] + spread * rng.normal(size=(n, d)))
        texts = unit(centres + blur * rng.normal(size=(k, d)))
        return images, texts, labels

    return made
