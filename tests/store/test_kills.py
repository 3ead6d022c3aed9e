"""An answer that was acknowledged is there, whichever write or sync of the database the process was killed at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
WRITER = """
import ctypes, os, shutil, sqlite3, sys
from pathlib import Path
import alembic.command
from annotate.store.connecting import FILE, Database
from annotate.store.events import Class, Event, Seen, now
from annotate.store.store import Store

library, folder = ctypes.CDLL(sys.argv[1]), Path(sys.argv[2])

def said(image):
    return Event("id-" + image, "ann", now(), "a test", image, "class", {"class": "c1"})

def write(place, call, at):
    '''Killed at the at-th call of a kind; what was acknowledged by then.'''
    hear, speak = os.pipe()
    child = os.fork()
    if not child:
        library.fault_arm(call, os.fsencode(place), ctypes.c_long(at), ctypes.c_long(0), ctypes.c_long(0))
        store = Store(Database(place / FILE))
        for batch in (["a"], ["b", "c"], ["d"]):
            store.add([said(one) for one in batch], classes=[Class("c1", "cat")], images=[Seen("a", "x")])
            os.write(speak, "".join(batch).encode())
        store.undo("ann")
        os.write(speak, b"-" + str(library.fault_count(call)).encode())
        os._exit(0)
    os.close(speak)
    _, status = os.waitpid(child, 0)
    with open(hear) as told:
        return os.waitstatus_to_exitcode(status), told.read()

def check(call, at, place, code, told):
    assert code == -9, (call, at, code)
    letters, there = told.partition("-")[0], set()
    if (place / FILE).exists():
        there = set(Store(Database(place / FILE)).snapshot().answers)
        with sqlite3.connect(place / FILE) as base:
            assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",), (call, at)
        base.close()
    missing = set(letters) - there
    assert not missing or (missing == {"d"} and letters == "abcd"), (call, at, letters, there)  # d may be taken back
    assert len(there & set("bc")) != 1, (call, at, "half of what was said together")
    Store(Database(place / FILE)).add([said("z")], classes=[Class("c1", "cat")])  # and it goes on

library.fault_count.restype = ctypes.c_long
made = folder / "made"
made.mkdir(parents=True)
Store(Database(made / FILE)).add([])
for begun in (True, False):  # a store that is there, at every call; one that is made meanwhile, at some
    for call in (b"write", b"fsync", b"open"):
        count = at = 0
        while at <= count:
            place = folder / f"{begun}-{call.decode()}-{at}"
            shutil.copytree(made, place) if begun else place.mkdir()
            code, told = write(place, call, at)
            if at:
                check(call, at, place, code, told)
            else:
                assert (code, told[:5]) == (0, "abcd-"), (code, told)
                count = int(told[5:])
                print(begun, call.decode(), count)
            at += 1 if begun else 1 + count // 5
"""


@pytest.mark.skipif(not shutil.which("gcc") or sys.platform != "linux", reason="faults are made by gcc, for Linux")
def test_no_acknowledged_answer_is_lost_by_a_kill_at_any_write(tmp_path: Path) -> None:
    library = tmp_path / "faults.so"
    source = ROOT / "benchmarks" / "faults.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    command = [sys.executable, "-c", WRITER, str(library), str(tmp_path / "stores")]
    tried = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert tried.returncode == 0, tried.stderr
    counts = {call: int(count) for begun, call, count in map(str.split, tried.stdout.splitlines()) if begun == "True"}
    assert counts["write"] > 10 and counts["fsync"] > 4 and counts["open"] > 4
