"""What a curve costs in lifetimes: ten k's run together, against ten lifetimes and against one.

`python -m tests.benchmarks sharing`. The lifetimes are those of `lifetime curve` with its defaults, seed 0, and are not
recorded.
"""

from collections.abc import Callable
from functools import partial
from statistics import median

from agent.evaluation.plan import EvaluationPlan
from agent.lifetime.loop import run_lifetimes
from agent.policies import StaticPolicy
from scenarios.config.presets import resolve
from scenarios.config.settings import CurveConfig
from scenarios.datasets.load import load_dataset
from scenarios.running.factory import build_agents
from scenarios.streams.catalog import iid_stream
from tests.benchmarks.ratios import Ratio, alternately, ratios

KS = tuple(range(10, 101, 10))
ROUNDS = 3


def lifetimes(learner: str) -> Callable[[tuple[int, ...]], None]:
    """Lives k%-learners together, as the experiment does."""
    config = resolve(CurveConfig, "quick", {"learner": f"{learner}:epochs=4", "evaluate_every": 0, "device": "cpu"})
    dataset = load_dataset(str(config.dataset), seed=0, n_train=None, n_validation=None, n_test=None)
    stream = iid_stream(dataset, config.chunks, seed=0)
    plan = EvaluationPlan(dataset.validation, dataset.test)

    def lived(ks: tuple[int, ...]) -> None:
        agent = build_agents(config, {"": config}, dataset, seed=0)[""]
        for _ in run_lifetimes(agent, stream, {f"k{k}": StaticPolicy(k) for k in ks}, plan):
            pass

    return lived


def measure() -> list[Ratio]:
    """Both learners with a trunk; about five minutes."""
    found = []
    for learner in ("online", "cooldown"):
        lived = lifetimes(learner)

        apart = [lambda lived=lived: [lived((k,)) for k in KS]] if learner == "online" else []
        together, one, *ten = alternately(
            partial(lived, KS), partial(lived, (100,)), *apart, rounds=ROUNDS, warm_up=False
        )
        what = f"{learner} curve with ten k's"
        target = "≤ 1.6" if learner == "online" else ""
        seconds = f"{median(together):.1f} s"
        found.append(Ratio(what, "one lifetime (k = 100)", ratios(together, one), target, seconds))
        found += [Ratio("ten online lifetimes apart", "the curve with ten k's", ratios(each, together)) for each in ten]
    return found
