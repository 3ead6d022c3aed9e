"""What is declared of a setting beside its type and default, and how it is read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from msgspec import Meta


def about(
    sentence: str,
    *,
    flag: str = "",
    means: str = "",
    chosen: str = "",
    ge: float | None = None,
    le: float | None = None,
    gt: float | None = None,
) -> Meta:
    """A setting's declaration, in `Annotated[type, about(...)]`.

    sentence    what it does, with its unit, without a full stop
    flag        the option that commands give it; none where `--set` is enough
    means       the value that the flag says, where it takes none
    chosen      what is taken where the default is None
    ge, le, gt  bounds of a number: at least, at most, above
    """
    extra = {"flag": flag, "means": means, "chosen": chosen}
    if gt is not None:
        return Meta(description=sentence, extra=extra, gt=gt)
    return Meta(description=sentence, extra=extra, ge=ge, le=le)


@dataclass(frozen=True)
class Setting:
    """A setting as it is declared.

    kind  its type, without None
    """

    section: str
    name: str
    kind: Any
    default: Any
    meta: Meta

    @property
    def key(self) -> str:
        """As YAML and `--set` call it."""
        return f"{self.section}.{self.name}"

    @property
    def argument(self) -> str:
        """As Python calls it: like the flag, where it has one."""
        return self.flag.removeprefix("--").replace("-", "_") or self.name

    @property
    def sentence(self) -> str:
        return self.meta.description or ""

    @property
    def flag(self) -> str:
        return self._extra("flag")

    @property
    def means(self) -> str:
        return self._extra("means")

    @property
    def shown_default(self) -> str:
        """The default, or what is chosen where there is none."""
        if self.default is None:
            return self._extra("chosen")
        return ",".join(map(str, self.default)) if isinstance(self.default, tuple) else f"{self.default}"

    @property
    def choices(self) -> tuple[str, ...]:
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def bounds(self) -> str:
        """What a number must be, or which words there are."""
        low, high, above = self.meta.ge, self.meta.le, self.meta.gt
        if self.choices:
            return ", ".join(self.choices)
        if above is not None:
            return f"above {above:g}"
        if low is None:
            return ""
        return f"{low:g} or more" if high is None else f"between {low:g} and {high:g}"

    def _extra(self, name: str) -> str:
        return str((self.meta.extra or {})[name])
