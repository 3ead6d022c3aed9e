"""Clusters: quality against exact HDBSCAN, fast_hdbscan, EVoC and k-means, and time for up to 1,000,000 images.

    python -m benchmarks.clusters --data DIR [--keep DIR] [--write]        quality, on real and planted points
    python -m benchmarks.clusters --times [--most 1000000] [--write]       seconds and memory per N

DIR holds the files of embeddings and the image sets that `quality_sets` names; --keep keeps what `tiny` makes of the
photos for another time. --write puts the tables into docs/clusters.md and the figure beside it. fast_hdbscan and EVoC
(`pip install fast_hdbscan evoc`) are left out where they are not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import annotate
from annotate.kernels.density import EXACT_UP_TO, MANY_SAMPLES, cluster_sizes, micro_clusters, principal_components
from annotate.kernels.vectors import Floats, Ints, unit
from benchmarks.cases import read
from benchmarks.tables import show

DOCS = Path(__file__).parents[1] / "docs/clusters.md"
COUNTS = (1_000, 3_000, 10_000, 20_000, 50_000, 100_000, 300_000, 1_000_000)
PATIENCE = 300.0  # seconds; a method that takes longer is stopped, and given no more images
CLASSES = 50  # of the planted images that are timed
Points = tuple[str, Floats, Ints]


def planted(
    n: int, k: int, *, spread: float, noise: float = 0.0, uneven: bool = False, varied: bool = False, seed: int = 0
) -> tuple[Floats, Ints]:
    """n unit rows of 512 dimensions around k random directions, and their numbers; noise is numbered k.

    spread  length of what is added to a direction, times e^(±0.4) by class where varied
    uneven  class sizes as a Dirichlet distribution with parameter 2 gives them
    """
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(k, 512)))
    share = rng.dirichlet(np.full(k, 2)) if uneven else np.full(k, 1 / k)
    truth = rng.choice(k, n, p=share)
    spreads = spread * (np.exp(0.4 * rng.normal(size=k)) if varied else np.ones(k))
    images = centres[truth] + spreads[truth, None] * rng.normal(size=(n, 512)) / np.sqrt(512)
    astray = rng.random(n) < noise
    images[astray] = rng.normal(size=(int(astray.sum()), 512))
    return unit(images), np.where(astray, k, truth)


def photos(data: Path, keep: Path, name: str, part: str, classes: int, images: int) -> tuple[Floats, Ints]:
    """What `tiny` makes of the first images of the first classes of DATA/NAME.zip, and their classes."""
    stored = keep / f"{name}.npz"
    if not stored.is_file():
        with zipfile.ZipFile(data / f"{name}.zip") as archive, tempfile.TemporaryDirectory() as folder:
            found: dict[str, list[str]] = {}
            for member in sorted(archive.namelist()):
                if member.startswith(part) and member.lower().endswith((".jpg", ".png")):
                    found.setdefault(member.split("/")[1], []).append(member)
            for label in sorted(found)[:classes]:
                archive.extractall(folder, found[label][:images])
            made = annotate.embed(f"{folder}/{part}", model="tiny", workspace=f"{folder}/artifacts")
            labels = [Path(path).parent.name for path in made.image_paths]
        np.savez(stored, x=made.embeddings, y=np.unique(labels, return_inverse=True)[1])
    with np.load(stored) as kept:
        return kept["x"], kept["y"]


def quality_sets(data: Path, keep: Path) -> Iterator[Points]:
    pets, caltech = read(data / "clip-vitb32-oxford-pets-25.npz"), read(data / "clip-vitb32-caltech101-sub.npz")
    yield "CLIP, pets", pets.images, pets.truth
    yield "CLIP, Caltech", caltech.images, caltech.truth
    both = np.concatenate([pets.images, caltech.images])
    yield "CLIP, both", both, np.concatenate([pets.truth, caltech.truth + len(pets.texts)])
    yield "`tiny`, MNIST", *photos(data, keep, "mnist", "train/", 10, 1000)
    yield "`tiny`, CIFAR-10", *photos(data, keep, "cifar10", "test/", 10, 1000)
    yield "`tiny`, Tiny-ImageNet", *photos(data, keep, "tiny-imagenet", "train/", 50, 200)
    n = 10_000
    yield "planted, 20 even", *planted(n, 20, spread=1.5)
    yield "planted, 10 uneven, noise", *planted(n, 10, spread=1.2, noise=0.1, uneven=True, varied=True)
    yield "planted, 50 uneven, noise", *planted(n, 50, spread=0.8, noise=0.1, uneven=True)
    yield "planted, 30 wide", *planted(n, 30, spread=2.5)
    yield "planted, 100 varied", *planted(n, 100, spread=1.5, varied=True)
    yield "planted, 200 uneven", *planted(n, 200, spread=1.0, uneven=True)


# -- the methods ---------------------------------------------------------------------------------------

Method = Callable[[Floats, int, int | None], npt.NDArray[np.integer]]


def settings(n: int, k: int | None, *, many: bool) -> dict[str, Any]:
    """What the cluster stage would choose: for n images, or as it does where there are many."""
    size, samples = cluster_sizes(n, k)
    return {"min_cluster_size": size, "min_samples": min(MANY_SAMPLES, size) if many else samples}


def shipped(x: Floats, n: int, k: int | None) -> Ints:
    """As the cluster stage does it at this size."""
    return micro_clusters(x, **settings(n, k, many=n > EXACT_UP_TO), pca_dimensions=50)[0]


def through_micro_centroids(x: Floats, n: int, k: int | None) -> Ints:
    return micro_clusters(x, **settings(n, k, many=True), pca_dimensions=50, exact_up_to=0)[0]


def exact(x: Floats, n: int, k: int | None, *, many: bool = False) -> Ints:
    return micro_clusters(x, **settings(n, k, many=many), pca_dimensions=50, exact_up_to=n)[0]


def exact_like_many(x: Floats, n: int, k: int | None) -> Ints:
    return exact(x, n, k, many=True)


def fast_hdbscan(x: Floats, n: int, k: int | None) -> npt.NDArray[np.integer]:
    from fast_hdbscan import HDBSCAN  # type: ignore[import-not-found,unused-ignore]

    points = principal_components(x, 30)  # beyond 30 it turns approximate
    return np.asarray(HDBSCAN(**settings(n, k, many=True)).fit(points).labels_)


def evoc(x: Floats, n: int, k: int | None) -> npt.NDArray[np.integer]:
    from evoc import EVoC  # type: ignore[import-not-found,unused-ignore]

    size = settings(n, k, many=True)["min_cluster_size"]
    return np.asarray(EVoC(base_min_cluster_size=size, random_state=1).fit_predict(np.asarray(x)))


def k_means(x: Floats, n: int, k: int | None) -> npt.NDArray[np.integer]:
    """Plain k-means into as many clusters as there are classes, in the full space."""
    import faiss

    means = faiss.Kmeans(x.shape[1], k or CLASSES, niter=25, seed=1, min_points_per_centroid=1)
    means.train(x)
    return np.asarray(means.index.search(x, 1)[1][:, 0])


QUALITY: dict[str, Method] = {
    "exact HDBSCAN": exact,
    "exact, min_samples 50": exact_like_many,
    "micro-centroids": through_micro_centroids,
    "fast_hdbscan": fast_hdbscan,
    "EVoC": evoc,
    "k-means, K known": k_means,
}
TIMED: dict[str, Method] = {
    "annotate": shipped,
    "exact HDBSCAN": exact_like_many,
    "fast_hdbscan": fast_hdbscan,
    "EVoC": evoc,
    "k-means, K known": k_means,
}
NEEDS = {"fast_hdbscan": "fast_hdbscan", "EVoC": "evoc"}


def installed(methods: dict[str, Method]) -> dict[str, Method]:
    present = {name: m for name, m in methods.items() if importlib.util.find_spec(NEEDS.get(name, "numpy"))}
    for name in methods.keys() - present.keys():
        print(f"{name} is left out: pip install {NEEDS[name]}")
    return present


# -- quality -------------------------------------------------------------------------------------------


def quality(sets: Iterator[Points], known: bool) -> str:
    """ARI with the truth, noise as a cluster of its own; and what the micro-centroids' is among images in clusters."""
    from sklearn.metrics import adjusted_rand_score

    methods = installed(QUALITY)
    lines = [
        f"| ARI | N | {' | '.join(methods)} | of exact | noise, exact | micro | ARI in clusters, exact | micro |",
        "|---" * (len(methods) + 7) + "|",
    ]
    for name, x, truth in sets:
        n = len(x)
        classes = len(np.unique(truth))
        asked = {method: classes if known or method == "k-means, K known" else None for method in methods}
        found = {method: run(x, n, asked[method]) for method, run in methods.items()}
        score = {method: adjusted_rand_score(truth, answer) for method, answer in found.items()}
        before, ours = found["exact, min_samples 50"], found["micro-centroids"]
        best = max(score["exact HDBSCAN"], score["exact, min_samples 50"])
        share = f"{score['micro-centroids'] / best:.2f}" if best >= 0.01 else "–"
        both = (before >= 0) & (ours >= 0)
        inside = [adjusted_rand_score(truth[both], answer[both]) if both.any() else 0.0 for answer in (before, ours)]
        values = [*(f"{score[method]:.3f}" for method in methods), share]
        values += [f"{(before < 0).mean():.0%}", f"{(ours < 0).mean():.0%}", *(f"{value:.3f}" for value in inside)]
        lines.append(f"| {name} | {n:,} | " + " | ".join(values) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


# -- time and memory -----------------------------------------------------------------------------------


def plant_file(path: Path, n: int) -> None:
    """Planted images as a .npy, a part at a time."""
    mapped = np.lib.format.open_memmap(path, "w+", np.float32, (n, 512))
    rng = np.random.default_rng(0)
    centres = unit(rng.normal(size=(CLASSES, 512))).astype(np.float32)
    for start in range(0, n, 50_000):
        part = mapped[start : start + 50_000]
        part[:] = rng.standard_normal(part.shape, np.float32) * np.float32(1.2 / np.sqrt(512))
        part += centres[rng.integers(CLASSES, size=len(part))]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    mapped.flush()


def measure(method: str, file: Path) -> None:
    """One method on one file, in a process of its own; prints seconds and peak memory as JSON."""
    x = np.load(file, mmap_mode="r")
    if method in NEEDS:
        TIMED[method](np.array(x[:1000]), 1000, None)  # numba compiles
    private: list[int] = []
    done = threading.Event()
    sampler = threading.Thread(target=lambda: sample(private, done))
    sampler.start()
    start = time.perf_counter()
    found = TIMED[method](x, len(x), CLASSES)
    seconds = time.perf_counter() - start
    done.set()
    sampler.join()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "gb": peak / 1e6, "own_gb": max(private) / 1e6, "c": int(found.max()) + 1}))


