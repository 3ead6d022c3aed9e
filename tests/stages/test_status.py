from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import annotate
from annotate.progress import Silent
from annotate.settings.reasons import why_changed
from annotate.workspace import Workspace


@pytest.fixture
def made(photos: Path, checkpoint: Path) -> Path:
    annotate.run(photos, "out", ["red", "green"], model=str(checkpoint), settings={"refine.method": "soft"})
    return photos


def states(config: str | None = None) -> dict[str, str]:
    return {stage: state.name for stage, state in annotate.status(config=config).items()}


ALL = ("embed", "text", "cluster", "refine", "duplicates", "organize", "report")


def test_after_a_run_everything_is_fresh(made: Path) -> None:
    assert states() == dict.fromkeys(ALL, "fresh")


def test_before_a_run_everything_is_missing(tmp_path: Path) -> None:
    assert states() == dict.fromkeys(ALL, "missing")


def test_a_new_image_makes_all_that_follows_stale(made: Path) -> None:
    Image.new("RGB", (9, 9)).save(made / "new.png")
    found = annotate.status()
    assert found["embed"].why == "images changed"
    assert found["refine"].why == "embed is stale"
    assert [name for name, state in found.items() if state.name == "stale"] == [
        "embed", "cluster", "refine", "duplicates", "organize", "report",
    ]  # fmt: skip


def test_images_that_are_gone_are_said(made: Path) -> None:
    made.rename(made.with_name("moved"))
    assert "the images are gone" in annotate.status()["embed"].why


def test_other_classes_make_refine_stale(made: Path) -> None:
    annotate.embed_text(["red", "green", "blue"])
    assert annotate.status()["refine"].name == "stale"
    assert annotate.status()["embed"].name == "fresh"


def test_a_changed_config_file_is_noticed(made: Path) -> None:
    Path("annotate.yaml").write_text("refine:\n  iterations: 3\n")
    assert annotate.status(config="annotate.yaml")["refine"].why == "annotate.yaml says iterations 3, was 5"


def test_other_classes_and_prompts_in_the_config_file_are_noticed(made: Path) -> None:
    Path("annotate.yaml").write_text("classes: [red, green]\n")
    annotate.refine(config="annotate.yaml")
    assert states("annotate.yaml")["text"] == "fresh"
    Path("annotate.yaml").write_text("classes: [red, blue]\n")
    assert states("annotate.yaml")["text"] == "stale"
    Path("annotate.yaml").write_text("classes: [red, green]\ntext: {prompts: clip7}\n")
    assert states("annotate.yaml")["text"] == "stale"


def test_what_the_command_said_beats_the_file_as_it_would_again(made: Path) -> None:
    Path("annotate.yaml").write_text("classes: [red, blue]\nembed: {model: tiny}\nrefine: {method: direct}\n")
    assert states("annotate.yaml") == dict.fromkeys(ALL, "fresh")


