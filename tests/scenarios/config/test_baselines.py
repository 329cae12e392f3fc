"""Baselines as parts of methods."""

import pickle

import pytest

from agent.errors import InvalidSetting
from scenarios.config.method import ALWAYS_LEARN, Method
from scenarios.config.presets import resolve
from scenarios.config.settings import CompareConfig, CurveConfig, SimulateConfig, TreeConfig
from scenarios.config.sweep import read_sweep
from scenarios.config.tune import read_tune


def test_a_baseline_is_a_part_of_a_method():
    method = Method.read("er = baseline:er-ace:mem=1000 | network:convnet | recipe:sgd:lr=0.1")
    written = method.model_dump(mode="json")
    assert (method.label, written["baseline"]) == ("er", "er-ace:mem=1000,passes=1")
    assert (written["policy"], written["keys"], written["calibrate_every"]) == (ALWAYS_LEARN, None, None)
    assert Method.of(written) == method
    assert pickle.loads(pickle.dumps(method)) == method
    assert Method.read("baseline:der++:alpha=0.3").label == "baseline:der++:alpha=0.3"
    assert Method.read("a = baseline:none").baseline is None
    assert [Method.read(f"baseline:{name}").is_lazy for name in ("naive", "gdumb", "cumulative")] == [False, True, True]


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("learner", "refit"),
        ("memory", "ridge"),
        ("keys", "stem"),
        ("pool", "true"),
        ("transform", "centre"),
        ("capacity", "10"),
        ("mixture", "calibrated"),
        ("rekey", "on-learn"),
        ("consolidate", "9"),
        ("both", "true"),
        ("calibrate_every", "3"),
        ("policy", "loss"),
    ],
)
def test_it_takes_the_place_of_the_agent_s_parts(part, text):
    with pytest.raises(
        InvalidSetting, match=f"expected no {part} with the baseline er-ace, which takes its place, got"
    ):
        Method.read(f"er = baseline:er-ace | {part}:{text}")


def test_the_other_settings_of_a_command_are_not_a_baseline_s():
    config = resolve(
        CompareConfig,
        "cifar10",
        {"methods": ["er = baseline:er-ace", "ours = policy:loss"], "memory": "ridge", "recipe": "sgd:lr=0.3"},
    )
    er, ours = config.methods
    assert (str(er.memory), str(ours.memory)) == ("cache", "ridge:limit=4096")
    assert er.recipe == ours.recipe
    assert er.network == ours.network
    assert (config.queries, config.prequential) == ("chunk", True)
    assert CompareConfig.model_validate(config.model_dump(mode="json")) == config


def test_a_lazy_baseline_decides_for_all_as_a_lazy_learner_does():
    config = resolve(CompareConfig, "quick", {"methods": ["a = baseline:gdumb", "b = policy:loss"]})
    assert (config.queries, config.prequential) == (0, False)


def test_one_lifetime_or_several_may_be_those_of_a_baseline():
    config = resolve(SimulateConfig, "cifar10", {"baseline": "mir:mem=50"})
    assert (config.as_method.label, str(config.policy)) == ("mir:mem=50,subsample=200,passes=1", ALWAYS_LEARN)
    assert SimulateConfig.model_validate(config.model_dump(mode="json")) == config
    [method] = resolve(CompareConfig, "quick", {"baseline": "naive"}).methods
    assert str(method.baseline) == "naive:passes=1"
    with pytest.raises(InvalidSetting, match="expected no policy with the baseline naive"):
        resolve(CompareConfig, "quick", {"baseline": "naive", "policies": "loss"})
    with pytest.raises(InvalidSetting, match="expected no policy with the baseline naive"):
        resolve(SimulateConfig, "quick", {"baseline": "naive", "policy": "loss"})


def test_where_there_are_none():
    for settings in ({"baseline": "naive"}, {"calibration": "shared"}):
        with pytest.raises(InvalidSetting, match="expected an agent that decides, for trees of its decisions"):
            resolve(TreeConfig, "quick", settings)
    with pytest.raises(InvalidSetting, match="got baseline in er"):
        resolve(CurveConfig, "quick", {"with_memories": ["er = baseline:naive"]})
    with pytest.raises(InvalidSetting, match="expected no rule for the mixture with --calibration none"):
        resolve(SimulateConfig, "quick", {"calibration": "none", "mixture": "calibrated"})


def test_sweeps_and_searches_have_them():
    sweep = read_sweep("quick", {"axes": {"baseline": ["naive", "er-ace:mem=50"], "calibration": ["none", "shared"]}})
    assert len(sweep.cells) == 2
    assert [str(method.baseline) for method in sweep.first.methods] == ["naive:passes=1", "er-ace:mem=50,passes=1"]
    tune = read_tune("quick", {"baseline": "der++", "search": {"baseline.alpha": "0.1 .. 1"}})
    assert {str(probe.baseline.settings["alpha"]) for probe in tune.probes} == {"0.1", "1.0"}
    with pytest.raises(InvalidSetting, match="expected --baseline beside a search of its settings"):
        read_tune("quick", {"search": {"baseline.alpha": "0.1 .. 1"}})
