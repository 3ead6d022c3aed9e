from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import annotate
from annotate.errors import AnnotateError, DamagedArtifact, InputError, MissingArtifact, WorkspaceBusy
from annotate.records import Clusters, EmbeddingRows, Embeddings, Texts
from annotate.workspace import Workspace, artifacts, publishing
from annotate.workspace.artifacts import path_line, read_path_lines
from annotate.workspace.digests import content_digest
from annotate.workspace.manifest import SMALL_FILE, fingerprint
from annotate.workspace.plan import Plan
from annotate.workspace.publishing import swap


@pytest.fixture
def place(plant: Callable[..., Workspace]) -> Workspace:
    rng = np.random.default_rng(0)
    return plant(rng.normal(size=(40, 8)), rng.normal(size=(3, 8)))


PLAN = Plan("embed", 1, {"source": "imported"})


def test_what_was_published_is_read_back(place: Workspace) -> None:
    assert place.read(Embeddings).embeddings.shape == (40, 8)
    assert place.read(Texts).class_names == ["class 0", "class 1", "class 2"]


def test_a_stage_that_has_not_run_names_the_command(place: Workspace) -> None:
    with pytest.raises(MissingArtifact) as caught:
        place.read(Clusters)
    assert caught.value.hint == "run `annotate cluster` first"


def test_a_changed_byte_is_noticed(place: Workspace) -> None:
    path = place.root / "embed" / "embeddings.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedArtifact, match=r"embeddings\.npy: bytes differ"):
        place.read(Embeddings)
    assert place.state(PLAN).name == "damaged"
    assert "embeddings.npy" in place.check("embed")


def test_a_changed_byte_in_a_large_file_is_noticed_even_at_the_same_size_and_time(
    plant: Callable[..., Workspace],
) -> None:
    place = plant(np.random.default_rng(0).normal(size=(5000, 64)), np.eye(2, 64))
    path = place.root / "embed" / "embeddings.npy"
    status = path.stat()
    assert status.st_size > SMALL_FILE
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")
    assert place.state(PLAN).name == "damaged"  # the time gives it away
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "bytes differ" in place.check("embed")  # `annotate check` reads every byte


@pytest.mark.parametrize("harm", ["missing", "shorter", "no manifest", "broken manifest"])
def test_other_damage_is_noticed(place: Workspace, harm: str) -> None:
    folder = place.root / "embed"
    if harm == "missing":
        (folder / "images.json").unlink()
    elif harm == "shorter":
        path = folder / "embeddings.npy"
        path.write_bytes(path.read_bytes()[:-8])
    elif harm == "no manifest":
        (folder / "manifest.json").unlink()
    else:
        (folder / "manifest.json").write_text("{}")
    with pytest.raises((DamagedArtifact, MissingArtifact)):
        place.read(Embeddings)


