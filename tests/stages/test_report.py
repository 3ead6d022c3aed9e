"""report: from records to pages."""

import errno
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotate import sources
from annotate.errors import InputError, StaleArtifact, terminal_columns
from annotate.images import Unavailable
from annotate.kernels.blocks import products
from annotate.kernels.vectors import unit
from annotate.kernels.zeroshot import assign, probabilities
from annotate.project import Project
from annotate.records import Embeddings, ImageFacts, Iteration, Note, Refinement, Reported, SkippedFile, Texts
from annotate.records.declared import Record
from annotate.reports import figures
from annotate.reports.plaintext import text_report
from annotate.reports.summary import summarize
from annotate.reports.truth import Truth
from annotate.settings.config import Config
from annotate.workspace import Workspace
from annotate.workspace.plan import Plan

STRANGE = ['<b>x</b> & "y"', "🐶", "中文", "n" * 300, "שלום", "$5^$", "a\nb", "👨‍👩‍👧"]


def report(workspace: Workspace, config: Config, **asked: Any) -> Reported:
    return Project(workspace.root, config=config).report(**asked)


def iteration(number: int, moved: int, n: int) -> Iteration:
    return {
        "iteration": number,
        "mean_confidence": 0.5 + number / 20,
        "active_classes": 2,
        "largest_share": 0.5,
        "text_weight": 1 - number / 10,
        "moved": moved,
        "moved_percent": 100 * moved / n,
    }


def picture(path: Path, shade: int, side: int = 8) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (side, side), shade % 256).save(path)
    return str(path)


def labelled(
    root: Path,
    paths: list[str],
    names: list[str],
    *,
    passes: int = 3,
    notes: list[Note] | None = None,
    skipped: list[SkippedFile] | None = None,
) -> Workspace:
    """A workspace in which image i shows class i mod K, and is labelled so."""
    n, k, rng = len(paths), len(names), np.random.default_rng(0)
    text = unit(rng.normal(size=(k, 16)))
    embeddings = unit(text[np.arange(n) % k] + rng.normal(size=(n, 16)) * 0.02)
    chances = probabilities(products(embeddings, text), 0.2)
    labels = assign(products(embeddings, text))
    facts: list[ImageFacts | None] = [{"size": 1, "modified_ns": 0, "digest": f"{i:064}"} for i in range(n)]
    workspace = Workspace(root / "artifacts")
    records: list[Record] = [
        Embeddings(
            embeddings=embeddings,
            model={"name": "tiny", "path": None, "digest": "0" * 64, "dimensions": 16, "logit_scale": 100.0},
            image_paths=paths,
            images=facts,
            skipped=skipped or [],
            folder=str(root / "images"),
        ),
        Texts(text, {name: [f"a photo of a {name}"] for name in names}, "photo"),
        Refinement(
            labels,
            chances,
            chances[np.arange(n), labels],
            text,
            [iteration(number, 1, n) for number in range(passes)],
            "dynamic" if passes > 1 else "direct",
            0.2,
            notes or [],
        ),
    ]
    for record in records:
        workspace.publish(Plan(record.stage, 1, {}), record, ran_on={})
    return workspace


def pictures(root: Path, names: list[str], n: int) -> list[str]:
    """n images in folders named for the classes, image i in that of class i mod K."""
    return [picture(root / "images" / names[i % len(names)] / f"{i}.png", 9 * i) for i in range(n)]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Twelve images of cats and dogs, rightly labelled."""
    names = ["cat", "dog"]
    return labelled(tmp_path, pictures(tmp_path, names, 12), names)


def written(workspace: Workspace, name: str) -> str:
    return (workspace.root / "report" / name).read_text("utf-8")


class Page(HTMLParser):
    """What a browser would make of a page: its tags, its addresses, its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


# -- what is written -----------------------------------------------------------------------------------


