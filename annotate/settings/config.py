"""Every knob with its default, unit and bounds; presets; overrides.

    defaults  <  preset  <  config file  <  flags and --set

`Config` remembers what was said and by whom; `Config.resolve(n)` gives the settings for n images, which
decide the preset where none is named.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from annotate.errors import ConfigError, InputError, printable
from annotate.settings import yamlfile
from annotate.settings.reasons import BY_COUNT, BY_PRESET, SAID

PRESETS = ("small", "medium", "large")
SMALL_BELOW, LARGE_FROM = 100, 100_000  # images
TRANSDUCTIVE_BELOW = 1_000_000  # images; `auto` is dynamic from here on
CONFIG_FILE = "annotate.yaml"


def knob(
    default: Any,
    about: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """A setting. `low` and `high` lie within the bounds, `above` does not; a default of None is chosen for you."""
    return field(
        default=default, metadata={"about": about, "low": low, "high": high, "above": above, "choices": choices}
    )


@dataclass(frozen=True)
class EmbedSettings:
    model: str = knob("ViT-B/32", "encoder: one of OpenAI's nine, `tiny`, or the path of a checkpoint")
    batch_size: int | None = knob(
        None,
        "images per forward pass, part of what makes the same bytes; 32 on a CPU and 256 on a GPU unless given",
        low=1,
        high=1024,
    )
    device: str = knob("auto", "auto takes CUDA, then MPS, then CPU", choices=("auto", "cuda", "mps", "cpu"))
    precision: str = knob("auto", "auto is half precision where the hardware has it", choices=("auto", "float32"))
    max_megapixels: float = knob(100.0, "megapixels; larger images are skipped before they are decoded", above=0)
    workers: int | None = knob(
        None, "threads that read and decode images; one per core, at most 16, unless given", low=1, high=256
    )
    sessions: int | None = knob(
        None, "batches that a CPU encodes at once, a thread each; one per core unless given", low=1, high=256
    )
    dtype: str = knob("float32", "of the rows on disk; float16 halves them", choices=("float32", "float16"))
    ledger: str | None = knob(
        None, "folder or address (s3://bucket/folder) for finished shards; in the workspace unless given"
    )


@dataclass(frozen=True)
class TextSettings:
    prompts: str = knob("auto", "auto, digits, sign-language, photo, clip7, or a YAML file")


@dataclass(frozen=True)
class ClusterSettings:
    min_cluster_size: int | None = knob(None, "images; N // 20 unless given, at most N / 3K, at least 5", low=2)
    min_samples: int | None = knob(None, "images; N // 50 unless given, at least 3; beyond 20,000 images 50", low=1)
    pca_dimensions: int = knob(50, "dimensions in which HDBSCAN looks for density", low=2, high=50)
    meta_clusters: int | None = knob(None, "groups of micro-clusters; the number of classes unless given", low=1)


@dataclass(frozen=True)
class RefineSettings:
    method: str = knob(
        "auto",
        "auto is transductive below 1,000,000 images, dynamic from there on",
        choices=("auto", "direct", "dynamic", "soft", "transductive"),
    )
    temperature: float | None = knob(
        None, "divides similarities before softmax; fitted to the model's own scale unless given", above=0
    )
    iterations: int | None = knob(
        None,
        "passes over all images; 10 for dynamic, 5 for soft, at most 15 for transductive unless given",
        low=1,
        high=1000,
    )
    text_weight_start: float = knob(0.95, "weight of the words in a prototype at the first iteration", low=0, high=1)
    text_weight_end: float = knob(0.60, "weight of the words in a prototype toward the last iteration", low=0, high=1)
    class_sizes: str = knob(
        "free", "transductive: what is known of how many images a class has", choices=("free", "balanced")
    )
    cluster_weights: str = knob(
        "equal", "soft: clusters count all the same, or by their images", choices=("equal", "size")
    )


@dataclass(frozen=True)
class OrganizeSettings:
    link: str = knob(
        "copy", "how images get there; auto is the cheapest that works", choices=("copy", "hardlink", "symlink", "auto")
    )
    unknown: str = knob(
        "keep",
        "images that fit none of the names: with their likeliest class, or apart in a folder `unknown`",
        choices=("keep", "apart"),
    )
    splits: tuple[int, ...] = knob((70, 15, 15), "percent of each class in train, val and test")
    seed: int = knob(42, "decides which image goes to which split", low=0)


@dataclass(frozen=True)
class ReportSettings:
    thumbnails: int = knob(24, "images shown per class, spread from most to least confident", low=0, high=1000)
    least_certain: int = knob(48, "images in the gallery of the least certain", low=0, high=10000)
    map_points: int = knob(2000, "images drawn on the map", low=10, high=50000)


@dataclass(frozen=True)
class EngineSettings:
    name: str = knob("local", "where the work on embeddings runs; the bytes are the same", choices=("local", "ray"))
    address: str | None = knob(None, "ray: HOST:PORT of a cluster; one on this machine is started unless given")
    decoders: int | None = knob(
        None,
        "ray: cores that decode for those that encode; all beside the GPUs, none without GPUs, unless given",
        low=0,
    )


@dataclass(frozen=True)
class Settings:
    embed: EmbedSettings = EmbedSettings()
    text: TextSettings = TextSettings()
    cluster: ClusterSettings = ClusterSettings()
    refine: RefineSettings = RefineSettings()
    organize: OrganizeSettings = OrganizeSettings()
    report: ReportSettings = ReportSettings()
    engine: EngineSettings = EngineSettings()
    preset: str = "medium"


SECTIONS: dict[str, type] = {
    "embed": EmbedSettings,
    "text": TextSettings,
    "cluster": ClusterSettings,
    "refine": RefineSettings,
    "organize": OrganizeSettings,
    "report": ReportSettings,
    "engine": EngineSettings,
}


@dataclass(frozen=True)
class Config:
    """What the user said: `values` maps "section.key" to a checked value, `preset` names one or `auto`.

    said    those of the values that the command said, which the config file did not decide
    named   the preset that the command named, if it named one
    file    the config file, as the user calls it
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    preset: str = "auto"
    classes: tuple[str, ...] = ()
    said: Mapping[str, Any] = field(default_factory=dict)
    named: str | None = None
    file: str = CONFIG_FILE

    @classmethod
    def load(
        cls, file: str | Path | None = None, *, preset: str | None = None, overrides: Mapping[str, Any] | None = None
    ) -> Config:
        """Read the config file (annotate.yaml here, where it exists and none is named) and lay flags over it.

        overrides  "section.key" to value; None means not said
        raises     ConfigError for an unknown key, a value out of bounds or of the wrong type
        """
        path = Path(file) if file else Path(CONFIG_FILE)
        content = read_yaml(path) if file or path.is_file() else {}
        classes = content.pop("classes", [])
        written = content.pop("preset", "")
        chosen = checked_preset("auto" if written in yamlfile.NOTHING else written, source=f"{printable(path)}: ")
        values = flatten(content, source=printable(path))
        names = tuple(as_names(classes, shown=f"{printable(path)}: classes"))
        return cls(values, chosen, names, file=printable(path)).asked(overrides or {}, preset)

    def asked(self, overrides: Mapping[str, Any], preset: str | None = None) -> Config:
        """The same with what a command says laid over it; None is not said."""
        said = {key: checked(key, value, source="") for key, value in overrides.items() if value is not None}
        named = checked_preset(preset) if preset else None
        return dataclasses.replace(
            self, values={**self.values, **said}, preset=named or self.preset, said=said, named=named
        )

    def resolve(self, n: int | None = None) -> Settings:
        """The settings for n images."""
        preset = self.applied(n)
        values = {**preset_values(preset), **self.values}
        if values.get("refine.method", "auto") == "auto":
            values["refine.method"] = "transductive" if (n or 0) < TRANSDUCTIVE_BELOW else "dynamic"
        sections = {
            name: section(**{k.partition(".")[2]: v for k, v in values.items() if k.startswith(f"{name}.")})
            for name, section in SECTIONS.items()
        }
        return Settings(**sections, preset=preset)

    def applied(self, n: int | None) -> str:
        """The preset for n images."""
        return self.preset if self.preset != "auto" else preset_for(n)

    def request(self, *sections: str, n: int | None = None, **further: Any) -> dict[str, Any]:
        """What the command asked of a stage, and who decided its settings, for the stage's manifest.

        sections  those of the stage, and of the stages that it runs itself; the first is its own
        n         images
        further   what it was given beside settings, where it was given
        """
        own = sections[0]
        return {
            "settings": {
                key: os.path.abspath(value) if names_a_file(value) else value
                for key, value in self.said.items()
                if key.partition(".")[0] in sections
            },
            "preset": self.named,
            "applied": self.applied(n),
            "applied_by": SAID if self.named else BY_COUNT if self.preset == "auto" else self.file,
            "decided": {
                knob.name: who
                for knob in dataclasses.fields(SECTIONS[own])
                if (who := self.decided_by(f"{own}.{knob.name}", knob.default))
            },
            "images": n,
            **{name: value for name, value in further.items() if value},
        }

    def decided_by(self, key: str, default: Any) -> str | None:
        """Who decides a setting: the command, the config file by name, the preset, the number of images, or nobody."""
        if key in self.said:
            return SAID
        if key in self.values and self.values[key] != "auto":
            return self.file
        if any(preset_values(preset).get(key, "auto") != "auto" for preset in PRESETS):
            return BY_PRESET
        return BY_COUNT if default in (None, "auto") else None


