"""text: class names become unit vectors. Part of embed and refine; encodes only what it has not seen.

The unit of the cache is a class with all its prompts: one forward pass whose result depends on nothing
else, so that a class has the same embedding whatever was encoded before it or beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from annotate import encoders
from annotate.classes.names import clean_class_names
from annotate.classes.prompts import SETS, automatic, prompts_for
from annotate.errors import Hint, InputError, MissingArtifact, first_few
from annotate.kernels.vectors import Floats, unit
from annotate.progress import Progress
from annotate.records import IMPORTED, EmbeddingRows, Model, Note, Texts
from annotate.settings.config import Config
from annotate.stages import Context, Stage, cache
from annotate.stages.models import source_of
from annotate.workspace import Workspace
from annotate.workspace.digests import content_digest
from annotate.workspace.plan import CACHE, Plan


class Text(Stage[Texts]):
    """The classes' prompts, embedded with the model that embedded the images.

    Asked for `classes` it words those; without them those of the settings file, then those of the workspace. Asked for
    `prompts` and `prompt_set` it embeds classes that are worded already.
    """

    name, record, version, after = "text", Texts, 2, ("embed",)
    asks, sections, packages = ("classes",), ("text",), ("torch", "openai-clip")
    runs = False  # part of `embed` and `refine`

    def plan(
        self,
        context: Context,
        *,
        force: bool = False,
        classes: Sequence[str] = (),
        prompts: dict[str, list[str]] | None = None,
        prompt_set: str = "",
        **asked: Any,
    ) -> Plan:
        """raises  InputError for names that do not make sense"""
        workspace, config = context.workspace, context.config
        model = workspace.read(EmbeddingRows).model
        request = config.request("text", classes=list(classes)) if prompts is None else {}
        if prompts is None:
            prompts, prompt_set = wording(workspace, classes or config.classes, config)
        settings = {
            "model": model["name"],
            "weights": model["digest"],
            "classes": list(prompts),
            "prompts": content_digest(list(prompts.values())),
        }
        return Plan(self.name, self.version, settings, request=request, found=(model, prompts, prompt_set))

    def make(self, context: Context, plan: Plan, folder: Path) -> Texts:
        model, prompts, prompt_set = plan.found
        rows = known_rows(context.workspace, model, prompts, context.config, context.progress)
        return Texts(rows, prompts, prompt_set)

    def finished(self, context: Context, plan: Plan, record: Texts) -> Texts:
        model, _, _ = plan.found
        for note in notes_on(record, read_cache(cache_file(context.workspace, model))):
            context.progress.note(note)
        return record


STAGE = Text()


def texts_for(context: Context, classes: Sequence[str] = (), *, force: bool = False) -> Texts:
    """The classes as the workspace's model reads them, made anew where they are stale.

    raises  InputError where imported embeddings cannot take new names
    """
    asked = classes or context.config.classes
    if imported(context.workspace):
        return as_imported(context.workspace, clean_class_names(asked) if asked else [])
    return context.make(STAGE, classes=classes, force=force)


def wording(workspace: Workspace, asked: Sequence[str], config: Config) -> tuple[dict[str, list[str]], str]:
    """Prompts by class name, and the set they are of.

    Without names those of the workspace count, worded as they were unless other prompts are asked for.
    """
    if asked:
        names = clean_class_names(asked)
    elif workspace.has("text"):
        before = workspace.read(Texts)
        if "text.prompts" not in config.values and before.prompt_set != IMPORTED:
            return before.prompts, before.prompt_set
        names = before.class_names
    else:
        raise MissingArtifact(
            "no classes",
            hint=Hint("name the classes", "name them: `--classes dog,cat`, or `--classes-file FILE` with one a line"),
        )
    choice = config.resolve().text.prompts
    chosen = automatic(names) if choice == "auto" else choice
    return prompts_for(names, choice), chosen if chosen in SETS else "file"


def imported(workspace: Workspace) -> bool:
    """Whether the embeddings were made elsewhere, so that no model here can read class names for them."""
    return workspace.read(EmbeddingRows).model["name"] == IMPORTED


def as_imported(workspace: Workspace, names: Sequence[str]) -> Texts:
    """The texts that came with imported embeddings; annotate has no model for others.

    raises  InputError where none came with these embeddings, or where other names are asked for
    """
    if workspace.of_these_embeddings("text"):
        texts = workspace.read(Texts)
        if not names or list(names) == texts.class_names:
            return texts
    raise InputError(
        "these embeddings were imported: annotate does not know the model that could embed class names for them",
        hint=Hint(
            "import the embeddings of the class names as well",
            "run `annotate import` again with --text-embeddings and --classes",
        ),
    )


@dataclass(frozen=True)
class EmbeddedClass:
    """A class that was embedded: its row (D,), and what the model reads of those prompts that are too long for it."""

    row: Floats
    cut: Mapping[str, str]


def known_rows(
    workspace: Workspace, model: Model, prompts: Mapping[str, Sequence[str]], config: Config, progress: Progress
) -> Floats:
    """The classes' embeddings (K, D), encoding those that the cache does not hold."""
    kept = cache_file(workspace, model)
    known = read_cache(kept)
    keys = {name: content_digest(list(wording)) for name, wording in prompts.items()}
    new = [name for name, key in keys.items() if key not in known]
    if new:
        source = source_of(workspace, model, config)
        with progress.bytes(f"weights of {source.name}") as report:
            # Text always runs where its bytes are the same: on the CPU, in float32.
            encoder = encoders.load(source, device="cpu", precision="float32", progress=report)

        def embedded(name: str) -> EmbeddedClass:
            return EmbeddedClass(mean_of_prompts(encoder.encode_text(list(prompts[name]))), encoder.cut(prompts[name]))

        # A product that several threads share is summed in another order than by one: so a class is one thread's.
        with (
            progress.steps("embedding class names", len(new), "classes") as advance,
            encoders.threads_kept(),
            ThreadPoolExecutor(min(encoders.cores(), len(new)), "text", initializer=encoders.one_thread) as pool,
        ):
            for name, one in zip(new, pool.map(embedded, new), strict=True):
                known[keys[name]] = one
                advance(1)
        write_cache(kept, known)
    return np.stack([known[key].row for key in keys.values()])


