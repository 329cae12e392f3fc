"""The published settings that `lifetime reproduce` lives: what was published, and how it is lived here."""

from agent.errors import InvalidSetting
from scenarios.config.reproductions.budgetcl import BUDGETCL
from scenarios.config.reproductions.online_split import ONLINE_SPLIT
from scenarios.config.reproductions.published import Gain, Published, Reproduction, Source

__all__ = ["REPRODUCTIONS", "Gain", "Published", "Reproduction", "Source", "find_reproduction"]

REPRODUCTIONS: dict[str, Reproduction] = {**ONLINE_SPLIT, **BUDGETCL}
"""All reproductions by name."""


def find_reproduction(name: object) -> Reproduction:
    """The reproduction of a name.

    Raises:
        InvalidSetting: there is none of that name.
    """
    if not isinstance(name, str) or name not in REPRODUCTIONS:
        raise InvalidSetting(
            f"expected a reproduction out of {', '.join(REPRODUCTIONS)}, got {name}; "
            "`lifetime list reproductions` shows them"
        )
    return REPRODUCTIONS[name]
