"""The published settings that `lifetime reproduce` lives: what was published, and how it is lived here."""

from agent.errors import InvalidSetting
from scenarios.config.reproductions.budgetcl import BUDGETCL
from scenarios.config.reproductions.gdumb import GDUMB
from scenarios.config.reproductions.ocl_survey import OCL_SURVEY
from scenarios.config.reproductions.online_split import ONLINE_SPLIT
from scenarios.config.reproductions.orhan import ORHAN
from scenarios.config.reproductions.published import Gain, Published, Reproduction, Source
from scenarios.config.reproductions.ranpac import RANPAC
from scenarios.config.reproductions.resmem import RESMEM

__all__ = ["REPRODUCTIONS", "Gain", "Published", "Reproduction", "Source", "find_reproduction"]

REPRODUCTIONS: dict[str, Reproduction] = {
    **ONLINE_SPLIT,
    **OCL_SURVEY,
    **GDUMB,
    **BUDGETCL,
    **ORHAN,
    **RESMEM,
    **RANPAC,
}
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
