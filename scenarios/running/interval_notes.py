"""What intervals over seeds hold, and what they do not: to be said where they stand."""

from scenarios.config.settings import AgentConfig
from scenarios.datasets.load import MADE


def notes_on_intervals(config: AgentConfig, *, n_together: int, of: str) -> list[str]:
    """What a careful reader of intervals should know, a sentence each.

    Args:
        config: the settings.
        n_together: intervals that are read beside each other.
        of: what they are of, as in "k's" or "schedules".
    """
    if config.data_seed is not None:
        held = (
            f"the data are those of seed {config.data_seed} throughout (--data-seed): intervals speak of other orders, "
            "initial weights and draws of the policy, and of no other data"
        )
    elif config.dataset in MADE:
        held = (
            "each seed makes its own images, and draws order, initial weights and policy: intervals speak of all of it"
        )
    else:
        held = (
            "one seed draws split, order, initial weights and policy together, and all seeds share the images of the "
            "data set: training images overlap, the more the larger --train-size is, and a test part of the set's own "
            "is the same for all; --data-seed holds the data fixed"
        )
    together = f"{n_together} {of} are read together, and each interval is for itself: not corrected for their number"
    return [held, *([together] if n_together > 1 else [])]
