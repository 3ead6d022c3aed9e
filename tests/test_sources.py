"""Where images come from: each kind of source, and what goes wrong with it."""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate import sources
from annotate.errors import ComponentMissing, InputError
from annotate.images import Unreadable
from annotate.sources import Status, file_name, is_local, lists, path_without_query, patterns, remote, tar

HERE = Path.cwd


def put(path: Path | str, content: bytes | str = b"picture") -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))
    return path


def zipped(path: str, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return Path(path).absolute()


def tarred(path: str | io.BytesIO, members: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> None:
    where: dict[str, object] = {"name": path} if isinstance(path, str) else {"fileobj": path}
    with tarfile.open(**where, mode="w", format=form) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def listed(asked: str | Path) -> list[str]:
    """Locations relative to the working directory."""
    top = f"{HERE()}{os.sep}"
    return [location.removeprefix(top) for location in sources.listing(asked).locations]


# -- folders -------------------------------------------------------------------------------------------


def test_a_folder_is_listed_by_the_bytes_of_its_paths() -> None:
    for name in ("photos/b.jpg", "photos/a/é.png", "photos/a/z.png", "photos/B.jpg", "photos/notes.txt"):
        put(name)
    put("photos/phone.cr2")
    found = sources.listing("photos")
    assert found.top == str(HERE() / "photos")
    assert listed("photos") == ["photos/B.jpg", "photos/a/z.png", "photos/a/é.png", "photos/b.jpg"]
    assert found.passed_over == [
        {"path": str(HERE() / "photos/phone.cr2"), "reason": ".cr2 is not read: convert it to JPEG"}
    ]


def test_a_folder_that_is_called_like_an_archive_is_a_folder() -> None:
    put("photos.zip/1.jpg")
    put("list.txt/2.jpg")
    assert listed("photos.zip") == ["photos.zip/1.jpg"]
    assert listed("list.txt") == ["list.txt/2.jpg"]
    assert is_local(str(HERE() / "photos.zip/1.jpg"))
    assert sources.fetch(str(HERE() / "photos.zip/1.jpg")) == b"picture"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("nowhere", "no folder nowhere"),
        ("nowhere.txt", "no file nowhere.txt"),
        ("nowhere.parquet", "no file nowhere.parquet"),
        ("nowhere.zip", "no file nowhere.zip"),
        ("no/{00..03}.tar", "no file no/00.tar"),
        ("no/*.tar", r"no file no/\*\.tar"),
        ("cat.jpg", "cat.jpg: a file, not a folder"),
        ("photos.tar.gz", "photos.tar.gz: single images cannot be read from a compressed archive"),
        ("photos.tgz", "photos.tgz: single images cannot be read"),
        ("empty", "no images in empty"),
        ("empty.txt", r"no images in empty\.txt"),
        ("*.jpg", r"cat\.jpg: not a \.zip or \.tar"),
    ],
)
def test_what_is_no_source_is_told(asked: str, said: str) -> None:
    for name in ("cat.jpg", "photos.tar.gz", "photos.tgz", "empty/notes.txt"):
        put(name)
    put("empty.txt", "# nothing\n\n")
    with pytest.raises(InputError, match=said) as told:
        sources.listing(asked)
    assert told.value.hint


# -- lists ---------------------------------------------------------------------------------------------


def test_a_text_list_keeps_its_order_and_its_relative_paths_are_its_folders() -> None:
    names = [
        "b c.jpg",
        "a.jpg",
        "../up.jpg",
        "猫/é 🐶.png",
        "/abs/x.jpg",
        "https://host/1.jpg?x=1",
        "s3://bucket/a b.jpg",
    ]
    put("deep/list.txt", "\ufeff# images\r\n\r\n" + "".join(f"{name}\r\n" for name in names))
    assert listed("deep/list.txt") == [
        "deep/b c.jpg", "deep/a.jpg", "up.jpg", "deep/猫/é 🐶.png", "/abs/x.jpg", "https://host/1.jpg?x=1",
        "s3://bucket/a b.jpg",
    ]  # fmt: skip
    assert sources.listing("deep/list.txt").top == str(HERE() / "deep/list.txt")


