"""Versions: values that say whether what was computed of a component still holds."""

from typing import NamedTuple
from uuid import uuid4


class Version(NamedTuple):
    """A state of a component. Equal versions are equal states, in whatever process they are compared."""

    lineage: str
    """Of the copy that came to this state."""
    counter: int
    """Changes that this copy has been through."""


class Lineage:
    """Gives a component a new version for each change.

    Two copies of a component go different ways from the same version. So each of them needs a lineage of its own: a
    fork makes a new one, and a lineage that is copied or sent to another process becomes a new one.
    """

    def __init__(self) -> None:
        self._name, self._counter = uuid4().hex, 0

    def next(self) -> Version:
        """A version that no component has had before."""
        self._counter += 1
        return Version(self._name, self._counter)

    def __reduce__(self) -> tuple[type["Lineage"], tuple[()]]:
        return Lineage, ()
