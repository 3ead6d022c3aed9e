"""A real PostgreSQL server for the tests, where Debian's package is installed."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVER = "/usr/lib/postgresql/*/bin/initdb"  # where Debian's package puts it


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server of the tests' own. It refuses root, and runs as the user postgres then."""
    programs = sorted(glob.glob(SERVER))
    if not programs or not shutil.which("su"):
        pytest.skip("PostgreSQL is not installed")
    folder = Path("/tmp") / f"annotate-{os.getpid()}"  # its socket has a short name
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    here = os.path.dirname(programs[-1])

    def as_postgres(command: str) -> None:
        line = ["su", "postgres", "-c", command] if os.geteuid() == 0 else ["sh", "-c", command]
        subprocess.run(line, check=True, capture_output=True, cwd="/")

    options = f"-c listen_addresses= -c fsync=off -k {folder}"
    try:
        as_postgres(f"{here}/initdb -D {folder}/data -A trust -U postgres -N")
        as_postgres(f"{here}/pg_ctl -D {folder}/data -o '{options}' -l {folder}/log -w start")
        yield f"postgresql://postgres@/postgres?host={folder}"
        as_postgres(f"{here}/pg_ctl -D {folder}/data -m immediate stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
