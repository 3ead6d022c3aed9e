"""direct: zero-shot CLIP. Each image gets the class whose text lies nearest."""

from __future__ import annotations

from annotate.kernels.prototypes import refine_dynamic
from annotate.methods.material import (
    Course,
    Material,
    Method,
    refined_by,
    run_passes,
)
from annotate.methods.signs import signs_of_collapse, signs_of_mismatch
from annotate.records import Refinement

REMEDY = "reword the classes, or give prompts: --prompts FILE.yaml"


def label(material: Material, course: Course) -> Refinement:
    """One pass, at the model's own temperature: its probabilities are nearly calibrated as they are."""
    texts, names = material.texts.text_embeddings, material.texts.class_names
    passes = refine_dynamic(material.workers, texts, material.sample, iterations=0, start=1, end=1)
    only, _, history = run_passes(passes, material, course)
    before = course.settings.temperature or material.temperature
    made = refined_by(material, course, only.prototypes, before, history)
    made.notes.extend(
        [
            *signs_of_mismatch(material.images, material.texts),
            *signs_of_collapse(history, only.counts, names, remedy=REMEDY),
        ]
    )
    return made


DIRECT = Method("direct", label)
