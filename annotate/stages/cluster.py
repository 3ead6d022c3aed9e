"""cluster: groups of images that look alike, without knowing any class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotate.kernels.density import PASSES, cluster_centroids, cluster_sizes, meta_clusters, micro_clusters
from annotate.records import Clusters, EmbeddingRows, Texts
from annotate.stages import Context, Stage
from annotate.workspace.plan import Plan


@dataclass(frozen=True)
class Material:
    """The images, how their micro-clusters are found, how many meta-clusters, and the settings that were asked for."""

    images: EmbeddingRows
    chosen: dict[str, Any]
    meta_clusters: int | None
    asked: dict[str, Any]


class Cluster(Stage[Clusters]):
    """Micro-clusters by HDBSCAN, meta-clusters of their centroids; about K of these where classes are known."""

    name, record, version, after = "cluster", Clusters, 2, ("embed", "text")
    sections = ("cluster",)
    packages = ("scipy", "scikit-learn", "hdbscan", "faiss-cpu")
    runs = False  # only `refine --method soft` needs it

    def plan(self, context: Context, *, force: bool = False, **asked: Any) -> Plan:
        workspace, config = context.workspace, context.config
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
        groups = settings.meta_clusters or k
        given = {key.partition(".")[2]: value for key, value in config.values.items() if key.startswith("cluster.")}
        return Plan(
            self.name,
            self.version,
            {**chosen, "meta_clusters": groups, "given": given},
            workspace.digests("embed", "embeddings.npy"),
            config.request("cluster", n=n),
            found=Material(images, chosen, groups, given),
        )

    def make(self, context: Context, plan: Plan, folder: Path) -> Clusters:
        material: Material = plan.found
        rows = material.images.embeddings
        with context.progress.steps("finding clusters", PASSES * len(rows), "rows") as advance:
            micro, strengths = micro_clusters(rows, **material.chosen, advance=advance)
        micro_centroids = cluster_centroids(rows, micro)
        groups = meta_clusters(micro_centroids, material.meta_clusters or about_half(len(micro_centroids)))
        meta = groups[micro] if len(groups) else micro.copy()
        meta[micro < 0] = -1
        return Clusters(micro, meta, micro_centroids, cluster_centroids(rows, meta), strengths, material.asked)


def about_half(c: int) -> int:
    """How many meta-clusters where no classes say so."""
    return max(1, math.ceil(c / 2))


STAGE = Cluster()
