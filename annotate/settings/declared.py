"""Every setting, once: its type, default, bounds, one sentence, and the flag that commands give it.

What stands here is the command line's options and their help, Python's keyword arguments, the keys of YAML and of
`--set`, and the table in docs/settings.md. A new setting is one line here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

from msgspec import Struct

from annotate.settings.setting import Setting, about


class EmbedSettings(Struct, frozen=True):
    model: Annotated[
        str,
        about(
            "Encoder: auto, tiny, ViT-B/32 or another of OpenAI's nine, or the path of a checkpoint; auto keeps that "
            "of the workspace, else takes ViT-B/32 if it is on this machine, else tiny",
            flag="--model",
        ),
    ] = "auto"
    batch_size: (
        Annotated[
            int,
            about(
                "Images per forward pass; another number gives slightly other embeddings",
                flag="--batch-size",
                chosen="32 on a CPU, 256 on a GPU",
                ge=1,
                le=1024,
            ),
        ]
        | None
    ) = None
    device: Annotated[
        Literal["auto", "cuda", "mps", "cpu"],
        about("Where the encoder runs; auto takes CUDA, then MPS, then the CPU", flag="--device"),
    ] = "auto"
    precision: Annotated[
        Literal["auto", "float32"],
        about(
            "Precision of the encoder; auto is half precision where that is faster on this machine", flag="--precision"
        ),
    ] = "auto"
    max_megapixels: Annotated[float, about("Megapixels; larger images are skipped before they are decoded", gt=0)] = (
        100.0
    )
    workers: (
        Annotated[int, about("Threads that read and decode images", chosen="one per core, at most 16", ge=1, le=256)]
        | None
    ) = None
    sessions: (
        Annotated[
            int, about("Batches that a CPU encodes at once, each on a thread", chosen="one per core", ge=1, le=256)
        ]
        | None
    ) = None
    dtype: Annotated[
        Literal["float32", "float16"], about("Type of the embeddings on disk; float16 takes half the space")
    ] = "float32"
    ledger: (
        Annotated[
            str,
            about(
                "Folder or address (s3://bucket/folder) for what is computed so far",
                flag="--ledger",
                chosen="in the workspace",
            ),
        ]
        | None
    ) = None


class TextSettings(Struct, frozen=True):
    prompts: Annotated[
        str,
        about(
            "How class names are worded: auto, digits, sign-language, photo, clip7, or a YAML file", flag="--prompts"
        ),
    ] = "auto"


class ClusterSettings(Struct, frozen=True):
    min_cluster_size: (
        Annotated[int, about("Fewest images in a cluster", chosen="N // 20, at most N / 3K, at least 5", ge=2)] | None
    ) = None
    min_samples: (
        Annotated[
            int,
            about(
                "Neighbours that an image needs to lie in a dense place",
                chosen="N // 50, at least 3; beyond 20,000 images 50",
                ge=1,
            ),
        ]
        | None
    ) = None
    pca_dimensions: Annotated[int, about("Dimensions in which HDBSCAN looks for density", ge=2, le=50)] = 50
    meta_clusters: Annotated[int, about("Groups of micro-clusters", chosen="the number of classes", ge=1)] | None = None


class RefineSettings(Struct, frozen=True):
    method: Annotated[
        Literal["auto", "direct", "dynamic", "soft", "transductive"],
        about("How images are labelled; auto is transductive below 1,000,000 images, else dynamic", flag="--method"),
    ] = "auto"
    temperature: (
        Annotated[
            float,
            about(
                "Divides similarities before softmax; larger is less sure",
                flag="--temperature",
                chosen="fitted to the model's own scale",
                gt=0,
            ),
        ]
        | None
    ) = None
    iterations: (
        Annotated[
            int,
            about(
                "Passes over all images",
                flag="--iterations",
                chosen="10 for dynamic, 5 for soft, at most 15 for transductive",
                ge=1,
                le=1000,
            ),
        ]
        | None
    ) = None
    text_weight_start: Annotated[
        float,
        about("Weight of the text in a prototype in the first iteration", flag="--text-weight-start", ge=0, le=1),
    ] = 0.95
    text_weight_end: Annotated[
        float,
        about("Weight of the text in a prototype toward the last iteration", flag="--text-weight-end", ge=0, le=1),
    ] = 0.6
    class_sizes: Annotated[
        Literal["free", "balanced"],
        about(
            "Whether every class is known to have about as many images (transductive only)",
            flag="--balanced",
            means="balanced",
        ),
    ] = "free"
    strangers: Annotated[
        Literal["look", "skip"],
        about("Whether to look for images that fit none of the names, among up to 50,000 images"),
    ] = "look"
    cluster_weights: Annotated[
        Literal["equal", "size"], about("How clusters count in soft: all the same, or by their images")
    ] = "equal"


class AnswersSettings(Struct, frozen=True):
    database: (
        Annotated[
            str,
            about(
                "Address of a PostgreSQL database for the answers, such as postgresql://user@host/name",
                flag="--database",
                chosen="answers.db in the workspace, or $ANNOTATE_DATABASE",
            ),
        ]
        | None
    ) = None
    project: (
        Annotated[str, about("Name of the project in that database", chosen="the folder that holds the workspace")]
        | None
    ) = None
    who: (
        Annotated[
            str, about("Who gives the answers, where a table does not say", flag="--who", chosen="your account's name")
        ]
        | None
    ) = None


class OrganizeSettings(Struct, frozen=True):
    link: Annotated[
        Literal["copy", "hardlink", "symlink", "auto"],
        about("How images get into the dataset; auto is the cheapest that works", flag="--link"),
    ] = "copy"
    unknown: Annotated[
        Literal["keep", "apart"],
        about(
            "Where images that fit none of the names go: to their likeliest class, or apart in `unknown`",
            flag="--unknown",
        ),
    ] = "keep"
    min_confidence: Annotated[
        float,
        about(
            "Images with a lower confidence go to a folder `unsure`, and count as unlabelled in an export",
            flag="--min-confidence",
            ge=0,
            le=1,
        ),
    ] = 0.0
    review: Annotated[
        int, about("Images most worth a look, linked once more in a folder `review`", flag="--review", ge=0, le=100_000)
    ] = 0
    splits: Annotated[tuple[int, int, int], about("Percent of the images in train, val and test", flag="--splits")] = (
        70,
        15,
        15,
    )
    seed: Annotated[int, about("Decides which image goes to which split", flag="--seed", ge=0)] = 42
    duplicates: Annotated[
        Literal["keep", "first", "group"],
        about(
            "What becomes of copies of one picture: group keeps them in one split, first keeps one of them, keep does "
            "not look for them",
            flag="--duplicates",
        ),
    ] = "group"
    group_by: (
        Annotated[
            str,
            about(
                "Images that share this are in one split: folder, or a column of the list of images",
                flag="--group-by",
                chosen="nothing",
            ),
        ]
        | None
    ) = None


class ExportSettings(Struct, frozen=True):
    format: Annotated[
        Literal[
            "imagefolder",
            "csv",
            "parquet",
            "coco",
            "yolo-classify",
            "hf",
            "webdataset",
            "label-studio",
            "fiftyone",
            "cvat",
            "cleanlab",
            "yolo",
            "voc",
        ],
        about("Layout of the export; docs/exports.md shows each", flag="--format"),
    ] = "imagefolder"
    what: Annotated[
        Literal["both", "labels", "answers"],
        about(
            "Whose classes are exported: answers that people gave, labels that annotate gives, or both, answers first",
            flag="--what",
        ),
    ] = "both"
    unlabelled: Annotated[
        Literal["leave-out", "include"],
        about(
            "Whether images without a class are exported, apart from the splits",
            flag="--include-unlabelled",
            means="include",
        ),
    ] = "leave-out"
    shapes: Annotated[
        Literal["classes", "boxes"],
        about("Whether the boxes that people drew are exported instead of classes", flag="--boxes", means="boxes"),
    ] = "classes"
    category_base: Annotated[int, about("COCO's number of the first class", flag="--category-base", ge=0, le=1)] = 1


class ReportSettings(Struct, frozen=True):
    thumbnails: Annotated[
        int, about("Images shown of each class, from the most to the least confident", ge=0, le=1000)
    ] = 24
    least_certain: Annotated[int, about("Images in the gallery of the least certain", ge=0, le=10_000)] = 48
    map_points: Annotated[int, about("Images drawn on the map", ge=10, le=50_000)] = 2000


class EngineSettings(Struct, frozen=True):
    name: Annotated[
        Literal["local", "ray"],
        about("Where images are embedded and labelled; the files come out the same", flag="--engine"),
    ] = "local"
    address: (
        Annotated[
            str, about("HOST:PORT of a Ray cluster", flag="--address", chosen="one that is started on this machine")
        ]
        | None
    ) = None
    decoders: (
        Annotated[
            int,
            about(
                "Cores of a Ray cluster that only decode images", chosen="all beside the GPUs, none without GPUs", ge=0
            ),
        ]
        | None
    ) = None


class Settings(Struct, frozen=True):
    """All settings for some number of images; a new section is one line here."""

    embed: EmbedSettings = EmbedSettings()
    text: TextSettings = TextSettings()
    cluster: ClusterSettings = ClusterSettings()
    refine: RefineSettings = RefineSettings()
    answers: AnswersSettings = AnswersSettings()
    organize: OrganizeSettings = OrganizeSettings()
    export: ExportSettings = ExportSettings()
    report: ReportSettings = ReportSettings()
    engine: EngineSettings = EngineSettings()
    preset: str = "medium"


@lru_cache
def sections() -> dict[str, dict[str, Setting]]:
    """Every setting, by section and name."""
    return {
        name: {setting.name: setting for setting in settings_in(name, struct)}
        for name, struct in get_type_hints(Settings).items()
        if issubclass(struct, Struct)
    }


def settings_in(section: str, struct: type[Struct]) -> Iterator[Setting]:
    hints = get_type_hints(struct, include_extras=True)
    for name, default in zip(struct.__struct_fields__, struct.__struct_defaults__, strict=True):
        hint = hints[name] if get_origin(hints[name]) is Annotated else get_args(hints[name])[0]  # less "| None"
        kind, meta = get_args(hint)
        yield Setting(section, name, kind, default, meta)