def seal(folder: Path, name: str) -> None:
    """Rewrite the manifest as if the file had always been so."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"]
    manifest["files"][name] = fingerprint(folder / name)
    manifest["sha256"] = content_digest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_changed_fact_in_the_manifest_is_noticed(place: Workspace) -> None:
    path = place.root / "embed" / "manifest.json"
    path.write_text(path.read_text().replace('"logit_scale": 100.0', '"logit_scale": 10.0'))
    assert "not the manifest that was written" in place.check("embed")
    path.unlink()
    assert place.check("embed") == "manifest.json: missing"


@pytest.mark.parametrize("content", ["[]", "null", '{"files": []}', "\x00", ""])
def test_a_malformed_manifest_is_damage_everywhere(place: Workspace, content: str) -> None:
    (place.root / "embed" / "manifest.json").write_text(content)
    with pytest.raises(DamagedArtifact):
        place.read(Embeddings)
    assert place.state(PLAN).name == "damaged"
    assert place.check("embed")


def test_a_stage_that_is_a_link_is_replaced_and_what_it_leads_to_is_left_alone(
    place: Workspace, tmp_path: Path
) -> None:
    (place.root / "embed").rename(tmp_path / "elsewhere")
    (place.root / "embed").symlink_to(tmp_path / "elsewhere")
    for _ in range(3):
        place.publish(PLAN, place.read(Embeddings), ran_on={})
    assert not (place.root / "embed").is_symlink()
    assert (tmp_path / "elsewhere" / "embeddings.npy").exists()


def test_rows_that_do_not_match_are_damage(place: Workspace) -> None:
    folder = place.root / "embed"
    lines = (folder / "image_paths.txt").read_text().splitlines()[:-1]
    (folder / "image_paths.txt").write_text("\n".join(lines) + "\n")
    seal(folder, "image_paths.txt")
    with pytest.raises(DamagedArtifact, match="N is 39 here and 40 in"):
        place.read(Embeddings)


def test_a_copied_workspace_is_whole(place: Workspace, tmp_path: Path) -> None:
    shutil.copytree(place.root, tmp_path / "copy", copy_function=shutil.copyfile)
    copied = Workspace(tmp_path / "copy")
    assert copied.state(PLAN).fresh
    assert len(copied.read(Embeddings).image_paths) == 40


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (Plan("embed", 2, {"source": "imported"}), "the method changed"),
        (Plan("embed", 1, {"source": "elsewhere"}), 'source changed: "imported" to "elsewhere"'),
        (Plan("embed", 1, {"source": "imported"}, {"images": "1"}), "images is new"),
        (PLAN, ""),
    ],
)
def test_a_stale_stage_says_why(place: Workspace, plan: Plan, why: str) -> None:
    state = place.state(plan)
    assert (state.name == "fresh") == (why == "")
    assert why in state.why


def test_the_same_record_makes_the_same_bytes(place: Workspace) -> None:
    before = {path.name: path.read_bytes() for path in (place.root / "embed").iterdir() if path.name != "manifest.json"}
    place.publish(PLAN, place.read(Embeddings), ran_on={})
    after = {path.name: path.read_bytes() for path in (place.root / "embed").iterdir() if path.name != "manifest.json"}
    assert before == after


def test_a_second_run_is_refused_with_the_first_ones_number(place: Workspace) -> None:
    with place.lock(), pytest.raises(WorkspaceBusy, match=str(os.getpid())), Workspace(place.root).lock():
        pass


def test_the_lock_dies_with_its_process(place: Workspace) -> None:
    code = (
        "import sys, time\n"
        "from annotate.workspace import Workspace\n"
        "with Workspace(sys.argv[1]).lock():\n"
        "    print(1, flush=True)\n"
        "    time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(place.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(WorkspaceBusy), place.lock():
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()
    with place.lock():
        pass


def test_a_kill_at_any_step_leaves_the_old_output_or_the_new(tmp_path: Path) -> None:
    """Kill the publishing process before each system call that changes the disk, then read."""
    script = textwrap.dedent(
        """
        import os, sys, shutil
        import numpy as np
        from annotate.records import Texts
        from annotate.workspace import Workspace
        from annotate.workspace import publishing
        from annotate.workspace.plan import Plan

        root, version, die_at, exchange = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
        step = 0
        def dying(call):
            def wrapped(*args, **kwargs):
                global step
                if step == die_at:
                    os._exit(9)
                step += 1
                return call(*args, **kwargs)
            return wrapped
        if exchange == "no":
            publishing.exchange = lambda a, b: False
        else:
            publishing.exchange = dying(publishing.exchange)
        os.fsync, os.rename, os.mkdir, os.replace = map(dying, (os.fsync, os.rename, os.mkdir, os.replace))
        shutil.rmtree = dying(shutil.rmtree)
        rows = np.eye(version + 1, 8, dtype=np.float32)
        texts = Texts(rows, {f"{version}.{k}": [] for k in range(version + 1)}, "photo")
        place = Workspace(root)
        with place.lock(), place.making("text") as made:
            (made / "further.txt").write_text(str(version))
            place.publish(Plan("text", version, {}), texts, ran_on={}, made=made)
        print(step)
        """
    )

    def publish(root: Path, version: int, die_at: int, exchange: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, str(root), str(version), str(die_at), exchange]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    for exchange in ("yes", "no"):
        start = tmp_path / f"start-{exchange}"
        assert publish(start, 1, -1, exchange).returncode == 0
        shutil.copytree(start, tmp_path / f"whole-{exchange}")
        steps = int(publish(tmp_path / f"whole-{exchange}", 2, -1, exchange).stdout)
        assert steps >= 5
        outcomes = set()
        for die_at in range(steps):
            root = tmp_path / f"{exchange}-{die_at}"
            shutil.copytree(start, root)
            assert publish(root, 2, die_at, exchange).returncode == 9
            outcomes.add(tuple(Workspace(root).read(Texts).class_names))
            with Workspace(root).lock():
                pass
            assert {path.name for path in root.iterdir()} == {".lock", "text"}, "the next run cleans up"
            assert Workspace(root).check("text") == ""
            outcomes.add(tuple(Workspace(root).read(Texts).class_names))
        assert outcomes == {("1.0", "1.1"), ("2.0", "2.1", "2.2")}


def test_a_folder_is_swapped_in_where_names_cannot_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "exchange", lambda a, b: False)
    for name in ("new", "place"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    swap(tmp_path / "new", tmp_path / "place", tmp_path / "old")
    assert (tmp_path / "place" / "file").read_text() == "new"
    assert not (tmp_path / "old").exists()


@pytest.mark.parametrize(
    "path",
    [
        "plain.png",
        "with space",
        ' "quoted"',
        '"',
        "new\nline",
        "cr\r",
        "tab\t",
        "ünï",
        "\udcff.png",
        " lead",
        "\u2028",
        "a\\b",
        "",
    ],
)
def test_any_path_survives_as_a_line(path: str) -> None:
    line = path_line(path)
    assert "\n" not in line
    assert read_path_lines((line + "\n").encode("utf-8")) == [path]


def test_nothing_is_ever_unpickled(place: Workspace) -> None:
    path = place.root / "embed" / "embeddings.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    seal(path.parent, "embeddings.npy")
    with pytest.raises(DamagedArtifact, match="not a readable"):
        place.read(Embeddings)


# -- what somebody forged ------------------------------------------------------------------------------


def forge(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A manifest that says something else and has the digest of what it says."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"]
    change(manifest)
    manifest["sha256"] = content_digest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


ODD: list[Any] = [None, [], {}, "x", 7, {"a": None}, [1]]


def is_an_answer(act: Callable[[], object]) -> bool:
    """Whether something ends well or with an error that is meant for the user."""
    try:
        act()
    except AnnotateError as error:
        return bool(error.hint)
    return True


@pytest.mark.parametrize("stage", ["embed", "text"])
def test_a_forged_manifest_is_damage_and_never_a_traceback(place: Workspace, stage: str) -> None:
    path = place.root / stage / "manifest.json"
    whole = path.read_text()
    manifest = json.loads(whole)
    places: list[tuple[str, ...]] = [(key,) for key in manifest if key != "sha256"]
    places += [(key, inner) for key in ("config", "facts", "inputs", "files") for inner in manifest[key]]
    places += [("facts", "model", inner) for inner in manifest["facts"].get("model", [])]
    for *above, last in places:
        for value in [..., *ODD]:

            def change(content: dict[str, Any], above: list[str] = above, last: str = last, value: Any = value) -> None:
                for key in above:
                    content = content[key]
                if value is ...:
                    del content[last]
                else:
                    content[last] = value

            path.write_text(whole)
            forge(path.parent, change)
            for act in (annotate.status, annotate.check, lambda: place.read(Embeddings), lambda: place.read(Texts)):
                assert is_an_answer(act), (above, last, value)


@pytest.mark.parametrize("harm", ["a folder", "a pipe", "deeply nested", "a link in a circle"])
def test_a_manifest_that_cannot_be_one_is_damage(place: Workspace, harm: str) -> None:
    path = place.root / "embed" / "manifest.json"
    path.unlink()
    if harm == "a folder":
        path.mkdir()
    elif harm == "a pipe":
        os.mkfifo(path)
    elif harm == "deeply nested":
        path.write_text('{"facts": ' + "[" * 100_000 + "]" * 100_000 + "}")
    else:
        path.symlink_to(path)
    with pytest.raises(DamagedArtifact, match="not the manifest") as caught:
        place.read(Embeddings)
    assert "annotate embed" in caught.value.hint
    assert place.state(PLAN).name == "damaged"
    assert place.check("embed")
    assert annotate.status()["embed"].name == "damaged"


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc/passwd", "a/../../b", "C:/x", "a\\b", ""])
def test_a_manifest_may_not_name_files_that_lie_elsewhere(place: Workspace, name: str) -> None:
    forge(place.root / "embed", lambda manifest: manifest["files"].update({name: manifest["files"]["images.json"]}))
    with pytest.raises(DamagedArtifact):
        place.read(Embeddings)


def test_a_listed_file_that_is_a_device_or_a_pipe_is_not_read(place: Workspace) -> None:
    path = place.root / "embed" / "images.json"
    path.unlink()
    os.mkfifo(path)
    forge(path.parent, lambda manifest: manifest["files"]["images.json"].update(size=0))
    assert place.check("embed") == "images.json: not a file"


@pytest.mark.parametrize("shape", [(10**12, 512), (10**18, 10**18), (40, 9), (-1, 8), (39, 8)])
def test_an_array_that_claims_other_rows_than_it_has_is_damage(place: Workspace, shape: tuple[int, ...]) -> None:
    path = place.root / "embed" / "embeddings.npy"
    rows = np.load(path)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        file.write(rows.tobytes())
    seal(path.parent, "embeddings.npy")
    with pytest.raises(DamagedArtifact, match="not a readable"):
        place.read(Embeddings)


@pytest.mark.parametrize("content", ["[1]", "{}", "null", '[{"size": "big"}]', "[" * 100_000 + "]" * 100_000])
@pytest.mark.parametrize("large", [False, True])
def test_facts_of_images_that_were_forged_are_damage(
    place: Workspace, content: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "LARGE_TEXT", 0 if large else 1 << 22)
    path = place.root / "embed" / "images.json"
    path.write_text(content)
    seal(path.parent, "images.json")
    with pytest.raises(DamagedArtifact):
        list(place.read(Embeddings).images)


def test_files_beside_a_manifest_that_is_not_ours_are_not_replaced(place: Workspace) -> None:
    """A web page has a manifest.json, too."""
    folder = place.root / "text"
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "manifest.json").write_text('{"name": "my page"}')
    (folder / "index.html").write_text("somebody's")
    texts = Texts(np.eye(2, 8, dtype=np.float32), {"a": [], "b": []}, "photo")
    with pytest.raises(InputError, match=r"did not write: index\.html"):
        place.publish(Plan("text", 1, {}), texts, ran_on={})
    assert (folder / "index.html").read_text() == "somebody's"
    (folder / "index.html").unlink()
    place.publish(Plan("text", 1, {}), texts, ran_on={})


@pytest.mark.parametrize("name", [".text.new", ".text.made", ".text.old", "text"])
@pytest.mark.parametrize("thing", ["link", "file"])
def test_what_bears_the_name_of_a_folder_in_the_making_is_not_followed(
    place: Workspace, tmp_path: Path, name: str, thing: str
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "photo.jpg").write_text("somebody's")
    shutil.rmtree(place.root / "text")
    if thing == "link":
        (place.root / name).symlink_to(theirs)
    else:
        (place.root / name).write_text("a file")
    texts = Texts(np.eye(2, 8, dtype=np.float32), {"a": [], "b": []}, "photo")

    def publish() -> None:
        with place.lock(), place.making("text") as made:
            place.publish(Plan("text", 1, {}), texts, ran_on={}, made=made)

    if name == "text":
        with pytest.raises((InputError, OSError)):
            publish()
    else:
        publish()
        assert place.read(Texts).class_names == ["a", "b"]
    assert [path.name for path in theirs.iterdir()] == ["photo.jpg"]


def test_a_sweep_leaves_parts_of_other_programs_alone(tmp_path: Path) -> None:
    theirs = [tmp_path / "film.mp4.part", tmp_path / ".film.part", tmp_path / ".song.0123456g.part"]
    for part in theirs:
        part.write_bytes(b"half a download")
    (tmp_path / ".folder.0123abcd.part").mkdir()
    ours = tmp_path / ".answers.json.0123abcd.part"
    ours.write_bytes(b"half")
    with Workspace(tmp_path).lock():
        assert not ours.exists()
        assert all(part.exists() for part in theirs)


def test_a_manifest_without_a_file_that_its_record_needs_names_the_file(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    model: Any = {"name": "imported", "path": None, "digest": "", "dimensions": 4, "logit_scale": 100.0}
    rows = EmbeddingRows(np.eye(2, 4, dtype=np.float32), model)
    workspace.publish(PLAN, rows, ran_on={})
    with pytest.raises(DamagedArtifact, match=r"manifest\.json: 'image_paths\.txt' is missing"):
        workspace.read(Embeddings)
