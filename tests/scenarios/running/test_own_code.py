"""Whose error it is."""

import json

import pytest
import torch

import agent.errors
from agent.errors import InvalidSetting
from scenarios.running import own_code
from scenarios.running.own_code import ComponentError, _is_own, component_errors
from scenarios.running.progress import Interrupted


def caught(act):
    try:
        with component_errors():
            act()
    except (Exception, SystemExit) as error:
        return error


def test_an_error_of_own_code_is_one_line_with_its_place():
    def act():
        raise ValueError("two\nlines")

    error = caught(act)
    assert isinstance(error, ComponentError)
    assert str(error).startswith("expected test_own_code.py to work, got ValueError: two lines in act, line ")
    assert isinstance(error.__cause__, ValueError)


def test_an_error_in_a_library_belongs_to_the_own_code_that_called_it():
    assert "got JSONDecodeError: " in str(caught(lambda: json.loads("{")))


def test_an_error_without_a_message_has_no_colon():
    def act():
        raise StopIteration

    assert "got StopIteration in act" in str(caught(act))


def test_in_a_run_with_own_components_an_unexpected_error_is_theirs(monkeypatch):
    monkeypatch.setattr(own_code, "_own_frame", lambda _: None)  # as in this program, with what they returned
    message = r"expected my\.Net and my\.Memory to return what the contract says, got ZeroDivisionError: .* in test_own"
    with pytest.raises(ComponentError, match=message), component_errors(["my.Net", "my.Memory"]):
        _ = 1 / 0
    with pytest.raises(ZeroDivisionError), component_errors():
        _ = 1 / 0
    for kind in (InvalidSetting, SystemExit, OSError):
        with pytest.raises(kind), component_errors(["my.Net"]):
            raise kind("a reason")


def test_errors_with_advice_interruptions_and_exhausted_memory_stay_what_they_are():
    for kind in (InvalidSetting, Interrupted, MemoryError):

        def act(kind=kind):
            raise kind("a reason")

        assert type(caught(act)) is kind


def test_only_code_outside_program_and_libraries_is_own(tmp_path):
    mine, installed = tmp_path / "mine.py", tmp_path / "dist-packages/library.py"
    installed.parent.mkdir()
    for path in (mine, installed):
        path.touch()
    (tmp_path / "site-packages").symlink_to(tmp_path)
    assert _is_own(str(mine))
    for path in (installed, tmp_path / "site-packages/mine.py", agent.errors.__file__, json.__file__, torch.__file__):
        assert not _is_own(str(path))
    assert not _is_own("<string>")
