"""How cost grows with chunks, entries, policies and key length, each doubled three times.

`python -m tests.benchmarks growth`. A ratio of 2 is in proportion; policies that share a trunk should stay below.
"""

from collections.abc import Callable
from functools import partial

from agent.evaluation.plan import EvaluationPlan
from agent.lifetime.loop import run_lifetimes
from agent.policies import StaticPolicy
from scenarios.config.settings import CurveConfig
from scenarios.running.factory import build_agents
from scenarios.streams.catalog import iid_stream
from tests.benchmarks.ratios import Ratio, alternately, ratios
from tests.benchmarks.recalling import AT, drawn, filled
from tests.scenarios.worlds import load_dataset

DOUBLINGS = 3


def recall(n_entries: int, length: int) -> Callable[[], object]:
    """2,000 queries."""
    memory, queries = filled(n_entries, length), drawn(2000, length, 1)
    return lambda: memory.recall(queries, AT)


def lifetimes(n_chunks: int, n_policies: int) -> Callable[[], object]:
    """Chunks of ten textures each, lived under static policies together."""
    agent_of = {"network": "resnet:width=2", "recipe": "sgd:lr=0.1,batch=10", "learner": "cooldown:epochs=1"}
    config = CurveConfig(**agent_of, device="cpu", k=(50,), chunks=n_chunks, evaluate_every=0)
    dataset = load_dataset("textures", seed=0, n_train=10 * n_chunks, n_validation=50, n_test=100)
    stream, plan = iid_stream(dataset, n_chunks, seed=0), EvaluationPlan(dataset.validation, dataset.test)
    policies = {str(i): 100 * (i + 0.5) / n_policies for i in range(n_policies)}

    def lived() -> None:
        agent = build_agents(config, {"": config}, dataset, seed=0)[""]
        for _ in run_lifetimes(agent, stream, {name: StaticPolicy(k) for name, k in policies.items()}, plan):
            pass

    return lived


def doubled(what: str, make: Callable[[int], Callable[[], object]], first: int) -> list[Ratio]:
    """Time at each size over that at half of it."""
    sizes = [first << i for i in range(DOUBLINGS + 1)]
    seconds = alternately(*(make(size) for size in sizes), rounds=3)
    return [
        Ratio(f"{what}: {sizes[i + 1]:,}", f"{sizes[i]:,}", ratios(seconds[i + 1], seconds[i]), "≤ 2")
        for i in range(DOUBLINGS)
    ]


def measure() -> list[Ratio]:
    """All of it; about two minutes."""
    return [
        *doubled("chunks in a lifetime", partial(lifetimes, n_policies=1), 50),
        *doubled("policies run together, 100 chunks", partial(lifetimes, 100), 1),
        *doubled("memory entries, keys of 64 numbers", partial(recall, length=64), 12_500),
        *doubled("key length, 12,500 entries", partial(recall, 12_500), 256),
    ]
