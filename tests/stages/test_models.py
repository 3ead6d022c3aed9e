"""Which model `auto` takes: that of the workspace, else the better one where it is there, else the built-in one."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import annotate
from annotate.encoders.weights import OPENAI_WEIGHTS, PublishedFile
from annotate.errors import ComponentMissing, InputError, StaleArtifact
from annotate.progress import Silent
from annotate.records import Note
from annotate.stages.models import automatic_model
from annotate.workspace.digests import file_digest

BETTER = "ViT-B/32"


class Person(Silent):
    """Somebody at the terminal, who answers as they were told to; nobody without an answer."""

    def __init__(self, answer: bool | None = None) -> None:
        self.answer, self.questions, self.notes = answer, list[str](), list[Note]()

    def someone_answers(self) -> bool:
        return self.answer is not None

    def agrees(self, question: str) -> bool:
        self.questions.append(question)
        return bool(self.answer)

    def note(self, note: Note) -> None:
        self.notes.append(note)


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where ViT-B/32, here a small model, has to lie to be on the disk; there is no network."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ANNOTATE_WEIGHTS_URL", "http://127.0.0.1:9")
    monkeypatch.setitem(OPENAI_WEIGHTS, BETTER, PublishedFile("ViT-B-32.pt", file_digest(checkpoint)))
    return home / ".cache" / "clip" / "ViT-B-32.pt"


@pytest.fixture
def on_disk(weights: Path, checkpoint: Path) -> Path:
    weights.parent.mkdir(parents=True)
    return Path(shutil.copy(checkpoint, weights))


@pytest.fixture
def network(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A server that has the weights; what it was asked, a method for each request."""
    asked: list[str] = []
    place = tmp_path / "served" / file_digest(checkpoint)
    place.mkdir(parents=True)
    shutil.copy(checkpoint, place / "ViT-B-32.pt")

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *arguments: object) -> None:
            asked.append(self.command)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(place.parent))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        monkeypatch.setenv("ANNOTATE_WEIGHTS_URL", f"http://127.0.0.1:{http.server_address[1]}")
        yield asked
        http.shutdown()
        thread.join()


def embedded(photos: Path, person: Silent | None = None, **asked: object) -> str:
    """The model that embedded the photos, as its manifest says."""
    annotate.embed(photos, progress=person, **asked)
    facts = json.loads(Path("artifacts/embed/manifest.json").read_text())["facts"]
    return str(facts["model"]["name"])


def chosen(person: Person) -> str:
    """The model for images that none has embedded yet."""
    return automatic_model(person, begun=lambda source: False, sliced=False).name


# -- a workspace that has none -------------------------------------------------------------------------


def test_the_better_model_is_taken_where_it_lies_on_the_disk(on_disk: Path) -> None:
    person = Person(True)
    assert chosen(person) == BETTER
    assert not person.questions
    assert not person.notes


def test_a_damaged_file_of_weights_is_none(on_disk: Path) -> None:
    on_disk.write_bytes(on_disk.read_bytes()[:-1])
    assert chosen(Person()) == "tiny"


def test_nobody_is_asked_where_nobody_sits(network: list[str], weights: Path) -> None:
    nobody = Person()
    assert chosen(nobody) == "tiny"
    assert network == []
    assert not weights.exists()
    (note,) = nobody.notes
    assert note["message"] == (
        "the built-in model `tiny` is used, since ViT-B/32 is not on this machine; "
        "`--model ViT-B/32` labels better, and fetches 350 MB once"
    )
    assert not note["hint"]


def test_whoever_agrees_gets_the_better_model(network: list[str], weights: Path) -> None:
    person = Person(True)
    assert chosen(person) == BETTER
    assert network == ["HEAD", "GET"]
    assert weights.is_file()
    assert len(person.questions) == 1
    assert "350 MB" in person.questions[0]
    assert not person.notes


