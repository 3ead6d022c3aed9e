"""Options, each declared once, and the signature that Typer reads.

A command's function takes what belongs together as one argument: all that there is to say of class names, of settings.
Here an option is made of each of its parts, of a setting by its declaration (annotate/settings/declared.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer

from annotate.cli import bars, display
from annotate.cli.names import names_from

if TYPE_CHECKING:
    from annotate.settings.setting import Setting

CONFIG_FILE = "annotate.yaml"  # read where it lies in the working folder


def option(about: str, *names: str, metavar: str | None = None) -> Any:
    """An option that is called as the argument is, or by these names; a bare flag needs its name."""
    return typer.Option(*names, help=about, metavar=metavar, show_default=False)


def argument(metavar: str, about: str) -> Any:
    return typer.Argument(metavar=metavar, help=about, show_default=False)


@dataclass(frozen=True)
class Several:
    """An argument of a command's function for which there are several options.

    options  by name, of the sections whose settings the command takes
    join     the values of the options, by name, to that of the argument
    of       whether `join` also takes the sections: settings of two may bear one name
    """

    options: Callable[[Sequence[str]], Mapping[str, Any]]
    join: Callable[..., Any]
    of: bool = False


# -- arguments and flags that recur ----------------------------------------------------------------------------

Images = Annotated[
    str,
    argument(
        "IMAGES",
        "Folder of images, searched with all folders below; a .txt, .csv or .parquet that lists paths or "
        "addresses; a .zip or .tar, 'shards/*.tar'; or an address.",
    ),
]
Output = Annotated[Path, argument("OUTPUT", "Folder for the dataset.")]
ClassWords = Annotated[list[str] | None, argument("CLASS...", "Class names.")]
Place = Annotated[
    Path | None,
    option("Folder of artifacts (default: artifacts, or $ANNOTATE_WORKSPACE).", "--workspace", "-w"),
]
ConfigFile = Annotated[Path | None, option(f"Settings in YAML (default: {CONFIG_FILE} where it exists).")]
Force = Annotated[bool, option("Run again even where nothing changed.", "--force")]
Verbose = Annotated[bool, option("Show a table of the passes of refinement.", "--verbose", "-v")]
AsJson = Annotated[bool, option("Print JSON.", "--json")]
Given = Annotated[
    Path | None,
    option(
        "Classes that you know of some images, as for the truth of `report`: confidence is fitted to them. They "
        "are remembered; `none` forgets them.",
    ),
]
Truth = Annotated[
    Path | None,
    option(
        "The right classes: a CSV of path,class, a folder per class, `folders` (taken without asking where every "
        "folder of images bears a class's name), or `none`.",
    ),
]

Classes = Annotated[
    list[str],
    Several(
        lambda sections: {
            "classes": Annotated[
                list[str] | None,
                option("Class names, separated by commas; can be repeated.", "--classes", "-c"),
            ],
            "classes_file": Annotated[
                Path | None,
                option("File of class names: one a line, or a JSON or YAML list."),
            ],
        },
        lambda classes, classes_file: names_from(classes or [], classes_file),
    ),
]


# -- settings --------------------------------------------------------------------------------------------------


def asked_options(sections: Sequence[str]) -> dict[str, Any]:
    """The flags of a stage's settings, and what is common to all stages."""
    return {setting.argument: option_for(setting) for setting in settings_with_flags(sections)} | {
        "workspace": Place,
        "config": ConfigFile,
        "preset": Annotated[str | None, option("small, medium, large, or auto by the number of images.")],
        "assign": Annotated[
            list[str] | None,
            option("Any setting, as SECTION.KEY=VALUE; can be repeated.", "--set", metavar="SECTION.KEY=VALUE"),
        ],
        "force": Force,
        **({"verbose": Verbose} if "refine" in sections else {}),
    }


def asked_from(
    sections: Sequence[str],
    *,
    workspace: Path | None,
    config: Path | None,
    preset: str | None,
    assign: Sequence[str] | None,
    force: bool | None,
    verbose: bool | None = None,
    **flags: Any,
) -> dict[str, Any]:
    """The keyword arguments that every stage's function in `annotate` takes; flags beat --set."""
    from annotate.settings.config import by_argument, parse_assignment

    known = by_argument(sections)
    said = dict(parse_assignment(assignment) for assignment in assign or [])
    for name, value in flags.items():
        if value is not None:
            said[known[name].key] = known[name].means or value
    return {
        "workspace": workspace,
        "config": config_file(config),
        "preset": preset,
        "force": bool(force),
        "settings": said,
        "progress": bars.Terminal(verbose=bool(verbose)),
    }


def settings_with_flags(sections: Sequence[str]) -> list[Setting]:
    from annotate.settings.declared import sections as declared

    return [setting for section in sections for setting in declared()[section].values() if setting.flag]


def option_for(setting: Setting) -> Any:
    """The option of a setting: a bare flag where it stands for one value, else one that takes a value."""
    if setting.means:
        return Annotated[bool | None, option(f"{setting.sentence}.", setting.flag)]
    bounds = f"{setting.bounds}; " if setting.bounds else ""
    kind = setting.kind if setting.kind in (int, float) else str
    return Annotated[
        kind | None, option(f"{setting.sentence} ({bounds}default: {setting.shown_default}).", setting.flag)
    ]


def config_file(named: Path | None) -> Path | None:
    """The file of settings: the one that is named, or that of the working folder, of which is told."""
    if named is None and Path(CONFIG_FILE).is_file():
        display.put((f"settings from {CONFIG_FILE}", "dim"), stderr=True)
        return Path(CONFIG_FILE)
    return named


Asked = Annotated[dict[str, Any], Several(asked_options, asked_from, of=True)]


# -- the signature ---------------------------------------------------------------------------------------------


def with_options(function: Callable[..., None], sections: Sequence[str]) -> Callable[..., None]:
    """The function with an option for every part of its arguments; those of an argument of several may be left out."""
    hints = get_type_hints(function, include_extras=True)
    several: dict[str, tuple[Several, Mapping[str, Any]]] = {}
    parameters: list[inspect.Parameter] = []
    for name, own in inspect.signature(function).parameters.items():
        whole = get_args(hints[name])[1] if get_origin(hints[name]) is Annotated else None
        if isinstance(whole, Several):
            several[name] = whole, whole.options(sections)
            parameters += [parameter(part, kind, None) for part, kind in several[name][1].items()]
        else:
            parameters.append(parameter(name, hints[name], own.default))

    def called(**given: Any) -> None:
        for name, (whole, parts) in several.items():
            values = {part: given.pop(part) for part in parts}
            given[name] = whole.join(sections, **values) if whole.of else whole.join(**values)
        function(**given)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {}
    return called


def parameter(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
