"""The signals of learner and memory on a chunk, and their running averages."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from agent.memory import ReadOut
from agent.networks.outputs import Outputs

LEARNER_SIGNALS = ("learner_loss", "learner_accuracy", "learner_entropy", "learner_margin")
SIGNALS = (
    *LEARNER_SIGNALS,
    "memory_loss",
    "memory_accuracy",
    "memory_entropy",
    "memory_margin",
    "disagreement",
    "novelty",
)
"""Fields of the observation that need the outputs of learner and memory on the chunk; all other fields do not."""

DECAY = 0.9
"""Of the running averages, per chunk."""


def learner_signals(outputs: Outputs, labels: Int64[Tensor, " n"]) -> dict[str, float]:
    """The fields `learner_*` of an observation."""
    return {f"learner_{name}": value for name, value in _signals(outputs.probabilities, labels).items()}


def memory_signals(outputs: Outputs, read_out: ReadOut | None, labels: Int64[Tensor, " n"]) -> dict[str, float]:
    """The fields `memory_*`, `disagreement` and `novelty` of an observation.

    Args:
        outputs: of the learner on the chunk.
        read_out: of the memory, at one setting; None while it is empty.
        labels: of the chunk.

    Returns:
        Nothing while the memory is empty, and no `novelty` if the memory does not measure it.
    """
    if read_out is None:
        return {}
    probabilities = read_out.probabilities[0]
    found = {f"memory_{name}": value for name, value in _signals(probabilities, labels).items()}
    differ = outputs.probabilities.argmax(dim=1) != probabilities.argmax(dim=1)
    found["disagreement"] = float(differ.double().mean())
    if read_out.novelty is not None:
        found["novelty"] = float(read_out.novelty.double().mean())
    return found


def _signals(probabilities: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> dict[str, float]:
    p, labels = probabilities.double(), labels.to(probabilities.device)
    highest = F.pad(p, (0, 1)).topk(2, dim=1).values  # with a single class, the second is 0
    return {
        "loss": float(-p.gather(1, labels[:, None]).clamp_min(1e-12).log().mean()),
        "accuracy": float((probabilities.argmax(dim=1) == labels).double().mean()),
        "entropy": float(torch.special.entr(p).sum(dim=1).mean()),
        "margin": float((highest[:, 0] - highest[:, 1]).mean()),
    }


class RunningAverages:
    """Exponentially weighted means over the chunks before the current one.

    The bias of the first chunks is corrected (Kingma & Ba 2015, section 3). At the first chunk that has a value, the
    mean is this value.
    """

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._n: dict[str, int] = {}

    def observe(self, values: dict[str, float]) -> dict[str, float]:
        """The fields `mean_*` for the current chunk; its values are part of later means."""
        means = {}
        for name, value in values.items():
            total, n = self._sums.get(name, 0.0), self._n.get(name, 0)
            means[f"mean_{name}"] = total / (1 - DECAY**n) if n else value
            self._sums[name], self._n[name] = DECAY * total + (1 - DECAY) * value, n + 1
        return means

    def state(self) -> dict[str, Any]:
        """Plain values from which `load_state` restores the averages."""
        return {"sums": dict(self._sums), "n": dict(self._n)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._sums, self._n = dict(state["sums"]), dict(state["n"])
