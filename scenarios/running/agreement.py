"""Whether finished runs can be read together: what they must agree in, and what may differ and is noted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import InvalidSetting
from scenarios.config.members import Member
from scenarios.datasets.fingerprints import without_path


@dataclass(frozen=True)
class Described:
    """What a finished run says of itself."""

    path: Path
    settings: Mapping[str, Any]
    """Those that all runs must share."""
    data: Any
    """The fingerprint of its data set; None if it has none."""
    versions: Any
    """Versions, machine and compilation: processor and threads decide rounding too."""
    own_code: Mapping[str, str]


def check_agreement(runs: Sequence[Described], expected: str, advice: Callable[[str, Any], str]) -> list[str]:
    """Check that runs differ in no setting that they must share.

    Args:
        runs: at least one.
        expected: what an error says that was expected.
        advice: what it says to do, given the name and the value of a setting of the first run.

    Returns:
        Notes on runs of other versions, on another machine or compiled otherwise than the first.

    Raises:
        InvalidSetting: a setting, the data or the user's own code differs.
    """
    reference = runs[0]
    for run in runs[1:]:
        pairs: dict[str, tuple[Any, Any]] = {
            name: (value, run.settings[name]) for name, value in reference.settings.items()
        }
        pairs["data"] = reference.data, run.data
        if "dataset" in pairs and reference.data is not None and reference.data == run.data:
            ours, theirs = pairs["dataset"]  # the same content, whatever the path
            pairs["dataset"] = without_path(str(ours)), without_path(str(theirs))
        for component in reference.own_code.keys() & run.own_code.keys():
            pairs[f"the source of {component}"] = reference.own_code[component], run.own_code[component]
        for name, (ours, theirs) in pairs.items():
            if ours != theirs:
                ours, theirs = (str(each) if isinstance(each, Member) else each for each in (ours, theirs))
                raise InvalidSetting(
                    f"expected {expected}, got {name} {_short(ours)} in {reference.path} and {_short(theirs)} in "
                    f"{run.path}; "
                    f"{advice(name, ours)}"
                )
    others = list(dict.fromkeys(str(run.path) for run in runs if run.versions != reference.versions))
    if not others:
        return []
    several = f" and {len(others) - 1} more" if others[1:] else ""
    return [
        f"{others[0]}{several} ran with other versions, other code, another --compile or another machine than "
        f"{reference.path}"
    ]


def _short(value: Any) -> str:
    """A value of a setting, cut off where it is long."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
