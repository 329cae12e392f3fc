"""What the intervals over seeds cover: notes that appear next to them."""

from scenarios.config.settings import AgentConfig
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
