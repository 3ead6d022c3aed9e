"""`refine` on embeddings that memory cannot hold: seconds, bytes a second, and memory beyond the page cache.

    python -m benchmarks.scale --folder DIR [--images 10000000] [--classes 100] [--method dynamic] [--write]

DIR needs twice the size of the embeddings (2 x 10 GB for 10,000,000 x 512 in float16); the workspace that is made
there is used again. "Read" is the time to read the file once, in blocks of 16 MB, just before the command. The passes
are those of the history and the last one, that makes probabilities; all but the first and the last look only at images
whose label can have changed, and give what looking at all would give.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.planted import planted, workspace
from benchmarks.tables import write

DOCS = Path(__file__).parents[1] / "docs/refinement.md"
READ = 1 << 24  # bytes at a time


def made(folder: Path, n: int, k: int) -> tuple[Path, np.ndarray]:
    """A workspace of n float16 images and their true classes, made once."""
    truth = folder / "truth.npy"
    if not truth.exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.float16, (n, 512))
        _, texts, labels = planted(n, k, into=rows)
        workspace(folder, rows, texts)
        (folder / "rows.npy").unlink()
        np.save(truth, labels)
    return folder / "artifacts", np.load(truth)


def seconds_to_read(file: Path) -> float:
    start = time.perf_counter()
    buffer = bytearray(READ)
    with open(file, "rb", buffering=0) as opened:
        while opened.readinto(buffer):
            pass
    return time.perf_counter() - start


def refined(place: Path, method: str) -> tuple[float, int, int, str]:
    """Seconds of the whole command, the most memory of its own and with mapped files, in MB, and what it printed."""
    command = [sys.executable, "-m", "annotate", "refine", "--method", method, "--force", "-w", str(place)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    own = mapped = 0
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            break
        memory = {line.split(":")[0]: int(line.split()[1]) // 1000 for line in lines if line.endswith("kB")}
        own, mapped = max(own, memory.get("RssAnon", 0)), max(mapped, memory.get("VmRSS", 0))
        time.sleep(0.05)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(said)
    return time.perf_counter() - start, own, mapped, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10_000_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--method", default="dynamic")
    parser.add_argument("--remove", action="store_true", help="remove the folder's workspace at the end")
    parser.add_argument("--write", action="store_true", help="put the table into docs/refinement.md")
    args = parser.parse_args()
    place, truth = made(args.folder, args.images, args.classes)
    file = place / "embed/embeddings.npy"
    gigabytes = file.stat().st_size / 1e9
    reading = seconds_to_read(file)
    seconds, own, mapped, said = refined(place, args.method)
    right = float((np.load(place / "refine/labels.npy") == truth).mean())
    print(said)
    passes = len(json.loads((place / "refine/history.json").read_bytes())) + 1
    titles = (
        "images",
        "classes",
        "GB",
        "method",
        "read once, s",
        "passes",
        "command, s",
        "GB/s read",
        "GB/s a pass",
        "memory, MB",
    )
    row = (
        f"{args.images:,}", f"{args.classes:,}", f"{gigabytes:.1f}", args.method, f"{reading:.1f}", f"{passes}",
        f"{seconds:.1f}", f"{gigabytes / reading:.2f}", f"{gigabytes * passes / seconds:.2f}", f"{own:,}",
    )  # fmt: skip
    table = "\n".join([f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", f"| {' | '.join(row)} |"])
    print(table)
    print(f"with mapped pages {mapped:,} MB; {100 * right:.2f} % right")
    if args.write:
        write(DOCS, "scale", table)
    if args.remove:
        shutil.rmtree(args.folder)


if __name__ == "__main__":
    main()