def test_whoever_declines_gets_the_built_in_model(network: list[str], weights: Path) -> None:
    person = Person(False)
    assert chosen(person) == "tiny"
    assert network == ["HEAD"]
    assert len(person.questions) == len(person.notes) == 1
    assert not weights.exists()


def test_nobody_is_asked_for_what_cannot_be_fetched() -> None:
    person = Person(True)
    assert chosen(person) == "tiny"
    assert not person.questions
    assert "ViT-B/32 cannot be fetched: no connection (Connection refused); `--model" in person.notes[0]["message"]


def test_a_server_without_the_weights_is_one_that_cannot_be_used(network: list[str], tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "served")
    person = Person(True)
    assert chosen(person) == "tiny"
    assert not person.questions
    assert "answered 404" in person.notes[0]["message"]


def test_a_download_that_fails_ends_in_the_built_in_model(network: list[str], tmp_path: Path) -> None:
    (served,) = (tmp_path / "served").glob("*/*.pt")
    served.write_bytes(b"something else")
    person = Person(True)
    assert chosen(person) == "tiny"
    assert "cannot be fetched: the file that came has the wrong sha256" in person.notes[0]["message"]


def test_a_model_that_is_named_is_insisted_on(photos: Path) -> None:
    with pytest.raises(ComponentMissing, match="the weights of ViT-B/32 cannot be fetched: no connection"):
        annotate.embed(photos, model=BETTER)
    assert not Path("artifacts/embed").exists()


# -- a workspace that has one --------------------------------------------------------------------------


def test_the_second_time_all_is_fresh_also_when_the_better_model_has_come(
    photos: Path, weights: Path, checkpoint: Path
) -> None:
    annotate.run(photos, "out", ["red", "green"])
    before = Path("artifacts/embed/manifest.json").read_bytes()
    weights.parent.mkdir(parents=True)
    shutil.copy(checkpoint, weights)
    person = Person(True)
    assert all(state.fresh for stage, state in annotate.status().items() if stage != "cluster")
    annotate.run(photos, "out", ["red", "green"], progress=person)
    assert Path("artifacts/embed/manifest.json").read_bytes() == before
    assert not [note for note in person.notes if "ViT-B/32" in note["message"]]
    assert not person.questions


def test_new_photos_are_embedded_by_the_model_of_the_others(photos: Path, weights: Path, checkpoint: Path) -> None:
    embedded(photos)
    weights.parent.mkdir(parents=True)
    shutil.copy(checkpoint, weights)
    shutil.copy(photos / "red" / "0.png", photos / "new.png")
    assert embedded(photos, force=True) == "tiny"
    assert embedded(photos, model=BETTER) == BETTER
    assert embedded(photos) == BETTER
    assert annotate.status()["embed"].fresh


def test_a_workspace_whose_better_model_is_gone_gets_no_other(photos: Path, on_disk: Path) -> None:
    embedded(photos)
    on_disk.unlink()
    assert annotate.status()["embed"].fresh
    shutil.copy(photos / "red" / "0.png", photos / "new.png")
    (photos / "new.png").write_bytes((photos / "new.png").read_bytes() + b" ")
    with pytest.raises(ComponentMissing, match="ViT-B/32"):
        annotate.embed(photos)


def test_a_checkpoint_of_the_workspace_stays_its_model(photos: Path, checkpoint: Path, on_disk: Path) -> None:
    own = shutil.copy(checkpoint, "own.pt")
    assert embedded(photos, model=own) == "own.pt"
    assert embedded(photos, force=True) == "own.pt"
    assert annotate.status()["embed"].fresh
    Path(own).unlink()
    state = annotate.status()["embed"]
    assert state.name == "stale"
    assert "own.pt is the model that embedded the images, and it is not there any more" in state.why
    with pytest.raises(StaleArtifact, match=r"own\.pt"):
        annotate.embed(photos)
    assert embedded(photos, model="tiny") == "tiny"


