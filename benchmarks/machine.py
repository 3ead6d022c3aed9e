"""What a benchmark ran on: cores, processor, and the versions that decide its speed."""

from __future__ import annotations

import importlib.metadata
import platform

from annotate.encoders import cores
from annotate.encoders.precision import EXACT, HALF, processor_facts, seconds_of_each

# What decides the speed of half precision, the fastest first: a flag of Linux, and what people call it.
INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "avx512f": "AVX512", "avx2": "AVX2", "bf16": "BF16"}
PACKAGES = ("numpy", "torch", "pillow", "simplejpeg")


def described() -> str:
    versions = [f"{package} {importlib.metadata.version(package)}" for package in PACKAGES]
    return f"{cores()} cores, {processor()}; {', '.join([f'Python {platform.python_version()}', *versions])}"


def speed_of_half() -> float:
    """How many times as fast as float32 bfloat16 is, for what takes most of a model's time."""
    seconds = seconds_of_each()
    return seconds[EXACT] / seconds[HALF]


def processor() -> str:
    """The model's name; Linux alone tells family and number, which some virtual machines' names leave out."""
    facts = processor_facts()
    name = facts.get("model name") or platform.processor() or platform.machine()
    number = f" (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts else ""
    flags = facts.get("flags", facts.get("Features", "")).split()
    best = next((called for flag, called in INSTRUCTIONS.items() if flag in flags), "")
    return f"{name}{number}" + (f" with {best}" if best else "")
