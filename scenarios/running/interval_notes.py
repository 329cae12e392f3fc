"""What the intervals over seeds cover, and what was not measured: notes that appear next to them."""

from collections.abc import Iterable

from agent.memory.mixture import FIXED_W
from scenarios.config.settings import AgentConfig, CompareConfig, LifetimeConfig
from scenarios.datasets.load import GENERATED
from scenarios.running.summary import PROBE


def notes_on_intervals(config: AgentConfig, *, n_together: int, of: str) -> list[str]:
    """Notes for a reader of the intervals, one sentence each.

    Args:
        config: the settings.
        n_together: number of intervals that are compared with each other.
        of: what the intervals belong to, as in "k's" or "schedules".
    """
    if config.data_seed is not None:
        covered = (
            f"all seeds share the data of seed {config.data_seed} (--data-seed): the intervals cover other orders, "
            "initial weights and draws of the policy, but no other data"
        )
    elif config.dataset.name in GENERATED:
        covered = "each seed draws its own images, order, initial weights and policy: the intervals cover all of them"
    else:
        covered = (
            "each seed draws its own split, order, initial weights and policy, but all seeds share the images of the "
            "data set: training images overlap, more so with a larger --train-size, and a test part of the data set's "
            "own is the same for all; --data-seed fixes the data"
        )
    together = f"{n_together} {of} are read together, but no interval is corrected for multiple comparisons"
    return [covered, *([together] if n_together > 1 else [])]


def notes_on_lazy_learners(config: CompareConfig) -> list[str]:
    """A note where a method that learns lazily decides for all methods that nothing is asked or measured on the way."""
    lazy = [method.label for method in config.methods if method.is_lazy]
    if not 0 < len(lazy) < len(config.methods) or (config.queries and config.prequential):
        return []
    return [
        f"{lazy[0]} learns lazily: unless --queries and --prequential say otherwise, no method here answers "
        "queries, and prequential accuracy is not measured"
    ]


def notes_on_probes(metrics: Iterable[str]) -> list[str]:
    """A note on what the linear probe is, where it is among the metrics."""
    if PROBE not in metrics:
        return []
    return [
        "the linear probe measures what the features keep, and is no answer of a method: its classifier is trained at "
        "the end on all images of the stream at once, with their labels, at the experimenter's cost"
    ]


def notes_on_late_labels(config: LifetimeConfig) -> list[str]:
    """A note on what accuracies are of, where labels come later than images."""
    n = config.label_delay
    if not n:
        return []
    shown = "prequential accuracy is of each image when it comes"
    if not config.prequential:
        shown = "only prequential accuracy shows what that costs, and it is not measured (--prequential)"
    return [
        f"labels come {n} chunk{'s' * (n > 1)} after their images: {shown}; the test set is predicted after as many "
        "labels as without a delay"
    ]


def notes_on_labels(config: CompareConfig) -> list[str]:
    """A note on the labels of the validation images, where baselines stand beside methods that fit a mixture."""
    baselines = [method.label for method in config.methods if method.baseline is not None]
    if not 0 < len(baselines) < len(config.methods):
        return []
    named = ", ".join(baselines)
    return [
        {
            "validation": f"labels are not equal: {named} did not learn the validation images, on which the others "
            "fitted w and the memory's setting; --calibration none or shared makes them equal",
            "none": "labels are equal: no method used a validation image (--calibration none); w is "
            f"{FIXED_W:g}, and the setting the default of each memory",
            "shared": f"labels are equal: {named} learned each validation image as soon as the others could fit w "
            "and the memory's setting on it (--calibration shared)",
        }[config.calibration]
    ]
