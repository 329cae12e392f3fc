"""Errors in a user's own component, as opposed to errors of this program."""

import sysconfig
import traceback
from pathlib import Path

from agent.errors import LifetimeError, is_out_of_memory

_PROGRAM = Path(__file__).parents[2]
_NOT_OWN = (
    _PROGRAM / "agent",
    _PROGRAM / "scenarios",
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)


class ComponentError(LifetimeError):
    """A user's own network, recipe, learner, memory or policy raised an error."""


def component_error(error: Exception) -> ComponentError | None:
    """The error as a ComponentError, if it was raised in user code or in a library that user code called; else None.

    User code is all code outside this program, the standard library and installed packages.
    """
    if isinstance(error, LifetimeError) or is_out_of_memory(error):
        return None
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if not path.is_file() or any(path.resolve().is_relative_to(folder.resolve()) for folder in _NOT_OWN):
            continue
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return ComponentError(
            f"expected {path.name} to work, got {reason} in {frame.name}, line {frame.lineno}; correct it "
            "(agent.testing has a check for each kind of component)"
        )
    return None