def names_a_file(value: object) -> bool:
    """Whether a setting is the path of a file, which a command elsewhere would call otherwise."""
    return isinstance(value, str) and bool(os.path.splitext(value)[1]) and os.path.isfile(value)


def checked_preset(name: object, *, source: str = "") -> str:
    if name not in (*PRESETS, "auto"):
        raise ConfigError(f"{source}no preset '{printable(name)}'", hint=suggest(name, (*PRESETS, "auto")))
    return str(name)


def preset_for(n: int | None) -> str:
    if n is None:
        return "medium"
    return "small" if n < SMALL_BELOW else "large" if n >= LARGE_FROM else "medium"


@lru_cache
def preset_values(name: str) -> dict[str, Any]:
    here = Path(__file__).parents[1]
    installed, checkout = here / "configs" / f"{name}.yaml", here.parent / "configs" / f"{name}.yaml"
    path = installed if installed.is_file() else checkout
    return flatten(read_yaml(path), source=path.name)


def read_yaml(path: Path) -> dict[str, Any]:
    shown = printable(path)
    if not path.is_file():
        raise InputError(f"no config file {shown}", hint="leave --config out to go without one")
    content = yamlfile.read(path, hint="check its indentation")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"{shown}: expected sections of settings", hint="for example `refine:` and under it `  iterations: 5`"
        )
    return content