def notes_on(texts: Texts, known: Mapping[str, EmbeddedClass]) -> list[Note]:
    """Warnings of prompts that the model reads only in part, and of classes that are one and the same to it."""
    notes: list[Note] = []
    cut = {
        prompt: known[key].cut[prompt]
        for prompts in texts.prompts.values()
        if (key := content_digest(list(prompts))) in known
        for prompt in prompts
        if prompt in known[key].cut
    }
    if cut:
        prompt, read = next(iter(cut.items()))
        what = "1 prompt is" if len(cut) == 1 else f"{len(cut):,} prompts are"
        notes.append(
            {
                "message": f"{what} too long for the model: of '{shortened(prompt)}' it reads '{shortened(read)}'",
                "hint": "use shorter names, or shorter prompts of your own: `--prompts FILE`",
            }
        )
    alike: dict[bytes, list[str]] = {}
    for name, row in zip(texts.class_names, texts.text_embeddings, strict=True):
        alike.setdefault(row.tobytes(), []).append(f"'{shortened(name)}'")
    for names in alike.values():
        if len(names) > 1:
            notes.append(
                {
                    "message": f"{first_few(names)} are the same text to the model: it cannot tell them apart",
                    "hint": "use names that differ early on, or other prompts for them: `--prompts FILE`",
                }
            )
    return notes


def mean_of_prompts(rows: Floats) -> Floats:
    """Each prompt normalised, averaged, normalised again: (P, D) to (D,)."""
    return unit(unit(rows).mean(axis=0, dtype=np.float64))


def shortened(text: str) -> str:
    """A text with its beginning and its end, where it is too long for a line."""
    return text if len(text) <= 80 else f"{text[:40]} ... {text[-35:]}"


def cache_file(workspace: Workspace, model: Model) -> Path:
    return workspace.root / CACHE / f"text-v{STAGE.version}-{model['digest'][:16]}.npz"


def read_cache(path: Path) -> dict[str, EmbeddedClass]:
    """Classes that were embedded, by the digest of their prompts."""
    stored = cache.read(path)
    if not {"keys", "rows", "cut"} <= stored.keys():
        return {}
    keys, rows, cut = stored["keys"].tolist(), stored["rows"], stored["cut"].tolist()
    if not len(keys) == len(rows) == len(cut):
        return {}
    try:
        return {key: EmbeddedClass(row, dict(json.loads(read))) for key, row, read in zip(keys, rows, cut, strict=True)}
    except (ValueError, TypeError, RecursionError):
        return {}


def write_cache(path: Path, known: Mapping[str, EmbeddedClass]) -> None:
    ones = known.values()
    cut = np.array([json.dumps(one.cut) for one in ones])
    cache.write(path, {"keys": np.array(list(known)), "rows": np.stack([one.row for one in ones]), "cut": cut})
