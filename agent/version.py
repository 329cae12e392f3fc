"""Versions of components, which decide whether cached results are still valid."""

from typing import NamedTuple
from uuid import uuid4


class Version(NamedTuple):
    """Identifies a state of a component; equal versions mean equal states, across processes too."""

    lineage: str
    """Identifies the copy of the component."""
    counter: int
    """Number of changes to this copy."""


class Lineage:
    """Gives a component a new version for each change.

    Copies of a component change independently, so each needs its own lineage: a fork creates one, and a lineage becomes
    a new one when it is copied or pickled.
    """

    def __init__(self) -> None:
        self._name, self._counter = uuid4().hex, 0

    def next(self) -> Version:
        """A version that no component has had before."""
        self._counter += 1
        return Version(self._name, self._counter)

    def __reduce__(self) -> tuple[type["Lineage"], tuple[()]]:
        return Lineage, ()
