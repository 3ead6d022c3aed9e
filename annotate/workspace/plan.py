"""What a stage is about to do, and whether that is what the disk already holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotate.settings.reasons import why_changed

CACHE = ".cache"  # arrays that cost only time when they are lost


@dataclass(frozen=True)
class Plan:
    """What a stage is about to do. Two equal plans make the same bytes.

    version  of the method; raise it when the same inputs would give other bytes
    config   the effective settings that reach the stage
    inputs   name to digest
    why      a reason to run even where all this is as it was
    found    what planning has read and making needs
    request  what the command asked for, and who decided the settings; it makes no byte, and lets `status` plan again
    """

    stage: str
    version: int
    config: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict, compare=False)
    why: str = field(default="", compare=False)
    found: Any = field(default=None, compare=False, repr=False)

    def differs(self, manifest: Mapping[str, Any]) -> str:
        """Why the manifest on disk is not the one that this plan would write; empty where it is."""
        if manifest["version"] != self.version:
            return f"the method changed (version {manifest['version']} to {self.version})"
        then, now = manifest["config"], json.loads(json.dumps(self.config))
        for key in [*now, *(key for key in then if key not in now)]:
            if then.get(key) != now.get(key):
                return why_changed(key, then.get(key), now.get(key), manifest.get("request", {}), self.request)
        return self.inputs_differ(manifest) or self.why

    def inputs_differ(self, manifest: Mapping[str, Any]) -> str:
        then = manifest["inputs"]
        for key in [*self.inputs, *(key for key in then if key not in self.inputs)]:
            if then.get(key) != self.inputs.get(key):
                verb = "is new" if key not in then else "is gone" if key not in self.inputs else "changed"
                return f"{key} {verb}"
        return ""


@dataclass(frozen=True)
class State:
    """fresh, stale, damaged or missing, and why."""

    name: str
    why: str = ""

    @property
    def fresh(self) -> bool:
        return self.name == "fresh"


def json_text(path: str | Path) -> str:
    """A path as text that any JSON reader takes, also where its bytes are not UTF-8."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")
