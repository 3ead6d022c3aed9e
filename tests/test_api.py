"""The Python API as a person meets it: every function takes what its command takes, and says what it does not take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import annotate
from annotate.errors import ConfigError


def test_no_function_shares_its_name_with_a_module() -> None:
    """Importing `annotate.demo` would put the module in the function's place."""
    package = Path(annotate.__file__).parent
    functions = [name for name in annotate.__all__ if name[0].islower()]
    assert "demo" in functions
    for name in functions:
        assert not (package / f"{name}.py").exists()
        assert not (package / name).exists()


def test_the_demo_works_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(annotate, "run", lambda *given, **named: asked.append((given, named)))
    for _ in range(2):
        annotate.demo("digits")
    (once, named_once), (twice, named_twice) = asked
    assert once == twice
    assert named_once.keys() == named_twice.keys()


def test_run_takes_settings_of_every_stage_by_name(photos: Path, checkpoint: Path) -> None:
    made = annotate.run(
        photos,
        "out",
        (name for name in ("red", "green")),
        model=str(checkpoint),
        prompts="clip7",
        method="direct",
        splits=(50, 25, 25),
        thumbnails=2,
    )
    assert made.refinement.method == "direct"
    assert made.texts.prompt_set == "clip7"
    assert made.texts.class_names == ["red", "green"]
    assert sum(made.organized.splits.values()) == 12
    assert json.loads(Path("artifacts/organize/manifest.json").read_text())["config"]["splits"] == [50, 25, 25]
    again = annotate.refine(np.array(["red", "green"]), prompts="clip7", method="direct")
    assert again.labels.tolist() == made.refinement.labels.tolist()


WRONG: list[tuple[Callable[[], object], str, str]] = [
    (lambda: annotate.run("photos", "out", metod="direct"), "run: no setting 'metod'", "did you mean 'method'?"),
    (lambda: annotate.embed("photos", modle="tiny"), "embed: no setting 'modle'", "did you mean 'model'?"),
    (lambda: annotate.embed("photos", method="direct"), "embed: no setting 'method'", "`annotate.refine`"),
    (lambda: annotate.embed_slice("photos", 1, 2, modle="tiny"), "embed_slice: no setting 'modle'", "'model'"),
    (lambda: annotate.embed_text(promts="photo"), "embed_text: no setting 'promts'", "'prompts'"),
    (lambda: annotate.import_embeddings("e", "p", clases=()), "no argument 'clases'", "'classes'"),
    (lambda: annotate.cluster(min_sample=2), "cluster: no setting 'min_sample'", "'min_samples'"),
    (lambda: annotate.refine(worksapce="w"), "refine: no setting 'worksapce'", "'workspace'"),
    (lambda: annotate.organize("out", slits=3), "organize: no setting 'slits'", "'splits'"),
    (lambda: annotate.report(thumbnail=3), "report: no setting 'thumbnail'", "'thumbnails'"),
    (lambda: annotate.demo(forse=True), "demo: no argument 'forse'", "'force'"),
    (lambda: annotate.status(worksapce="w"), "status: no argument 'worksapce'", "'workspace'"),
    (lambda: annotate.check(worksapce="w"), "check: no argument 'worksapce'", "'workspace'"),
    (lambda: annotate.run("photos", "out", balanced="yes"), "balanced: expected True or False", "balanced=True"),
]


@pytest.mark.parametrize(("call", "said", "hint"), WRONG, ids=[said for _, said, _ in WRONG])
def test_a_wrong_name_is_refused_with_what_was_probably_meant(call: Callable[[], object], said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        call()
    assert said in str(refused.value)
    assert hint in refused.value.hint
    assert not any(Path().iterdir())
