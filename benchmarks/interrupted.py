"""`annotate embed` killed again and again: the same bytes in the end, and how much was done twice.

Small JPEGs, and in every 32 files one that is none: a truncated JPEG, a pipe, a decompression bomb's header, a text.
One run is left alone. Then

    random   runs are killed (SIGKILL) at random instants of what remains of them, start-up and assembling included, and
             started again, perhaps to be killed again, until --kills are spent and the last has ended
    before,  of the first --few files: a run is killed at one write of the ledger, once for every write (just before it,
    within,  when the file is written beside but not yet renamed, just after it), and started again to its end
    after

After each run that has ended, embeddings.npy, image_paths.txt, images.json and skipped.json are those of the run left
alone, byte for byte, and the workspace holds what that one's does: nothing of the work is left.

Done twice is what a killed process had decoded and not committed. It is at most

    S (1 + ceil(2 E / b)) + 64 + 2 D      S images a shard of b batches, E sessions, D threads that decode

images: the shard that is being decoded, those before it that wait for the last 2 E batches to be encoded, and what is
decoded ahead.

    python -m benchmarks.interrupted [--images 3000] [--kills 20] [--shard 256] [--few 640] [--few-shard 64]

Exits with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from annotate.embedding.decoding import IMAGES_AHEAD, MOST_WORKERS
from annotate.embedding.pipeline import BATCHES_AHEAD
from annotate.encoders import cores
from annotate.engines.embedding import CPU_BATCH as BATCH
from annotate.stages.embed import LEDGER
from benchmarks.machine import described

FILES = ("embeddings.npy", "image_paths.txt", "images.json", "skipped.json")
BROKEN_EVERY = 32  # files
GO_ON = 0.75  # chance that a run that was started again is to be killed too
MOMENTS = ("before", "within", "after")

CHILD = """
import os, signal, sys
from annotate.embedding import decoding, ledger

