"""Policy files: JSON with the kind of a policy, its settings and facts about its training. No code in it is run."""

import inspect
import json
import os
import reprlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from agent.errors import InvalidSetting
from agent.policies.forecast import ForecastPolicy
from agent.policies.protocol import Policy
from agent.policies.ranges import check_one_of
from agent.policies.scoring import LinearPolicy, NetworkPolicy

FORMAT = "learn-or-memorize policy 1"
POLICY_FILE = "policy.json"
"""Name of the policy file in the run directory of a training."""
MAX_NBYTES = 2**24
"""Largest size of a file: enough for a network of half a million weights."""

_Reader = Callable[[str, Any], Any]
"""Checks and converts a setting, given its place in the file (for messages) and its value."""


@dataclass(frozen=True)
class PolicyFile:
    """The content of a policy file.

    Attributes:
        kind: linear, network or forecast.
        settings: arguments of the policy by name: numbers, texts, lists, dictionaries.
        training: facts about the training, anything that JSON can hold; among them its settings, and the seeds that it
            was trained on, which evaluations leave out. Empty for a policy written by hand.
    """

    kind: str
    settings: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Policy:
        """A new policy with these settings.

        Raises:
            InvalidSetting: an unknown kind; an unknown, missing or invalid setting.
        """
        if self.kind not in _KINDS:
            raise InvalidSetting(f"expected kind to be one of {', '.join(_KINDS)}, got {reprlib.repr(self.kind)}")
        factory, readers = _KINDS[self.kind]
        parameters = inspect.signature(factory).parameters
        required = {name for name in readers if parameters[name].default is inspect.Parameter.empty}
        _check_keys("settings", self.settings, required, readers)
        return factory(**{name: readers[name](name, value) for name, value in self.settings.items()})


def policy_from_file(path: Path) -> Policy:
    """Decides as the policy in a file: file:PATH, for any policy file that a training wrote.

    Args:
        path: of the file, all text after `file:`; without blanks and semicolons in a list of policies.

    Raises:
        InvalidSetting: as `read_policy_file`.
    """
    return read_policy_file(path).make()


def read_policy_file(path: Path) -> PolicyFile:
    """Read a policy file, and check that its policy can be made; no code in the file is run.

    Raises:
        InvalidSetting: the file is missing, cannot be read, or is not a valid policy file.
    """
    shown = str(path) if str(path).isprintable() else repr(str(path))
    try:
        path = Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises); no shell expands ~ after `file:`
        if not path.is_file():
            got = "a folder" if path.is_dir() else "none"
            raise InvalidSetting(f"expected a policy file at {shown}, got {got}; give its path, as in file:policy.json")
        with path.open("rb") as file:
            content = file.read(MAX_NBYTES + 1)
    except OSError as error:
        raise InvalidSetting(f"expected a readable policy file at {shown}, got: {error.strerror}") from error
    try:
        return _read(content)
    except InvalidSetting as error:
        raise InvalidSetting(f"in policy file {shown}: {error}") from error


def policy_file_text(policy: PolicyFile) -> str:
    """The text of a policy file, from which `read_policy_file` restores the same policy to the bit.

    Raises:
        InvalidSetting: an invalid policy, or values that JSON cannot hold.
    """
    policy.make()
    content = {"format": FORMAT, "kind": policy.kind, "settings": policy.settings, "training": policy.training}
    try:
        return json.dumps(content, allow_nan=False, indent=1) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidSetting(f"expected finite numbers, texts, lists and dictionaries, got: {error}") from error


def _read(content: bytes) -> PolicyFile:
    if len(content) > MAX_NBYTES:
        raise InvalidSetting(f"expected at most {MAX_NBYTES} bytes, got more; is it a policy?")
    try:
        found = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except RecursionError:
        raise InvalidSetting("expected JSON of a policy, got one that is nested too deeply") from None
    except ValueError as error:
        raise InvalidSetting(f"expected JSON of a policy, got: {error}; is it whole?") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        got = found.get("format", "none") if isinstance(found, dict) else type(found).__name__
        raise InvalidSetting(f"expected format {FORMAT!r}, got {reprlib.repr(got)}")
    readers: dict[str, _Reader] = {"kind": _text, "settings": _mapping, "training": _mapping}
    _check_keys("the file", found, {"format", *readers}, ("format", *readers))
    policy = PolicyFile(**{name: read(name, found[name]) for name, read in readers.items()})
    policy.make()
    return policy


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"{reprlib.repr(max(counts, key=counts.__getitem__))} twice")
    return found


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text}, which is no number")


def _check_keys(where: str, found: Mapping[str, Any], required: set[str], known: Any) -> None:
    if unknown := found.keys() - set(known):
        raise InvalidSetting(f"expected {where} to have {', '.join(known)}, got {reprlib.repr(min(unknown))}")
    if missing := required - found.keys():
        raise InvalidSetting(f"expected {where} to have {', '.join(known)}, got no {min(missing)}")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidSetting(f"expected {name} to be a text, got {reprlib.repr(value)}")
    return value


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            return float(value)
    except OverflowError:  # an integer too large for a float
        pass
    raise InvalidSetting(f"expected {name} to be a finite number, got {reprlib.repr(value)}")


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidSetting(f"expected {name} to be an object, got {reprlib.repr(value)}")
    return value


def _several(read: _Reader) -> _Reader:
    def several(name: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise InvalidSetting(f"expected {name} to be a list, got {reprlib.repr(value)}")
        return tuple(read(f"{name}[{number}]", item) for number, item in enumerate(value))

    return several


def _one_or_several(read: _Reader) -> _Reader:
    return lambda name, value: (_several(read) if isinstance(value, list | tuple) else read)(name, value)


def _maybe(read: _Reader) -> _Reader:
    return lambda name, value: None if value is None else read(name, value)


def _layer(name: str, value: Any) -> dict[str, Any]:
    parts: dict[str, _Reader] = {"weight": _several(_several(_number)), "bias": _several(_number)}
    _check_keys(name, _mapping(name, value), set(parts), parts)
    return {part: read(f"{name}.{part}", value[part]) for part, read in parts.items()}


def _learner_or_memory(name: str, value: Any) -> str:
    check_one_of(name, value, "learner", "memory")
    return value


_KINDS: dict[str, tuple[Callable[..., Policy], dict[str, _Reader]]] = {
    "linear": (
        LinearPolicy,
        {
            "features": _several(_text),
            "weights": _several(_one_or_several(_number)),
            "bias": _one_or_several(_number),
            "actions": _maybe(_several(_text)),
        },
    ),
    "network": (
        NetworkPolicy,
        {"features": _several(_text), "layers": _several(_layer), "actions": _maybe(_several(_text))},
    ),
    "forecast": (
        ForecastPolicy,
        {
            "cost_weight": _number,
            "noise": _number,
            "mean": _maybe(_several(_number)),
            "precision": _maybe(_several(_several(_number))),
            "observes": _learner_or_memory,
        },
    ),
}
"""By kind: the policy, and the readers of its settings. To add a kind, add a line."""
