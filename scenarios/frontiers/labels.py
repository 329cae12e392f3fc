"""Labels of memories that several runs have, and what belongs to a memory."""

from collections.abc import Mapping, Sequence
from typing import Any

from scenarios.config.families import MEMORY
from scenarios.config.members import Member
from scenarios.config.method import MethodSettings, Settings
from scenarios.config.specs import Spec

LEARNER_PARTS = frozenset(("network", "recipe", "learner"))
"""The parts of an agent that memories share."""
MEMORY_PARTS = tuple(
    name for name in MethodSettings.model_fields if name not in {*LEARNER_PARTS, "tuned", "budget", "baseline"}
)
"""The parts in which runs with several memories may differ."""


def parts_of(config: Settings) -> dict[str, Any]:
    """The parts of a memory in the settings of an agent or a method, as plain values."""
    plain = config.model_dump(mode="json", include=set(MEMORY_PARTS))
    return {name: plain[name] for name in MEMORY_PARTS if name in plain}


def labels_of(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """A label for each memory: its name with the settings and the other parts in which it differs from others.

    Whether keys are averaged over space is not shown where it is as usual with that memory.

    Args:
        parts: those of each memory, as `parts_of` returns them.
    """
    specs = [Member.read(each["memory"], MEMORY).spec for each in parts]
    differing = [name for name in parts[0] if name != "memory" and any(each[name] != parts[0][name] for each in parts)]
    labels = []
    for each, spec in zip(parts, specs, strict=True):
        alike = [other.settings for other in specs if other.name == spec.name]
        settings = {key: text for key, text in spec.settings.items() if any(other.get(key) != text for other in alike)}
        shown = [f"{name}={each[name]}" for name in differing if name != "pool" or each[name] != _pools(each["memory"])]
        labels.append(" ".join([str(Spec(spec.name, settings)), *shown]))
    return labels


def _pools(memory: str) -> bool:
    """Whether a memory averages keys over space unless told otherwise."""
    return bool(getattr(Member.read(memory, MEMORY).factory, "pools_keys", False))