images, workspace, shard, decodes, kill_at, moment = sys.argv[1:]
ledger.SHARD, left = int(shard), [int(kill_at)]
write, decode = ledger.FolderStore.write, decoding.read_image
log = os.open(decodes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def write_or_die(self, name, content):
    left[0] -= 1
    if left[0] == 0 and moment == "before":
        die()
    if left[0] == 0 and moment == "within":
        os.replace = die
    write(self, name, content)
    if left[0] == 0 and moment == "after":
        die()

def counted(content, **options):
    os.write(log, b"x")
    return decode(content, **options)

ledger.FolderStore.write, decoding.read_image = write_or_die, counted
sys.argv = ["annotate", "embed", images, "--model", "tiny", "--workspace", workspace]
from annotate.cli import main
main()
"""


@dataclass
class Tally:
    """What became of the killed runs of a kind.

    kills    by what the run was at: starting, computing, assembling
    ended    runs that came to their end
    decoded  images, by all of them
    twice    images that each killed process had decoded for nothing
    wrong    what differs from the run left alone
    """

    kills: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    decoded: int = 0
    twice: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--shard", type=int, default=256, help="images in a shard where the instants are random")
    parser.add_argument("--few", type=int, default=640, help="files where every write is killed at")
    parser.add_argument("--few-shard", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder / "photos", options.images)
        listed = [str(path) for path in sorted((folder / "photos").iterdir())[: options.few]]
        (folder / "few.txt").write_text("\n".join(listed))
        all_files = Scene(folder / "all", folder / "photos", options.shard)
        few_files = Scene(folder / "few", folder / "few.txt", options.few_shard)
        tallies = {"random": at_random(all_files, options.kills, random.Random(options.seed))}
        tallies |= {moment: at_every_write(few_files, moment, len(listed)) for moment in MOMENTS}
    print(f"{options.images:,} JPEGs of 64x48, one file in {BROKEN_EVERY} broken; tiny, seed {options.seed}")
    print(described())
    print(f"the run left alone takes {all_files.seconds:.1f} s, {all_files.starting:.1f} s of it to its first image")
    sys.exit(not show(tallies, {"random": all_files, **dict.fromkeys(MOMENTS, few_files)}))


class Scene:
    """Images, and a workspace in which they are embedded; at first by a run that is left alone.

    expected, left   its files, and the names in its workspace
    needed           images that it decoded
    seconds          it took, `starting` of them until the first image was decoded
    """

    def __init__(self, folder: Path, images: Path, shard: int) -> None:
        self.images, self.shard = images, shard
        self.workspace, self.log = folder / "artifacts", folder / "decodes"
        folder.mkdir()
        begin = time.perf_counter()
        process = self.start()
        while process.poll() is None and not self.decoded():
            time.sleep(0.01)
        self.starting = time.perf_counter() - begin
        finished(process)
        self.seconds = time.perf_counter() - begin
        self.expected, self.names, self.needed = self.files(), self.left(), self.decoded()
        self.clear()

    def start(self, kill_at: int = 0, moment: str = "") -> subprocess.Popen[bytes]:
        arguments = [self.images, self.workspace, self.shard, self.log, kill_at, moment]
        command = [sys.executable, "-c", CHILD, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def files(self) -> dict[str, bytes]:
        return {name: (self.workspace / "embed" / name).read_bytes() for name in FILES}

    def left(self) -> list[str]:
        return sorted(os.listdir(self.workspace))

    def decoded(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def committed(self) -> int:
        """Images whose decoding has not been for nothing."""
        if (self.workspace / "embed" / "manifest.json").exists():
            return self.needed
        records = [json.loads(path.read_bytes()) for path in (self.workspace / LEDGER).glob("*/*.json")]
        return sum(len(one["images"]) + sum("digest" in row for row in one["skipped"]) for one in records)

    def was_at(self, decoded_before: int) -> str:
        """What the killed run was doing."""
        if self.committed() == self.needed:
            return "assembling"
        return "computing" if self.decoded() > decoded_before else "starting"

    def clear(self) -> None:
        shutil.rmtree(self.workspace)
        self.log.unlink()

    def most_twice(self) -> int:
        """The bound above; a shard has its broken files beside its batches."""
        batches = math.ceil((self.shard - self.shard // BROKEN_EVERY) / BATCH)
        waiting = math.ceil(BATCHES_AHEAD * cores() / batches)
        return self.shard * (1 + waiting) + IMAGES_AHEAD + 2 * min(MOST_WORKERS, cores())


def at_random(scene: Scene, kills: int, chance: random.Random) -> Tally:
    tally = Tally()
    killed_before = False
    while kills or killed_before:
        process = scene.start()
        if kills and (not killed_before or chance.random() < GO_ON):
            done = scene.committed() / scene.needed
            remaining = scene.starting + (scene.seconds - scene.starting) * (1 - done)
            before = scene.decoded(), scene.committed()
            if killed(process, chance.uniform(0, remaining)):
                kills, killed_before = kills - 1, True
                note_kill(tally, scene, *before)
                continue
        finished(process)
        killed_before = False
        note_end(tally, scene)
    return tally


def at_every_write(scene: Scene, moment: str, files: int) -> Tally:
    tally = Tally()
    for write in range(1, 2 * math.ceil(files / scene.shard) + 1):
        process = scene.start(write, moment)
        process.communicate()
        if process.returncode != -9:
            tally.wrong.append(f"no write {write}")
        note_kill(tally, scene, 0, 0)
        finished(scene.start())
        note_end(tally, scene)
    return tally


def note_kill(tally: Tally, scene: Scene, decoded: int, committed: int) -> None:
    tally.kills[scene.was_at(decoded)] += 1
    tally.twice.append(scene.decoded() - decoded - (scene.committed() - committed))


def note_end(tally: Tally, scene: Scene) -> None:
    tally.ended += 1
    tally.decoded += scene.decoded()
    files = scene.files()
    tally.wrong += [name for name in FILES if files[name] != scene.expected[name]]
    tally.wrong += [name for name in scene.left() if name not in scene.names]
    scene.clear()


def killed(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether it was still running then."""
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return process.returncode == -9
    return False


def finished(process: subprocess.Popen[bytes]) -> None:
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(said.decode())


def show(tallies: dict[str, Tally], scenes: dict[str, Scene]) -> bool:
    """A row for each kind of kill; whether all is well."""
    titles = f"{'killed':8} {'kills':>5}  {'starting, computing, assembling':31} {'ended':>5} {'decoded':>8}"
    print(f"{titles} {'needed':>8} {'twice':>6} {'worst':>6} {'bound':>6}  same bytes, nothing left")
    well = True
    for name, tally in tallies.items():
        scene = scenes[name]
        needed, worst, bound = tally.ended * scene.needed, max(tally.twice, default=0), scene.most_twice()
        right = not tally.wrong and worst <= bound and tally.decoded == needed + sum(tally.twice)
        well &= right
        at = ", ".join(str(tally.kills[phase]) for phase in ("starting", "computing", "assembling"))
        print(f"{name:8} {tally.kills.total():5}  {at:31} {tally.ended:5} {tally.decoded:8,} {needed:8,}", end="")
        verdict = "yes" if right else f"NO: {', '.join(sorted(set(tally.wrong))) or 'decoded too often'}"
        print(f" {sum(tally.twice):6,} {worst:6,} {bound:6,}  {verdict}")
    return well


# -- the files -----------------------------------------------------------------------------------------


def write_files(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:06}.jpg"
        content = jpeg(number)
        if number % BROKEN_EVERY != BROKEN_EVERY // 2:
            path.write_bytes(content)
            continue
        match number // BROKEN_EVERY % 4:
            case 0:
                path.write_bytes(content[: len(content) // 2])
            case 1:
                os.mkfifo(path)
            case 2:
                path.write_bytes(bomb())
            case 3:
                path.write_text(f"not an image, the {number}th file")


def jpeg(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC).save(content, "JPEG")
    return content.getvalue()


def bomb() -> bytes:
    """A PNG that claims 50,000 x 50,000 pixels and holds none."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    body = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + body + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


if __name__ == "__main__":
    main()
