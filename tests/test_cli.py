"""The command line as a person meets it: what goes where, which exit code, and what bad input gets."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotate import cli
from annotate.cli.names import names_from
from annotate.records import Refinement
from annotate.workspace import Workspace


class Ended:
    """How a command ended, and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Command = Callable[..., Ended]


@pytest.fixture
def annotate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["annotate", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, captured.out, captured.err)

    return run


def start(*arguments: object, **options: object) -> subprocess.Popen[str]:
    """Run a command as a process of its own."""
    command = [sys.executable, "-m", "annotate", *map(str, arguments)]
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# -- the whole, stage by stage -------------------------------------------------------------------------


def test_the_stages_work_one_by_one_each_as_its_own_process(photos: Path) -> None:
    for line in (
        ["embed", photos, "--model", "tiny", "--classes", "red,green", "--classes", "blue"],
        ["cluster"],
        ["refine", "--temperature", "0.05", "--iterations", "10", "--method", "dynamic"],
        ["organize", "dataset"],
        ["report", "--truth", "folders"],
        ["check"],
    ):
        process = start(*line)
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert out
    metadata = json.loads(Path("dataset/metadata.json").read_text())
    assert metadata["provenance"]["temperature"] == 0.05
    assert metadata["class_names"] == ["red", "green", "blue"]
    assert Path("artifacts/report/report.html").stat().st_size > 10_000


def test_run_does_it_all_and_the_second_time_nothing(annotate: Command, photos: Path, checkpoint: Path) -> None:
    first = annotate("run", photos, "out", "red", "green", "--model", checkpoint, "--truth", "folders")
    assert first.code == 0
    right = json.loads(Path("artifacts/report/report.json").read_text())["truth"]["accuracy"]
    assert f"{100 * right:.1f} % of the 8 checked labels are right; mean confidence is " in first.out
    before = files(Path("artifacts")) | files(Path("out"))
    second = annotate("run", photos, "out", "red", "green", "--model", checkpoint, "--truth", "folders")
    assert second.out == first.out
    assert second.err.count("is fresh, skipped") == 6
    assert files(Path("artifacts")) | files(Path("out")) == before


def test_run_takes_what_its_stages_take(annotate: Command, photos: Path, checkpoint: Path) -> None:
    Path("known.csv").write_text("path,class\nred/0.png,green\n")
    asked = ("run", photos, "out", "red", "green", "--model", checkpoint)
    ended = annotate(*asked, "--given", "known.csv", "--unknown", "apart", "--balanced")
    assert ended.code == 0, ended.err
    manifest = {
        stage: json.loads(Path("artifacts", stage, "manifest.json").read_text()) for stage in ("refine", "organize")
    }
    assert "answers" in manifest["refine"]["inputs"]
    assert manifest["refine"]["config"]["class_sizes"] == "balanced"
    assert manifest["organize"]["config"]["unknown"] == "apart"


def test_run_finds_what_cannot_work_before_the_expensive_part(
    annotate: Command, photos: Path, checkpoint: Path
) -> None:
    asked = ("run", photos, "out", "red", "green", "--model", checkpoint)
    for option in ("--truth", "--given"):
        ended = annotate(*asked, option, "nowhere.csv")
        assert (ended.code, "no truth at nowhere.csv" in ended.err) == (2, True)
    ended = annotate(*asked, "--balanced", "--method", "dynamic")
    assert (ended.code, "'balanced' needs the method transductive" in ended.err) == (2, True)
    assert not Path("artifacts/embed").exists()


def test_results_go_to_stdout_and_everything_about_them_to_stderr(
    annotate: Command, photos: Path, checkpoint: Path
) -> None:
    ended = annotate("embed", photos, "--model", checkpoint)
    assert ended.out == "12 images, 32 dimensions, model small.pt\n"
    assert "embed" in ended.err
    assert "\x1b" not in ended.out + ended.err  # no colours where there is no terminal


def test_classes_without_images_are_no_folders_that_images_are_sorted_into(
    annotate: Command, photos: Path, checkpoint: Path
) -> None:
    given = Path("given.csv")
    given.write_text("".join(f"{path.relative_to(photos)},red\n" for path in sorted(photos.rglob("*.png"))))
    annotate("embed", photos, "--model", checkpoint)
    annotate("refine", "--classes", "red,green", "--given", given)
    assert "12 images are sorted into 1 folder of out/" in annotate("organize", "out").out
    assert not Path("out/green").exists()


