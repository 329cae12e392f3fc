"""The settings of a sweep: axes, cells and labels."""

import itertools
import json
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from scenarios.config.members import Member
from scenarios.config.method import Method
from scenarios.config.presets import resolve, validate
from scenarios.config.settings import CompareConfig
from scenarios.config.sweep import SweepConfig

VALUES = {
    "scenario": ["iid", "class-incremental", {"name": "blurred", "width": 0.2}],
    "chunks": [4, "5", 6],
    "queries": ["chunk", 0, 7],
    "memory": ["cache", "ridge"],
    "policy": ["loss", "static:k=50", {"name": "static", "k": 20}],
    "recipe": ["sgd:lr=0.1", "sgd:lr=0.2"],
    "learner": ["online", "refit"],
    "budget": [1.5, "inf"],
}


def sweep(axes, preset="quick", **given):
    return validate(SweepConfig, {"preset": preset, "given": given, "axes": axes})


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_cells_and_methods_are_the_product_of_the_axes(data):
    names = data.draw(st.lists(st.sampled_from(list(VALUES)), unique=True, min_size=1, max_size=4))
    axes = {name: data.draw(st.lists(st.sampled_from(VALUES[name]), unique_by=str, min_size=1)) for name in names}
    found = sweep(axes, seeds=2)
    worlds = [name for name in names if name in ("scenario", "chunks", "queries")]
    others = [name for name in names if name not in worlds]
    assert len(found.cells) == prod(len(axes[name]) for name in worlds)
    assert all(list(cell.values) == worlds for cell in found.cells)
    assert len({json.dumps(cell.values, sort_keys=True) for cell in found.cells}) == len(found.cells)
    if others:
        assert all(len(cell.config.methods) == prod(len(axes[name]) for name in others) for cell in found.cells)
    # the slow, obvious way: each cell resolved alone
    for cell, of_axes in zip(found.cells, itertools.product(*(axes[name] for name in worlds)), strict=True):
        point = dict(zip(worlds, of_axes, strict=True))
        alone = resolve(CompareConfig, "quick", {"seeds": 2}, point, {"methods": list(cell.config.methods)})
        assert alone == cell.config
    again = validate(SweepConfig, json.loads(json.dumps(found.model_dump(mode="json"))))
    assert [cell.config for cell in again.cells] == [cell.config for cell in found.cells]


def test_an_axis_of_specs_changes_the_keys_that_it_names():
    [cell] = sweep(["recipe = sgd:lr=0.2 | sgd:lr=0.3"], recipe="sgd:momentum=0.5,lr=0.1", policies="loss").cells
    assert [str(method.recipe) for method in cell.config.methods] == [
        str(Member.read(f"sgd:momentum=0.5,lr={lr}", cell.config.recipe.family)) for lr in (0.2, 0.3)
    ]
    assert [method.label for method in cell.config.methods] == ["loss | sgd:lr=0.2", "loss | sgd:lr=0.3"]


def test_methods_are_multiplied_by_axes():
    methods = [Method(label="a", memory="ridge"), "b = memory:cache | network:convnet"]
    [cell] = sweep({"policy": ["loss", "static:k=50"], "pool": [True]}, methods=methods).cells
    labels = [f"{label} | {policy} | pool:true" for label in "ab" for policy in ("loss", "static:k=50")]
    assert [method.label for method in cell.config.methods] == labels
    assert [method.network.name for method in cell.config.methods[2:]] == ["convnet", "convnet"]
    assert [method.memory.name for method in cell.config.methods[:2]] == ["ridge", "ridge"]


def test_without_axes_a_sweep_is_one_comparison():
    [cell] = sweep({}, policies="loss static:k=50", seeds=3).cells
    assert cell.config == resolve(CompareConfig, "quick", {"policies": "loss static:k=50", "seeds": 3})


@pytest.mark.parametrize(
    ("axes", "given", "message"),
    [
        (["memry = a"], {}, r"expected axes out of baseline, .*, got memry \(did you mean memory\?\)"),
        (["seeds = 1 | 2"], {}, "expected --seeds and --first-seed"),
        (["policies = loss"], {}, "expected an axis policy"),
        (["device = cpu"], {}, "expected an axis that decides what is lived, got device"),
        (["memory"], {}, "expected a name with its values, as in 'memory = cache | ridge', got 'memory'"),
        (["memory = cache |"], {}, "expected a name with its values"),
        (["memory = cache", "memory = ridge"], {}, "expected each name once, got memory twice"),
        (["memory = cache | cache"], {}, "expected each value of the axis memory once, got cache twice"),
        ({"memory": []}, {}, "expected values of the axis memory, got an empty list"),
        (["scenario = iid"], {"scenario": "iid"}, "expected scenario as a setting or as an axis, got both"),
        (["memory = cache"], {"methods": ["a = memory:ridge"]}, "got both in a"),
        (["chunks = 0 | 3"], {}, r"expected --chunks to be greater than or equal to 1, got 0 \(at chunks = 0\)"),
        (["policy = nope"], {}, "expected a policy out of static"),
        ({}, {"chunk": 3}, "expected settings out of"),
        (5, {}, "expected names with their values, as in 'memory = cache | ridge', got 5"),
        (["shift = 1 | 01"], {}, r"expected each world once, got one twice \(at shift = 1\)"),
        ({"scenario": ["iid", {"name": "iid"}]}, {}, "expected each world once, got one twice"),
        ({"budget": list(range(40)), "calibrate_every": list(range(40))}, {}, "at most 1,000 methods in a sweep"),
        ({}, {"want_width": 3}, "expected no want_width for a sweep"),
        ({"train_size": list(range(1, 102)), "test_size": list(range(1, 102))}, {}, "at most 10,000 combinations"),
        ({"scenario": [float("nan")]}, {}, "expected a scenario out of"),
        ({"budget": [float("nan")]}, {}, "budget"),
    ],
)
def test_axes_that_cannot_be_are_one_line(axes, given, message):
    with pytest.raises(InvalidSetting, match=message) as raised:
        sweep(axes, **given)
    assert "\n" not in str(raised.value)
