"""A real cluster of three one-core nodes on this machine, against one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import annotate
from annotate.engines import ray as engine
from annotate.errors import ConfigError, InputError
from annotate.kernels import blocks
from annotate.workspace import Workspace

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
)

Plant = Callable[..., Workspace]
Blobs = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


def artifacts() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path("artifacts/refine").glob("*.np[yz]"))} | {
        "history": Path("artifacts/refine/history.json").read_bytes()
    }


def test_three_nodes_give_the_bytes_of_one_process(
    plant: Plant, blobs: Blobs, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, t, _ = blobs(n=5 * blocks.BLOCK // 2, k=12, spread=0.3, blur=0.3)
    plant(x, t)
    for method in ("direct", "dynamic"):
        annotate.refine(method=method, force=True)
        here = artifacts()
        annotate.refine(method=method, force=True, settings={"engine.name": "ray", "engine.address": address})
        there = artifacts()
        assert here.keys() == there.keys()
        assert [name for name in here if here[name] != there[name]] == []
    annotate.refine(method="dynamic")
    assert not annotate.status()["refine"].why


def test_shards_lie_on_all_workers(tmp_path: Path, address: str) -> None:
    rows = np.eye(8, dtype=np.float32)[np.arange(3 * blocks.BLOCK) % 8]
    np.save(tmp_path / "rows.npy", rows)
    with engine.open_cluster(tmp_path / "rows.npy", len(rows), address) as workers:
        assert len(workers.actors) == workers.parts == 3
        counts = [counts.sum() for counts, _ in workers.ask("place", np.eye(8, dtype=np.float32))]
    assert counts == [blocks.BLOCK] * 3


def test_no_cluster_at_an_address_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Ray cluster"), engine.open_cluster(tmp_path, 1, "127.0.0.1:1"):
        pass


def test_transduction_stays_in_one_process(plant: Plant, blobs: Blobs) -> None:
    plant(*blobs()[:2])
    with pytest.raises(ConfigError, match="runs in one process"):
        annotate.refine(settings={"engine.name": "ray"})
