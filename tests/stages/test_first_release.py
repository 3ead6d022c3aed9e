"""A workspace that annotate 0.1.0 made, every stage of it, is read or made anew with the reason.

`workspace-0.1.0.tar.xz` is what 0.1.0 left of twelve pictures of plain colours in `/photos` after `embed --model tiny`,
`cluster`, `refine --classes red,green,blue`, `organize /photos-sorted` and `report`.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

import annotate
from annotate.errors import InputError, StaleArtifact

MADE = Path(__file__).parent / "workspace-0.1.0.tar.xz"
STAGES = ["embed", "text", "cluster", "refine", "organize", "report"]


@pytest.fixture
def old(tmp_path: Path) -> annotate.Project:
    with tarfile.open(MADE) as archive:
        archive.extractall(tmp_path, filter="data")
    return annotate.Project(tmp_path / "artifacts")


def test_check_finds_all_of_it_whole(old: annotate.Project) -> None:
    found = old.check()
    assert [*found] == [*STAGES, "dataset", "cache"]
    assert {found[row] for row in [*STAGES, "cache"]} == {""}
    assert "/photos-sorted" in found["dataset"]


def test_status_says_why_each_stage_would_be_made_anew(old: annotate.Project) -> None:
    states = old.status()
    assert states["embed"].why == "the images are gone: /photos"
    assert states["text"].why == "the method changed (version 1 to 2)"
    assert states["cluster"].why == "meta_clusters changed: auto to 3"
    assert states["refine"].why == "text would be made anew: the method changed (version 1 to 2)"
    assert states["organize"].why == "duplicates would be made anew"
    assert states["report"].why.startswith("the method changed (version 4 to")


def test_its_embeddings_are_of_an_earlier_model_which_refine_says(old: annotate.Project) -> None:
    with pytest.raises(StaleArtifact, match="the `tiny` of another version of annotate") as caught:
        old.refine(["red", "green", "blue"])
    assert "annotate embed IMAGES --model tiny" in str(caught.value.hint)


def test_its_images_are_grouped_and_its_labels_reported_without_the_images(old: annotate.Project) -> None:
    assert len(old.cluster().micro_assignments) == 12
    with pytest.raises(InputError, match=r"/photos/00\.png is gone"):
        old.organize(old.context.workspace.root.parent / "dataset")
