"""Embedding on a real cluster of three one-core nodes, with what goes wrong there, against one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import annotate
from annotate.embedding import ledger
from annotate.engines import fleet
from annotate.errors import InputError
from annotate.stages import embed as stage

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
)

FILES = ("embeddings.npy", "image_paths.txt", "images.json", "skipped.json")
SHARDS = 40


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty shards of four images, one of them broken."""
    monkeypatch.setattr(ledger, "SHARD", 4)
    (tmp_path / "pictures").mkdir()
    for i in range(4 * SHARDS - 1):
        Image.new("RGB", (20, 16), (i, 255 - i, 90)).save(tmp_path / "pictures" / f"{i:03}.png")
    (tmp_path / "pictures" / "broken.png").touch()
    return tmp_path / "pictures"


def files(workspace: str) -> dict[str, bytes]:
    return {name: (Path(workspace) / "embed" / name).read_bytes() for name in FILES}


def embed(pictures: Path, checkpoint: Path, cluster: Any, **settings: Any) -> None:
    annotate.embed(
        pictures,
        model=str(checkpoint),
        settings={"engine.name": "ray", "engine.address": cluster.address, **settings},
        workspace="there",
    )


def same_as_one_process(pictures: Path, checkpoint: Path) -> bool:
    annotate.embed(pictures, model=str(checkpoint), workspace="here")
    return files("there") == files("here")


def records(folder: Path) -> int:
    return len(list(folder.rglob("*.json")))


def when(condition: Callable[[], bool], act: Callable[[], None], seconds: float = 60) -> threading.Thread:
    """Do something as soon as something holds, beside the test."""

    def wait() -> None:
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.parametrize("decoders", [None, 1])
def test_a_cluster_makes_the_bytes_of_one_process(
    pictures: Path, checkpoint: Path, cluster: Any, decoders: int | None
) -> None:
    embed(pictures, checkpoint, cluster, **{"engine.decoders": decoders})
    assert same_as_one_process(pictures, checkpoint)


@pytest.mark.parametrize("decoders", [0, pytest.param(1, marks=pytest.mark.torture)])
def test_a_lost_node_costs_its_shards_in_flight_and_nothing_else(
    pictures: Path, checkpoint: Path, cluster: Any, decoders: int
) -> None:
    lost = cluster.add_node(num_cpus=1)
    done: list[int] = []

    def remove() -> None:
        done.append(records(Path("there")))
        cluster.remove_node(lost, allow_graceful=False)

    removing = when(lambda: records(Path("there")) >= 3, remove)
    embed(pictures, checkpoint, cluster, **{"engine.decoders": decoders})
    removing.join()
    assert 3 <= done[0] < SHARDS
    assert same_as_one_process(pictures, checkpoint)


@pytest.mark.torture
def test_a_killed_driver_costs_nothing_that_is_done(pictures: Path, checkpoint: Path, cluster: Any) -> None:
    code = (
        "import sys, annotate; from annotate.embedding import ledger; ledger.SHARD = 4\n"
        "annotate.embed(sys.argv[1], model=sys.argv[2], workspace='there', "
        "settings={'engine.name': 'ray', 'engine.address': sys.argv[3]})"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(pictures), str(checkpoint), cluster.address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    when(
        lambda: records(Path("there")) >= 3 or driver.poll() is not None, lambda: driver.send_signal(signal.SIGKILL)
    ).join()
    assert driver.wait() == -signal.SIGKILL
    time.sleep(1)  # until its workers are gone, too
    done = {path: path.stat().st_mtime_ns for path in Path("there").rglob("*.json")}
    assert 3 <= len(done) < SHARDS
    kept: dict[Path, int] = {}
    forget = stage.forget

    def look_first(work: stage.Work) -> None:
        kept.update({path: path.stat().st_mtime_ns for path in done})
        forget(work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "forget", look_first)
        embed(pictures, checkpoint, cluster)
    assert kept == done
    assert same_as_one_process(pictures, checkpoint)


@pytest.mark.torture
def test_a_straggler_is_overtaken(
    pictures: Path, checkpoint: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "AT_LEAST", 1.0)
    stopped: list[int] = []
    done: list[int] = []

    def stop_one() -> None:
        """Stop the process of one worker: it neither ends nor goes on."""
        done.append(records(Path("there")))
        for process in Path("/proc").glob("[0-9]*"):
            try:
                title = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::Encoder") and not stopped:
                stopped.append(int(process.name))
                os.kill(stopped[0], signal.SIGSTOP)

    stopping = when(lambda: records(Path("there")) >= 3, stop_one)
    try:
        embed(pictures, checkpoint, cluster)
    finally:
        stopping.join()
        for process in stopped:
            os.kill(process, signal.SIGKILL)
    assert stopped
    assert done[0] < SHARDS
    assert same_as_one_process(pictures, checkpoint)


@pytest.mark.torture
def test_a_shard_computed_twice_at_once_does_no_harm(pictures: Path, checkpoint: Path, cluster: Any) -> None:
    beside = threading.Thread(
        target=lambda: annotate.embed_slice(pictures, 1, 1, model=str(checkpoint), workspace="there")
    )
    beside.start()
    embed(pictures, checkpoint, cluster)
    beside.join()
    assert same_as_one_process(pictures, checkpoint)


def test_what_a_worker_cannot_do_is_said_as_here(pictures: Path, checkpoint: Path, cluster: Any) -> None:
    with pytest.raises(InputError, match="no cuda device"):
        embed(pictures, checkpoint, cluster, **{"embed.device": "cuda"})