def test_a_report_is_a_text_a_page_numbers_and_figures(workspace: Workspace) -> None:
    record = report(workspace, Config())
    folder = workspace.root / "report"
    assert {path.name for path in folder.iterdir()} == {
        "report.txt", "report.html", "report.json", "results.csv", "figures", "manifest.json",
    }  # fmt: skip
    assert json.loads(written(workspace, "report.json")) == record.summary
    assert {path.name for path in (folder / "figures").iterdir()} == set(record.figures)
    for name in record.figures:
        with Image.open(folder / "figures" / name) as figure:
            assert min(figure.size) > 150
    assert workspace.read(Reported) == record
    assert workspace.check("report") == ""
    assert not (workspace.root / ".report.made").exists()


def test_the_page_fetches_nothing_and_runs_nothing(workspace: Workspace) -> None:
    report(workspace, Config())
    page = Page(written(workspace, "report.html"))
    assert {re.split("[:,;#]", address)[0] for address in page.addresses} == {"data", ""}
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "url(" not in written(workspace, "report.html")


def test_every_image_is_on_the_page(workspace: Workspace) -> None:
    report(workspace, Config())
    thumbnails = [address for address in Page(written(workspace, "report.html")).addresses if len(address) < 1000]
    assert len({address for address in thumbnails if address.startswith("data:")}) == 12


def test_the_numbers_add_up(workspace: Workspace) -> None:
    summary = report(workspace, Config()).summary
    assert summary["images"] == 12
    assert summary["classes"] == 2
    assert summary["class_distribution"] == {"cat": 6, "dog": 6}
    assert sum(summary["confidence"]["histogram"]) == 12
    confidences = [row["confidence"] for row in summary["least_certain"]]
    assert confidences == sorted(confidences)
    assert np.mean(confidences) == pytest.approx(summary["confidence"]["mean"], rel=1e-6)
    assert all(row["runner_up"] != row["label"] for row in summary["least_certain"])
    assert summary["truth"]["source"] == "folder names"


def test_skipped_files_and_warnings_are_said_everywhere(tmp_path: Path) -> None:
    names = ["cat", "dog", "unicorn"]
    workspace = labelled(
        tmp_path,
        pictures(tmp_path, names, 2),
        names,
        notes=[{"message": "collapse: one is all", "hint": "run `annotate refine --method direct`"}],
        skipped=[{"path": "/x/<i>broken</i>.jpg", "reason": "empty file"}],
    )
    summary = report(workspace, Config()).summary
    page, text = Page(written(workspace, "report.html")).text, written(workspace, "report.txt")
    for said in ("collapse: one is all", "annotate refine --method direct", "/x/<i>broken</i>.jpg", "empty file"):
        assert said in page
        assert said in text
    assert "no image is labelled 'unicorn'" in page
    assert summary["skipped"] == [{"path": "/x/<i>broken</i>.jpg", "reason": "empty file"}]
    assert summary["confidence_per_class"]["unicorn"]["median"] is None


@pytest.mark.parametrize("k", [8, 48])
def test_names_of_any_kind_are_shown_and_never_obeyed(tmp_path: Path, k: int) -> None:
    names = [*STRANGE, *(f"class {i}" for i in range(k - len(STRANGE)))]
    paths = [picture(tmp_path / "images" / f"{i} <img src=x> ' \" & ü.png", i) for i in range(2 * k)]
    report(labelled(tmp_path, paths, names), Config())
    html = (tmp_path / "artifacts" / "report" / "report.html").read_text("utf-8")
    page = Page(html)
    assert "b" in page.tags  # our own
    assert "<b>x</b>" not in html
    assert "<img src=x>" not in html
    for name in STRANGE:
        assert name in page.text


def test_lines_of_the_text_fit_a_terminal(tmp_path: Path) -> None:
    names = [*STRANGE, "plain"]
    workspace = labelled(tmp_path, [f"/x/{i}.png" for i in range(3000)], names)
    images, texts, refinement = workspace.read(Embeddings), workspace.read(Texts), workspace.read(Refinement)
    truth = Truth("folder names", np.roll(refinement.labels, 1), {"elsewhere": 7}, 3)
    text = text_report(summarize(images, texts, refinement, truth=truth))
    wide = [line for line in text.splitlines() if terminal_columns(line) > 80]
    assert [line for line in wide if not line.startswith("  folder")] == []