def test_a_checkpoint_is_known_by_its_bytes(made: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("own.pt").write_bytes(checkpoint.read_bytes())
    annotate.embed(made, model="own.pt")
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert annotate.status(workspace="../artifacts")["embed"].name == "fresh"
    Path("../own.pt").write_bytes(b"another")
    assert annotate.status(workspace="../artifacts")["embed"].why.startswith("weights changed")


class Watcher(Silent):
    """Which stages ran, and which had nothing to do."""

    def __init__(self) -> None:
        self.ran: dict[str, str] = {}
        self.skipped: list[str] = []

    def started(self, stage: str, why: str) -> None:
        self.ran[stage] = why

    def fresh(self, stage: str) -> None:
        self.skipped.append(stage)


SAID: dict[str, object] = {
    "embed.batch_size": 4,
    "text.prompts": "clip7",
    "cluster.min_cluster_size": 4,
    "refine.method": "soft",
    "organize.splits": "50,25,25",
    "report.thumbnails": 3,
}
CHANGES: dict[str, tuple[dict[str, object], str, int]] = {
    # what changes: (what the command says both times, annotate.yaml the second time, images that are new)
    "nothing": ({}, "", 0),
    "nothing, settings are said": (SAID, "", 0),
    "preset in the file": ({}, "preset: large", 0),
    "preset in the file, settings are said": (SAID, "preset: large", 0),
    "embed in the file": ({}, "embed: {batch_size: 5}", 0),
    "text in the file": ({}, "text: {prompts: clip7}", 0),
    "cluster in the file": ({}, "cluster: {min_cluster_size: 3}", 0),
    "refine in the file": ({}, "refine: {method: direct}", 0),
    "organize in the file": ({}, "organize: {seed: 1}", 0),
    "report in the file": ({}, "report: {least_certain: 2}", 0),
    "all in the file, but others are said": (
        SAID,
        "embed: {batch_size: 5}\ntext: {prompts: photo}\ncluster: {min_cluster_size: 3}\nrefine: {method: direct}\n"
        "organize: {splits: [80, 10, 10]}\nreport: {thumbnails: 5}",
        0,
    ),
    "more images": ({}, "", 90),
    "more images, settings are said": (SAID, "", 90),
}


@pytest.mark.parametrize("change", CHANGES)
def test_status_and_the_command_agree_on_every_stage(photos: Path, checkpoint: Path, change: str) -> None:
    said, file, more = CHANGES[change]

    def everything(progress: Watcher | None = None) -> None:
        asked: dict[str, Any] = {"config": "annotate.yaml", "settings": said, "progress": progress}
        annotate.embed(photos, classes=["red", "green"], model=str(checkpoint), **asked)
        annotate.cluster(**asked)
        annotate.refine(**asked)
        annotate.organize("out", **asked)
        annotate.report(**asked)

    Path("annotate.yaml").touch()
    everything()
    assert states("annotate.yaml") == dict.fromkeys(ALL, "fresh")
    Path("annotate.yaml").write_text(file)
    for i in range(more):
        Image.new("RGB", (9, 9), (i, 2 * i, 255 - i)).save(photos / f"new{i}.png")
    told = annotate.status(config="annotate.yaml")
    watcher = Watcher()
    everything(watcher)
    for stage, state in told.items():
        if state.fresh:
            assert stage in watcher.skipped
            assert stage not in watcher.ran
        elif not state.why.endswith(" is stale"):
            assert watcher.ran[stage] == f"stale: {state.why}"
    assert states("annotate.yaml") == dict.fromkeys(ALL, "fresh")


def test_status_writes_nothing_and_waits_for_nobody(made: Path) -> None:
    with Workspace("artifacts").lock():
        before = {path: path.lstat().st_mtime_ns for path in Path().rglob("*")}
        assert states() == dict.fromkeys(ALL, "fresh")
        assert {path: path.lstat().st_mtime_ns for path in Path().rglob("*")} == before


def test_a_setting_that_moved_from_the_command_into_the_file_is_the_files(made: Path) -> None:
    Path("annotate.yaml").write_text("refine: {method: soft}\n")
    annotate.refine(config="annotate.yaml")
    assert annotate.status(config="annotate.yaml")["refine"].fresh
    Path("annotate.yaml").write_text("refine: {method: direct}\n")
    assert annotate.status(config="annotate.yaml")["refine"].why == 'annotate.yaml says method "direct", was "soft"'
    assert not any(annotate.check().values())


def test_a_preset_that_the_number_of_images_chose_is_said(made: Path) -> None:
    for i in range(90):
        Image.new("RGB", (9, 9), (i, 2 * i, 255 - i)).save(made / f"new{i}.png")
    annotate.embed(made, model="tiny")
    annotate.refine()
    assert annotate.status()["report"].why == (
        "preset 'medium' instead of 'small', since there are now 102 images (thumbnails 24, was 48)"
    )


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        ({"applied": "small", "images": 90}, {"applied": "medium", "applied_by": "images", "images": 110},
         "preset 'medium' instead of 'small', since there are now 110 images (size 2, was 1)"),
        ({"applied": "small", "images": 90}, {"applied": "large", "applied_by": "annotate.yaml", "images": 90},
         "annotate.yaml says preset 'large' instead of 'small' (size 2, was 1)"),
        ({"applied": "small", "images": 90}, {"applied": "large", "applied_by": "command", "images": 90},
         "preset 'large' instead of 'small' (size 2, was 1)"),
        ({"applied": "medium", "images": 200}, {"applied": "medium", "applied_by": "images", "images": 400},
         "there are now 400 images (size 2, was 1)"),
        ({}, {"applied": "medium", "applied_by": "images", "images": 400},
         "preset 'medium', since there are now 400 images (size 2, was 1)"),
    ],
)  # fmt: skip
def test_a_changed_setting_names_who_changed_it(before: dict[str, Any], now: dict[str, Any], why: str) -> None:
    assert why_changed("size", 1, 2, before, {**now, "decided": {"size": "preset"}}) == why


def test_damage_is_said_with_the_file(made: Path) -> None:
    Path("artifacts/refine/labels.npy").write_bytes(b"?")
    found = annotate.status()
    assert found["refine"].name == "damaged"
    assert "labels.npy" in found["refine"].why
    assert found["organize"].why == "refine is damaged"


