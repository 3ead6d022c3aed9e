"""Who may import whom: read from the syntax trees."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "annotate"

# Room to the rooms it may enter; a room is the first name below `annotate`. Every arrow is listed.
MAY_IMPORT = {
    "errors": set(),
    "records": {"records"},
    "progress": {"errors", "records"},
    "settings": {"errors", "settings"},
    "classes": {"classes", "errors", "settings"},
    "workspace": {"errors", "records", "settings", "workspace"},
    "encoders": {"encoders", "errors", "workspace"},
    "images": {"images"},
    "sources": {"errors", "images", "records", "sources", "workspace"},
    "embedding": {"embedding", "encoders", "errors", "images", "progress", "records", "sources", "workspace"},
    "kernels": {"kernels"},
    "engines": {"embedding", "encoders", "engines", "errors", "kernels", "progress", "records", "workspace"},
    "exports": {
        "classes", "errors", "exports", "images", "kernels", "progress", "records", "settings", "sources",
        "workspace",
    },
    "methods": {"errors", "kernels", "methods", "progress", "records", "settings", "workspace"},
    "store": {"classes", "errors", "records", "sources", "store", "workspace"},
    "reports": {
        "classes", "errors", "images", "kernels", "progress", "records", "reports", "sources", "store", "workspace",
    },
    "votes": {"errors", "kernels", "votes", "workspace"},
    "stages": {
        "classes", "embedding", "encoders", "engines", "errors", "exports", "images", "kernels", "methods",
        "progress", "records", "reports", "settings", "sources", "stages", "store", "votes", "workspace",
    },
    "project": {"classes", "errors", "progress", "records", "settings", "stages", "workspace"},
    "annotate": {"errors", "progress", "project", "records", "sources", "stages", "workspace"},
    "cli": {"annotate", "cli", "errors", "records", "settings", "stages", "workspace"},
    "__main__": {"cli"},
}  # fmt: skip
KERNELS_USE = {"numpy", "scipy", "sklearn", "hdbscan", "faiss", "threadpoolctl"}


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "annotate" if first == "__init__" else first


def imports_of(path: Path) -> set[str]:
    """Modules that a file imports anywhere, as dotted names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "annotate" else set()
            found |= submodules or {node.module}
    return found


def rooms_entered(path: Path) -> set[str]:
    names = [module.split(".") for module in imports_of(path) if module.split(".")[0] == "annotate"]
    known = {room_of(file) for file in PACKAGE.rglob("*.py")}
    return {parts[1] if len(parts) > 1 and parts[1] in known else "annotate" for parts in names}


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_never_run_back(path: Path) -> None:
    room = room_of(path)
    allowed = MAY_IMPORT[room] | ({room} if path.parent != PACKAGE else set())
    assert rooms_entered(path) <= allowed


@pytest.mark.parametrize("path", sorted((PACKAGE / "kernels").glob("*.py")), ids=lambda path: path.name)
def test_kernels_know_arrays_alone(path: Path) -> None:
    outside = {module.split(".")[0] for module in imports_of(path)} - {"annotate"} - set(sys.stdlib_module_names)
    assert outside <= KERNELS_USE


def test_no_stage_prints() -> None:
    for path in SOURCES:
        if room_of(path) not in ("cli", "display"):
            calls = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
            assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path


def test_starting_the_command_line_loads_nothing_heavy() -> None:
    heavy = ["torch", "clip", "scipy", "sklearn", "hdbscan", "faiss", "ray", "matplotlib", "PIL", "jinja2", "pandas"]
    heavy += ["sqlalchemy", "alembic", "pydantic", "http.client", "urllib.request", "numpy", "msgspec", "rich", "yaml"]
    code = f"""if True:
        import sys
        from annotate.cli import app
        app(["--help"], standalone_mode=False)
        print([m for m in {heavy} if m in sys.modules])
    """
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.splitlines()[-1] == "[]"


def test_refining_cached_embeddings_loads_neither_torch_nor_a_network() -> None:
    code = (
        "import sys, annotate.stages.refine, annotate.stages.organize; "
        "print([m for m in ('torch', 'pydantic', 'sqlalchemy', 'http.client', 'urllib.request') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
