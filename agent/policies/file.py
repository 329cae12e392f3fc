"""Policies as files: JSON of a kind, its settings, and what is to be known of its training. Nothing in it is run."""

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
from agent.policies.linear import LinearPolicy
from agent.policies.network import NetworkPolicy
from agent.policies.protocol import Policy

FORMAT = "learn-or-memorize policy 1"
POLICY_FILE = "policy.json"
"""What a training calls the policy that it leaves in the folder of its run."""
MAX_NBYTES = 2**24
"""Of a file: a network of half a million weights."""

_Reader = Callable[[str, Any], Any]
"""Of a setting, from its place in the file, for messages, and its value."""


@dataclass(frozen=True)
class PolicyFile:
    """What a policy file says.

    Attributes:
        kind: linear, network or forecast.
        settings: what the policy is built with, by the names of its parameters: numbers, texts, lists, dictionaries.
        training: where it comes from, anything that JSON can hold: among it the settings and the seeds that it was
            trained on, which evaluations leave out. Empty for a policy made by hand.
    """

    kind: str
    settings: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Policy:
        """The policy, new-born.

        Raises:
            InvalidSetting: an unknown kind; an unknown, missing or impossible setting.
        """
        if self.kind not in _KINDS:
            raise InvalidSetting(f"expected kind to be one of {', '.join(_KINDS)}, got {reprlib.repr(self.kind)}")
        factory, readers = _KINDS[self.kind]
        parameters = inspect.signature(factory).parameters
        required = {name for name in readers if parameters[name].default is inspect.Parameter.empty}
        _check_keys("settings", self.settings, required, readers)
        return factory(**{name: readers[name](name, value) for name, value in self.settings.items()})


def policy_from_file(path: Path) -> Policy:
    """Decides as a policy file says: file:PATH, with any file that training a policy wrote.

    Args:
        path: of the file: all that follows `file:`; in a list of policies without blanks and semicolons.

    Raises:
        InvalidSetting: as `read_policy_file`.
    """
    return read_policy_file(path).make()


def read_policy_file(path: Path) -> PolicyFile:
    """Read a policy file; nothing in it is run, and the policy it tells of can be made.

    Raises:
        InvalidSetting: no file, one that cannot be read, or one with anything in it that does not belong there.
    """
    shown = str(path) if str(path).isprintable() else repr(str(path))
    try:
        path = Path(os.path.expanduser(path))  # noqa: PTH111 (the other raises); no shell does it after `file:`
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
    """The content of a policy file, from which `read_policy_file` makes the same policy to the bit.

    Raises:
        InvalidSetting: what is no policy, or what JSON cannot hold.
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
    keys = ("format", "kind", "settings", "training")
    _check_keys("the file", found, set(keys), keys)
    policy = PolicyFile(
        _text("kind", found["kind"]), _mapping("settings", found["settings"]), _mapping("training", found["training"])
    )
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
    except OverflowError:  # an integer beyond the floats
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


def _weights(name: str, value: Any) -> Any:
    """Numbers, or lists of them for the actions but the first."""
    several = isinstance(value, list | tuple) and any(isinstance(part, list | tuple) for part in value)
    return _several(_several(_number) if several else _number)(name, value)


def _bias(name: str, value: Any) -> Any:
    """A number, or one for each action but the first."""
    return (_several(_number) if isinstance(value, list | tuple) else _number)(name, value)


def _maybe(read: _Reader) -> _Reader:
    return lambda name, value: None if value is None else read(name, value)


def _layer(name: str, value: Any) -> dict[str, Any]:
    parts: dict[str, _Reader] = {"weight": _several(_several(_number)), "bias": _several(_number)}
    _check_keys(name, _mapping(name, value), set(parts), parts)
    return {part: read(f"{name}.{part}", value[part]) for part, read in parts.items()}


def _what_to_observe(name: str, value: Any) -> str:
    if value not in ("learner", "memory"):
        raise InvalidSetting(f"expected {name} to be learner or memory, got {reprlib.repr(value)}")
    return value


_KINDS: dict[str, tuple[Callable[..., Policy], dict[str, _Reader]]] = {
    "linear": (
        LinearPolicy,
        {"features": _several(_text), "weights": _weights, "bias": _bias},
    ),
    "network": (
        NetworkPolicy,
        {"features": _several(_text), "layers": _several(_layer)},
    ),
    "forecast": (
        ForecastPolicy,
        {
            "cost_weight": _number,
            "noise": _number,
            "mean": _maybe(_several(_number)),
            "precision": _maybe(_several(_several(_number))),
            "observes": _what_to_observe,
        },
    ),
}
"""Every kind, with how its settings are read: adding one means adding a line."""