MANNERS = {
    "UTF-8 with a mark": "\ufeffcats/é.jpg\nb c.jpg\n".encode(),
    "UTF-16": "cats/é.jpg\r\nb c.jpg\r\n".encode("utf-16"),
    "UTF-16 big-endian without a mark": "cats/é.jpg\nb c.jpg".encode("utf-16-be"),
    "UTF-16 little-endian without a mark": "cats/é.jpg\nb c.jpg".encode("utf-16-le"),
    "UTF-32": "cats/é.jpg\nb c.jpg".encode("utf-32"),
    "blanks and quotes": '  cats/é.jpg \t\r\n"b c.jpg"  \n'.encode(),
    "JSON texts": b'"cats/\\u00e9.jpg"\n"b c.jpg"\n',
    "backslashes": "cats\\é.jpg\r\nb c.jpg\r\n".encode(),
}


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("large", [False, True])
def test_a_list_is_read_whatever_program_wrote_it(manner: str, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr(lists, "LARGE", 0)
    put("deep/cats/é.jpg")
    put("deep/b c.jpg")
    put("deep/list.txt", MANNERS[manner])
    assert listed("deep/list.txt") == ["deep/cats/é.jpg", "deep/b c.jpg"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_table_is_read_in_the_encoding_that_a_spreadsheet_wrote(encoding: str) -> None:
    put("t.csv", "path;label\r\ncats\\é.jpg;1\r\nb.jpg;2\r\n".encode(encoding))
    assert listed("t.csv") == ["cats/é.jpg", "b.jpg"]


def test_a_file_that_is_called_with_a_backslash_is_meant_where_it_exists() -> None:
    put("cats\\1.jpg")
    put("list.txt", "cats\\1.jpg\ncats\\2.jpg\n")
    assert listed("list.txt") == ["cats\\1.jpg", "cats/2.jpg"]


def test_backslashes_lead_into_archives_too() -> None:
    with zipfile.ZipFile("x.zip", "w") as archive:
        archive.writestr("cats/1.jpg", b"one")
    put("list.txt", "x.zip\\cats\\1.jpg\n")
    (location,) = sources.listing("list.txt").locations
    assert sources.fetch(location) == b"one"


def test_a_text_in_no_encoding_is_refused() -> None:
    put("list.txt", b"\xff\xfea")
    with pytest.raises(InputError, match="not readable as text"):
        sources.listing("list.txt")


def test_a_name_that_is_not_text_is_still_a_file() -> None:
    put(os.fsdecode(b"caf\xe9.jpg"), b"coffee")
    put("list.txt", b"caf\xe9.jpg\n")
    (location,) = sources.listing("list.txt").locations
    assert sources.fetch(location) == b"coffee"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("t.csv", "label,path\r\n1,a.jpg\r\n2,b.jpg\r\n"),
        ("t.csv", "id;Image_Path;label\n1;a.jpg;x\n\n2;b.jpg;y\n"),
        ("t.tsv", "label\turl\n1\ta.jpg\n2\tb.jpg\n"),
        ("t.csv", "anything\na.jpg\nb.jpg\n"),
        ("t.csv", "url,path\nhttp://x/1,a.jpg\nhttp://x/2,b.jpg\n"),
        ("T.CSV", "\ufefffilename\na.jpg\n./b.jpg\n"),
    ],
)
def test_a_table_names_images_in_a_column(file: str, content: str) -> None:
    put(file, content)
    assert listed(file) == ["a.jpg", "b.jpg"]


