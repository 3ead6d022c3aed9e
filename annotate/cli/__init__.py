"""The command line: runs a command, and turns every failure of the user's world into two lines and its exit code."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

import typer

import annotate
from annotate.cli import checking, commands, display, exporting, people
from annotate.cli.parsing import Command, app
from annotate.errors import AnnotateError, InputError, Interrupted, machine_error

__all__ = ["app", "checking", "commands", "exporting", "main", "people"]


def main() -> NoReturn:
    """Run the command that was typed."""
    open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a letter shows its escape
            stream.reconfigure(errors="backslashreplace")
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = send_interrupts_again
    try:
        outcome = app(standalone_mode=False)
        sys.stdout.flush()
    except AnnotateError as error:
        display.fail(error)
        sys.exit(error.exit_code)
    except (Interrupted, KeyboardInterrupt, typer.Abort):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second one
        display.say(f"interrupted; {what_is_kept()}; run the same command again to go on")
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(130)  # threads that wait for a server that does not answer would keep us
    except (display.ReaderGone, BrokenPipeError):
        display.silence(sys.stdout)
        sys.exit(0)
    except Exception as error:
        known = machine_error(error)
        if known is not None:
            try:
                sys.stdout.flush()
            except OSError:  # it was the results' own file that is full
                display.silence(sys.stdout)
            display.fail(known)
            sys.exit(known.exit_code)
        if not hasattr(error, "format_message"):  # a usage error of Typer's parser brings its own words
            raise
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "annotate"
        display.fail(InputError(error.format_message().rstrip("."), hint=f"see `{command} --help`"))
        sys.exit(2)
    gc.freeze()  # Python would look once more at all that was ever imported, for a tenth of a second
    sys.exit(outcome if isinstance(outcome, int) else 0)


def what_is_kept() -> str:
    """What an interrupted command leaves for the next one."""
    try:
        images = annotate.embedded_so_far(workspace=Command.workspace)
    except (AnnotateError, OSError):
        images = None
    if images is None:
        return "the stages that were finished are kept"
    done, total = images
    return (
        f"{done:,} of {total:,} images are embedded and kept" if done else f"none of {total:,} images was embedded yet"
    )


def open_standard_streams() -> None:
    """Where we were started with a standard stream closed, the next file that is opened would take its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def send_interrupts_again(unraisable: Any) -> None:
    """A Ctrl-C that came while Python was in a destructor or the callback of a weak reference, where it is lost."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    import _thread
    from threading import Timer

    again = Timer(0.02, _thread.interrupt_main)  # seconds; by then Python is out of there
    again.daemon = True
    with suppress(RuntimeError):  # no new threads: Python is about to end anyway
        again.start()
