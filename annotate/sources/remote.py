"""Find and fetch images at addresses: http, s3 and whatever else fsspec knows, with the user's own credentials."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from typing import Any

from annotate.errors import ComponentMissing, Hint, InputError, printable
from annotate.images import Unavailable, Unreadable
from annotate.images.formats import MAGIC_BYTES, byte_order, is_image
from annotate.sources.sieve import FoundImages, Sieve

URL = re.compile(r"[A-Za-z][\w+.\-]+(?:::[\w+.\-]+)*://")
SENT_AS_IS = re.compile(r"[!-~]+")  # an address to send as it is: a signed one must not be quoted anew
TRIES = 3  # of an address that does not answer, or whose server fails
TIMEOUT = 30.0  # seconds a try may take; an image takes one or two, a dead server would take for ever
PAUSE = 0.5  # seconds before the second try, twice as many before each further one
EXTRA = Hint("install annotate-images[remote]", "run `pip install 'annotate-images[remote]'`")
EXTRA_PROTOCOLS = ("http", "https", "s3", "s3a")  # protocols of that extra
MOST_REQUESTED = 100  # files of an extension below an address that are opened: each is a request
GONE_FOR_GOOD = ("404 Not Found", "410 Gone", "No such file or directory")  # said of the image itself, and remembered
BUSY = (408, 425, 429)  # answers to those who come too late, too early or too often
NO_RIGHTS = ("NoCredentialsError", "PartialCredentialsError")  # of botocore, which is not imported here
CHECK = "check the address, and the credentials in the environment"


def is_url(location: str) -> bool:
    return "://" in location and URL.match(location) is not None


def fetch(url: str, tries: int = TRIES) -> bytes:
    """What lies at an address. Timeouts, broken connections and failing servers get another try; refusals do not.

    raises  Unreadable with the reason; Unavailable where another run may have more luck; ComponentMissing where the
            protocol needs a package
    """
    try:
        files, path = open_file_system(url)
    except ValueError as error:
        raise Unreadable(one_line(error)) from error
    bound = {"timeout": TIMEOUT} if files.async_impl else {}
    reason = ""
    for attempt in range(tries):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            return bytes(files.cat_file(path, **bound))
        except Exception as error:  # every protocol's package raises what it likes; one image must not end the run
            reason, final = verdict(error, url)
            if final:
                lasting = reason in GONE_FOR_GOOD or isinstance(error, ValueError | IsADirectoryError)
                raise (Unreadable if lasting else Unavailable)(reason) from error
    raise Unavailable(f"{reason} after {tries} tries" if tries > 1 else reason)


def find_images_below(top: str) -> FoundImages:
    """Addresses of all images below one, in byte order; or the one alone.

    raises  InputError where it cannot be listed, ComponentMissing where the protocol needs a package
    """
    refuse_fetching(top)
    try:
        files, path = open_file_system(top)
    except ValueError as error:
        raise InputError(f"{printable(top)}: {one_line(error)}", hint=CHECK) from error
    if is_image(path):
        return FoundImages([top])
    web = "http" in files.protocol
    try:
        if web and not top.endswith("/") and Sieve().takes("", top, lambda: first_bytes_at(files, path)):
            return FoundImages([top])
        files.invalidate_cache()
        below = dict.fromkeys(linked(files, path)) if web else files.find(path, detail=True)
        found = {str(files.unstrip_protocol(name)): facts for name, facts in below.items()}
    except Exception as error:  # as above
        raise InputError(f"{printable(top)}: {verdict(error, top)[0]}", hint=CHECK) from error
    sieve = Sieve(MOST_REQUESTED)
    images = []
    for url in sorted(found, key=byte_order):
        facts = found[url] or {}
        empty = facts.get("size") == 0  # of which no part can be asked for
        if sieve.takes(url.removeprefix(top), url, bytes if empty else partial(first_bytes_at, files, url)):
            images.append(url)
    return FoundImages(images, sieve.passed_over, sieve.folders)


def first_bytes_at(files: Any, url: str) -> bytes:
    """The first bytes at an address.

    raises  OSError
    """
    try:
        if "http" not in files.protocol:
            return bytes(files.cat_file(url, start=0, end=MAGIC_BYTES))
        # Of unknown size, it is streamed: a server that sends it all is heard no longer than that.
        with files.open(url, block_size=0, size=1, timeout=TIMEOUT) as content:
            return bytes(content.read(MAGIC_BYTES))
    except Exception as error:  # as above
        raise OSError(None, verdict(error, url)[0]) from error


def linked(files: Any, top: str) -> Iterator[str]:
    """What the pages below an address link to. fsspec's own walk passes over pages that fail, and over equal names."""
    waiting, entered = [top], {top.rstrip("/")}
    while waiting:
        for entry in files.ls(waiting.pop(), detail=True, timeout=TIMEOUT):
            name = entry["name"]
            if entry["type"] != "directory":
                yield name
            elif name.rstrip("/") not in entered:
                entered.add(name.rstrip("/"))
                waiting.append(name)


def refuse_fetching(asked: str) -> None:
    """raises  InputError for lists and archives that are not on this machine"""
    if is_url(asked) and asked.lower().endswith((".txt", ".csv", ".tsv", ".parquet", ".zip", ".tar")):
        raise InputError(
            f"{printable(asked)}: lists and archives are read from this machine's disk alone",
            hint="download it first; the entries of a list may be addresses",
        )


def check_protocol(protocol: str) -> None:
    """raises  ComponentMissing where the protocol needs a package, InputError where nobody speaks it"""
    try:
        open_file_system(f"{protocol}://", instance=False)
    except ValueError as error:
        raise InputError(f"{protocol}://: {one_line(error)}", hint="check the addresses in the list") from error


def open_file_system(url: str, *, instance: bool = True) -> tuple[Any, str]:
    """The file system behind an address, and the address as it takes it.

    raises  ComponentMissing where the protocol needs a package, ValueError where nobody speaks it
    """
    protocol = url_protocol(url)
    try:
        import fsspec

        if protocol in ("http", "https"):  # whose addresses may hold what means something else to fsspec
            return fsspec.filesystem(protocol, encoded=SENT_AS_IS.fullmatch(url) is not None), url
        if not instance:
            return fsspec.get_filesystem_class(protocol), url
        files, path = fsspec.url_to_fs(url)
        return files, str(path)
    except ImportError as error:
        raise ComponentMissing(
            f"{protocol}:// needs a package that is not installed: {one_line(error)}",
            hint=EXTRA if protocol in EXTRA_PROTOCOLS else "install the package that it names",
        ) from error


def url_protocol(url: str) -> str:
    return url.partition("://")[0].partition("::")[0].lower()


def verdict(error: Exception, url: str) -> tuple[str, bool]:
    """What went wrong, in a line, and whether another try would be in vain."""
    code = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError):
        return (GONE_FOR_GOOD[0] if url.lower().startswith("http") else GONE_FOR_GOOD[-1]), True
    if isinstance(code, int) and code >= 400:
        known = code in HTTPStatus._value2member_map_
        return f"{code} {HTTPStatus(code).phrase if known else one_line(error)}", code < 500 and code not in BUSY
    if isinstance(error, TimeoutError):
        return "timed out", False
    lasting = isinstance(error, PermissionError | IsADirectoryError | ValueError | MemoryError)
    return one_line(error), lasting or type(error).__name__ in NO_RIGHTS


def one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
