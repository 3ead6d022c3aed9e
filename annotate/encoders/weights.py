"""Download OpenAI's published weights: once, resumed after a break, verified, kept in openai-clip's cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from annotate.errors import ComponentMissing, Hint, printable
from annotate.workspace.digests import file_digest
from annotate.workspace.locks import one_at_a_time
from annotate.workspace.opening import opened

ByteProgress = Callable[[int, int | None], None]  # bytes so far, bytes in all where known

DOWNLOADED_AT_ONCE = 1 << 20  # bytes between two steps of the progress bar
ATTEMPTS = 4  # a broken connection is taken up again this often
SILENT_SECONDS = 30  # without a byte, after which a connection counts as broken
ANSWER_SECONDS = 5  # within which a server has to answer before a person is asked
BEYOND_THE_END, NO_HEADS = 416, (405, 501)  # answers: no such range; this way of asking is not known
SOURCE = "https://openaipublic.azureedge.net/clip/models"


@dataclass(frozen=True)
class PublishedFile:
    """A checkpoint's file name and the sha256 that OpenAI's address for it holds."""

    file: str
    digest: str


# The table of clip/clip.py in openai-clip 1.0.1.
OPENAI_WEIGHTS = {
    "RN50": PublishedFile("RN50.pt", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"),
    "RN101": PublishedFile("RN101.pt", "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599"),
    "RN50x4": PublishedFile("RN50x4.pt", "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd"),
    "RN50x16": PublishedFile("RN50x16.pt", "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa"),
    "RN50x64": PublishedFile("RN50x64.pt", "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c"),
    "ViT-B/32": PublishedFile("ViT-B-32.pt", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
    "ViT-B/16": PublishedFile("ViT-B-16.pt", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"),
    "ViT-L/14": PublishedFile("ViT-L-14.pt", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"),
    "ViT-L/14@336px": PublishedFile(
        "ViT-L-14-336px.pt", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"
    ),
}


class WeightStore:
    """The folder that openai-clip itself uses, and the server behind it.

    folder  ~/.cache/clip unless given
    source  address below which files lie as DIGEST/FILE; ANNOTATE_WEIGHTS_URL names a mirror
    """

    def __init__(self, folder: Path | None = None, source: str | None = None) -> None:
        self.folder = folder or Path("~/.cache/clip").expanduser()
        self.source = (source or os.environ.get("ANNOTATE_WEIGHTS_URL") or SOURCE).rstrip("/")

    def has(self, model: str) -> bool:
        """Whether the weights of a model are on this disk, every byte as it was published."""
        published = OPENAI_WEIGHTS[model]
        place = self.folder / published.file
        return place.is_file() and file_digest(place) == published.digest

    def unreachable(self, model: str) -> str:
        """Why the weights of a model cannot be fetched; empty where the server has them. Nothing is fetched."""
        return refusal(self.address(OPENAI_WEIGHTS[model]))

    def address(self, published: PublishedFile) -> str:
        return f"{self.source}/{published.digest}/{published.file}"

    def fetch(self, model: str, progress: ByteProgress | None = None, published: PublishedFile | None = None) -> Path:
        """The verified checkpoint on disk, downloaded where it is not there yet.

        raises  ComponentMissing with the three ways out where it cannot be had
        """
        published = published or OPENAI_WEIGHTS[model]
        place = self.folder / published.file
        if place.is_file() and file_digest(place) == published.digest:
            return place
        self.folder.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(place.with_name(f".{place.name}.lock")):  # another may be fetching the same file
            return self._fetch(model, place, published, progress)

    def _fetch(self, model: str, place: Path, published: PublishedFile, progress: ByteProgress | None) -> Path:
        found = ""
        if place.is_file():
            if file_digest(place) == published.digest:
                return place
            found = f"; the file that is at {printable(place)} has another sha256 and was left alone"
        part = place.with_name(place.name + ".part")
        url = self.address(published)
        reason = ""
        for _ in range(ATTEMPTS):
            reason = download(url, part, progress)
            if not reason:
                break
        if reason:
            raise self._unavailable(model, place, reason + found)
        if file_digest(part) != published.digest:
            part.unlink()
            raise self._unavailable(model, place, "the file that came has the wrong sha256")
        os.replace(part, place)
        return place

    def _unavailable(self, model: str, place: Path, reason: str) -> ComponentMissing:
        return ComponentMissing(
            f"the weights of {model} cannot be fetched: {reason}",
            hint=Hint(
                f"put {place.name} at {printable(place)}, use the model tiny, or import embeddings made elsewhere",
                f"put {place.name} at {printable(place)}, or use `--model tiny` (works offline), "
                "or `annotate import` embeddings made elsewhere",
            ),
        )


def download(url: str, part: Path, progress: ByteProgress | None) -> str:
    """Fetch a file, going on where an earlier attempt stopped; returns what went wrong, or nothing."""
    import urllib.request  # here, since a network's libraries take a hundredth of a second that few commands need

    if os.path.lexists(part):
        opened(part, "ab").close()  # refuses what is not ours, before anybody is asked for it
    start = part.stat().st_size if part.exists() else 0
    with saying(url) as trouble:
        request = urllib.request.Request(checked(url), headers={"Range": f"bytes={start}-"} if start else {})
        with urllib.request.urlopen(request, timeout=SILENT_SECONDS) as answer:
            resumed = answer.status == 206
            position = start if resumed else 0
            length = answer.headers.get("Content-Length")
            total = position + int(length) if length else None
            with opened(part, "ab" if resumed else "wb") as file:
                while chunk := answer.read(DOWNLOADED_AT_ONCE):
                    file.write(chunk)
                    position += len(chunk)
                    if progress:
                        progress(position, total)
            if total is not None and position < total:
                return f"the connection broke at {position:,} of {total:,} bytes"
    if trouble.code == BEYOND_THE_END:  # nothing lies beyond what we have: it is whole, or it is not this file
        return ""
    return trouble.said


def refusal(url: str) -> str:
    """Why a file cannot be fetched, without fetching it; empty where the server has it."""
    import urllib.request

    with saying(url) as trouble:
        urllib.request.urlopen(urllib.request.Request(checked(url), method="HEAD"), timeout=ANSWER_SECONDS).close()
    return "" if trouble.code in NO_HEADS else trouble.said


@dataclass
class Trouble:
    """What went wrong with a request; nothing where `said` is empty.

    code  of the server's answer, where it answered
    """

    said: str = ""
    code: int = 0


@contextmanager
def saying(url: str) -> Iterator[Trouble]:
    """Make sentences of what networks and servers do."""
    import http.client
    import urllib.error

    trouble = Trouble()
    try:
        yield trouble
    except urllib.error.HTTPError as error:
        error.close()
        trouble.said, trouble.code = f"{url} answered {error.code} {error.reason}", error.code
    except urllib.error.URLError as error:
        trouble.said = f"no connection ({getattr(error.reason, 'strerror', None) or error.reason})"
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        trouble.said = f"the connection broke ({type(error).__name__})"
    except ValueError:
        trouble.said = f"{url} is not an address (see ANNOTATE_WEIGHTS_URL)"


def checked(url: str) -> str:
    """raises  ValueError where it is no address on the web: a file of this machine, say"""
    if not url.startswith(("http://", "https://")):
        raise ValueError(url)
    return url