def test_a_quoted_name_may_hold_commas_and_newlines() -> None:
    put("a\nb, c.jpg", b"odd")
    put("t.csv", 'path,label\n"a\nb, c.jpg",1\nd.jpg,2\n')
    assert listed("t.csv") == ["a\nb, c.jpg", "d.jpg"]
    assert sources.fetch(sources.listing("t.csv").locations[0]) == b"odd"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("t.csv", "cat,dog\n1,2\n", "no column 'path' among 'cat', 'dog'"),
        ("t.csv", "a.jpg\nb.jpg\n", "begins with an image, not with a header"),
        ("t.csv", b"path\ncaf\xe9.jpg\n", "not readable as a table in UTF-8"),
        ("t.csv", "path,x\na.jpg,1\nb.jpg,2\n./a.jpg,3\n", "line 4: ./a.jpg is listed twice, first in line 2"),
        ("t.txt", "# a\na.jpg\n\nb.jpg\nx/../b.jpg\n", "line 5: x/../b.jpg is listed twice, first in line 4"),
        ("t.txt", "https://h/a.jpg\nhttps://h/a.jpg\n", "line 2: https://h/a.jpg is listed twice"),
        ("t.txt", "nonsense://h/a.jpg\n", "nonsense://: Protocol not known"),
        ("t.parquet", "path\na.jpg\n", "not a whole Parquet file"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(file: str, content: bytes | str, said: str) -> None:
    put(file, content)
    with pytest.raises(InputError, match=said) as told:
        sources.listing(file)
    assert told.value.hint


@pytest.mark.parametrize("name", ["t.txt", "t.csv", "t.tsv"])
def test_a_line_without_end_is_not_read_into_memory(name: str) -> None:
    import tracemalloc

    with open(name, "wb") as file:
        file.write(b"path\na.jpg\n")
        file.truncate(1 << 28)  # takes no room on the disk
    tracemalloc.start()
    with pytest.raises(InputError, match="a line of more than 1,048,576 bytes"):
        sources.listing(name)
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()
    put(name, "path\n" + ("x" * 1000 + ".jpg\r\n") * 3000 if name != "t.txt" else "a" * 2**20 + "\nb.jpg\n")
    with contextlib.suppress(InputError):  # listed twice
        assert sources.listing(name).locations


def test_zeros_in_a_table_name_files_that_do_not_exist() -> None:
    put("t.csv", b"path,label\na\0b.jpg,1\nc.jpg,\0\n")
    odd, plain = sources.listing("t.csv").locations
    assert plain.endswith("/c.jpg")
    with pytest.raises(Unreadable, match="No such file"):
        sources.fetch(odd)


def parquet_file(columns: dict[str, object], file: str = "t.parquet") -> str:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), file)
    return file


def test_a_parquet_file_names_images_in_a_column() -> None:
    import pyarrow

    assert listed(parquet_file({"width": [1, 2], "URL": ["b.jpg", "a.jpg"]})) == ["b.jpg", "a.jpg"]
    assert listed(parquet_file({"anything": ["b.jpg", None, "a.jpg"]})) == ["b.jpg", "a.jpg"]
    assert listed(parquet_file({"path": pyarrow.array(["b.jpg", "a.jpg"]).dictionary_encode()})) == ["b.jpg", "a.jpg"]
    odd: list[dict[str, object]] = [
        {"caption": ["a cat"], "image": [{"bytes": b"x"}]},
        {"image": [b"x"]},
        {"path": [1]},
    ]
    for columns in odd:
        with pytest.raises(InputError, match="no column 'path' among"):
            sources.listing(parquet_file(columns))
    with pytest.raises(InputError, match=r"row 3: a.jpg is listed twice, first in row 1"):
        sources.listing(parquet_file({"path": ["a.jpg", "b.jpg", "a.jpg"]}))