def test_a_file_name_that_is_not_text_is_shown_by_its_bytes(tmp_path: Path) -> None:
    path = picture(tmp_path / "images" / "caf\udce9.png", 1)
    report(labelled(tmp_path, [path, picture(tmp_path / "images" / "b.png", 2)], ["cat", "dog"]), Config())
    assert "caf\\udce9.png" in (tmp_path / "artifacts" / "report" / "report.html").read_text("utf-8")


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_smallest_workspace_has_a_report(tmp_path: Path, n: int) -> None:
    names = ["cat", "dog"]
    record = report(labelled(tmp_path, pictures(tmp_path, names, n), names, passes=1), Config(), truth=Path("folders"))
    assert "convergence.png" not in record.figures
    assert record.summary["truth"]["accuracy"] == 1


def test_an_image_that_is_gone_is_a_tile_with_its_name(tmp_path: Path) -> None:
    names = ["cat", "dog"]
    paths = pictures(tmp_path, names, 6)
    workspace = labelled(tmp_path, paths, names)
    Path(paths[3]).unlink()
    report(workspace, Config())
    assert "3.png" in Page(written(workspace, "report.html")).text


def test_embeddings_without_images_are_said_once(tmp_path: Path) -> None:
    workspace = labelled(tmp_path, [f"/nowhere/{i}.png" for i in range(40)], ["cat", "dog"])
    report(workspace, Config())
    page = Page(written(workspace, "report.html"))
    assert page.text.count("None of the image files can be read here") == 1
    assert "7.png" not in page.text


def test_a_page_of_many_classes_says_what_it_leaves_out(tmp_path: Path) -> None:
    names = [f"class {i}" for i in range(60)]
    workspace = labelled(tmp_path, pictures(tmp_path, names, 60), names)
    report(workspace, Config())
    assert "The 40 largest classes; 20 more are not shown." in " ".join(
        Page(written(workspace, "report.html")).text.split()
    )


# -- against the truth ---------------------------------------------------------------------------------


def test_accuracy_counts_images_whose_truth_is_a_class(tmp_path: Path) -> None:
    names = ["cat", "dog"]
    workspace = labelled(tmp_path, pictures(tmp_path, names, 10), names)
    file = tmp_path / "truth.csv"
    answers = ["cat", "dog", "dog", "dog", "horse", "horse", "cat", "cat"]  # images 2 and 7 disagree with their label
    file.write_text("".join(f"{i}.png,{name}\n" for i, name in enumerate(answers)))
    truth = report(workspace, Config(), truth=file).summary["truth"]
    assert truth["images"] == 6
    assert truth["accuracy"] == pytest.approx(4 / 6)
    assert truth["left_out"]["outside_names"] == {"horse": 2}
    assert truth["left_out"]["unknown"] == 2
    assert truth["confusion"] == {"cat": {"cat": 2, "dog": 1}, "dog": {"cat": 1, "dog": 2}}
    assert truth["per_class"]["cat"]["precision"] == pytest.approx(2 / 3)
    assert {(pair["truth"], pair["label"], pair["images"]) for pair in truth["most_confused"]} == {
        ("cat", "dog", 1), ("dog", "cat", 1),
    }  # fmt: skip
    for shown in (
        written(workspace, "report.txt"),
        Page(written(workspace, "report.html")).text.replace("\u00a0", " "),
    ):
        assert "66.7 %" in shown
        assert "horse" in shown


def test_a_class_that_nothing_is_labelled_has_no_precision(tmp_path: Path) -> None:
    names = ["cat", "dog", "horse"]
    workspace = labelled(
        tmp_path, [f"/x/{name}/1.png" for name in ("cat", "horse")], names
    )  # the second is labelled dog
    truth = report(workspace, Config(), truth=Path("folders")).summary["truth"]
    assert truth["per_class"]["horse"] == {"images": 1, "labelled": 0, "precision": None, "recall": 0.0}
    assert truth["per_class"]["dog"]["recall"] is None


