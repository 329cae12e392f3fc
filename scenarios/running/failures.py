"""How a lifetime failed, for a run whose other lifetimes go on."""

import traceback

from agent.errors import DatasetError, RunError

FAILED = "failed.json"
"""The file that says so, in place of a summary."""

PASSING = (DatasetError, RunError, OSError)
"""Errors that are no fault of a method, such as a full disk: another attempt may succeed."""


def said_of(error: Exception) -> dict[str, str]:
    """An error as one line, and its traceback."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return {"error": reason, "traceback": "".join(traceback.format_exception(error))}