def test_without_pyarrow_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    put("t.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ComponentMissing) as told:
        sources.listing("t.parquet")
    assert "pip install 'annotate-images[parquet]'" in told.value.hint


def test_entries_of_a_list_are_not_looked_at_until_they_are_read() -> None:
    put("list.txt", "gone.jpg\nfolder\n")
    Path("folder").mkdir()
    gone, folder = sources.listing("list.txt").locations
    with pytest.raises(FileNotFoundError):
        sources.image_status(gone)
    with pytest.raises(Unreadable, match="No such file or directory"):
        sources.fetch(gone)
    for act in (sources.image_status, sources.fetch):
        with pytest.raises(Unreadable, match="not a regular file"):
            act(folder)
    with pytest.raises(Unreadable, match="No such file"):
        sources.fetch("/a\0b.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_not_waited_for() -> None:
    os.mkfifo("pipe.jpg")
    for act in (sources.image_status, sources.fetch):
        with pytest.raises(Unreadable, match="not a regular file"):
            act(str(HERE() / "pipe.jpg"))


def test_a_long_list_is_read_in_little_more_memory_than_its_strings() -> None:
    """By the allocator's own count: the peak is that of the strings, their list, and eight bytes of hash each."""
    import tracemalloc

    n = 50_000
    put("list.txt", "".join(f"folder/{i:09}.jpg\n" for i in range(n)))
    tracemalloc.start()
    locations = sources.listing("list.txt").locations
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(locations) == n
    assert peak < kept + 20 * n + 2**20


# -- archives ------------------------------------------------------------------------------------------

MEMBERS = {
    "dogs/b.png": b"b" * 1000, "cats/1.jpg": b"one", "cats/é 猫.jpg": b"two", "a b.jpg": b"three", "Z.jpg": b"",
    "cats/.hidden.jpg": b"no", ".git/x.jpg": b"no", "__MACOSX/cats/1.jpg": b"no", "notes.txt": b"no", "0.cls": b"no",
    "cats/phone.CR2": b"no",
}  # fmt: skip
SHOWN = ["Z.jpg", "a b.jpg", "cats/1.jpg", "cats/é 猫.jpg", "dogs/b.png"]


@pytest.mark.parametrize("kind", ["zip", "deflated.zip", "tar"])
def test_an_archive_is_listed_and_read_like_a_folder(kind: str) -> None:
    file = f"photos.{kind}"
    if kind == "tar":
        tarred(file, MEMBERS)
    else:
        zipped(file, MEMBERS, zipfile.ZIP_DEFLATED if kind.startswith("deflated") else zipfile.ZIP_STORED)
    found = sources.listing(file)
    top = str(HERE() / file)
    assert found.top == top
    assert found.locations == [f"{top}/{name}" for name in SHOWN]
    assert found.passed_over == [{"path": f"{top}/cats/phone.CR2", "reason": ".cr2 is not read: convert it to JPEG"}]
    for name in SHOWN:
        assert sources.fetch(f"{top}/{name}") == MEMBERS[name]
        assert sources.image_status(f"{top}/{name}") == Status(len(MEMBERS[name]), os.stat(file).st_mtime_ns)
        assert not is_local(f"{top}/{name}")
    with pytest.raises(Unreadable, match=f"not in {file}"):
        sources.fetch(f"{top}/cats/2.jpg")
    with pytest.raises(FileNotFoundError):
        sources.image_status(f"{top}/cats/2.jpg")
    assert sorted(os.listdir()) == [file]  # nothing was unpacked


def test_members_in_a_folder_called_dot_are_not_hidden() -> None:
    tarred("photos.tar", {"./cats/1.jpg": b"one", "./.hidden.jpg": b"no"})
    (location,) = sources.listing("photos.tar").locations
    assert location == str(HERE() / "photos.tar/cats/1.jpg")
    assert sources.fetch(location) == b"one"


def test_names_that_would_leave_the_archive_are_names_only() -> None:
    put("secret.jpg", b"secret")
    for file in ("x.zip", "x.tar"):
        members = {"../secret.jpg": b"one", "/etc/two.jpg": b"two", "a/../../three.jpg": b"three"}
        zipped(file, members) if file == "x.zip" else tarred(file, members)
        found = sources.listing(file).locations
        assert sorted(map(sources.fetch, found)) == [b"one", b"three", b"two"]
        assert all(location.startswith(f"{HERE()}/{file}/") for location in found)


def test_a_changed_archive_is_read_again() -> None:
    zipped("x.zip", {"a.jpg": b"before"})
    (location,) = sources.listing("x.zip").locations
    assert sources.fetch(location) == b"before"
    zipped("x.zip", {"b.jpg": b"more", "a.jpg": b"afterwards"})
    assert sources.fetch(location) == b"afterwards"
    put("x.zip", b"broken by now")
    with pytest.raises(Unreadable, match="not a whole zip"):
        sources.fetch(location)


def test_of_two_members_of_one_name_the_later_counts_and_hard_links_are_followed() -> None:
    with tarfile.open("x.tar", "w") as archive:
        for content in (b"old", b"newer"):
            info = tarfile.TarInfo("a.jpg")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("b.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "a.jpg"
        archive.addfile(link)
    assert [sources.fetch(location) for location in sources.listing("x.tar").locations] == [b"newer", b"newer"]


@pytest.mark.parametrize("file", ["x.zip", "x.tar"])
def test_a_broken_archive_is_told_before_anything_is_read(file: str) -> None:
    members = {f"{i}.jpg": bytes([i]) * 700 for i in range(5)}
    zipped(file, members) if file == "x.zip" else tarred(file, members)
    whole = Path(file).read_bytes()
    broken = [b"", b"nonsense" * 1000, whole[:3000], whole[:100]]
    if file == "x.tar":  # cut within a member, within a header, and with a header overwritten
        broken += [whole[:2100], whole[: 2 * 1536 + 100], whole[:3072] + b"?" * 512 + whole[3584:]]
    for content in broken:
        put(file, content)
        with pytest.raises(InputError, match=f"{file}: not a whole {file[2:]}") as told:
            sources.listing(file)
        assert told.value.hint


def patched(file: Path, change: Callable[[bytearray, int, int], None]) -> str:
    """A zip of one member changed at its local header and at its entry in the directory."""
    content = bytearray(file.read_bytes())
    change(content, content.index(b"PK\3\4"), content.index(b"PK\1\2"))
    file.write_bytes(content)
    (location,) = sources.listing(file).locations
    return location


def test_an_encrypted_member_is_one_that_cannot_be_read() -> None:
    def encrypt(content: bytearray, local: int, central: int) -> None:
        content[local + 6] |= 1
        content[central + 8] |= 1

    with pytest.raises(Unreadable, match="encrypted"):
        sources.fetch(patched(zipped("x.zip", {"a.jpg": b"secret"}), encrypt))


def test_a_member_that_claims_a_gigabyte_and_more_is_not_unpacked() -> None:
    def claim(content: bytearray, local: int, central: int) -> None:
        content[central + 24 : central + 28] = (2**31).to_bytes(4, "little")

    with pytest.raises(Unreadable, match=r"2\.0 GiB: files of more than 1 GiB"):
        sources.fetch(patched(zipped("x.zip", {"a.jpg": bytes(10**6)}, zipfile.ZIP_DEFLATED), claim))


def test_a_member_that_unpacks_to_more_than_it_claims_is_broken_and_costs_no_more_than_it_claims() -> None:
    import tracemalloc

    def claim(content: bytearray, local: int, central: int) -> None:
        content[central + 24 : central + 28] = (10).to_bytes(4, "little")

    location = patched(zipped("x.zip", {"a.jpg": bytes(10**8)}, zipfile.ZIP_DEFLATED), claim)
    tracemalloc.start()
    with pytest.raises(Unreadable, match="broken in the archive"):
        sources.fetch(location)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_changed_byte_of_a_zip_is_noticed(method: int) -> None:
    content = random.Random(0).randbytes(500)

    def change(archive: bytearray, local: int, central: int) -> None:
        archive[local + 100] ^= 0xFF

    with pytest.raises(Unreadable, match="broken in the archive"):
        sources.fetch(patched(zipped("x.zip", {"a.jpg": content}, method), change))


def test_a_rare_compression_is_told() -> None:
    (location,) = sources.listing(zipped("x.zip", {"a.jpg": b"x" * 1000}, zipfile.ZIP_LZMA)).locations
    with pytest.raises(Unreadable, match="compressed in a way that is not read"):
        sources.fetch(location)


@pytest.mark.parametrize(
    "pattern", ["shards/{000..002}.tar", "shards/*.tar", "shards/{002,000,001}.tar", "s*/{000..2}*"]
)
def test_shards_are_read_in_the_order_of_their_names(pattern: str) -> None:
    Path("shards").mkdir()
    for i in (2, 0, 1):
        tarred(
            f"shards/{i:03}.tar", {f"{i}{j}.{end}": b"%d%d" % (i, j) for j in (1, 0) for end in ("cls", "jpg", "json")}
        )
    found = sources.listing(pattern)
    assert found.top == str(HERE() / pattern)
    assert listed(pattern) == [f"shards/{i:03}.tar/{i}{j}.jpg" for i in range(3) for j in range(2)]
    assert [sources.fetch(location) for location in found.locations] == [b"00", b"01", b"10", b"11", b"20", b"21"]


def test_a_missing_shard_is_named() -> None:
    tarred("0.tar", {"a.jpg": b""})
    with pytest.raises(InputError, match=r"no file 1\.tar"):
        sources.listing("{0..99999999999}.tar")


def test_braces_are_written_out_as_a_shell_would() -> None:
    assert [*patterns.spelled_out("{8..11}")] == ["8", "9", "10", "11"]
    assert [*patterns.spelled_out("{08..11}")] == ["08", "09", "10", "11"]
    assert [*patterns.spelled_out("a{2..0}b{x,y}")] == ["a2bx", "a2by", "a1bx", "a1by", "a0bx", "a0by"]
    assert [*patterns.spelled_out("plain")] == ["plain"]


@pytest.mark.parametrize("file", ["x.zip", "x.tar"])
def test_threads_read_an_archive_at_once_and_every_byte_is_right(file: str) -> None:
    rng = random.Random(0)
    members = {f"{i:03}.jpg": rng.randbytes(rng.randrange(20_000)) for i in range(200)}
    zipped(file, members, zipfile.ZIP_DEFLATED) if file == "x.zip" else tarred(file, members)
    names = list(members) * 4
    rng.shuffle(names)
    with ThreadPoolExecutor(8) as pool:  # nothing is indexed yet: the threads meet there first
        read = pool.map(lambda name: sources.fetch(f"{HERE()}/{file}/{name}"), names)
        assert all(content == members[name] for name, content in zip(names, read, strict=True))


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=150)


@given(
    st.dictionaries(NAMES, st.binary(max_size=1100), min_size=1, max_size=6),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_headers_of_a_tar_are_read_as_tarfile_reads_them(members: dict[str, bytes], form: int) -> None:
    file = io.BytesIO()
    tarred(file, members, form)
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        expected = [(info.name, info.offset_data, info.size) for info in archive if info.isreg()]
    found = [(entry.name, entry.offset, entry.size) for entry in tar.tar_entries(file) if entry.is_file]
    # tarfile takes the slash from the end of names
    assert [(name.rstrip("/"), *place) for name, *place in found] == [(name.rstrip("/"), *p) for name, *p in expected]


def test_old_and_odd_kinds_of_members_are_known() -> None:
    """As tar had them before POSIX; contiguous; and a sparse file, whose bytes here are not the file's."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for kind in (tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, tarfile.SYMTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("a.jpg")
            info.type, info.size = kind, 3 if kind in tarfile.REGULAR_TYPES else 0
            archive.addfile(info, io.BytesIO(b"abc"))
    found = [(entry.is_file, entry.sparse, entry.size) for entry in tar.tar_entries(file)]
    assert found == [(True, False, 3), (True, False, 3), (True, True, 3), (False, False, 0), (False, False, 0)]
    Path("x.tar").write_bytes(file.getvalue())
    with pytest.raises(Unreadable, match="a sparse file"):
        sources.fetch(f"{HERE()}/x.tar/a.jpg")


@given(st.integers(0, 2**62))
def test_sizes_of_a_tar_are_read_in_both_spellings(size: int) -> None:
    assert tar.octal_number(tarfile.itn(size, 12, tarfile.GNU_FORMAT)) == size  # type: ignore[attr-defined]


# -- addresses -----------------------------------------------------------------------------------------


class Answers(BaseHTTPRequestHandler):
    """What each path answers, in order; the last one again and again. 0 stands for silence."""

    answers: dict[str, list[tuple[int, bytes]]]
    asked: list[str]
    over: threading.Event

    def do_GET(self) -> None:
        self.asked.append(self.path)
        waiting = self.answers.get(self.path, [(404, b"")])
        code, body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if not code:
            self.over.wait(5)
            return
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "image/jpeg")
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Site:
    """A server on this machine that answers what it is told to."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, bytes]]] = {}
        self.asked: list[str] = []
        self.over = threading.Event()
        told = {"answers": self.answers, "asked": self.asked, "over": self.over}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Told", (Answers,), told))
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Site]:
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            self.server.shutdown()
            thread.join()
            self.server.server_close()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(remote, "PAUSE", 0.01)
    with Site().running() as site:
        yield site


def test_an_address_is_read(site: Site) -> None:
    site.answers["/a%20%C3%A9.jpg"] = site.answers["/1.jpg?size=2&signed=%2F%2b"] = [(200, b"picture")]
    for path in ("a%20%C3%A9.jpg", "a é.jpg", "1.jpg?size=2&signed=%2F%2b"):  # the last to the letter
        location = f"{site.url}/{path}"
        assert sources.fetch(location) == b"picture"
        assert sources.image_status(location) is None
        assert not is_local(location)


def test_an_address_that_refuses_is_asked_once(site: Site) -> None:
    site.answers["/closed.jpg"] = [(403, b"")]
    for path, reason in (("gone.jpg", "404 Not Found"), ("closed.jpg", "403 Forbidden")):
        with pytest.raises(Unreadable, match=f"^{reason}$"):
            sources.fetch(f"{site.url}/{path}")
    assert site.asked == ["/gone.jpg", "/closed.jpg"]


def test_a_server_that_fails_is_asked_again(site: Site) -> None:
    site.answers["/1.jpg"] = [(500, b""), (200, b"picture")]
    site.answers["/2.jpg"] = [(503, b"")]
    assert sources.fetch(f"{site.url}/1.jpg") == b"picture"
    with pytest.raises(Unreadable, match=r"^503 Service Unavailable after 3 tries$"):
        sources.fetch(f"{site.url}/2.jpg")
    assert site.asked == ["/1.jpg"] * 2 + ["/2.jpg"] * 3


def test_a_server_that_says_nothing_is_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TIMEOUT", 0.1)
    site.answers["/1.jpg"] = [(0, b"")]
    start = time.monotonic()
    with pytest.raises(Unreadable, match=r"^timed out after 3 tries$"):
        sources.fetch(f"{site.url}/1.jpg")
    with pytest.raises(Unreadable, match=r"^timed out$"):
        sources.fetch(f"{site.url}/1.jpg", tries=1)
    assert time.monotonic() - start < 3
    while len(site.asked) < 4 and time.monotonic() - start < 10:  # the server may hear of it late
        time.sleep(0.01)
    assert len(site.asked) == 4


def test_where_nobody_listens_that_is_told(site: Site) -> None:
    with pytest.raises(Unreadable, match=r"connect.* after 3 tries"):
        sources.fetch("http://127.0.0.1:1/1.jpg")


def test_threads_read_addresses_at_once(site: Site) -> None:
    for i in range(40):
        site.answers[f"/{i}.jpg"] = [(200, b"%d" % i)]
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda i: sources.fetch(f"{site.url}/{i}.jpg"), range(40)))
    assert read == [b"%d" % i for i in range(40)]


