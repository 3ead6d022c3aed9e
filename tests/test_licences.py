"""No package that annotate needs is AGPL, GPL or non-commercial."""

from __future__ import annotations

import importlib.metadata as metadata
import re

import pytest

FORBIDDEN = re.compile(
    r"(?<!L)(?<!Lesser )A?GPL|Affero|(?<!Lesser )General Public|Non-?Commercial|CC[- ]BY[- ]NC", re.IGNORECASE
)


def needed(name: str = "annotate-images") -> set[str]:
    """Names of all installed packages that a package needs without extras, directly or through others."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for line in metadata.requires(waiting.pop()) or []:
            requirement, _, marker = line.partition(";")
            package = re.split(r"[\s<>=!~\[(]", requirement.strip(), maxsplit=1)[0].lower()
            if "extra" in marker or package in found:
                continue
            try:
                metadata.distribution(package)
            except metadata.PackageNotFoundError:  # needed on other systems
                continue
            found.add(package)
            waiting.append(package)
    return found


STATED_ELSEWHERE = {"openai-clip": "MIT"}  # in its repository, not in the package


def licence_of(package: str) -> str:
    about = metadata.metadata(package)
    classifiers = [line for line in about.get_all("Classifier") or [] if line.startswith("License")]
    said = [line for key in ("License-Expression", "License") for line in (about.get_all(key) or [])]
    words = [*(line.split("\n")[0] for line in said), *classifiers]
    return " | ".join(word for word in words if word) or STATED_ELSEWHERE.get(package, "")


def test_the_closure_is_the_whole_of_it() -> None:
    assert needed() >= {
        "torch",
        "numpy",
        "scipy",
        "scikit-learn",
        "hdbscan",
        "msgspec",
        "pillow",
        "typer",
        "rich",
        "ftfy",
        "wcwidth",
    }


@pytest.mark.parametrize("package", sorted(needed()))
def test_every_dependency_may_be_used_by_anyone(package: str) -> None:
    licence = licence_of(package)
    assert licence, "no licence stated: look it up and add it to STATED_ELSEWHERE"
    assert not FORBIDDEN.search(licence), licence


@pytest.mark.parametrize("licence", ["GPL-3.0-only", "GNU Affero General Public License v3", "AGPLv3", "CC BY-NC 4.0"])
def test_a_forbidden_licence_is_recognised(licence: str) -> None:
    assert FORBIDDEN.search(licence)


@pytest.mark.parametrize("licence", ["MIT", "LGPL-2.1", "GNU Lesser General Public License", "BSD-3-Clause", "PSF-2.0"])
def test_an_open_one_passes(licence: str) -> None:
    assert not FORBIDDEN.search(licence)
