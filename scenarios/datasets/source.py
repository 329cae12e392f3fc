"""The images of a data set before they are split into parts."""

from dataclasses import dataclass

from agent.data.augmentation import Augmentation
from agent.data.chunk import LabelledInputs

PHOTOGRAPHS = Augmentation(shift=4, mirror=True)
"""The augmentation for photographs of 32 x 32 pixels."""


@dataclass(frozen=True)
class Source:
    """A data set before the split; a label is a position in `class_names`."""

    class_names: tuple[str, ...]
    train: LabelledInputs
    """The train part, and all parts that the data set does not have."""
    augmentation: Augmentation
    validation: LabelledInputs | None = None
    test: LabelledInputs | None = None
    notes: tuple[str, ...] = ()
    """One line for each kind of skipped files."""
