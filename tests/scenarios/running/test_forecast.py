"""What lifetimes will take, against what they took."""

import pytest

from agent.lifetime.loop import run_lifetimes
from scenarios.config.presets import resolve
from scenarios.config.settings import CompareConfig
from scenarios.datasets.source import Access
from scenarios.running.factory import build_agents
from scenarios.running.forecast import forecast
from scenarios.running.progress import SilentReporter
from scenarios.running.world import _evaluation_plan, load_world

SMALL = {
    "train_size": 320,
    "validation_size": 30,
    "test_size": 40,
    "chunks": 8,
    "network": "resnet:width=2",
    "device": "cpu",
    "evaluate_every": 2,
    "learner": "online:epochs=2",
}
KINDS = {
    "mixed": {"policies": "static:k=50"},
    "interleaved": {"policies": "interleaved:k=50"},
    "all": {"policies": "static:k=100"},
    "none": {"policies": "static:k=0"},
    "queries": {"policies": "random:p=0.5", "queries": 25},
    "ridge": {"policies": "interleaved:k=50", "memory": "ridge"},
    "experiences": {"policies": "static:k=50", "scenario": "class-incremental:experiences=2"},
    "rekeyed": {"policies": "interleaved:k=50", "rekey": "on-learn"},
    "cooldown": {"policies": "interleaved:k=50", "learner": "cooldown:epochs=2"},
    "refit": {"policies": "static:k=50", "learner": "refit:epochs=2"},
    "asleep": {"policies": "sleep", "consolidate": "60", "tariff": "day-night:period=4"},
    "forgetful": {"policies": "sleep", "consolidate": "release:60", "tariff": "day-night", "rekey": "on-learn"},
    "both": {"methods": ["both:true | policy:interleaved:k=50,both=true"], "rekey": "on-learn"},
    "both refit": {"methods": ["both:true | policy:static:k=40,both=true"], "learner": "refit:epochs=2"},
    "uncalibrated": {"policies": "interleaved:k=50", "calibrate_every": 0},
    "late": {"policies": "interleaved:k=50", "label_delay": 3},
}


@pytest.mark.parametrize(
    "kind",
    [
        kind if kind in ("queries", "rekeyed", "cooldown", "late") else pytest.param(kind, marks=pytest.mark.slow)
        for kind in KINDS
    ],
)
def test_what_a_lifetime_will_cost(kind):
    """Decisions that nothing is observed for are known, so that the bill is known to a few percent."""
    config = resolve(CompareConfig, "quick", {**SMALL, **KINDS[kind]})
    [method] = config.methods
    world = load_world(config, 3, Access(), SilentReporter())
    expected = forecast(config, 3, method, world)
    agents = build_agents(config, {"": method}, world[0], seed=3)
    policies = {"": method.policy.make(seed=3)}
    [(_, trajectory, _)] = run_lifetimes(agents, world[1].stream, policies, _evaluation_plan(config, world))
    assert expected.n_chunks == len(trajectory.steps)
    assert expected.gflop == pytest.approx(trajectory.steps[-1].spent_gflop, rel=0.12)
    assert expected.seconds > 0


def test_unknown_decisions_count_as_every_other_chunk():
    config = resolve(CompareConfig, "quick", {**SMALL, "policies": "loss interleaved:k=50"})
    world = load_world(config, 0, Access(), SilentReporter())
    observing, blind = (forecast(config, 0, method, world) for method in config.methods)
    forward = len(world[0].train) * build_agents(config, {"": config}, world[0], seed=0)[""].learner.forward_flops(
        1, tuple(world[0].train.inputs.shape[1:])
    )
    # it also pays to observe each chunk, whose keys it then knows
    assert observing.gflop == pytest.approx(blind.gflop + forward / 2e9, rel=0.01)
