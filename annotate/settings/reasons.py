"""Why a stage runs again, in the words of whoever set its settings.

A stage's manifest keeps the request: what the command asked for, and who decided the settings. Two of them tell whether
a setting differs because somebody said so, here or in a file, or because there are more images now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SAID, BY_PRESET, BY_COUNT = "command", "preset", "images"  # who decides a setting, beside a file's name


def why_changed(key: str, then: object, now: object, before: Mapping[str, Any], request: Mapping[str, Any]) -> str:
    """One setting's change, with its reason.

    before   the request of the manifest on disk, empty where annotate 0.1.0 wrote it
    request  that of the command
    """
    if is_digest(now):
        return f"{key} changed"
    values = f"{key} {brief(now)}, was {brief(then)}"
    who = request.get("decided", {}).get(key)
    preset, old = request.get("applied"), before.get("applied")
    count = request.get("images")
    since = f"there are now {images(count)}" if count is not None and count != before.get("images") else ""
    if who == BY_PRESET and preset != old:
        chosen = f"preset '{preset}'" + (f" instead of '{old}'" if old else "")
        by = request["applied_by"]
        if by == BY_COUNT:
            chosen += f", since {since}" if since else ""
        elif by != SAID:
            chosen = f"{by} says {chosen}"
        return f"{chosen} ({values})"
    if who in (BY_PRESET, BY_COUNT) and since and before:
        return f"{since} ({values})"
    if who in (None, SAID, BY_PRESET, BY_COUNT):
        return f"{key} changed: {brief(then)} to {brief(now)}"
    return f"{who} says {values}"


def images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def brief(value: object) -> str:
    """A setting on part of a line; None is what is chosen for the user."""
    if value is None:
        return "auto"
    text = ", ".join(map(str, value)) if isinstance(value, list) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