def test_a_truth_that_says_nothing_leaves_the_last_report(workspace: Workspace, tmp_path: Path) -> None:
    report(workspace, Config())
    with pytest.raises(InputError):
        report(workspace, Config(), truth=tmp_path / "nowhere.csv")
    assert workspace.check("report") == ""


# -- what to expect of the most certain ----------------------------------------------------------------


def with_confidences(
    workspace: Workspace,
    confidences: Iterable[float],
    *,
    method: str = "transductive",
    temperature: float | None = None,
) -> Workspace:
    """The same labels with these confidences."""
    refinement = replace(workspace.read(Refinement), confidences=np.array([*confidences], np.float32), method=method)
    workspace.publish(Plan("refine", 1, {"temperature": temperature}), refinement, ran_on={})
    return workspace


@pytest.fixture
def ten(tmp_path: Path) -> Workspace:
    """Ten images, the last labelled least certainly."""
    names = ["cat", "dog"]
    return with_confidences(labelled(tmp_path, pictures(tmp_path, names, 10), names), np.linspace(0.99, 0.45, 10))


def said(workspace: Workspace, name: str) -> str:
    text = written(workspace, name)
    return " ".join((Page(text).text if name.endswith("html") else text).replace("\u00a0", " ").split())


def test_what_to_expect_of_the_most_certain_is_said_everywhere(ten: Workspace) -> None:
    """The mean of 0.99, 0.93, ... 0.57 is 0.78."""
    record = report(ten, Config(), truth=Path("none"))
    row = next(row for row in record.summary["coverage"] if row["share"] == 0.8)
    assert (row["images"], row["accuracy"]) == (8, None)
    assert row["confidence"] == pytest.approx(0.57)
    assert row["expected"] == pytest.approx(0.78)
    assert (row["low"], row["high"]) == (3 / 8, 1.0)
    sentence = "eep the 80 % most certain and expect 78 % right (37 to 100)"
    for shown in (said(ten, "report.txt"), said(ten, "report.html")):
        assert shown.count(sentence) == 1
        assert "if confidences hold" not in shown.lower()
        assert "in truth" not in shown
    assert record.figures.count("coverage.png") == 1
    assert written(ten, "report.html").count('class="card coverage"') == 1


@pytest.mark.parametrize(("method", "temperature"), [("direct", None), ("dynamic", None), ("transductive", 0.05)])
def test_confidences_that_are_no_estimates_promise_only_if_they_hold(
    ten: Workspace, method: str, temperature: float | None
) -> None:
    with_confidences(ten, np.linspace(0.99, 0.45, 10), method=method, temperature=temperature)
    report(ten, Config())
    assert "if confidences hold, keep the 80 % most certain and expect 78 % right" in said(ten, "report.txt")
    assert "If confidences hold, keep the 80 % most certain and expect 78 % right" in said(ten, "report.html")


