"""Errors in a user's own component, as opposed to errors of this program."""

import sysconfig
import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import LifetimeError, is_out_of_memory
from scenarios.running.progress import Interrupted

_PROGRAM = Path(__file__).parents[2]
_NOT_OWN = [_PROGRAM / "agent", _PROGRAM / "scenarios", *map(Path, map(sysconfig.get_path, ("stdlib", "platstdlib")))]
_LIBRARIES = {"site-packages", "dist-packages"}
"""Folders of installed packages, wherever they are."""


class ComponentError(LifetimeError):
    """A user's own network, recipe, learner, memory or policy raised an error."""


@contextmanager
def component_errors(own: Collection[str] = ()) -> Iterator[None]:
    """Turn an error of a user's own component into one that the command line shows as one line.

    Args:
        own: the user's own components in the run. They count as the cause of any error that has no advice of its own,
            but not of those of files: what they return may not be what their contracts say.

    Raises:
        ComponentError: the error was raised in user code, or in a library that user code called, or there are `own`
            components. User code is all code outside this program, the standard library and installed packages.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        known = isinstance(error, LifetimeError | Interrupted) or is_out_of_memory(error)
        frame = _own_frame(error)
        if known or (frame is None and (not own or isinstance(error, OSError | SystemExit))):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        checks = "agent.testing has a check for each kind of component; scenarios.run_lifetime shows the traceback"
        if frame is None:
            last = traceback.extract_tb(error.__traceback__)[-1]
            raise ComponentError(
                f"expected {' and '.join(own)} to return what the contract says, got {reason} in "
                f"{Path(last.filename).name}, line {last.lineno}; correct it ({checks})"
            ) from error
        raise ComponentError(
            f"expected {Path(frame.filename).name} to work, got {reason} in {frame.name}, line {frame.lineno}; correct "
            f"it ({checks})"
        ) from error


def _own_frame(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost call in user code."""
    return next((each for each in reversed(traceback.extract_tb(error.__traceback__)) if _is_own(each.filename)), None)


def _is_own(filename: str) -> bool:
    path = Path(filename)
    if not path.is_file():
        return False
    resolved = path.resolve()
    return not (
        _LIBRARIES & {*path.parts, *resolved.parts}
        or any(resolved.is_relative_to(folder.resolve()) for folder in _NOT_OWN)
    )
