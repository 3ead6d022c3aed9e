"""How long `annotate --help` takes, as a multiple of importing the libraries that every command needs.

The two commands run in turn, so that a busy machine slows both; the ratio of the medians is what counts.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15
COMMANDS = {
    "annotate --help": [sys.executable, "-m", "annotate", "--help"],
    "import typer, rich": [sys.executable, "-c", "import typer, rich"],
}


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(ROUNDS + 1):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            if turn:  # the first fills the caches
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, median in medians.items():
        print(f"{name:20} {1000 * median:6.0f} ms (median of {ROUNDS})")
    help_time, imports = medians.values()
    print(f"ratio                {help_time / imports:6.2f}")


if __name__ == "__main__":
    main()
