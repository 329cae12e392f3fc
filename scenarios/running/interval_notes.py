"""What the intervals over seeds cover, and what was not measured: notes that appear next to them."""

from scenarios.config.method import is_lazy
from scenarios.config.settings import AgentConfig, CompareConfig
from scenarios.datasets.load import GENERATED


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
    lazy = [method.label for method in config.methods if is_lazy(method.learner)]
    if not 0 < len(lazy) < len(config.methods) or (config.queries and config.prequential):
        return []
    return [
        f"{lazy[0]} learns lazily: unless --queries and --prequential say otherwise, no method here answers "
        "queries, and prequential accuracy is not measured"
    ]
