"""The manifest of a dataset, which lies among somebody's files: its last line is the digest of all above it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotate.workspace import jsonfile
from annotate.workspace.artifacts import as_json, read_file
from annotate.workspace.manifest import MANIFEST

SEAL = b',\n "sha256": "'  # before the digest of all that stands above it, in the last line of a manifest
SEALED_FROM = 3  # version of organize
SEALED = ("organize", "export")  # stages that write datasets
LARGEST_MANIFEST = 1 << 34  # bytes; a million images take a thirtieth


def read_manifest(output: Path) -> dict[str, Any] | None:
    """The manifest of a dataset; None where annotate did not write it, or somebody changed it."""
    try:
        content = read_file(output / MANIFEST, LARGEST_MANIFEST)
        manifest = jsonfile.loads(content)
        ours = manifest["stage"] in SEALED and has_its_types(manifest)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    body, mark, digest = content.rpartition(SEAL)
    older = manifest["stage"] == "organize" and manifest["version"] < SEALED_FROM
    whole = digest.startswith(hashlib.sha256(body).hexdigest().encode()) if mark else older
    return dict(manifest) if ours and whole else None


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """The manifest as it is written: JSON, with the digest of all that stands above its last line in that line.

    Of the bytes themselves, which for a million images is quicker than to sort and write them once more.
    """
    body = as_json(manifest).removesuffix(b"\n}\n")
    return body + SEAL + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def has_its_types(manifest: Mapping[str, Any]) -> bool:
    return (
        isinstance(manifest["version"], int)
        and all(isinstance(manifest[key], dict) for key in ("config", "inputs", "files", "originals"))
        and all(isinstance(entry, list) and len(entry) in (2, 3) for entry in manifest["files"].values())
        and all(isinstance(original, str) for original in manifest["originals"].values())
    )
