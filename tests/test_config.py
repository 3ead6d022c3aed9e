from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from annotate.classes.names import as_class_names, clean_class_names
from annotate.errors import ConfigError, InputError
from annotate.settings.config import Config, by_section, parse_assignment, preset_for
from annotate.settings.declared import sections
from annotate.settings.values import checked


def test_flags_beat_the_file_and_the_file_beats_the_preset(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("refine:\n  method: soft\n  iterations: 3\n")
    config = Config.load("c.yaml", overrides={"refine.iterations": 7})
    settings = config.resolve(n=50)
    assert settings.preset == "small"
    assert (settings.refine.method, settings.refine.iterations) == ("soft", 7)
    assert settings.report.thumbnails == 48  # from small.yaml


def test_no_file_is_read_unasked(tmp_path: Path) -> None:
    (tmp_path / "annotate.yaml").write_text("preset: large\nclasses: [dog, 'cat, big']\n")
    assert Config.load() == Config()
    config = Config.load("annotate.yaml")
    assert config.preset == "large"
    assert config.classes == ("dog", "cat, big")


@pytest.mark.parametrize(
    ("n", "preset"), [(1, "small"), (99, "small"), (100, "medium"), (99_999, "medium"), (100_000, "large")]
)
def test_the_preset_follows_from_the_number_of_images(n: int, preset: str) -> None:
    assert preset_for(n) == preset


@pytest.mark.parametrize(("n", "method"), [(50, "transductive"), (200_000, "transductive"), (2_000_000, "dynamic")])
def test_auto_follows_the_number_of_images(n: int, method: str) -> None:
    assert Config.load(overrides={"refine.method": "auto"}).resolve(n).refine.method == method


@pytest.mark.parametrize(
    ("key", "value", "said", "hint"),
    [
        ("refine.temprature", 1, "refine: no setting 'temprature'", "did you mean 'temperature'?"),
        ("refin.temperature", 1, "no section 'refin'", "did you mean 'refine'?"),
        ("refine.temperature", 0, "0.0 is not above 0", ""),
        ("refine.temperature", -1, "-1.0 is not above 0", ""),
        ("refine.temperature", float("nan"), "expected a number", ""),
        ("refine.temperature", "warm", "expected a number, found 'warm'", ""),
        ("refine.temperature", True, "expected a number", ""),
        ("refine.iterations", 2.5, "expected a whole number", ""),
        ("refine.iterations", 0, "out of bounds", "it must be between 1 and 1000"),
        ("refine.text_weight_end", 1.5, "out of bounds", "between 0 and 1"),
        ("refine.method", "dinamic", "no 'dinamic'", "did you mean 'dynamic'?"),
        ("embed.device", None, "no value", "it is auto"),
        ("organize.splits", "70,20,20", "70+20+20 is 110, not 100", ""),
        ("organize.splits", "50,50", "not three percentages", ""),
        ("organize.splits", "a,b,c", "not a list of percentages", ""),
        ("organize.splits", [110, -5, -5], "not three percentages", ""),
        ("organize.splits", 70, "not a list of percentages", ""),
    ],
)
def test_a_bad_setting_is_refused_by_name(key: str, value: object, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(key, value, source="")
    assert said in str(caught.value)
    assert hint in caught.value.hint


def test_a_message_about_a_file_names_it(tmp_path: Path) -> None:
    (tmp_path / "annotate.yaml").write_text("refine:\n  temprature: 1\n")
    with pytest.raises(ConfigError, match=r"annotate\.yaml: refine: no setting 'temprature'"):
        Config.load("annotate.yaml")


@pytest.mark.parametrize("content", ["- a\n- b\n", "refine: 3\n", "{", "classes: {}\n", "preset: huge\n", "\x00"])
def test_a_file_that_is_not_a_config_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(InputError):
        Config.load("c.yaml")


def test_an_assignment_is_read_as_yaml_and_its_setting_knows_the_type() -> None:
    assert parse_assignment("organize.splits=[70, 15, 15]") == ("organize.splits", ["70", "15", "15"])
    key, value = parse_assignment("refine.temperature=0.1")
    assert Config.load(overrides={key: value}).resolve().refine.temperature == 0.1
    assert parse_assignment("embed.model=0123") == ("embed.model", "0123")
    assert parse_assignment("refine.temperature=") == ("refine.temperature", None)
    with pytest.raises(ConfigError):
        parse_assignment("refine.temperature")


def test_settings_are_kept_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "annotate.yaml").write_text(
        "preset:\nclasses: [0123, 1:30, no, null, 2024-01-01]\nembed: {model: 1_000, ledger: ~}\nreport:\n"
        "refine: {iterations: 7, temperature: 1e-2}\norganize: {splits: [60, 20, 20]}\n"
    )
    config = Config.load("annotate.yaml")
    assert config.classes == ("0123", "1:30", "no", "null", "2024-01-01")
    settings = config.resolve()
    assert (settings.embed.model, settings.embed.ledger) == ("1_000", None)
    assert (settings.refine.iterations, settings.refine.temperature) == (7, 0.01)
    assert settings.organize.splits == (60, 20, 20)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "no classes"),
        (["dog"], "only one class"),
        (["dog", ""], "class 2 has an empty name"),
        (["dog", "  "], "class 2 has an empty name"),
        (["dog", "cat", "Dog "], "'Dog' is named twice"),
        (["café", "cafe\u0301"], "named twice"),
        (["cat", "cat", "dog"], "'cat' is named twice, as class 1 and as class 2"),
        (["1", "1", "2"], "'1' is named twice, as class 1 and as class 2"),
        (["big dog", "cat", "big_dog"], "named twice, as class 1 and as class 3"),
        (["ΌΣΟΣ", "όσος"], "named twice"),
    ],
)
def test_bad_class_names_are_refused(names: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        clean_class_names(names)


@pytest.mark.parametrize("names", ["cat", ["a", 2]])
def test_names_that_are_not_a_list_of_texts_are_refused(names: object) -> None:
    with pytest.raises(InputError, match="class names are a list of texts"):
        clean_class_names(names)  # type: ignore[arg-type]


def test_odd_class_names_are_kept() -> None:
    names = ["a/b", "🐶", "x" * 300, "CON", "a,b", "two\nlines"]
    assert clean_class_names(names) == names


@pytest.mark.parametrize(
    "names",
    [
        ["cat", "dog"],
        ("cat", "dog"),
        np.array(["cat", "dog"]),
        np.array(["cat", "dog"], object),
        (name for name in ("cat", "dog")),
        {"cat": 1, "dog": 2},
        {"cat": 1, "dog": 2}.keys(),
        map(np.str_, ["cat", "dog"]),
        type("Series", (), {"tolist": lambda self: ["cat", "dog"]})(),
    ],
    ids=lambda names: type(names).__name__,
)
def test_class_names_are_taken_in_whatever_holds_them_in_order(names: object) -> None:
    found = as_class_names(names)
    assert found == ["cat", "dog"]
    assert {type(name) for name in found} == {str}


@pytest.mark.parametrize(
    "names", ["cat", b"cat", 3, np.array("cat"), np.array([1, 2]), [["cat"], ["dog"]], {"cat", "dog"}, ["cat", None]]
)
def test_what_is_no_list_of_class_names_is_refused_with_a_line(names: object) -> None:
    with pytest.raises(InputError, match="class names") as refused:
        as_class_names(names)
    assert '["dog", "cat"]' in refused.value.hint


def test_a_bare_name_is_the_setting_of_its_section() -> None:
    named = {"method": "direct", "model": "tiny", "engine": "ray", "balanced": True, "unknown": "apart", "splits": (1,)}
    assert by_section("run", named, [*sections()], []) == {
        "refine.method": "direct",
        "embed.model": "tiny",
        "engine.name": "ray",
        "refine.class_sizes": "balanced",
        "organize.unknown": "apart",
        "organize.splits": (1,),
    }


def test_no_two_sections_share_the_bare_name_of_a_setting() -> None:
    names = [name for section in sections().values() for name in section]
    assert len(set(names)) == len(names)
