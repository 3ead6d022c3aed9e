"""The download, against a local server that hands out whole, truncated, wrong and interrupted files."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from annotate.encoders.weights import OPENAI_WEIGHTS, PublishedFile, WeightStore
from annotate.errors import ComponentMissing

CONTENT = bytes(range(256)) * 20_000  # about 5 MB
PUBLISHED = PublishedFile("x.pt", hashlib.sha256(CONTENT).hexdigest())


class Server(BaseHTTPRequestHandler):
    """Behaves as `behaviours` say, one request after the other; whole files once they are used up."""

    behaviours: ClassVar[list[str]] = []
    requests: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.requests.append(self.headers.get("Range"))
        behaviour = self.behaviours.pop(0) if self.behaviours else "whole"
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if behaviour == "missing":
            self.send_error(404)
            return
        if behaviour == "no ranges":
            start = 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if behaviour == "interrupted":
            body = body[: len(body) // 2]
        elif behaviour == "wrong":
            body = b"?" * len(body)
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Server.behaviours, Server.requests = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


@pytest.fixture
def store(server: str, tmp_path: Path) -> WeightStore:
    return WeightStore(tmp_path / "cache", server)


def fetch(store: WeightStore) -> Path:
    return store.fetch("x", published=PUBLISHED)


def test_a_file_is_fetched_once(store: WeightStore) -> None:
    seen: list[tuple[int, int | None]] = []
    path = store.fetch("x", lambda done, total: seen.append((done, total)), published=PUBLISHED)
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    fetch(store)
    assert len(Server.requests) == 1


def test_an_interrupted_file_is_taken_up_where_it_broke(store: WeightStore) -> None:
    Server.behaviours = ["interrupted", "interrupted"]
    assert fetch(store).read_bytes() == CONTENT
    assert Server.requests == [None, f"bytes={len(CONTENT) // 2}-", f"bytes={len(CONTENT) * 3 // 4}-"]


def test_a_break_is_taken_up_by_the_next_run(store: WeightStore) -> None:
    Server.behaviours = ["interrupted", "missing", "missing", "missing"]
    with pytest.raises(ComponentMissing, match="404"):
        fetch(store)
    assert fetch(store).read_bytes() == CONTENT
    assert Server.requests[-1] == f"bytes={len(CONTENT) // 2}-"


def test_a_server_without_ranges_starts_over(store: WeightStore) -> None:
    Server.behaviours = ["interrupted", "no ranges"]
    assert fetch(store).read_bytes() == CONTENT


def test_a_wrong_file_is_never_kept(store: WeightStore) -> None:
    Server.behaviours = ["wrong"]
    with pytest.raises(ComponentMissing, match="wrong sha256"):
        fetch(store)
    assert [path.name for path in store.folder.iterdir()] == [".x.pt.lock"]
    assert fetch(store).read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_fetched_again(store: WeightStore) -> None:
    store.folder.mkdir()
    (store.folder / "x.pt").write_bytes(b"damaged")
    assert fetch(store).read_bytes() == CONTENT


def test_a_whole_part_is_recognised(store: WeightStore) -> None:
    store.folder.mkdir()
    (store.folder / "x.pt.part").write_bytes(CONTENT)
    assert fetch(store).read_bytes() == CONTENT


def test_a_truncated_file_never_becomes_the_checkpoint(store: WeightStore) -> None:
    Server.behaviours = ["interrupted"] * 4
    with pytest.raises(ComponentMissing, match="broke at"):
        fetch(store)
    assert not (store.folder / "x.pt").exists()


def test_whether_weights_can_be_fetched_is_asked_without_fetching_them(
    store: WeightStore, server: str, tmp_path: Path
) -> None:
    assert store.unreachable("ViT-B/32") == ""  # this server knows no way of asking but to fetch
    assert Server.requests == []
    assert "no connection" in WeightStore(tmp_path, "http://127.0.0.1:9").unreachable("ViT-B/32")
    assert "not an address" in WeightStore(tmp_path, "file:///etc").unreachable("ViT-B/32")


def test_weights_are_there_where_every_byte_is(store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPENAI_WEIGHTS, "x", PUBLISHED)
    assert not store.has("x")
    path = fetch(store)
    assert store.has("x")
    path.write_bytes(CONTENT[:-1] + b"?")
    assert not store.has("x")


def test_without_a_network_all_three_ways_out_are_told(tmp_path: Path) -> None:
    store = WeightStore(tmp_path, "http://127.0.0.1:9")
    with pytest.raises(ComponentMissing) as caught:
        store.fetch("ViT-B/32")
    assert caught.value.exit_code == 4
    assert str(tmp_path / "ViT-B-32.pt") in caught.value.hint
    assert "--model tiny" in caught.value.hint
    assert "annotate import" in caught.value.hint


def test_the_nine_published_models_are_known() -> None:
    from annotate.encoders.openai import clip_file

    source = Path(clip_file("model").__file__ or "").with_name("clip.py").read_text()
    assert len(OPENAI_WEIGHTS) == 9
    for name, published in OPENAI_WEIGHTS.items():
        assert f'"{name}": "https://' in source
        assert f"{published.digest}/{published.file}" in source


def test_the_cache_is_the_one_of_openai_clip() -> None:
    assert WeightStore().folder == Path("~/.cache/clip").expanduser()


def test_many_at_once_fetch_it_once(store: WeightStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        fetched = list(pool.map(lambda _: fetch(store), range(4)))
    assert {path.read_bytes() for path in fetched} == {CONTENT}
    assert len(Server.requests) == 1
