"""cluster: groups of images that look alike, without knowing any class."""

from __future__ import annotations

import math
from pathlib import Path

from annotate.kernels.density import PASSES, cluster_centroids, cluster_sizes, meta_clusters, micro_clusters
from annotate.progress import Progress, Silent
from annotate.records import Clusters, EmbeddingRows, Texts
from annotate.settings.config import Config
from annotate.stages import run_stage
from annotate.workspace import Workspace
from annotate.workspace.plan import Plan

VERSION = 2
PACKAGES = ("scipy", "scikit-learn", "hdbscan", "faiss-cpu")  # that decide the bytes


def cluster(workspace: Workspace, config: Config, *, force: bool = False, progress: Progress | None = None) -> Clusters:
    """Micro-clusters by HDBSCAN, meta-clusters of their centroids; about K of these where classes are known."""
    progress = progress or Silent()
    with workspace.lock():
        images = workspace.read(EmbeddingRows)
        k = len(workspace.read(Texts).class_names) if workspace.has("text") else None
        n = len(images.embeddings)
        settings = config.resolve(n).cluster
        size, samples = cluster_sizes(n, k)
        chosen = {
            "min_cluster_size": settings.min_cluster_size or size,
            "min_samples": settings.min_samples or samples,
            "pca_dimensions": settings.pca_dimensions,
        }
        given = {key.partition(".")[2]: value for key, value in config.values.items() if key.startswith("cluster.")}
        plan = Plan(
            "cluster",
            VERSION,
            {**chosen, "meta_clusters": settings.meta_clusters or k, "given": given},
            workspace.digests("embed", "embeddings.npy"),
            config.request("cluster", n=n),
        )

        def make(_: Path) -> Clusters:
            with progress.steps("finding clusters", PASSES * n, "rows") as advance:
                micro, strengths = micro_clusters(images.embeddings, **chosen, advance=advance)
            micro_centroids = cluster_centroids(images.embeddings, micro)
            groups = meta_clusters(micro_centroids, settings.meta_clusters or k or about_half(len(micro_centroids)))
            meta = groups[micro] if len(groups) else micro.copy()
            meta[micro < 0] = -1
            return Clusters(micro, meta, micro_centroids, cluster_centroids(images.embeddings, meta), strengths, given)

        return run_stage(workspace, plan, Clusters, make, force=force, progress=progress, packages=PACKAGES)


def about_half(c: int) -> int:
    """How many meta-clusters where no classes say so."""
    return max(1, math.ceil(c / 2))
