"""What somebody asked for: presets, the config file, and what is laid over them.

    defaults  <  preset  <  config file  <  flags and --set

`Config` remembers what was said and by whom; `Config.resolve(n)` gives the settings for n images, which
decide the preset where none is named.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from annotate.errors import ConfigError, Hint, InputError, printable
from annotate.settings import yamlfile
from annotate.settings.declared import Settings, sections
from annotate.settings.reasons import BY_COUNT, BY_PRESET, SAID
from annotate.settings.setting import Setting
from annotate.settings.values import checked, suggest

PRESETS = ("small", "medium", "large")
SMALL_BELOW, LARGE_FROM = 100, 100_000  # images
TRANSDUCTIVE_BELOW = 1_000_000  # images; `auto` is dynamic from here on


@dataclass(frozen=True)
class Config:
    """What the user said: `values` maps "section.key" to a checked value, `preset` names one or `auto`.

    said    those of the values that the command said, which the config file did not decide
    named   the preset that the command named, if it named one
    file    the config file, as the user calls it, where there is one
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    preset: str = "auto"
    classes: tuple[str, ...] = ()
    said: Mapping[str, Any] = field(default_factory=dict)
    named: str | None = None
    file: str = ""

    @classmethod
    def load(
        cls, file: str | Path | None = None, *, preset: str | None = None, overrides: Mapping[str, Any] | None = None
    ) -> Config:
        """Read a config file and lay other values over it.

        file       YAML; without one nothing is read
        overrides  "section.key" to value; None means not said
        raises     ConfigError for an unknown key, a value out of bounds or of the wrong type
        """
        return (cls.read(Path(file)) if file else cls()).asked(overrides or {}, preset)

    @classmethod
    def read(cls, path: Path) -> Config:
        """What a config file says."""
        content, shown = read_yaml(path), printable(path)
        classes = content.pop("classes", [])
        written = content.pop("preset", "")
        preset = checked_preset("auto" if written in yamlfile.NOTHING else written, source=f"{shown}: ")
        values = flatten(content, source=shown)
        return cls(values, preset, tuple(as_names(classes, shown=f"{shown}: classes")), file=shown)

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
        chosen: dict[str, Any] = {name: {} for name in sections()}
        for key, value in values.items():
            section, _, name = key.partition(".")
            chosen[section][name] = value
        return msgspec.convert({**chosen, "preset": preset}, Settings)

    def applied(self, n: int | None) -> str:
        """The preset for n images."""
        return self.preset if self.preset != "auto" else preset_for(n)

    def request(self, *used: str, n: int | None = None, **further: Any) -> dict[str, Any]:
        """What the command asked of a stage, and who decided its settings, for the stage's manifest.

        used     sections of the stage, and of the stages that it runs itself; the first is its own
        n        images
        further  what it was given beside settings, where it was given
        """
        own = used[0]
        return {
            "settings": {
                key: os.path.abspath(value) if names_a_file(value) else value
                for key, value in self.said.items()
                if key.partition(".")[0] in used
            },
            "preset": self.named,
            "applied": self.applied(n),
            "applied_by": SAID if self.named else BY_COUNT if self.preset == "auto" else self.file,
            "decided": {
                setting.name: who
                for setting in sections()[own].values()
                if (who := self.decided_by(setting.key, setting.default))
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
        raise InputError(
            f"no config file {shown}",
            hint=Hint("check the path, or go without a file of settings", "leave --config out to go without one"),
        )
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
        if section not in sections():
            raise ConfigError(
                f"{source}: no section '{printable(section)}'",
                hint=suggest(section, [*sections(), "classes", "preset"]),
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
            f"--set {printable(text)}: expected SECTION.KEY=VALUE",
            hint=Hint("for example refine.temperature=0.1", "for example --set refine.temperature=0.1"),
        )
    said = yamlfile.parse(value, shown=f"--set {printable(text)[:80]}", hint="quote the value")
    return key.strip(), None if said in yamlfile.NOTHING else said


def by_section(
    function: str, named: Mapping[str, Any], sections_taken: Sequence[str], arguments: Sequence[str]
) -> dict[str, Any]:
    """Settings as Python's functions take them, by argument, to "section.name".

    sections_taken  those whose settings the function takes
    arguments       of the function itself, for what was probably meant
    raises          ConfigError for a name that it does not take
    """
    known = by_argument() | by_argument(sections_taken)
    found: dict[str, Any] = {}
    for name, value in named.items():
        setting = known.get(name)
        if setting is None or setting.section not in sections_taken:
            what = "setting" if sections_taken else "argument"
            if setting:
                taker = {"text": "embed_text", "engine": "embed", "answers": "label"}.get(
                    setting.section, setting.section
                )
                hint = f"it is one of `annotate.{taker}` and of `annotate.run`"
            else:
                taken = [argument for argument, setting in known.items() if setting.section in sections_taken]
                hint = suggest(name, [*arguments, *taken])
            raise ConfigError(f"{function}: no {what} '{printable(name)}'", hint=hint)
        flag = setting.means and name == setting.argument
        if flag and isinstance(value, bool):
            value = setting.means if value else setting.default
        elif flag and name != setting.name:
            raise ConfigError(
                f"{function}: {name}: expected True or False, found '{printable(value)}'",
                hint=f"{name}=True, or leave it out",
            )
        found[setting.key] = value
    return found


def by_argument(among: Iterable[str] | None = None) -> dict[str, Setting]:
    """Settings by their argument in Python; what the command line has as a flag alone by its own name as well.

    among  sections; all unless given. Two of them may use one name, where no function takes both
    """
    chosen = sections() if among is None else among
    settings = [setting for section in chosen for setting in sections()[section].values()]
    names = {setting.name: setting for setting in settings if setting.means}
    return {setting.argument: setting for setting in settings} | names


def as_names(content: Any, *, shown: str) -> list[str]:
    """Class names from a YAML or JSON list, as they are written."""
    names = [content] if isinstance(content, str) and content else content
    if not isinstance(names, list):
        raise ConfigError(f"{shown}: expected a list of names", hint="for example [dog, cat]")
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(f"{shown}: '{printable(name)[:80]}' is not a name", hint='quote it: "yes"')
    return list(names)
