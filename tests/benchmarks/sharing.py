"""What lifetimes together cost in lifetimes: ten k's, methods of one learner, and memories of one curve.

`python -m tests.benchmarks sharing`. The lifetimes of the k's are those of `lifetime curve` with its defaults, seed 0,
and are not recorded; the methods live in the same world.
"""

from collections.abc import Callable
from functools import partial
from statistics import median

from agent.evaluation.plan import EvaluationPlan
from agent.lifetime.loop import run_lifetimes
from agent.policies import StaticPolicy
from scenarios.config.presets import resolve
from scenarios.config.settings import CompareConfig, CurveConfig
from scenarios.experiments import relative_value
from scenarios.running.factory import build_agents
from scenarios.running.progress import SilentReporter
from scenarios.streams.catalog import iid_stream
from tests.benchmarks.ratios import Ratio, alternately, ratios
from tests.scenarios.worlds import load_dataset

KS = tuple(range(10, 101, 10))
ROUNDS = 3


def lifetimes(learner: str) -> Callable[[tuple[int, ...]], None]:
    """Lives k%-learners together, as the experiment does."""
    config = resolve(CurveConfig, "quick", {"learner": f"{learner}:epochs=4", "evaluate_every": 0, "device": "cpu"})
    dataset = load_dataset(str(config.dataset), seed=0)
    stream = iid_stream(dataset, config.chunks, seed=0)
    plan = EvaluationPlan(dataset.validation, dataset.test)

    def lived(ks: tuple[int, ...]) -> None:
        agent = build_agents(config, {"": config}, dataset, seed=0)[""]
        for _ in run_lifetimes(agent, stream, {f"k{k}": StaticPolicy(k) for k in ks}, plan):
            pass

    return lived


MEMORIES = {"cache": "memory:cache", "pooled": "memory:cache | pool:true", "ridge": "memory:ridge"}
EIGHT = "cache knn ridge ridge:dim=256 residual logistic slda ncm"


def curve_of_memories() -> Callable[[str], None]:
    """Lives one seed of `lifetime curve --memories` with its defaults, the surface included, and writes nothing."""
    dataset = load_dataset("textures", seed=0)

    def lived(memories: str) -> None:
        config = resolve(CurveConfig, "quick", {"device": "cpu", "memories": memories, "seeds": 1})
        stream, policies = iid_stream(dataset, config.chunks, seed=0), relative_value.policies_by_name(config, 0)
        lifetimes = relative_value.lifetimes_of(config, dataset, stream, 0, policies, SilentReporter())
        while lifetimes:
            lifetimes.advance()

    return lived


def measure_memories() -> list[Ratio]:
    """A curve under eight memories against one under the cache alone; about four minutes."""
    lived = curve_of_memories()
    eight, one = alternately(partial(lived, EIGHT), partial(lived, "cache"), rounds=ROUNDS, warm_up=False)
    seconds = f"{median(eight):.1f} s"
    return [Ratio("curve under eight memories", "under the cache alone", ratios(eight, one), "≤ 1.5", seconds)]


def methods() -> Callable[[tuple[str, ...]], None]:
    """Lives methods that differ in their memory together: half learned, calibrated and evaluated every 5 chunks."""
    texts = [f"{label} = {parts} | policy:static:k=50" for label, parts in MEMORIES.items()]
    config = resolve(CompareConfig, "quick", {"device": "cpu", "methods": texts, "chunks": 20})
    dataset = load_dataset(str(config.dataset), seed=0)
    stream = iid_stream(dataset, 20, seed=0)
    plan = EvaluationPlan(dataset.validation, dataset.test, every=5)

    def lived(names: tuple[str, ...]) -> None:
        chosen = {method.label: method for method in config.methods if method.label in names}
        agents = build_agents(config, chosen, dataset, seed=0)
        for _ in run_lifetimes(agents, stream, {name: StaticPolicy(50) for name in names}, plan):
            pass

    return lived


def measure_methods() -> list[Ratio]:
    """Together, against each of them apart and against one alone; about a minute."""
    lived, names = methods(), tuple(MEMORIES)
    together, one, apart = alternately(
        partial(lived, names),
        partial(lived, names[:1]),
        lambda: [lived((name,)) for name in names],
        rounds=ROUNDS,
        warm_up=False,
    )
    what, seconds = f"{len(names)} memories, one online learner", f"{median(together):.1f} s"
    return [
        Ratio(what, "one of them alone", ratios(together, one), detail=seconds),
        Ratio("each of the memories apart", "all together", ratios(apart, together)),
    ]


def measure() -> list[Ratio]:
    """Methods of one learner, memories of a curve, and the k's of both learners with a trunk; about ten minutes."""
    found = [*measure_methods(), *measure_memories()]
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
