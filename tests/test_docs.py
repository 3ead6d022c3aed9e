"""The README and the docs hold: their commands run, references are those of the code, links lead somewhere."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from annotate.sources.demo.photos import everyday_photos
from benchmarks.toy import docs_reference

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*PAGES, ROOT / "annotate" / "encoders" / "tiny" / "MODEL_CARD.md", ROOT / "training" / "README.md"]
LONGEST_LINE = 120  # letters; a row of a table may be longer


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    return [line.removeprefix("$ ") for block in blocks(page, "console") for line in block.splitlines()]


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def reader(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder: photos of cats and dogs, what the pages name beside them, annotate on the path.

    The photos are of apples and trucks: none of cats and dogs come with annotate, and these, too, it tells apart.
    """
    shutil.rmtree(photos)
    shown = everyday_photos().values()
    for name, what in (("cat", "apple"), ("dog", "truck")):
        (photos / name).mkdir(parents=True)
        for i, photo in enumerate([photo for photo in shown if photo.class_name == what][:4]):
            Image.open(io.BytesIO(photo.content())).save(photos / name / f"{i}.png")
    paths = [f"photos/{p.parent.name}/{p.name}" for p in sorted(photos.rglob("*.png"))]
    rows = [f"{path},{Path(path).parent.name}" for path in paths]
    (tmp_path / "truth.csv").write_text("\n".join(["path,class", *rows]) + "\n")
    (tmp_path / "known.csv").write_text("\n".join(["path,class", *rows[::2]]) + "\n")
    (tmp_path / "list.txt").write_text("\n".join(paths) + "\n")
    (tmp_path / "names.txt").write_text("cat\ndog\nother\n")
    (tmp_path / "prompts.yaml").write_text(blocks(ROOT / "docs" / "labels.md", "yaml")[0])
    rng = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", rng.normal(size=(20, 8)))
    np.save(tmp_path / "texts.npy", rng.normal(size=(2, 8)))
    (tmp_path / "paths.txt").write_text("".join(f"{i}.wav\n" for i in range(20)))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def run(command: list[str], folder: Path) -> None:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{shlex.join(command)}\n{ended.stderr}"


@pytest.mark.parametrize("page", pages_with("console"), ids=name_of)
def test_every_command_runs(page: Path, reader: Path) -> None:
    """Pages of the docs begin where the README's first command ends."""
    lines = commands(page) if page == README else [commands(README)[0], *commands(page)]
    for line in lines:
        assert line.startswith("annotate "), line
        run(shlex.split(line), reader)
    for block in blocks(page, "python"):  # those of a page with commands come after them
        run([sys.executable, "-c", block], reader)


@pytest.mark.parametrize("page", [page for page in pages_with("python") if not commands(page)], ids=name_of)
def test_every_python_example_runs(page: Path, reader: Path) -> None:
    for block in blocks(page, "python"):
        run([sys.executable, "-c", block], reader)


def test_the_example_of_prompts_is_a_file_of_prompts(tmp_path: Path) -> None:
    from annotate.classes.prompts import prompts_for

    (example,) = blocks(ROOT / "docs" / "labels.md", "yaml")
    (tmp_path / "p.yaml").write_text(example)
    assert prompts_for(["cat", "dog"], "p.yaml") == {
        "cat": ["a cat on a sofa", "a tabby"],
        "dog": ["a drawing of a dog", "a sketch of the dog"],
    }


def test_the_example_of_settings_is_a_file_of_settings(tmp_path: Path) -> None:
    from annotate.settings.config import Config

    (example,) = blocks(ROOT / "docs" / "settings.md", "yaml")
    (tmp_path / "annotate.yaml").write_text(example)
    config = Config.load("annotate.yaml")
    assert (config.preset, config.classes) == ("small", ("cat", "dog"))
    assert config.resolve(12).refine.method == "dynamic"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return docs_reference()


@pytest.mark.parametrize("name", ["commands", "settings"])
def test_references_are_those_of_the_code(name: str, reference: ModuleType) -> None:
    page = (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    assert reference.generated(name) == page, "run `make docs`"


def test_every_command_and_make_target_is_described(reference: ModuleType) -> None:
    prose = "\n".join(page.read_text("utf-8") for page in PAGES)
    for name in reference.command_names():
        assert f"### annotate {name}" in prose
        assert f"| `annotate {name}" in prose, f"docs/commands.md has no row for {name}"
    listed = re.findall(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for target in [target for line in listed for target in line.split() if target not in (".project", "again")]:
        assert f"make {target}" in prose, target


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        found = page.parent / target if target else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """What a link may name of a page: its headings in lower case, hyphens for spaces, no other marks."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_line_is_wider_than_an_editor(page: Path) -> None:
    for line in page.read_text("utf-8").splitlines():
        assert len(line) <= LONGEST_LINE or line.startswith("|"), line


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(docs/(\w+\.md)", README.read_text("utf-8")))
    assert linked == {page.name for page in PAGES[1:]}


def test_the_architecture_names_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rooms = {
        path.name for path in (ROOT / "annotate").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    for room in rooms - {"__main__.py", "cli.py", "display.py"}:
        assert room in page, room
