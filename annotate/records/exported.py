"""What an export made, for whoever asked for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Exported:
    """Where an export went and what is in it.

    images    in it
    classes   images of each class, in the user's order
    splits    images in train, val, test, and unlabelled
    answered  images whose class a person gave
    left_out  images that have no class here
    upright   images that were encoded once more because their EXIF says that they lie on their side
    """

    output: str
    format: str
    images: int
    classes: dict[str, int]
    splits: dict[str, int]
    answered: int
    left_out: int
    upright: int