def test_where_truth_is_known_the_most_certain_are_judged_by_it(ten: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "truth.csv"  # of image 0 nothing is known, 4 and 9 are labelled wrong
    file.write_text("".join(f"{i}.png,{['cat', 'dog'][(i + (i in (4, 9))) % 2]}\n" for i in range(1, 10)))
    summary = report(ten, Config(), truth=file).summary
    accuracy = {row["share"]: row["accuracy"] for row in summary["coverage"]}
    assert accuracy[1.0] == summary["truth"]["accuracy"] == pytest.approx(7 / 9)
    assert accuracy[0.8] == pytest.approx(6 / 7)
    assert accuracy[0.5] == pytest.approx(3 / 4)
    assert accuracy[0.1] is None
    assert "in truth 85.7 % are" in said(ten, "report.txt")
    assert "in truth 85.7 % are" in said(ten, "report.html")


def test_the_figure_draws_expectation_and_truth_from_all_images_to_few(ten: Workspace) -> None:
    rows = report(ten, Config(), truth=Path("folders")).summary["coverage"]
    lines = {
        str(line.get_label()): np.array(line.get_data())
        for line in figures.coverage(rows, of=10, estimated=True).axes[0].get_lines()
    }
    assert list(lines) == ["expected", "true"]
    kept = np.arange(10, 0, -1)
    np.testing.assert_allclose(lines["expected"], np.stack([kept / 10, 0.99 - 0.03 * (kept - 1)]), atol=1e-6)
    np.testing.assert_allclose(lines["true"], np.stack([kept / 10, np.ones(10)]))
    unjudged = [{**row, "accuracy": None} for row in rows]
    assert len(figures.coverage(unjudged, of=10, estimated=True).axes[0].get_lines()) == 1


@pytest.mark.parametrize("n", [1, 4])
def test_images_of_one_confidence_are_kept_or_left_together(tmp_path: Path, n: int) -> None:
    names = ["cat", "dog"]
    workspace = with_confidences(labelled(tmp_path, pictures(tmp_path, names, n), names), np.ones(n))
    report(workspace, Config(), truth=Path("none"))
    assert "keep all images and expect over 99 % right" in said(workspace, "report.txt")
    table = written(workspace, "report.txt").split("least confidence")[1].split("\n\n")[0]
    assert len(table.splitlines()) == 2


# -- when it runs --------------------------------------------------------------------------------------


def made_at(workspace: Workspace) -> int:
    return (workspace.root / "report" / "report.html").stat().st_mtime_ns


def test_a_fresh_report_is_left_alone(workspace: Workspace) -> None:
    report(workspace, Config(), truth=Path("folders"))
    before = made_at(workspace)
    report(workspace, Config(), truth=Path("folders"))
    assert made_at(workspace) == before
    report(workspace, Config(), truth=Path("none"))
    assert made_at(workspace) != before


def test_a_report_with_a_hole_that_the_machine_made_is_made_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = sources.fetch

    def broken(location: str, **options: int) -> bytes:
        if location.endswith("3.png"):
            raise Unavailable("Input/output error") from OSError(errno.EIO, "Input/output error")
        return fetch(location, **options)

    report(workspace, Config())
    whole = written(workspace, "report.html")
    with monkeypatch.context() as disk:
        disk.setattr(sources, "fetch", broken)
        report(workspace, Config(), force=True)
    assert written(workspace, "report.html") != whole
    state = Project(workspace.root).status()["report"]
    assert (state.name, state.why) == ("stale", "images that could not be read are tried again (1)")
    report(workspace, Config())
    assert written(workspace, "report.html") == whole
    before = made_at(workspace)
    report(workspace, Config())
    assert made_at(workspace) == before


def test_the_truth_is_an_input(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "truth.csv"
    file.write_text("0.png,cat\n")
    report(workspace, Config(), truth=file)
    file.write_text("0.png,dog\n")
    assert report(workspace, Config(), truth=file).summary["truth"]["accuracy"] == 0


def test_the_same_report_twice_is_the_same_bytes(workspace: Workspace) -> None:
    def files() -> dict[str, bytes]:
        paths = (workspace.root / "report").rglob("*")
        return {path.name: path.read_bytes() for path in paths if path.is_file() and path.name != "manifest.json"}

    report(workspace, Config(), truth=Path("folders"))
    before = files()
    report(workspace, Config(), truth=Path("folders"), force=True)
    assert files() == before


def test_labels_of_other_images_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    other = labelled(tmp_path / "other", [f"/x/{i}.png" for i in range(5)], ["cat", "dog"])
    workspace.publish(Plan("embed", 1, {}), other.read(Embeddings), ran_on={})
    with pytest.raises(StaleArtifact, match="older than") as caught:
        report(workspace, Config())
    assert "annotate refine" in caught.value.hint