def test_a_dataset_that_is_gone_or_changed_is_said(made: Path) -> None:
    next(Path("out").glob("*/*.png")).write_bytes(b"edited")
    assert annotate.status()["organize"].name == "damaged"
    shutil.rmtree("out")
    assert annotate.status()["organize"].name == "missing"


def test_check_reads_every_byte(made: Path) -> None:
    assert not any(annotate.check().values())
    path = Path("artifacts/embed/embeddings.npy")
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert annotate.check()["embed"] == "embeddings.npy: bytes differ from the manifest"


def flip_a_byte(path: Path, at: int = -1) -> None:
    """Change a byte and nothing else: size and times are those from before."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def in_the_dataset(pattern: str) -> Path:
    return sorted(Path("out").glob(pattern))[0]


@pytest.mark.parametrize("file", ["[rg]*/*.png", "metadata.json", "report.txt", "class_prototypes.npy"])
def test_check_finds_a_flipped_byte_in_the_dataset(made: Path, file: str) -> None:
    assert annotate.check()["dataset"] == ""
    flip_a_byte(in_the_dataset(file))
    assert annotate.check()["dataset"].endswith(": bytes differ from the manifest")
    assert in_the_dataset(file).name in annotate.check()["dataset"]


def test_check_finds_a_flipped_byte_anywhere_in_the_datasets_manifest(made: Path) -> None:
    manifest = Path("out/manifest.json")
    for at in (0, 40, manifest.stat().st_size // 2, -40, -4):
        flip_a_byte(manifest, at)
        assert annotate.check()["dataset"].endswith("manifest.json: not the one that was written")
        flip_a_byte(manifest, at)
    assert annotate.check()["dataset"] == ""


def test_check_finds_a_class_folder_a_file_and_a_dataset_that_are_missing(made: Path) -> None:
    copy = in_the_dataset("[rg]*/*.png")
    copy.rename("elsewhere.png")
    assert annotate.check()["dataset"].endswith(f"/{copy.parent.name}/{copy.name}: missing")
    shutil.rmtree(copy.parent)
    assert annotate.check()["dataset"].endswith(f"out/{copy.parent.name}/: missing")
    shutil.rmtree("out")
    assert annotate.check()["dataset"].endswith("out is gone")


def test_check_finds_a_file_that_was_added_to_the_dataset(made: Path) -> None:
    (in_the_dataset("[rg]*") / "mine.png").write_bytes(b"mine")
    assert annotate.check()["dataset"].endswith("mine.png: was added")


@pytest.mark.parametrize("link", ["hardlink", "symlink", "auto"])
def test_check_looks_through_links_at_the_images(made: Path, link: str) -> None:
    annotate.organize("out", link=link)
    assert annotate.check()["dataset"] == ""
    image = next(made.rglob("*.png"))
    flip_a_byte(image)
    assert f"the image that it is linked to was edited since: {image}" in annotate.check()["dataset"]
    image.unlink()
    gone = annotate.check()["dataset"]
    if link == "symlink":
        assert f"the image that it leads to is gone: {image}" in gone
    else:  # what was the image's second name is now its only one
        assert gone.endswith("bytes differ from the manifest")


def test_an_image_that_is_gone_leaves_its_hard_links_whole(made: Path) -> None:
    annotate.organize("out", link="hardlink")
    next(made.rglob("*.png")).unlink()
    assert annotate.check()["dataset"] == ""


def test_check_finds_a_flipped_byte_in_a_cache_and_the_next_run_makes_it_anew(made: Path) -> None:
    cache = next(Path("artifacts/.cache").glob("text-*.npz"))
    whole = cache.read_bytes()
    for at in (0, len(whole) // 2, -70, -1):
        flip_a_byte(cache, at)
        assert annotate.check()["cache"] == f"{cache.name}: bytes differ from those that were written"
        flip_a_byte(cache, at)
    assert annotate.check()["cache"] == ""
    flip_a_byte(cache, len(whole) // 2)
    annotate.embed_text(["red", "green", "blue"])
    assert annotate.check()["cache"] == ""


def test_what_a_kill_left_of_a_cache_is_swept(made: Path) -> None:
    part = Path("artifacts/.cache/text-0123.99.part")
    part.write_bytes(b"half")
    annotate.refine()
    assert not part.exists()
    assert list(Path("artifacts/.cache").iterdir())


def test_litter_of_systems_in_the_workspace_does_not_hinder_a_stage(made: Path) -> None:
    for folder in ("embed", "text", "refine", "organize", "report"):
        Path("artifacts", folder, ".DS_Store").write_bytes(b"litter")
    assert not any(annotate.check().values())
    annotate.report(force=True)
    assert states() == dict.fromkeys(ALL, "fresh")