def test_a_page_of_links_is_a_folder(site: Site) -> None:
    """With pages below it, links to sort it, and links that lead out of it."""
    links = ["b.jpg", "x/1.png", "y/1.png", "notes.txt", "sub/", "?C=N;O=D", "../", "/", "/elsewhere/3.jpg"]
    site.answers["/photos/"] = [(200, " ".join(f'<a href="{link}">x</a>' for link in links).encode())]
    site.answers["/photos/sub/"] = [(200, b'<a href="../">up</a> <a href="/photos/">up</a> <a href="2.jpg">2</a>')]
    found = sources.listing(f"{site.url}/photos/").locations
    assert [url.removeprefix(f"{site.url}/photos/") for url in found] == ["b.jpg", "sub/2.jpg", "x/1.png", "y/1.png"]
    site.answers["/photos/sub/"] = [(500, b"")]
    with pytest.raises(InputError, match="500 Internal Server Error"):  # rather than without its images
        sources.listing(f"{site.url}/photos/")
    with pytest.raises(InputError, match="404 Not Found"):
        sources.listing(f"{site.url}/nowhere/")


def test_the_address_of_an_image_is_that_image() -> None:
    for url in ("https://host/a/1.jpg", "s3://bucket/1.png"):
        assert sources.listing(url).locations == [url]


