"""Every call to the system that a command makes fails once: what the user sees, and whether the next run mends it.

A command runs on a few small photos, once whole, which counts its calls of each kind on files of its own folder and
says what should come out. Then, for every kind and every k, on a fresh copy:

    the k-th call fails: the disk is full (ENOSPC) or broken (EIO), too many files are open (EMFILE), no permission
    (EACCES), or the process is killed there; with --on every later call of the kind fails, too

The command must end well, or with a line `error:`, a line `hint:` and an exit code of the list, without a traceback;
what it left is swept by the same command run again, whose files are those of the run left alone, byte for byte.

    python -m benchmarks.faults                 all of it: 7,700 faults, two to three hours of one core
    python -m benchmarks.faults --minutes 3     as many of them as fit, drawn by lot, always in the same order
    python -m benchmarks.faults --every 5       every fifth call of each kind, and the first and the last
    python -m benchmarks.faults --commands embed,refine --calls write,open --faults EIO,kill --on

A library written in C makes the calls fail (faults.c, built by gcc). Commands run in processes forked from one that has
loaded all there is to load. Exits with 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import importlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

CALLS = ("write", "fsync", "rename", "mkdir", "link", "unlink", "open")
FAULTS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EMFILE": errno.EMFILE, "EACCES": errno.EACCES, "kill": 0}
COMMANDS = {
    "embed": ["embed", "photos", "--model", "tiny"],
    "refine": ["refine", "--classes", "cat,dog", "--method", "soft"],
    "given": ["refine", "--method", "soft", "--given", "given.csv"],  # after a run without answers
    "again": ["refine", "--method", "soft"],  # fresh, but asked for in other words
    "organize": ["organize", "dataset"],
    "report": ["report"],
    "import": [
        "import", "--embeddings", "e.npy", "--image-paths", "paths.txt", "--text-embeddings", "t.npy",
        "--classes", "cat,dog",
    ],
    "run": ["run", "photos", "dataset", "cat", "dog", "--model", "tiny"],
}  # fmt: skip
BEFORE = {
    "refine": ["embed"],
    "given": ["embed", "refine"],
    "again": ["embed", "refine", "organize"],
    "organize": ["embed", "refine"],
    "report": ["embed", "refine"],
}
CACHE = "artifacts/.cache/"
ANSWERS = "answers.db"
PHOTOS = 8
SECONDS = 120  # that a command may take
ENDS = {0, 2, 3, 4}  # exit codes


@dataclass
class Tally:
    """What became of the runs of a command with one kind of call failing in one way.

    calls  that a whole run makes
    ended  exit codes
    wrong  what went wrong, by what was failing
    """

    calls: int
    ended: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--calls", default=",".join(CALLS))
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--every", type=int, default=1, help="only each so many calls, and the first and the last")
    parser.add_argument("--minutes", type=float, help="end after that; what is tried is then drawn by lot")
    parser.add_argument("--on", action="store_true", help="every later call of the kind fails, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        if "FAULTS_LIBRARY" not in os.environ:
            library = built(folder)
            environment = {
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "LD_PRELOAD": str(library),
                "FAULTS_LIBRARY": str(library),
            }
            again = [sys.executable, "-m", "benchmarks.faults", *sys.argv[1:]]
            sys.exit(subprocess.run(again, env=environment, check=False).returncode)
        until = time.monotonic() + 60 * (options.minutes or np.inf)
        load_all()
        scenes = {command: Scene(folder / command, command) for command in options.commands.split(",")}
        tallies = {
            (command, call, fault): Tally(scene.calls[call])
            for command, scene in scenes.items()
            for call in options.calls.split(",")
            for fault in options.faults.split(",")
        }
        faults = [(*key, at) for key, tally in tallies.items() for at in chosen(tally.calls, options.every)]
        if options.minutes:
            random.Random(0).shuffle(faults)
        for command, call, fault, at in faults:
            if time.monotonic() > until:
                break
            scenes[command].try_one(tallies[command, call, fault], call, fault, at, options.on)
    for key, tally in tallies.items():
        if tally.ended:
            row(*key, tally)
    runs, wrong = (
        sum(tally.ended.total() for tally in tallies.values()),
        sum(len(tally.wrong) for tally in tallies.values()),
    )
    print(f"{runs:,} of {len(faults):,} faults tried, {wrong:,} wrong")
    sys.exit(wrong > 0)


def chosen(calls: int, every: int) -> list[int]:
    """Which of so many calls fail, one in each run; they count from 1."""
    return sorted({*range(1, calls + 1, every), calls} - {0})


def row(command: str, call: str, fault: str, tally: Tally) -> None:
    ended = ", ".join(f"{count} with {code}" for code, count in sorted(tally.ended.items()))
    print(f"{command:9} {call:7} {fault:7} {tally.calls:5} calls; ended: {ended or 'none'}", flush=True)
    for line in tally.wrong:
        print(f"    WRONG {line}", flush=True)


def built(folder: Path) -> Path:
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def load_all() -> None:
    """Load what a whole run loads, in the order in which it does; the processes forked from now on have it already."""
    with tempfile.TemporaryFile() as names, tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        write_inputs(folder)
        child = os.fork()
        if child == 0:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            os.chdir(folder)
            for command in ("run", "refine"):
                run_here(COMMANDS[command])
            names.write(json.dumps(list(sys.modules)).encode())
            names.flush()
            os._exit(0)
        waited(child)
        names.seek(0)
        for module in json.load(names):
            with contextlib.suppress(ImportError, AttributeError):  # some are made by others, and lie in no file
                importlib.import_module(module)


class Scene:
    """A folder as it is before a command, and what the command makes of it when it is left alone.

    before    the folder
    expected  content of every file afterwards, by its name
    calls     how many calls of each kind it makes when nothing fails
    """

    def __init__(self, folder: Path, command: str) -> None:
        self.folder, self.command = folder, COMMANDS[command]
        self.before, self.place = folder / "before", folder / "place"
        self.before.mkdir(parents=True)
        write_inputs(self.before)
        for earlier in BEFORE.get(command, []):
            code, said, _ = forked(COMMANDS[earlier], self.before)
            if code:
                raise SystemExit(said)
        self.fresh()
        code, said, self.calls = forked(self.command, self.place)
        if code:
            raise SystemExit(said)
        self.expected = content_of(self.place)

    def fresh(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.before, self.place, symlinks=True)

    def try_one(self, tally: Tally, call: str, fault: str, at: int, on: bool) -> None:
        self.fresh()
        code, said, _ = forked(self.command, self.place, call, at, FAULTS[fault], on)
        tally.ended[code] += 1
        for problem in self.problems(code, said, killed=fault == "kill"):
            line = f"{fault} at {call} {at}: {problem}"
            tally.wrong.append(line)
            print(f"WRONG {self.folder.name}: {line}", file=sys.stderr, flush=True)

    def problems(self, code: int, said: str, *, killed: bool) -> Iterator[str]:
        if "Traceback" in said or (code not in ENDS and not (killed and code == -9)):
            yield f"ended with {code}: {said.strip()[-600:]}"
        elif code > 0 and ("error: " not in said or "hint: " not in said):
            yield f"ended with {code} and said {said.strip()[-300:]!r}"
        again, said, _ = forked(self.command, self.place)
        if again:
            yield f"the next run ended with {again}: {said.strip()[-600:]}"
            return
        found = content_of(self.place)
        for name in sorted(found.keys() | self.expected.keys()):
            if name in found and name not in self.expected and name != CACHE:
                yield f"after the next run {name} is left"
            elif name in found and found[name] != self.expected.get(name, b""):
                yield f"after the next run {name} differs"
            elif name not in found and not name.startswith(CACHE):  # what only saves time may be missing
                yield f"after the next run {name} is missing"


def forked(
    command: Sequence[str], folder: Path, call: str = "", at: int = 0, number: int = 0, on: bool = False
) -> tuple[int, str, dict[str, int]]:
    """Run a command in a child process; its exit code, what it said, and how many calls of each kind it made."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as count:
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            library = ctypes.CDLL(os.environ["FAULTS_LIBRARY"])
            number_of = [ctypes.c_long(value) for value in (at, number, on)]
            library.fault_arm(call.encode(), os.fsencode(folder), *number_of)
            code = run_here(command)
            counts = {kind: library.fault_count(kind.encode()) for kind in CALLS}
            os.write(count.fileno(), json.dumps(counts).encode())
            os._exit(code)
        status = waited(child)
        said.seek(0)
        count.seek(0)
        return (
            os.waitstatus_to_exitcode(status),
            said.read().decode("utf-8", "replace"),
            json.loads(count.read() or b"{}"),
        )