def flatten(content: Mapping[Any, Any], *, source: str) -> dict[str, Any]:
    """{"refine": {"iterations": 5}} to {"refine.iterations": 5}, every key and value checked."""
    values: dict[str, Any] = {}
    for section, settings in content.items():
        if section not in SECTIONS:
            raise ConfigError(
                f"{source}: no section '{printable(section)}'", hint=suggest(section, [*SECTIONS, "classes", "preset"])
            )
        if settings in yamlfile.NOTHING:
            continue
        if not isinstance(settings, Mapping):
            raise ConfigError(
                f"{source}: {section}: expected settings under it", hint=f"for example `{section}: {{...}}`"
            )
        for key, value in settings.items():
            value = None if value in yamlfile.NOTHING else value
            values[f"{section}.{key}"] = checked(f"{section}.{key}", value, source=source)
    return values


def parse_assignment(text: str) -> tuple[str, Any]:
    """`refine.temperature=0.1`, as given to --set."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(
            f"--set {printable(text)}: expected SECTION.KEY=VALUE", hint="for example --set refine.temperature=0.1"
        )
    said = yamlfile.parse(value, shown=f"--set {printable(text)[:80]}", hint="quote the value")
    return key.strip(), None if said in yamlfile.NOTHING else said


def checked(key: str, value: Any, *, source: str) -> Any:
    """The value in the type of its knob.

    raises  ConfigError that names file, section and key
    """
    section, _, name = key.partition(".")
    shown = f"{source}: {section}: " if source else f"{section}: "
    if section not in SECTIONS:
        raise ConfigError(f"no section '{printable(section)}'", hint=suggest(section, list(SECTIONS)))
    knobs = {f.name: f for f in dataclasses.fields(SECTIONS[section])}
    if name not in knobs:
        raise ConfigError(f"{shown}no setting '{printable(name)}'", hint=suggest(name, list(knobs)))
    declared = knobs[name]
    limits = declared.metadata
    if value is None:
        if declared.default is None:
            return None
        raise ConfigError(f"{shown}{name}: no value", hint=f"it is {declared.default} unless you say otherwise")
    if name == "splits":
        return checked_splits(value, shown)
    kind = str(declared.type).removesuffix(" | None")
    try:
        value = convert(value, kind)
    except (ValueError, TypeError, OverflowError):
        expected = {"int": "a whole number", "float": "a number", "str": "a word"}[kind]
        raise ConfigError(
            f"{shown}{name}: expected {expected}, found '{printable(value)}'", hint=f"{name}: {limits['about']}"
        ) from None
    if limits["choices"] and value not in limits["choices"]:
        raise ConfigError(f"{shown}{name}: no '{printable(value)}'", hint=suggest(value, limits["choices"]))
    low, high, above = limits["low"], limits["high"], limits["above"]
    if above is not None and not value > above:
        raise ConfigError(f"{shown}{name}: {value} is not above {above:g}", hint=f"{name}: {limits['about']}")
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        bounds = f"{low:g} or more" if high is None else f"between {low:g} and {high:g}"
        raise ConfigError(f"{shown}{name}: {value} is out of bounds", hint=f"it must be {bounds}; {limits['about']}")
    return value


def convert(value: Any, kind: str) -> Any:
    if isinstance(value, bool):
        raise TypeError
    if kind == "int":
        number = float(value)
        if not number.is_integer():
            raise ValueError
        return int(value) if isinstance(value, (int, str)) else int(number)
    if kind == "float":
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
        return number
    return str(value)


def checked_splits(value: Any, shown: str) -> tuple[int, ...]:
    """Three whole percentages that sum to 100, from "70,15,15" or a list."""
    hint = "give three whole percentages for train, val and test, for example 70,15,15"
    parts = value.split(",") if isinstance(value, str) else value
    try:
        splits = tuple(int(convert(part, "int")) for part in parts)
    except (ValueError, TypeError):
        raise ConfigError(f"{shown}splits: '{printable(value)}' is not a list of percentages", hint=hint) from None
    if len(splits) != 3 or min(splits) < 0:
        raise ConfigError(f"{shown}splits: '{printable(value)}' is not three percentages", hint=hint)
    if sum(splits) != 100:
        raise ConfigError(f"{shown}splits: {'+'.join(map(str, splits))} is {sum(splits)}, not 100", hint=hint)
    return splits


WORDS_OF_FLAGS: dict[str, tuple[str, dict[bool, str]]] = {
    # flags of the command line that say a setting in another word, as Python's arguments too
    "balanced": ("refine.class_sizes", {True: "balanced", False: "free"}),
    "unknown": ("organize.unknown", {True: "apart", False: "keep"}),
}


def by_section(
    function: str, named: Mapping[str, Any], sections: Sequence[str], arguments: Sequence[str]
) -> dict[str, Any]:
    """Settings by bare name, as Python's functions take them, to "section.name".

    sections   those whose settings the function takes
    arguments  of the function itself, for what was probably meant
    raises     ConfigError for a name that it does not take
    """
    places = {knob.name: section for section in SECTIONS for knob in dataclasses.fields(SECTIONS[section])}
    places = {**places, "engine": "engine", "balanced": "refine"}
    del places["name"]  # is the engine's, which `engine` says as on the command line
    found: dict[str, Any] = {}
    for name, value in named.items():
        section = places.get(name)
        if section not in sections:
            what = "setting" if sections else "argument"
            if section:
                taker = {"text": "embed_text", "engine": "embed"}.get(section, section)
                hint = f"it is one of `annotate.{taker}` and of `annotate.run`"
            else:
                known = [*arguments, *(knob for knob, place in places.items() if place in sections)]
                hint = suggest(name, known)
            raise ConfigError(f"{function}: no {what} '{printable(name)}'", hint=hint)
        key = "engine.name" if name == "engine" else f"{section}.{name}"
        if name in WORDS_OF_FLAGS and isinstance(value, bool):
            key, words = WORDS_OF_FLAGS[name]
            value = words[value]
        elif name == "balanced":
            raise ConfigError(
                f"{function}: balanced: expected True or False, found '{printable(value)}'",
                hint="balanced=True, or leave it out",
            )
        found[key] = value
    return found


def suggest(word: object, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(str(word), known, n=1)
    return f"did you mean '{nearest[0]}'?" if nearest else f"use one of {', '.join(known)}"


def as_names(content: Any, *, shown: str) -> list[str]:
    """Class names from a YAML or JSON list, as they are written."""
    names = [content] if isinstance(content, str) and content else content
    if not isinstance(names, list):
        raise ConfigError(f"{shown}: expected a list of names", hint="for example [dog, cat]")
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(f"{shown}: '{printable(name)[:80]}' is not a name", hint='quote it: "yes"')
    return list(names)