def test_a_command_ends_with_what_is_done_how_sure_it_is_and_what_is_next(
    annotate: Command, photos: Path, checkpoint: Path
) -> None:
    alike = ("--set", "refine.strangers=skip")  # a model of random weights finds strangers anywhere
    run = annotate("run", photos, "out", "red", "green", "--model", checkpoint, "--truth", "none", "-w", "a b", *alike)
    where, sure, then = run.out.splitlines()[-3:]
    assert re.fullmatch(r"12 images are sorted into (1 folder|2 folders) of out/", where)
    assert re.fullmatch(r"mean confidence is \d+\.\d %; (no label is|1 label is|\d+ labels are) below 50 %", sure)
    assert then == "next: open a b/report/report.html in a browser to see what to check"
    labelled, again, then = annotate("refine", "-w", "a b", *alike).out.splitlines()
    assert labelled == "12 images are labelled with 2 classes by the method 'transductive'"
    assert again == sure
    assert then == "next: `annotate report -w 'a b'` to check them, `annotate organize OUTPUT -w 'a b'` to sort them"
    where, splits, then = annotate("organize", "out", "-w", "a b").out.splitlines()[-3:]
    assert re.fullmatch(r"12 images are sorted into (1 folder|2 folders) of out/ \(copy\)", where)
    assert re.fullmatch(r"train \d+, val \d+, test \d+ in out/splits/", splits)
    assert then == "next: `annotate report -w 'a b'` shows what to check; then train with out/splits/"


def test_images_that_fit_none_of_the_names_are_told_before_the_last_line(
    annotate: Command, photos: Path, checkpoint: Path
) -> None:
    run = annotate("run", photos, "out", "red", "green", "--model", checkpoint, "--truth", "none")
    strange = int((Workspace().read(Refinement).strange).sum())
    assert strange  # to a model of random weights
    assert run.out.splitlines()[-2] == f"{strange} images fit none of the names: `--unknown apart` puts them aside"
    assert re.search(r"^class +images +share +fit none$", run.out, re.MULTILINE)
    apart = annotate("organize", "out", "--unknown", "apart")
    assert apart.out.splitlines()[-2] == f"{strange} images fit none of the names: put aside in unknown/"


def test_where_every_class_was_given_there_is_nothing_to_be_sure_of(
    annotate: Command, photos: Path, checkpoint: Path
) -> None:
    rows = [f"{path.relative_to(photos)},{path.parent.name}" for path in sorted(photos.glob("*/*.png"))]
    Path("known.csv").write_text("\n".join(["path,class", *rows]) + "\n")
    asked = ("run", photos, "out", "red", "green", "blue", "--model", checkpoint)
    ended = annotate(*asked, "--given", "known.csv", "--truth", "known.csv")
    assert "no label could be checked, since you gave those classes; every label is the class" in ended.out
    assert "12 images are labelled with 3 classes" in (shown := annotate("refine").out)
    assert "; 12 as you gave them\nevery label is the class that you gave\n" in shown


def test_the_passes_are_shown_where_somebody_asks_for_them(annotate: Command, photos: Path, checkpoint: Path) -> None:
    annotate("embed", photos, "--model", checkpoint, "-c", "red,green")
    assert "text weight" not in annotate("refine").err
    assert "text weight" in annotate("refine", "--force", "--verbose").err
    rows = json.loads(Path("artifacts/refine/history.json").read_text())
    assert {"moved", "text_weight"} <= rows[0].keys()


def test_json_is_json(annotate: Command, photos: Path, checkpoint: Path) -> None:
    annotate("run", photos, "out", "red", "green", "--model", checkpoint)
    assert json.loads(annotate("status", "--json").out)["refine"] == {"state": "fresh", "why": ""}
    assert json.loads(annotate("check", "--json").out)["embed"]["whole"] is True
    assert json.loads(annotate("report", "--json").out)["images"] == 12


