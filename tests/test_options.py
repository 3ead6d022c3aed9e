"""A setting is declared once: the command line, Python and YAML take it alike."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import annotate
from annotate.cli.options import with_options
from annotate.cli.parsing import Command
from annotate.errors import ConfigError
from annotate.settings.config import by_argument, by_section
from annotate.settings.declared import Settings, sections
from annotate.settings.setting import Setting
from annotate.settings.values import checked
from annotate.stages import stages

SETTINGS = [setting for section in sections().values() for setting in section.values()]
WITH_SETTINGS = {name: taken for name, (_, taken) in Command.functions.items() if taken}
MOST_PARAMETERS = 7


@pytest.mark.parametrize("name", WITH_SETTINGS)
def test_a_command_has_the_flags_of_the_settings_that_its_function_takes(name: str) -> None:
    function, taken = Command.functions[name]
    options = inspect.signature(with_options(function, taken)).parameters
    assert {s.argument for s in SETTINGS if s.flag and s.section in taken} <= options.keys()
    place = {name: "x" for name in ("images", "output", "source") if name in inspect.signature(function).parameters}
    for setting in (setting for setting in SETTINGS if setting.section in taken):
        with pytest.raises(ConfigError) as refused:
            getattr(annotate, name)(**place, **{setting.argument: bool(setting.means) or setting.default, "no_such": 1})
        assert "no setting 'no_such'" in str(refused.value)


def test_a_command_takes_the_settings_of_its_stage() -> None:
    for stage in stages():
        if stage.name in WITH_SETTINGS:
            assert set(stage.sections) <= set(WITH_SETTINGS[stage.name]), stage.name
    assert {*WITH_SETTINGS["run"]} == {*sections()} - {"export"}  # which no stage does


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_a_setting_has_all_that_help_and_docs_say_of_it(setting: Setting) -> None:
    assert setting.sentence[0].isupper()
    assert not setting.sentence.endswith(".")
    assert setting.shown_default
    assert not setting.means or setting.means in setting.choices
    assert setting.default is None or checked(setting.key, setting.default, source="") == setting.default


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_python_calls_a_setting_as_the_command_line_does(setting: Setting) -> None:
    assert by_argument([setting.section])[setting.argument] is setting
    value: object = True if setting.means else "value"
    expected = setting.means or "value"
    assert by_section("run", {setting.argument: value}, [setting.section], []) == {setting.key: expected}


def test_sections_are_those_of_settings() -> None:
    assert [*sections(), "preset"] == [*Settings.__struct_fields__]


def test_no_function_of_the_command_line_has_many_parameters() -> None:
    for path in (Path(annotate.__file__).parent / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                count = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs)
                assert count <= MOST_PARAMETERS, f"{path.name}: {node.name}"
