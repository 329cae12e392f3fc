"""The labelled validation images as training data, for `--calibration shared`."""

from collections.abc import Sequence

import torch

from agent.data.chunk import LabelledInputs
from scenarios.streams.scenario import Scenario


def further_labels(scenario: Scenario) -> Sequence[LabelledInputs]:
    """For each chunk, the validation images that a mixture may be fitted on from its end on, and not before.

    An agent fits its mixture on images of the classes that it has seen, and whose like the stream has shown (see
    `agent.agent.Agent.fit`, `Scenario.shown`). A learner that is given these images beside the chunk has each label as
    early as an agent that learns or memorizes every chunk may use it, and never one that no agent has.
    """
    stream, validation = scenario.stream, scenario.validation
    first_of_class: dict[int, int] = {}
    for number, rows in enumerate(rows for chunks in stream.visits for rows in chunks):
        for label in stream.data.labels[rows].unique().tolist():
            first_of_class.setdefault(label, number)
    never = len(stream)
    given = torch.tensor([first_of_class.get(label, never) for label in validation.labels.tolist()])
    if scenario.shown is not None:
        given = given.maximum(scenario.shown.cpu())
    chosen = [given == number for number in range(never)]
    return [LabelledInputs(validation.inputs[rows], validation.labels[rows]) for rows in chosen]