def test_the_workspace_may_be_anywhere(
    annotate: Command, photos: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate("embed", photos, "--model", checkpoint, "-w", "a b/c")
    assert Path("a b/c/embed/manifest.json").exists()
    monkeypatch.setenv("ANNOTATE_WORKSPACE", "from-env")
    annotate("embed", photos, "--model", checkpoint)
    assert Path("from-env/embed/manifest.json").exists()
    assert not Path("artifacts").exists()


def test_class_names_come_from_flags_files_and_config(annotate: Command, photos: Path, checkpoint: Path) -> None:
    annotate("embed", photos, "--model", checkpoint)
    Path("names.txt").write_text("\ufeffdog, brown\n\ncat\n", "utf-8")
    Path("names.json").write_text('["two\\nlines", "a,b"]')
    Path("annotate.yaml").write_text("classes: [yak, zebra]\n")
    expected = {
        ("--classes-file", "names.txt"): ["dog, brown", "cat"],
        ("--classes-file", "names.json"): ["two\nlines", "a,b"],
        ("--classes", "x,y"): ["x", "y"],
        (): ["yak", "zebra"],
    }
    for flags, names in expected.items():
        assert annotate("refine", *flags).code == 0
        assert list(json.loads(Path("artifacts/text/prompts.json").read_text())) == names


def test_the_settings_file_of_the_working_folder_is_read_and_named(
    annotate: Command, photos: Path, checkpoint: Path
) -> None:
    Path("annotate.yaml").write_text(f"embed: {{model: '{checkpoint}'}}\n")
    Path("other.yaml").write_text(f"embed: {{model: '{checkpoint}', batch_size: 3}}\n")
    line = "settings from annotate.yaml"
    assert annotate("embed", photos).err.splitlines()[0] == line
    assert line in annotate("status", "--json").err
    assert line not in annotate("embed", photos, "--config", "other.yaml").err
    Path("annotate.yaml").unlink()
    assert line not in annotate("status").err


def test_a_dry_run_prints_the_plan(annotate: Command, photos: Path, checkpoint: Path) -> None:
    annotate("embed", photos, "--model", checkpoint, "-c", "red,green")
    annotate("refine", "--set", "refine.strangers=skip")
    ended = annotate("organize", "out", "--dry-run", "--splits", "50,25,25")
    assert re.search(r"^12 images would be sorted into (1 folder|2 folders) of out/ \(copy\)$", ended.out, re.MULTILINE)
    splits = r"train \d+, val \d+, test \d+ in out/splits/"
    assert re.search(splits + r"\nnext: the same command without --dry-run", ended.out)
    assert not Path("out").exists()


# -- what bad input gets -------------------------------------------------------------------------------

BAD_COMMANDS: dict[str, tuple[list[str], int, str, str]] = {
    # what is wrong: (arguments, exit code, first line, in the hint)
    "missing folder": (["embed", "nowhere"], 2, "no folder nowhere", "check the path"),
    "empty folder": (["embed", "empty"], 2, "no images in empty", "jpg"),
    "a file for a folder": (["embed", "photos/red/0.png"], 2, "photos/red/0.png: a file, not a folder", "folder"),
    "no classes": (["run", "photos", "out"], 2, "no classes", "--classes dog,cat"),
    "one class": (["run", "photos", "out", "dog"], 2, "only one class, 'dog'", "other"),
    "duplicate classes": (["run", "photos", "out", "dog", "Dog"], 2, "class 'Dog' is named twice", "once"),
    "empty class name": (["run", "photos", "out", "--classes", "dog,,cat"], 2, "class 2 has an empty name", "comma"),
    "unknown model": (["embed", "photos", "--model", "ViT-B32"], 2, "no model 'ViT-B32'", "ViT-B/32"),
    "missing checkpoint": (["embed", "photos", "--model", "x.pt"], 2, "no checkpoint x.pt", "tiny"),
    "no weights": (["embed", "photos", "--model", "RN50"], 4, "the weights of RN50 cannot be fetched", "--model tiny"),
    "unknown option": (["embed", "photos", "--modle", "tiny"], 2, "No such option: --modle", "--help"),
    "unknown command": (["embd", "photos"], 2, "No such command 'embd'", "--help"),
    "not a number": (["refine", "--iterations", "many"], 2, "Invalid value", "--help"),
    "temperature 0": (["refine", "--temperature", "0"], 2, "refine: temperature: 0.0 is not above 0", "temperature"),
    "temperature below 0": (["refine", "--temperature", "-1"], 2, "-1.0 is not above 0", "temperature"),
    "weight above 1": (["refine", "--text-weight-end", "1.5"], 2, "out of bounds", "between 0 and 1"),
    "splits": (["organize", "out", "--splits", "70,20,20"], 2, "70+20+20 is 110, not 100", "70,15,15"),
    "unknown setting": (["refine", "--set", "refine.temprature=1"], 2, "no setting 'temprature'", "temperature"),
    "unknown method": (["refine", "--method", "dinamic"], 2, "no 'dinamic'", "dynamic"),
    "unknown preset": (["refine", "--preset", "huge"], 2, "no preset 'huge'", "small"),
    "unknown link": (["organize", "out", "--link", "move"], 2, "no 'move'", "copy"),
    "config file": (["refine", "--config", "none.yaml"], 2, "no config file none.yaml", "--config"),
    "nothing embedded": (["refine"], 3, "no embed artifacts in artifacts/", "annotate embed IMAGES"),
    "nothing refined": (["report"], 3, "no embed artifacts in artifacts/", "annotate embed IMAGES"),
    "workspace is a file": (["status", "-w", "photos/red/0.png"], 2, "not a folder", "--workspace"),
    "output in the images": (["run", "photos", "photos/out", "a", "b"], 2, "lies in the folder of images", "beside"),
    "classes from a folder": (
        ["run", "photos", "out", "--classes-file", "empty"],
        2,
        "a folder, not a file",
        "one name",
    ),
    "empty classes file": (
        ["run", "photos", "out", "--classes-file", "none.txt"],
        2,
        "no class names in it",
        "one name",
    ),
    "yes is no name": (["run", "photos", "out", "--classes-file", "yes.json"], 2, "'True' is not a name", "quote"),
    "same name but for _": (["run", "photos", "out", "a b", "a_b"], 2, "class 'a_b' is named twice", "once"),
    "impossible date": (["refine", "--set", "refine.temperature=2024-13-45"], 2, "expected a number", "divides"),
    "workspace in a file": (
        ["embed", "photos", "--model", "tiny", "-w", "none.txt/w"],
        2,
        "a part of the path",
        "path",
    ),
    "unknown user": (["embed", "photos", "--model", "~nosuch/x.pt"], 2, "no checkpoint ~nosuch/x.pt", "tiny"),
    "output is forgotten": (
        ["run", "photos", "cat", "dog", "bird", "--model", "tiny"],
        2,
        "'cat' stands where the dataset's folder is named, so the classes are only dog and bird",
        "`annotate run photos dataset cat dog bird --model tiny`",
    ),
    "output is forgotten, two classes": (
        ["run", "photos", "cat", "dog"],
        2,
        "the only class is dog",
        "dataset cat dog",
    ),
    "truth is nowhere": (["report", "--truth", "none.csv"], 3, "no embed artifacts", "annotate embed"),
}


@pytest.mark.parametrize("wrong", BAD_COMMANDS)
def test_bad_input_gets_a_line_a_hint_and_its_exit_code(
    annotate: Command, photos: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, code, said, hint = BAD_COMMANDS[wrong]
    Path("empty").mkdir()
    Path("none.txt").touch()
    Path("yes.json").write_text("[true, false]")
    monkeypatch.setenv("ANNOTATE_WEIGHTS_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(Path.cwd() / "home"))
    before = files(photos)
    ended = annotate(*arguments)
    lines = ended.err.strip().splitlines()
    assert ended.code == code, ended.err
    failure = [line for line in lines if line.startswith("error: ")]
    assert len(failure) == 1
    assert said in failure[0]
    assert lines[-1].startswith("hint: ")
    assert hint in lines[-1]
    assert "Traceback" not in ended.err
    assert files(photos) == before
    assert not Path("out").exists()


@pytest.mark.parametrize("names", [["a/b", "c\\d"], ["🐶", "🐱"], ["x" * 300, "y" * 300], ["CON", "nul"], ["..", "."]])
def test_odd_class_names_go_through(annotate: Command, photos: Path, checkpoint: Path, names: list[str]) -> None:
    ended = annotate("run", photos, "out", *names, "--model", checkpoint)
    assert ended.code == 0, ended.err
    metadata = json.loads(Path("out/metadata.json").read_text("utf-8"))
    assert metadata["class_names"] == names
    assert sum(1 for path in Path("out").glob("*/*.png")) == 12
    assert all(path.parent == Path("out") for path in Path("out").iterdir())


def test_odd_images_go_through_or_are_rows(annotate: Command, photos: Path, checkpoint: Path) -> None:
    Image.new("RGB", (1, 1)).save(photos / "pixel.png")
    Image.new("1", (20_000, 20_000)).save(photos / "huge.png")
    (photos / "text.jpg").write_text("text")
    whole = photos / "whole.jpg"
    Image.effect_noise((300, 300), 80).save(whole)
    (photos / "cut.jpg").write_bytes(whole.read_bytes()[:4000])
    ended = annotate("embed", photos, "--model", checkpoint)
    assert ended.out.startswith("14 images")
    rows = {Path(r["path"]).name: r["reason"] for r in json.loads(Path("artifacts/embed/skipped.json").read_text())}
    assert rows.keys() == {"huge.png", "text.jpg", "cut.jpg"}
    assert "400 megapixels" in rows["huge.png"]
    assert "3 skipped" in ended.err


def test_embeddings_that_do_not_fit_are_refused(annotate: Command) -> None:
    rows = np.ones((3, 4), np.float32)
    rows[1, 2] = np.nan
    np.save("e.npy", rows)
    Path("p.txt").write_text("a\nb\nc\n")
    ended = annotate("import", "--embeddings", "e.npy", "--image-paths", "p.txt")
    assert ended.code == 2
    assert "row 1 is not finite" in ended.err
    assert not Path("artifacts/embed").exists()


def test_a_damaged_artifact_names_the_command_that_repairs_it(
    annotate: Command, photos: Path, checkpoint: Path
) -> None:
    annotate("embed", photos, "--model", checkpoint, "-c", "a,b")
    path = Path("artifacts/embed/embeddings.npy")
    path.write_bytes(path.read_bytes()[:-1])
    for command in (["refine"], ["check"]):
        ended = annotate(*command)
        assert ended.code == 3
        assert "embeddings.npy" in ended.err + ended.out
        assert "annotate embed IMAGES --force" in ended.err


@pytest.mark.parametrize("stage", ["embed", "refine"])
def test_a_full_disk_is_said_and_what_was_there_stays(stage: str, photos: Path, checkpoint: Path) -> None:
    """The limit on a file's size stands for a full disk: the write fails half-way, with an error of the system."""
    commands = {"embed": ("embed", photos, "--model", checkpoint), "refine": ("refine", "--classes", "red,green,blue")}
    for command in commands.values():
        first = start(*command)
        assert first.wait() == 0
        first.communicate()
    kept = [files(Path("artifacts", made)) for made in ("embed", "text", "refine")]

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))

    process = start(*commands[stage], "--force", preexec_fn=limited)
    _, err = process.communicate()
    assert process.returncode == 2, err
    assert "error: " in err
    assert "hint: " in err
    assert [files(Path("artifacts", made)) for made in ("embed", "text", "refine")] == kept
    assert not list(Path("artifacts").glob(".*.made")) + list(Path("artifacts").glob(".*.new"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_said(annotate: Command, photos: Path, checkpoint: Path) -> None:
    Path("closed").mkdir(mode=0o555)
    ended = annotate("embed", photos, "--model", checkpoint, "-w", "closed/artifacts")
    assert ended.code == 2
    assert "closed/artifacts: no permission" in ended.err


def test_ctrl_c_at_any_time_loses_nothing_and_the_next_run_finishes(photos: Path, checkpoint: Path) -> None:
    for i in range(300):
        Image.effect_noise((200, 200), i % 90 + 5).save(photos / f"noise{i}.jpg")
    before = files(photos)
    arguments = ("run", photos, "out", "red", "noise", "--model", checkpoint)
    interrupted = 0
    for wait in (0.3, 1.5, 2.0, 2.5, 3.0, 4.0):
        process = start(*arguments)
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        if "Could not import runpy module" in err:  # Python itself had not begun yet
            continue
        assert process.returncode in (0, 130, -signal.SIGINT), err
        interrupted += process.returncode == 130
        assert "Traceback" not in err or process.returncode == -signal.SIGINT or wait < 1
    process = start(*arguments)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert interrupted
    assert files(photos) == before
    assert json.loads(Path("out/metadata.json").read_text())["num_images"] == 312
    assert not [
        path for path in [*Path().iterdir(), *Path("artifacts").iterdir()] if path.name.endswith((".new", "-new"))
    ]


def test_ctrl_c_says_in_one_line_what_is_kept_and_status_says_it_too(
    annotate: Command, photos: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from annotate.embedding import ledger

    committed = ledger.Ledger.commit
    monkeypatch.setattr(ledger, "SHARD", 5)

    def interrupt(self: ledger.Ledger, shard: ledger.Shard, seen: ledger.ShardOutcome) -> None:
        if shard.number == 1:
            raise KeyboardInterrupt
        committed(self, shard, seen)

    def end(code: int) -> None:
        sys.exit(code)

    monkeypatch.setattr(ledger.Ledger, "commit", interrupt)
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(signal, "signal", lambda *asked: None)
    ended = annotate("embed", photos, "--model", checkpoint)
    assert ended.code == 130
    said = "interrupted; 5 of 12 images are embedded and kept; run the same command again to go on"
    assert ended.err.splitlines()[-1] == said
    status = json.loads(annotate("status", "--json").out)
    assert status["embed"] == {"state": "missing", "why": "interrupted, 5 of 12 embedded"}
    monkeypatch.setattr(ledger.Ledger, "commit", committed)
    assert annotate("embed", photos, "--model", checkpoint).code == 0
    assert json.loads(annotate("status", "--json").out)["embed"] == {"state": "fresh", "why": ""}


def test_ctrl_c_in_a_callback_of_python_is_not_lost() -> None:
    code = """if True:
        import time, weakref
        from annotate import cli

        class Thing: pass

        def interrupted(_): raise KeyboardInterrupt

        def busy(standalone_mode):
            thing = Thing()
            kept = weakref.ref(thing, interrupted)
            del thing
            for _ in range(1000):
                time.sleep(0.01)

        cli.app = busy
        cli.main()
    """
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 130
    assert process.stderr.startswith("interrupted; ")


def test_two_runs_at_once_are_refused_clearly(annotate: Command, photos: Path, checkpoint: Path) -> None:
    from annotate.workspace import Workspace

    with Workspace("artifacts").lock():
        process = start("embed", photos, "--model", checkpoint)
        _, err = process.communicate()
    assert process.returncode == 2
    assert f"in use by another run (process {os.getpid()})" in err


def test_a_path_of_a_class_name_is_a_folder_all_the_same(annotate: Command, photos: Path, checkpoint: Path) -> None:
    assert annotate("run", photos, "./cat", "dog", "bird", "--model", checkpoint).code == 0
    assert Path("cat/metadata.json").exists()


def test_a_comma_in_a_class_name_is_written_with_a_backslash() -> None:
    assert names_from([r"salt\, pepper,c\d", "x,y"], None) == ["salt, pepper", r"c\d", "x", "y"]


@pytest.fixture
def labelled(annotate: Command, photos: Path, checkpoint: Path) -> None:
    assert annotate("embed", photos, "--model", checkpoint, "--classes", "red,green").code == 0
    assert annotate("refine", "--method", "direct").code == 0


STREAMS = {
    # how the streams are: (redirection, exit code of a status, of a refinement)
    "stdout closed": (">&-", 0, 0),
    "stderr closed": ("2>&-", 0, 0),
    "all closed": ("<&- >&- 2>&-", 0, 0),
    "reader of results gone": ("| true", 0, 0),
    "reader of everything gone": ("2>&1 | true", 0, 0),
    "results on a full disk": (">/dev/full", 2, 2),
    "messages on a full disk": ("2>/dev/full", 0, 0),
}


@pytest.mark.parametrize("how", STREAMS)
def test_a_stream_that_takes_nothing_is_no_bug(annotate: Command, labelled: None, how: str) -> None:
    redirection, *expected = STREAMS[how]
    lines = [f"{sys.executable} -m annotate {command} {redirection}" for command in ("status", "refine --force")]
    script = "\n".join(f"{line}; echo ${{PIPESTATUS[0]}} >> codes" for line in lines)
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert Path("codes").read_text().split() == [str(code) for code in expected]
    assert "Traceback" not in ended.stderr
    assert json.loads(annotate("status", "--json").out)["refine"]["state"] == "fresh"


def test_a_folder_that_is_gone_matters_only_to_paths_that_start_there(
    labelled: None, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    ran = f"{sys.executable} -m annotate"
    script = f"""cd gone; rmdir ../gone
        {ran} status -w {tmp_path}/artifacts; echo $?
        {ran} organize {tmp_path}/out -w {tmp_path}/artifacts; echo $?
        {ran} organize out -w {tmp_path}/artifacts; echo $?
        {ran} status; echo $?
        {ran} --help >/dev/null; echo $?"""
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parent.parent)}
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert [line for line in ended.stdout.splitlines() if line.isdigit()] == ["0", "0", "2", "2", "0"]
    failures = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert failures == ["error: the working folder was deleted"] * 2
    assert "Traceback" not in ended.stderr
    assert (tmp_path / "out" / "metadata.json").exists()


def test_a_terminal_that_lacks_letters_is_no_error(photos: Path) -> None:
    (photos / "🐶").mkdir()
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    process = start("run", photos, "out", "🐶", ":dog:", "--model", "tiny", env=environment)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert ":dog:" in out


def test_the_version_is_told(annotate: Command) -> None:
    assert annotate("--version").out.startswith("annotate ")
