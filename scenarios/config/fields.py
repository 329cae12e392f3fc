"""How a setting is declared: its help, its place in `--help`, what it decides, and the types that read text."""

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from scenarios.config.specs import spelled

DATA, STREAM, LEARNER, MEMORY, MEASURING = "Data", "Stream", "Learner", "Memory", "Measuring"
COSTS, SEARCH, TRAINING = "Costs", "Search", "Training the policy"

Part = Literal["world", "agent", "free", "idle"]
"""What a setting decides, and so whether compared lifetimes may differ in it.

world: the data, the prices and the measurements; all lifetimes must agree. agent: the agent; the labels of lifetimes
show differences. free: which lifetimes run, and how their results are read. idle: no number; an idle setting is not
part of a run's identity.
"""


def setting(default: Any, description: str, panel: str, part: Part = "world", **limits: Any) -> Any:
    """A field of a configuration.

    Args:
        default: its default.
        description: its help.
        panel: the panel of `--help` that shows it.
        part: what it decides.
        limits: of Pydantic, such as `ge` and `le`.
    """
    return Field(default, description=description, json_schema_extra={"panel": panel, "part": part}, **limits)


def _listed(value: Any) -> Any:
    """A list, also from text such as `10,20,40`, or from a single number."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [value] if isinstance(value, int | float) else value


def _joined(value: Any) -> Any:
    """Specs in one text, also from a list of texts and tables."""
    return " ".join(str(spelled(each)) for each in value) if isinstance(value, list | tuple) else spelled(value)


def _places(value: Any) -> Any:
    """Places joined by `+`, also from a list of them."""
    if isinstance(value, list | tuple):
        value = "+".join(map(str, value))
    if isinstance(value, str) and "," in value:
        raise ValueError(f"expected --keys of places joined by + ({value.replace(',', '+')}), got {value}")
    if isinstance(value, str) and not all(part.strip() for part in value.split("+")):
        raise ValueError(f"expected --keys of places joined by +, as in stem+features, got {value or 'nothing'}")
    return value


SpecText = Annotated[str, BeforeValidator(spelled)]
"""A spec, also from a table: `{name = "static", k = 20}`."""
SpecList = BeforeValidator(_joined)
"""Reads specs, also from a list, into one text."""
Places = BeforeValidator(_places)
"""Reads places of keys, also from a list, into one text."""
Limit = BeforeValidator(lambda value: None if value in (math.inf, "inf") else value)
"""Reads `inf` as None, for no limit."""
Percents = Annotated[tuple[Annotated[float, Field(ge=0, le=100)], ...], BeforeValidator(_listed)]
