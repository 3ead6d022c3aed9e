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
