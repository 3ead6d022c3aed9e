"""Peak memory of `annotate embed` at few and at many images, and of planning as many as there can be.

Embedding runs the command with `tiny` on small PNG files of few contents (each is encoded all the same: only earlier
runs are looked up). Planning a list reads a million lines that name no files, looks for what is known of them, cuts
shards and names each. Planning 10^8 cuts and names shards of paths that are made when they are asked for: what the plan
itself takes, without the paths. Own memory is RssAnon at its highest, looked at 20 times a second; with files adds the
pages of those that are mapped, which the system takes back when it needs them.

    python -m benchmarks.flat [--sizes 10000,200000] [--listed 1000000] [--paths 100000000]

Exits with 1 where the sizes differ by more than 100 MB of own memory, or the listed take more than 1 GB.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image

from benchmarks.machine import described

MOST_APART, MOST_LISTED = 100, 1000  # MB
CONTENTS = 100  # different pictures
IN_A_FOLDER = 1000
TWENTIETH = 0.05  # seconds between two looks

LISTED = """
import sys
from pathlib import Path
from annotate.embedding.known import Known
from annotate.embedding.ledger import Shards
from annotate.embedding.survey import survey
from annotate.sources import listing

found = listing(sys.argv[1])
seen = survey(found, Known())
shards = Shards(seen.todo(found.locations))
print(len({shard.name for shard in shards}))
"""

LAZY = """
import sys
from annotate.embedding.ledger import Shards
from benchmarks.flat import Paths

count = 0
for shard in Shards(Paths(int(sys.argv[1]))):
    count += bool(shard.name)
print(count)
"""


@dataclass(frozen=True)
class Cost:
    """Of a command: seconds, and the most MB of its own and with mapped files."""

    seconds: float
    own: int
    resident: int

    def row(self, what: str, images: int) -> str:
        return f"{what:24} {images:>13,} {self.seconds:9.1f} {self.own:8,} {self.resident:10,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,200000", help="images to embed")
    parser.add_argument("--listed", type=int, default=1_000_000, help="images of a list to plan")
    parser.add_argument("--paths", type=int, default=100_000_000, help="paths to cut into shards")
    options = parser.parse_args()
    print(described())
    print(f"{'':24} {'images':>13} {'seconds':>9} {'own, MB':>8} {'with files':>10}")
    sizes = [int(size) for size in options.sizes.split(",")]
    embedded = [show("embed, tiny", size, embed(size)) for size in sizes]
    listed = show("plan a list", options.listed, plan(options.listed))
    command = [sys.executable, "-c", LAZY, str(options.paths)]
    show("cut and name shards", options.paths, cost(command))
    apart = max(run.own for run in embedded) - min(run.own for run in embedded)
    print(f"embed, most and least apart: {apart} MB of own memory; bar {MOST_APART}: {verdict(apart, MOST_APART)}")
    print(f"plan a list: bar {MOST_LISTED} MB: {verdict(listed.resident, MOST_LISTED)}")
    sys.exit(apart > MOST_APART or listed.resident > MOST_LISTED)


def show(what: str, images: int, taken: Cost) -> Cost:
    print(taken.row(what, images), flush=True)
    return taken


def verdict(megabytes: int, most: int) -> str:
    return "met" if megabytes <= most else "MISSED"


def embed(count: int) -> Cost:
    with tempfile.TemporaryDirectory() as name:
        photos = Path(name) / "photos"
        write_small(photos, count)
        command = [sys.executable, "-m", "annotate", "embed", str(photos), "--model", "tiny"]
        return cost([*command, "--workspace", str(Path(name) / "artifacts")])


def plan(count: int) -> Cost:
    with tempfile.TemporaryDirectory() as name:
        listed = Path(name) / "images.txt"
        with open(listed, "w") as file:
            file.writelines(f"{path}\n" for path in Paths(count))
        return cost([sys.executable, "-c", LISTED, str(listed)])


class Paths(Sequence[str]):
    """Path i, made when it is asked for."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [f"/photos/{i // IN_A_FOLDER:06}/{i:09}.jpg" for i in range(*index.indices(self.length))]
        if not 0 <= index < self.length:
            raise IndexError(index)
        return f"/photos/{index // IN_A_FOLDER:06}/{index:09}.jpg"


def write_small(folder: Path, count: int) -> None:
    """PNG files of 16x16 pixels; the first CONTENTS are written, the others written again from memory."""
    contents = []
    for i in range(CONTENTS):
        picture = io.BytesIO()
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(picture, "PNG")
        contents.append(picture.getvalue())
    for i in range(count):
        if i % IN_A_FOLDER == 0:
            below = folder / f"{i // IN_A_FOLDER:06}"
            below.mkdir(parents=True)
        (below / f"{i:09}.png").write_bytes(contents[i % CONTENTS])


def cost(command: Sequence[str]) -> Cost:
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        own = resident = 0
        while process.poll() is None:
            memory = memory_of(process.pid)
            own, resident = max(own, memory.get("RssAnon", 0)), max(resident, memory.get("VmHWM", 0))
            time.sleep(TWENTIETH)
        if process.returncode:
            said.seek(0)
            raise SystemExit(said.read().decode())
    return Cost(time.perf_counter() - start, own, resident)


def memory_of(process: int) -> dict[str, int]:
    """In MB, by the system's names."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {line.split(":")[0]: int(line.split()[1]) // 1000 for line in lines if line.endswith("kB")}


if __name__ == "__main__":
    main()
