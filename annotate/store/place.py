"""Where a project's answers are: in its workspace, or in a database that somebody named."""

from __future__ import annotations

import os
from pathlib import Path

from annotate.errors import Hint, InputError, printable
from annotate.store.connecting import FILE, PROTOCOLS, Database, no_address, without_password
from annotate.store.store import Store
from annotate.workspace.artifacts import read_file
from annotate.workspace.opening import replacing_file

VARIABLE = "ANNOTATE_DATABASE"
NOTE = "answers.url"  # in the workspace: where its answers are, where they are elsewhere; without the password
LONGEST = 1 << 12  # bytes of that file


def store_at(root: Path, database: str | None, project: str | None) -> Store:
    """The store of a workspace.

    database  address of a PostgreSQL database; $ANNOTATE_DATABASE, or the workspace's own file, unless given
    project   its name in there; the folder that holds the workspace unless given
    raises    InputError where the answers were given to a database, and nobody names it: an address that only lies in
              a workspace is asked by nobody
    """
    url = database or os.environ.get(VARIABLE) or ""
    own = Database(root / FILE)
    if not url:
        elsewhere = noted(root)
        if elsewhere:
            raise InputError(
                f"the answers of {printable(root)}/ are in {elsewhere}",
                hint=Hint(
                    f"name the database {elsewhere}; to go without them, delete {NOTE} there",
                    f"add --database {elsewhere}, or set {VARIABLE}; to go without them, delete {NOTE} there",
                ),
            )
        return Store(own)
    if not url.startswith(PROTOCOLS):
        raise no_address(url)
    if own.exists():
        raise InputError(
            f"{printable(root)}/ has answers of its own in {FILE}",
            hint=Hint(
                f"to take them along, export them, move {FILE} away, then give them to the database",
                f"to take them along, run `annotate label --export answers.jsonl`, move {FILE} away, then run "
                "`annotate label answers.jsonl --database URL`",
            ),
        )
    return Store(Database(url=url), project or os.path.basename(os.path.dirname(os.path.realpath(root))) or "project")


def note(store: Store, root: Path) -> None:
    """Write down that the answers of a workspace are elsewhere, so that no later command goes without them."""
    url = without_password(store.database.url)
    if store.database.file is None and noted(root) != url:
        root.mkdir(parents=True, exist_ok=True)
        with replacing_file(root / NOTE) as file:
            file.write(f"{url}\n".encode())


def noted(root: Path) -> str:
    try:
        return printable(read_file(root / NOTE, LONGEST).decode("utf-8", "replace").strip())
    except (OSError, ValueError):
        return ""
