"""What a benchmark ran on: cores, processor, and the versions that decide its speed."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

from annotate.encoders import cores

PACKAGES = ("numpy", "torch", "pillow", "simplejpeg")


def described() -> str:
    versions = [f"{package} {importlib.metadata.version(package)}" for package in PACKAGES]
    return f"{cores()} cores, {processor()}; {', '.join([f'Python {platform.python_version()}', *versions])}"


def processor() -> str:
    """The model's name; Linux alone tells family and number, which some virtual machines' names leave out."""
    try:
        lines = Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = facts.get("model name", platform.machine())
    number = f" (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts else ""
    return f"{name}{number}{', AMX' if 'amx_bf16' in facts.get('flags', '').split() else ''}"
