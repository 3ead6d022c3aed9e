"""What is known of a dataset that is split already: which pictures lie in more than one part."""

from __future__ import annotations

from dataclasses import dataclass

PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class Leak:
    """Two images that show one picture and lie in two parts, as paths relative to the dataset.

    exact      whether they have the same bytes
    agreement  of their fine structure, 1 for the same bytes
    """

    first: str
    second: str
    exact: bool
    agreement: float


@dataclass(frozen=True)
class CheckedDataset:
    """What is known of a dataset's parts: images in each, files that could not be read, and what leaks, worst first."""

    images: dict[str, int]
    unreadable: list[str]
    leaks: list[Leak]

    @property
    def leaked(self) -> dict[str, int]:
        """For each part but train, how many of its images have a copy in another part."""
        found: dict[str, set[str]] = {part: set() for part in self.images if part != "train"}
        for leak in self.leaks:
            for path in (leak.first, leak.second):
                found.get(part_of(path), set()).add(path)
        return {part: len(paths) for part, paths in found.items()}


def part_of(path: str) -> str:
    return PARTS[path.split("/")[0].lower()]