@pytest.mark.parametrize(("url", "package"), [("https://host/1.jpg", "aiohttp"), ("s3://bucket/1.jpg", "s3fs")])
def test_without_the_package_of_a_protocol_the_line_that_installs_it_is_told(
    url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.registry import _registry

    put("list.txt", url)
    for module in [name for name in sys.modules if name.startswith(("fsspec.implementations.http", "s3fs"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(_registry, url.partition(":")[0], raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    for act in (lambda: sources.listing("list.txt"), lambda: sources.listing(url[:-5]), lambda: sources.fetch(url)):
        with pytest.raises(ComponentMissing) as told:
            act()
        assert "pip install 'annotate-images[remote]'" in told.value.hint


@pytest.mark.parametrize("end", ["list.txt", "t.parquet", "x.zip", "{0..9}.tar"])
def test_lists_and_archives_behind_an_address_are_refused(end: str) -> None:
    with pytest.raises(InputError, match="from this machine's disk alone"):
        sources.listing(f"s3://bucket/{end}")


@pytest.fixture
def photos_there(bucket: str) -> str:
    """The bucket, with photos in it."""
    import fsspec

    names = ("photos/b.jpg", "photos/a b/é.png", "photos/.x/1.jpg", "photos/n.txt", "photos/p.cr2", "other/c.jpg")
    files, _ = fsspec.url_to_fs(bucket)
    for name in names:
        files.pipe_file(f"{bucket}/{name}", name.encode())
    return bucket


def test_a_bucket_is_a_folder(photos_there: str) -> None:
    bucket = photos_there
    found = sources.listing(f"{bucket}/photos/")
    assert found.top == f"{bucket}/photos/"
    assert found.locations == [f"{bucket}/photos/a b/é.png", f"{bucket}/photos/b.jpg"]
    assert found.passed_over == [{"path": f"{bucket}/photos/p.cr2", "reason": ".cr2 is not read: convert it to JPEG"}]
    assert [sources.fetch(location) for location in found.locations] == ["photos/a b/é.png".encode(), b"photos/b.jpg"]
    with pytest.raises(Unreadable, match=r"^No such file or directory$"):
        sources.fetch(f"{bucket}/gone.jpg")
    for nowhere in (f"{bucket}/empty/", "s3://nobodys/"):
        with pytest.raises(InputError):
            sources.listing(nowhere)


# -- names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "path", "name"),
    [
        ("/a/b c.jpg", "/a/b c.jpg", "b c.jpg"),
        ("/x.zip/a%20b.jpg", "/x.zip/a%20b.jpg", "a%20b.jpg"),
        ("https://host/golden%20retriever/1.jpg?size=2", "/golden retriever/1.jpg", "1.jpg"),
        ("https://host/200?x=/y.png", "/200", "200.jpg"),
        ("https://host/", "/", "image.jpg"),
        ("s3://bucket/cats/1?.png", "s3://bucket/cats/1?.png", "1?.png"),
        ("/folder/noname", "/folder/noname", "noname"),
    ],
)
def test_the_name_of_a_copy_is_the_images_own(location: str, path: str, name: str) -> None:
    assert path_without_query(location) == path
    assert file_name(location) == name


def test_listing_and_reading_folders_loads_no_package_of_the_extras() -> None:
    import subprocess

    code = (
        "import sys; from annotate import sources; import annotate.cli; sources.listing('.').locations;"
        "print([m for m in ('fsspec', 'aiohttp', 's3fs', 'pyarrow') if m in sys.modules])"
    )
    put("a.jpg")
    put("list.txt", "a.jpg")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
    assert lists.read_list("list.txt") == [str(HERE() / "a.jpg")]


@pytest.mark.parametrize("extra", ["", "# a comment\n", "\n"])
def test_a_large_text_list_stays_on_disk_and_says_the_same(monkeypatch: pytest.MonkeyPatch, extra: str) -> None:
    names = [f"  sub/./{i} é.jpg" for i in range(100)] + ["/abs/x.png", "https://host/a b.jpg"]
    Path("list.txt").write_text("\n".join(names[:50]) + "\n" + extra + "\n".join(names[50:]) + "\n")
    expected = sources.listing("list.txt")
    monkeypatch.setattr(lists, "LARGE", 0)
    found = sources.listing("list.txt")
    assert isinstance(found.locations, list) == bool(extra)
    assert found == expected
    Path("list.txt").write_text("a.jpg\nb.jpg\n./a.jpg\n")
    with pytest.raises(InputError, match=r"line 3: \./a\.jpg is listed twice, first in line 1"):
        sources.listing("list.txt")
