"""Which precision is fastest on this machine: tried once, for half a second, and kept.

What a processor says of itself does not tell. With AMX bfloat16 is 3.5 times as fast as float32, with AVX512-BF16
alone about twice, with neither it is slower; and another version of PyTorch may use what this one does not.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from annotate.errors import InputError
from annotate.workspace import jsonfile
from annotate.workspace.digests import content_digest
from annotate.workspace.locks import one_at_a_time
from annotate.workspace.opening import replacing_file

EXACT, HALF = "float32", "bfloat16"
CLEARLY = 1.2  # times as fast; for less, rounding is not worth it
PROBE_SECONDS = 0.5
TOKENS, WIDTH = 1600, 768  # 32 images of 50 tokens, as a ViT-B/32 has them
FILE = "precision.json"
MOST_OF_A_FILE = 1 << 20  # bytes
SWITCHES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # keep PyTorch from using instructions

Runs = Mapping[str, Callable[[], object]]


def choose_precision(wanted: str, device: str) -> str:
    """float32 where it is asked for; else half precision on a GPU, and on a CPU what is fastest there."""
    if wanted == EXACT:
        return wanted
    return "float16" if device != "cpu" else fastest_here()


def fastest_here(folder: Path | None = None, probe: Callable[[], str] | None = None) -> str:
    """The precision that is fastest on this machine, as it was found the first time.

    folder  where that is kept, the user's cache unless given; where nothing can be written, it is found each time
    probe   finds it
    """
    key, find = machine(), probe or try_all
    try:
        place = (folder or cache_folder()) / FILE
        known = kept(place)
        if key not in known:
            place.parent.mkdir(parents=True, exist_ok=True)
            with one_at_a_time(place.with_name(f".{FILE}.lock")):  # two at once would slow each other down
                known = kept(place)
                if key not in known:
                    known[key] = find()
                    with replacing_file(place) as file:
                        file.write(json.dumps(known, indent=1).encode())
        return known[key]
    except (OSError, InputError, RuntimeError):  # no right to write there; a link lies there; nobody has a home
        return find()


def kept(place: Path) -> dict[str, str]:
    """Machine to precision; none where the file is damaged."""
    try:
        with open(place, "rb") as file:
            content = jsonfile.loads(file.read(MOST_OF_A_FILE))
    except (FileNotFoundError, ValueError):
        return {}
    known = content.items() if isinstance(content, dict) else ()
    return {machine: precision for machine, precision in known if precision in (EXACT, HALF)}


def cache_folder() -> Path:
    """Where programs keep what costs only time when it is lost."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "annotate"


# -- the machine ---------------------------------------------------------------------------------------


def machine() -> str:
    """What the speed of a precision depends on: the processor with its instructions, and PyTorch."""
    import torch

    facts = processor_facts()
    name = facts.get("model name") or platform.processor() or platform.machine()
    switched = [f"{switch}={os.environ[switch]}" for switch in SWITCHES if switch in os.environ]
    told = content_digest(sorted(facts.get("flags", facts.get("Features", "")).split()))[:8]
    return ", ".join([f"{name} ({told})", f"torch {torch.__version__}", *switched])


def processor_facts() -> dict[str, str]:
    """What Linux tells of a processor; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


# -- trying --------------------------------------------------------------------------------------------


def try_all() -> str:
    """The precision that is fastest now."""
    return fastest(seconds_of_each())


def seconds_of_each() -> dict[str, float]:
    """What the same work takes in each precision, on one thread, as each of a CPU's sessions works.

    Its own time counts, not that which other programs take meanwhile.
    """
    from annotate.encoders import one_thread, threads_kept

    with threads_kept(), ThreadPoolExecutor(1, initializer=one_thread) as alone:
        return alone.submit(shortest, products(), time.thread_time).result()


def fastest(seconds: Mapping[str, float]) -> str:
    """What takes least time; the first, where no other is clearly faster."""
    exact, *others = seconds
    best = min(others, key=seconds.__getitem__, default=exact)
    return best if seconds[best] * CLEARLY <= seconds[exact] else exact


def shortest(runs: Runs, clock: Callable[[], float], seconds: float = PROBE_SECONDS) -> dict[str, float]:
    """The seconds of the shortest run of each: the first has to make ready what the others use.

    All take their turn, again and again as long as one more turn fits into the time.

    runs   by name
    clock  seconds
    """
    least = dict.fromkeys(runs, float("inf"))
    start, turns = clock(), 0
    while not turns or (clock() - start) * (turns + 1) <= seconds * turns:
        for name, run in runs.items():
            began = clock()
            run()
            least[name] = min(least[name], clock() - began)
        turns += 1
    return least


def products() -> Runs:
    """What takes most of a model's time, in either precision: tokens times weights."""
    import torch

    layer, tokens = torch.nn.Linear(WIDTH, WIDTH), torch.ones(TOKENS, WIDTH)

    def run(half: bool) -> object:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            return layer(tokens)

    return {EXACT: lambda: run(False), HALF: lambda: run(True)}
