from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from annotate.errors import WorkspaceBusy
from annotate.exports.replacing import claimed
from annotate.workspace import Workspace, locks, opening
from annotate.workspace.locks import Taken, locked

CLAIM = """
import os, sys, time
from pathlib import Path
from annotate.exports.replacing import claimed
from annotate.errors import WorkspaceBusy

output, inside, wanted, overlaps = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), 0
while wanted:
    try:
        with claimed(output):
            try:
                os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                overlaps += 1
                continue
            wanted -= 1
            os.unlink(inside)
    except WorkspaceBusy:
        pass
print(overlaps)
"""


def test_of_many_that_claim_a_folder_in_a_tight_loop_one_has_it_at_a_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLAIM, str(tmp_path / "out"), str(tmp_path / "inside"), "60"]
    claims = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [claim.communicate()[0].strip() for claim in claims] == ["0"] * 4
    assert list(tmp_path.iterdir()) == [], "no lock is left beside the dataset"


@pytest.mark.parametrize("meanwhile", ["taken away", "made anew"])
def test_a_lock_file_that_was_taken_away_while_somebody_waited_counts_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    place, tries = tmp_path / "lock", []

    def lock_file(handle: int) -> bool:
        tries.append(handle)
        if len(tries) == 1:  # its holder ends just before we lock it
            place.unlink()
            if meanwhile == "made anew":
                place.touch()
        return real(handle)

    real = locks.lock_file
    monkeypatch.setattr(locks, "lock_file", lock_file)
    with locked(place, keep=False), pytest.raises(Taken), locked(place, keep=False):
        pass
    assert len(tries) == 2, "the second try locks the file that lies there"


def in_a_thread(act: object) -> list[BaseException]:
    caught: list[BaseException] = []

    def run() -> None:
        try:
            with act():  # type: ignore[operator]
                pass
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return caught


def test_a_second_thread_is_refused_and_the_same_thread_is_not(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    with place.lock():
        with place.lock():
            pass
        assert [type(error) for error in in_a_thread(place.lock)] == [WorkspaceBusy]
        assert [type(error) for error in in_a_thread(Workspace(tmp_path).lock)] == [WorkspaceBusy]
        with pytest.raises(WorkspaceBusy), Workspace(tmp_path).lock():
            pass
    assert in_a_thread(place.lock) == []


def test_a_dataset_is_claimed_by_one_thread(tmp_path: Path) -> None:
    with claimed(tmp_path / "out"):
        assert [type(error) for error in in_a_thread(lambda: claimed(tmp_path / "out"))] == [WorkspaceBusy]


def test_where_the_disk_locks_processes_alone_two_of_one_process_exclude_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda handle, how: None)
    with Workspace(tmp_path).lock(), pytest.raises(WorkspaceBusy), Workspace(tmp_path).lock():
        pass


def test_a_disk_without_locks_is_used_and_the_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(opening, "_lacks", {})
    monkeypatch.setattr(opening, "_told", set())
    monkeypatch.setattr(fcntl, "flock", refuse)
    with Workspace(tmp_path).lock():
        pass
    assert "no locks" in opening.news_of_the_disk()[0]
