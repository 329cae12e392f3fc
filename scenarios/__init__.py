"""Worlds for agents, and experiments in them; `live` lives one lifetime from Python."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenarios.simulate import live as live

__all__ = ["live"]


def __getattr__(name: str) -> Any:
    """Imported when it is asked for: torch and Avalanche take seconds, and `lifetime --help` has none."""
    if name != "live":
        raise AttributeError(f"module 'scenarios' has no attribute {name!r}")
    from scenarios.simulate import live

    return live
