"""The parser: commands by name, whose options are made when one of them is asked for.

Typer would read the signature of every command at every start, and the settings in them would need msgspec.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import typer

from annotate.errors import Interrupted, folder_is_gone, working_folder_exists

# Arguments and options that are paths, and words that stand for something else there.
PATHS = """
    images output folder workspace config classes_file given truth source export also ledger embeddings image_paths
    text_embeddings file votes data_root micro_assignments meta_assignments micro_centroids meta_centroids
"""
WORDS = ("folders", "none")


class Commands(typer.core.TyperGroup):
    """The commands that have a function here, and one for every other stage: adding a stage is adding its file."""

    def list_commands(self, context: Any) -> list[str]:
        from annotate.cli.staged import titles

        return [*dict.fromkeys([*self.commands, *titles()])]

    def get_command(self, context: Any, name: str) -> Any:
        if name in self.commands:
            return self.commands[name]
        from annotate.cli.staged import titles

        about = titles().get(name)
        return about and StageCommand(name, help=about, callback=nothing, rich_markup_mode=None)


app = typer.Typer(
    name="annotate",
    cls=Commands,
    help="Turn a folder of images and a list of class names into a dataset, ready to train on.\n\n"
    "Example: annotate run photos dataset cat dog",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # a help page drawn by Rich takes longer than all the rest of starting
    context_settings={"help_option_names": ["-h", "--help"]},
)

Function = Callable[..., None]


def command(*sections: str, name: str = "") -> Callable[[Function], Function]:
    """The command of a function, which takes the settings of these sections."""

    def named(function: Function) -> Function:
        called = name or function.__name__
        Command.functions[called] = function, sections
        app.command(called, cls=Command, help=inspect.getdoc(function))(nothing)
        return function

    return named


def nothing() -> None:
    """Stands for a command's function until its options are made."""


class Command(typer.core.TyperCommand):
    """A command that also runs where the folder that it was started in is gone, if no path depends on it.

    functions  by the command's name, with the sections whose settings it takes
    workspace  that of the command that runs, for whoever interrupts it
    """

    functions: ClassVar[dict[str, tuple[Function, tuple[str, ...]]]] = {}
    workspace: ClassVar[str | Path | None] = None

    def make_context(self, *given: Any, **named: Any) -> Any:
        if not self.params:
            from annotate.cli.options import with_options

            function, sections = self.function_and_sections()
            made = typer.main.get_command_from_info(
                typer.models.CommandInfo(callback=with_options(function, sections)),
                pretty_exceptions_short=False,
                rich_markup_mode=None,
            )
            self.params, self.callback = made.params, made.callback
        return super().make_context(*given, **named)

    def function_and_sections(self) -> tuple[Function, tuple[str, ...]]:
        return self.functions[str(self.name)]

    def invoke(self, context: Any) -> Any:
        if not working_folder_exists():
            given = {name: context.params.get(name) for name in PATHS.split() if name in context.params}
            if "workspace" in given:
                given["workspace"] = given["workspace"] or os.environ.get("ANNOTATE_WORKSPACE") or "artifacts"
            for value in given.values():
                for path in value if isinstance(value, list) else [value]:
                    text = str(path or "/")
                    if not os.path.isabs(text) and "://" not in text and text not in WORDS:
                        raise folder_is_gone()
            os.chdir(os.sep)  # some libraries do not load where there is no folder
        folder, place = (context.params.get(name) for name in ("folder", "workspace"))
        Command.workspace = Path(folder, "artifacts") if folder else place  # the demo has a folder
        try:
            return super().invoke(context)
        except KeyboardInterrupt as error:  # of which Typer would make an exit code, without a word
            raise Interrupted from error


class StageCommand(Command):
    """The command of a stage that has no function here."""

    def function_and_sections(self) -> tuple[Function, tuple[str, ...]]:
        from annotate.cli.staged import function_for

        return function_for(str(self.name))