def sample(private: list[int], done: threading.Event) -> None:
    """Memory of the process that is no map of a file, in kB, every tenth of a second."""
    while True:
        status = Path("/proc/self/status").read_text().split()
        private.append(int(status[status.index("RssAnon:") + 1]))
        if done.wait(0.1):
            return


Taken = dict[str, dict[int, dict[str, float]]]


def times(most: int, keep: Path) -> Taken:
    methods = installed(TIMED)
    taken: Taken = {name: {} for name in methods}
    for n in (count for count in COUNTS if count <= most):
        file = keep / f"planted-{n}.npy"
        try:
            plant_file(file, n)
            for name in list(methods):
                run = [sys.executable, "-m", "benchmarks.clusters", "--measure", name, str(file)]
                try:
                    ended = subprocess.run(run, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=True)
                except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
                    print(f"{n:>9,} {name:20} {error}", flush=True)
                    del methods[name]
                    continue
                taken[name][n] = json.loads(ended.stdout.splitlines()[-1])
                print(f"{n:>9,} {name:20} {taken[name][n]}", flush=True)
        finally:
            file.unlink(missing_ok=True)
    return taken


def times_table(taken: Taken) -> str:
    counts = sorted({n for runs in taken.values() for n in runs})
    lines = [f"| seconds (peak GB) | {' | '.join(f'{n:,}' for n in counts)} |", "|---" * (len(counts) + 1) + "|"]
    for name, runs in taken.items():
        cells = [f"{runs[n]['seconds']:.1f} ({runs[n]['gb']:.1f})" if n in runs else "" for n in counts]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(taken: Taken, path: Path) -> None:
    """Seconds per N, both on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, runs in taken.items():
        wide = 2.5 if name == "annotate" else 1.2
        axes.plot(list(runs), [run["seconds"] for run in runs.values()], "o-", label=name, linewidth=wide, markersize=4)
    axes.axvline(EXACT_UP_TO, color="0.8", linewidth=1, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="images", ylabel="seconds")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the sets that quality is measured on")
    parser.add_argument("--keep", type=Path, help="folder for what may be used again; a temporary one unless given")
    parser.add_argument("--times", action="store_true", help="seconds and memory per N")
    parser.add_argument("--most", type=int, default=COUNTS[-1], help="images of the largest timed run")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/clusters.md")
    parser.add_argument("--measure", nargs=2, metavar=("METHOD", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure[0], Path(args.measure[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        keep = args.keep or Path(folder)
        parts = {}
        if args.data:
            parts["classes known"] = quality(quality_sets(args.data, keep), known=True)
            parts["classes unknown"] = quality(quality_sets(args.data, keep), known=False)
        if args.times:
            taken = times(args.most, keep)
            parts["times"] = times_table(taken)
            if args.write:
                draw(taken, DOCS.with_suffix(".png"))
    show(parts, DOCS if args.write else None)


if __name__ == "__main__":
    main()
