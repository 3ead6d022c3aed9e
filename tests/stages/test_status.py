from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

import annotate


@pytest.fixture
def made(photos: Path, checkpoint: Path) -> Path:
    annotate.run(photos, "out", ["red", "green"], model=str(checkpoint), settings={"refine.method": "soft"})
    return photos


def states() -> dict[str, str]:
    return {stage: state.name for stage, state in annotate.status().items()}


ALL = ("embed", "text", "cluster", "refine", "organize", "report")


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
        "embed", "cluster", "refine", "organize", "report",
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
    assert "iterations changed: 5 to 3" in annotate.status()["refine"].why


def test_other_classes_and_prompts_in_the_config_file_are_noticed(made: Path) -> None:
    Path("annotate.yaml").write_text("classes: [red, blue]\n")
    assert annotate.status()["text"].name == "stale"
    Path("annotate.yaml").write_text("text: {prompts: clip7}\n")
    assert annotate.status()["text"].name == "stale"
    Path("annotate.yaml").write_text("classes: [red, green]\n")
    assert annotate.status()["text"].name == "fresh"


def test_a_checkpoint_in_the_config_file_is_known_by_its_bytes(made: Path, checkpoint: Path) -> None:
    Path("annotate.yaml").write_text(f"embed: {{model: '{checkpoint}'}}\n")
    assert annotate.status()["embed"].name == "fresh"
    Path("annotate.yaml").write_text("embed: {model: tiny}\n")
    assert annotate.status()["embed"].name == "stale"


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