def run_here(command: Sequence[str]) -> int:
    """Run a command in this process; its exit code."""
    from annotate.cli import main

    sys.argv = ["annotate", *command]
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        code = 1
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def waited(child: int) -> int:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.005)
    os.kill(child, 15)  # counts as an end that is not on the list
    return os.waitpid(child, 0)[1]


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file and empty folder by its name; manifests without the times of the run, answers without theirs."""
    found: dict[str, bytes] = {}
    for here, folders, files in os.walk(folder):
        for name in files:
            path = Path(here, name)
            key = str(path.relative_to(folder))
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            if name == "manifest.json":
                content = without_times(content)
            if name.startswith(f"{ANSWERS}-"):  # what SQLite leaves beside it until the next one opens it
                continue
            found[key] = b"" if name in (".lock", ANSWERS) else content
        if not folders and not files:
            found[str(Path(here).relative_to(folder)) + "/"] = b""
    return found


def without_times(content: bytes) -> bytes:
    manifest = json.loads(content)
    manifest.pop("sha256", None)
    manifest["files"] = sorted(manifest["files"])
    manifest.pop("inputs")  # digests of manifests' facts are compared where they are made
    return json.dumps(manifest, sort_keys=True).encode()


def write_inputs(folder: Path) -> None:
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for number in range(PHOTOS):
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC).save(content, "JPEG")
        path = folder / "photos" / f"{number:03}.jpg"
        path.write_bytes(content.getvalue())
        os.utime(path, ns=(10**18, 10**18))
    np.save(folder / "e.npy", rng.normal(size=(PHOTOS, 16)).astype(np.float32))
    np.save(folder / "t.npy", rng.normal(size=(2, 16)).astype(np.float32))
    (folder / "paths.txt").write_text("".join(f"photos/{number:03}.jpg\n" for number in range(PHOTOS)))
    (folder / "given.csv").write_text("path,class\n000.jpg,cat\n003.jpg,dog\n")


if __name__ == "__main__":
    main()
