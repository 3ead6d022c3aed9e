"""dynamic: each class starts as its text, and moves toward the images that are nearest to it.

The text's weight falls from `text_weight_start` toward `text_weight_end` (kernels/prototypes.py has the formula).
"""

from __future__ import annotations

from annotate.kernels.blocks import evenly_spaced, single
from annotate.kernels.prototypes import class_directions, refine_dynamic
from annotate.kernels.vectors import Floats
from annotate.methods.material import (
    SAMPLE,
    Course,
    Material,
    Method,
    as_sure_as_zero_shot,
    refined_by,
    run_passes,
)
from annotate.methods.signs import signs_of_collapse, signs_of_few_images, signs_of_mismatch
from annotate.records import Refinement

PER_CLASS = 16  # images that show the direction of a class; with two, as many images more are looked at as in a pass
MOST_DIRECTING = 1 << 15  # such images in all, 64 MB
REMEDY = "run `annotate refine --method direct`, or give the text more weight: --text-weight-end 0.9"


def label(material: Material, course: Course) -> Refinement:
    """Move prototypes from their texts toward their images; images whose label cannot have changed are left alone."""
    asked, texts, names = course.settings, material.texts.text_embeddings, material.texts.class_names
    sample = material.sample
    passes = refine_dynamic(
        material.workers,
        texts,
        sample,
        iterations=course.iterations,
        start=asked.text_weight_start,
        end=asked.text_weight_end,
        directions=class_directions(directing_images(material, sample), texts),
    )
    first, last, history = run_passes(passes, material, course)
    before = asked.temperature or as_sure_as_zero_shot(material, first.sample, last.sample)
    made = refined_by(material, course, last.prototypes, before, history)
    made.notes.extend(
        [
            *signs_of_mismatch(material.images, material.texts),
            *signs_of_few_images(last.counts, "try --method transductive, which lets the text decide there"),
            *signs_of_collapse(history, last.counts, names, remedy=REMEDY),
        ]
    )
    return made


def directing_images(material: Material, sample: Floats) -> Floats:
    """Images by which to tell in which direction each class lies, (n, D): more where there are many classes."""
    x, k = material.images.embeddings, len(material.texts.prompts)
    more = min(PER_CLASS * k, MOST_DIRECTING, len(x) // 8)
    return single(x[evenly_spaced(len(x), more)]) if more > SAMPLE else sample


DYNAMIC = Method("dynamic", label, iterations=10, settings=("text_weight_start", "text_weight_end"))
