"""YAML and JSON of other people: kept as written, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from annotate.classes.prompts import prompts_for
from annotate.errors import DamagedArtifact, InputError
from annotate.settings import yamlfile
from annotate.settings.config import Config, parse_assignment
from annotate.workspace import Workspace, jsonfile, sealed

LAUGHS = "- &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"- &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def yaml(text: str) -> object:
    return yamlfile.parse(text, shown="names.yaml", hint="look at it")


def json(text: str | bytes) -> object:
    return jsonfile.parse(text, shown="names.json", hint="look at it")


@pytest.mark.parametrize(
    "word",
    ["0123", "0x10", "1:30", "1_000", "yes", "no", "on", "null", "~", "2024-01-01", "1e3", ".inf", "0.10", "=", "<<"],
)
def test_a_word_of_yaml_is_kept_as_it_is_written(word: str) -> None:
    assert yaml(f"- {word}") == [word]
    assert yaml(f"{word}: {word}") == {word: word}
    assert yaml(f"!!str {word}") == word


def test_numbers_of_json_are_kept_as_they_are_written() -> None:
    assert json("[1, 1e3, 0.10, -0]") == ["1", "1e3", "0.10", "-0"]
    assert json('{"a": [true, null]}') == {"a": [True, None]}


def test_structure_anchors_and_quotes_are_yamls() -> None:
    text = "a: &x [1, 'two', \"thr\\u00e9e\"]\nb: *x\nc: {d: |\n  e\n  f\n}\n"
    assert yaml(text.replace("{d: |\n  e\n  f\n}", "\n  d: |\n    e\n    f")) == {
        "a": ["1", "two", "thrée"],
        "b": ["1", "two", "thrée"],
        "c": {"d": "e\nf\n"},
    }
    assert yaml("") is None
    assert yaml("# nothing") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 5000 + "]" * 5000, "line 1: more than 32 lists"),
        ("{a: " * 5000 + "}" * 5000, "line 1: more than 32 lists"),
        ("- " * 5000 + "x", "line 1: more than 32 lists"),
        (LAUGHS, "more than 2,000,000 values"),
        ("a: &a [*a]", "nothing is called '&a' before"),
        ("- *b", "nothing is called '&b' before"),
        ("a: 1\nb: 2\na: 3", "line 3: 'a' is there twice"),
        ("[a]: 1", "line 1: a list or section where a name should be"),
        ("{a: b}: 1", "line 1: a list or section where a name should be"),
        ("&a [x]: 1\n*a : 2", "a list or section where a name should be"),
        ("a: !!python/object/apply:os.system [ls]", "'tag:yaml.org,2002:python/object/apply:os.system' is not supp"),
        ("a: !mine x", "'!mine' is not supported"),
        ("a: 1\n---\na: 2", "a second document begins"),
        ('"\\UFFFFFFFF"', "not readable as YAML"),
        ("a: [", "not readable as YAML"),
        ("\x00", "not readable as YAML"),
        ("%YAML " + "9" * 5000 + ".1\n---\na", "not readable as YAML"),
    ],
)
def test_yaml_that_nobody_meant_is_refused_in_one_line(text: str, said: str) -> None:
    refused(lambda: yaml(text), "names.yaml: ", said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested too deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deep"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        ("[1", "not readable as JSON"),
        (b"\xff\xfe\xff", "not readable as JSON"),
        ("", "not readable as JSON"),
    ],
)
def test_json_that_nobody_meant_is_refused_in_one_line(text: str, said: str) -> None:
    refused(lambda: json(text), "names.json: ", said)


def refused(act: Callable[[], object], start: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        act()
    assert str(caught.value).startswith(start)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_json_that_is_nested_too_deep_is_damaged_like_any_other() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        jsonfile.loads(b"[" * 100_000)


@pytest.mark.parametrize("text", ["[" * 5000, LAUGHS, "a: 1\na: 2", "[a]: b"])
def test_settings_and_prompts_are_read_within_the_limits(text: str) -> None:
    Path("x.yaml").write_text(text)
    with pytest.raises(InputError, match=r"x\.yaml: line"):
        Config.load("x.yaml")
    with pytest.raises(InputError, match=r"x\.yaml: line"):
        prompts_for(["a", "b"], "x.yaml")
    with pytest.raises(InputError, match=r"--set .*: line"):
        parse_assignment(f"refine.temperature={text}")


@pytest.mark.parametrize("name", ["names.yaml", "names.yml", "names.json"])
def test_class_names_are_read_within_the_limits(name: str) -> None:
    from annotate.cli.names import read_names

    for text in ("[" * 100_000, '{"a": 1, "a": 2}'):
        Path(name).write_text(text)
        with pytest.raises(InputError, match=name):
            read_names(Path(name))


def test_class_names_of_json_and_yaml_are_kept_as_they_are_written() -> None:
    from annotate.cli.names import read_names

    Path("names.yaml").write_text("- 0123\n- 0x10\n- 1:30\n- 1_000\n- no\n")
    assert read_names(Path("names.yaml")) == ["0123", "0x10", "1:30", "1_000", "no"]
    Path("names.json").write_text('[1e3, 0.10, "a"]')
    assert read_names(Path("names.json")) == ["1e3", "0.10", "a"]


def test_a_file_that_is_too_large_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamlfile, "LARGEST_FILE", 1 << 20)
    with pytest.raises(InputError, match="/dev/zero: larger than 1 MB"):
        yamlfile.read(Path("/dev/zero"), hint="look at it")


def test_a_manifest_that_is_nested_too_deep_is_damaged(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    (tmp_path / "embed").mkdir()
    (tmp_path / "embed" / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(DamagedArtifact, match="not the manifest that was written"):
        place.manifest("embed")
    assert sealed.read_manifest(tmp_path / "embed") is None


def test_paths_in_json_that_is_nested_too_deep_are_refused() -> None:
    from annotate.stages.import_ import read_paths

    Path("paths.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"paths\.json: not readable: nested too deep"):
        read_paths(Path("paths.json"))