def test_imported_embeddings_are_of_no_model_that_could_stay(photos: Path) -> None:
    np.save("rows.npy", np.eye(12, dtype=np.float32))
    Path("paths.txt").write_text("\n".join(map(str, sorted(photos.rglob("*.png")))))
    annotate.import_embeddings("rows.npy", "paths.txt")
    assert embedded(photos) == "tiny"


# -- an embedding that is not finished -----------------------------------------------------------------


def begin(photos: Path, model: str, **settings: object) -> None:
    """Embed all photos into the ledger, and publish nothing, as if a kill had come there."""
    annotate.embed_slice(photos, 1, 1, model=model, **settings)


def test_what_was_interrupted_goes_on_with_its_model(photos: Path, weights: Path, checkpoint: Path) -> None:
    begin(photos, "tiny")
    weights.parent.mkdir(parents=True)
    shutil.copy(checkpoint, weights)
    person = Person(True)
    assert embedded(photos, person) == "tiny"
    assert not person.notes


def test_slices_name_their_model_or_go_by_what_is_there(photos: Path, on_disk: Path) -> None:
    with pytest.raises(InputError, match="must be of one model") as caught:
        annotate.embed_slice(photos, 1, 2)
    assert "--model tiny" in caught.value.hint
    with pytest.raises(InputError, match="must be of one model"):
        annotate.embed(photos, merge=True)
    begin(photos, "tiny", ledger="shared")
    assert annotate.embed_slice(photos, 1, 1, ledger="shared", workspace="other") == 12
    assert embedded(photos, merge=True, ledger="shared") == "tiny"


# -- the command line ----------------------------------------------------------------------------------

WITHOUT_NETWORK = [sys.executable, "-m", "annotate", "run", "photos", "out", "cat", "dog"]


def test_without_a_network_the_first_line_that_people_type_sorts_their_photos(photos: Path) -> None:
    ended = subprocess.run(WITHOUT_NETWORK, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(list(Path("out").glob("*/*.png"))) == 12
    (said,) = [line for line in ended.stderr.splitlines() if "tiny" in line]
    assert said.startswith("note: the built-in model `tiny` is used, since ViT-B/32 is not on this machine")
    report = json.loads(Path("artifacts/report/report.json").read_text())
    assert report["model"] == "tiny"
    assert json.loads(Path("out/metadata.json").read_text())["provenance"]["model"]["name"] == "tiny"


def test_at_a_terminal_it_asks_and_fetches(photos: Path, network: list[str], weights: Path) -> None:
    ours, theirs = pty.openpty()
    code = f"""if True:
        import runpy, sys
        from annotate.encoders.weights import OPENAI_WEIGHTS, PublishedFile
        OPENAI_WEIGHTS[{BETTER!r}] = PublishedFile("ViT-B-32.pt", {OPENAI_WEIGHTS[BETTER].digest!r})
        sys.argv = ["annotate", "embed", "photos"]
        runpy.run_module("annotate", run_name="__main__")
    """
    started = subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stderr=theirs, stdout=subprocess.PIPE)
    os.close(theirs)
    said = read_until(ours, b"[y/N]")
    assert b"ViT-B/32 is not on this machine" in said
    os.write(ours, b"y\n")
    said += read_until(ours, None)
    out, _ = started.communicate()
    os.close(ours)
    assert started.returncode == 0, said
    assert f"model {BETTER}" in out.decode()
    assert weights.is_file()


def read_until(terminal: int, text: bytes | None) -> bytes:
    """What a program writes to its terminal, up to a text, or to the end."""
    seen = b""
    while text is None or text not in seen:
        assert select.select([terminal], [], [], 120)[0], seen  # seconds; never hang
        try:
            more = os.read(terminal, 1 << 16)
        except OSError:  # nobody has the other end open any more
            more = b""
        if not more:
            assert text is None, seen
            break
        seen += more
    return seen
