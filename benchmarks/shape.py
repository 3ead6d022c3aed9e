"""How the code and its prose are shaped: python -m benchmarks.shape

Numbers that tell whether a reader can find their way: how long files, functions and sentences are, how many arguments
a function takes, how many rooms the package has and how many arrows run between them, how many places a new stage
touches.
"""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.toy import places_to_touch

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "annotate"
MOST_ARGUMENTS, LONG_FILE = 7, 300  # a function with more arguments, a file with more lines is counted
GENERATED = re.compile(r"<!-- (\w+): .*? -->\n.*?<!-- end of \1 -->", re.DOTALL)
NOT_PROSE = re.compile(r"```.*?```|<!--.*?-->|^\|[^\n]*$|^#[^\n]*$|!\[.*?\]\(.*?\)", re.DOTALL | re.MULTILINE)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> None:
    functions = [function for path in sources() for function in functions_in(path)]
    arguments = [count_arguments(function) for function in functions]
    lengths = [count_lines(function) for function in functions]
    long_files = [path for path in sources() if len(path.read_text("utf-8").splitlines()) > LONG_FILE]
    many = sum(count > MOST_ARGUMENTS for count in arguments)
    words = [len(sentence.split()) for path in prose_files() for sentence in sentences(path.read_text("utf-8"))]
    rooms, arrows = structure()
    readme = GENERATED.sub("", (ROOT / "README.md").read_text("utf-8"))
    print(f"README, lines without the generated reference    {len(readme.splitlines())}")
    print(f"functions with more than {MOST_ARGUMENTS} arguments (most)          {many} ({max(arguments)})")
    print(f"files over {LONG_FILE} lines in annotate/                  {len(long_files)}")
    print(f"lines of a function, median / 90 %               {spread_of(lengths)}")
    print(f"words in a sentence of README and docs           {spread_of(words)}")
    print(f"rooms and arrows between them                    {len(rooms)} rooms, {len(arrows)} arrows")
    print(f"places to touch for a new stage                  {places_to_touch()}")


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def functions_in(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def count_arguments(function: Function) -> int:
    """All that a caller can give, but for `self` and `cls`."""
    named = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len([argument for argument in named if argument.arg not in ("self", "cls")])


def count_lines(function: Function) -> int:
    """Lines of signature and body, without its docstring."""
    first = function.body[0]
    docstring = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(function) else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - docstring


def prose_files() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def sentences(text: str) -> Iterator[str]:
    """Sentences of the prose alone: no tables, code, headings or generated reference.

    A semicolon ends one as a full stop does; so does the end of a list's item.
    """
    prose = NOT_PROSE.sub("\n\n", GENERATED.sub("", text))
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", prose):
        for sentence in re.split(r"[.!?;][)*]*\s+", " ".join(paragraph.split())):
            if len(sentence.split()) > 2:
                yield sentence


def structure() -> tuple[set[str], set[tuple[str, str]]]:
    """The rooms (the first name below `annotate`) and which room imports from which."""
    rooms = {room_of(path) for path in sources()}
    arrows = {
        (room_of(path), entered)
        for path in sources()
        for entered in rooms_entered(path, rooms)
        if entered != room_of(path)
    }
    return rooms, arrows


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "annotate" if first == "__init__" else first


def rooms_entered(path: Path, rooms: set[str]) -> set[str]:
    entered = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            first, _, rest = module.partition(".")
            if first == "annotate":
                room = rest.partition(".")[0]
                entered.add(room if room in rooms else "annotate")
    return entered


def spread_of(counts: Sequence[int]) -> str:
    """The median and the ninth decile."""
    return f"{statistics.median(counts):.0f} / {statistics.quantiles(counts, n=10)[-1]:.0f}"


if __name__ == "__main__":
    main()
