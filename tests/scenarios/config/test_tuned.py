"""What parts of a method were tuned on, as a value."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from scenarios.config.method import Method
from scenarios.config.presets import from_toml, resolve
from scenarios.config.settings import CompareConfig, SimulateConfig
from scenarios.config.tuned import Tuned
from scenarios.experiments.tune_report import best_toml

CACHE, RIDGE = (str(Method(memory=name).memory) for name in ("cache", "ridge"))
FACTS = {
    "run": "1a2b3c4d",
    "trials": 8,
    "maximized": "final_accuracy",
    "first_seed": 1_000_000,
    "seeds": 2,
    "dataset": "textures",
    "scenario": "iid",
    "own_test": False,
    "train_images": 100,
    "held_out": 20,
    "parts": {"recipe": str(Method(recipe="sgd:lr=0.3").recipe), "memory": RIDGE, "calibrate_every": 3},
}
PRINTABLE = st.text(st.characters(codec="utf-8"), max_size=12).filter(str.isprintable)


@settings(max_examples=60, deadline=None)
@given(PRINTABLE, PRINTABLE, st.integers(0, 2**40), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_it_is_read_as_it_was_written(tmp_path_factory, dataset, data, seed, budget, own_test):
    parts = {"recipe": "sgd", "budget": budget, "pool": True, "calibrate_every": 3}
    split = {"data_seed": seed}
    tuned = Tuned(**{**FACTS, "dataset": dataset, "data": data, "own_test": own_test, "parts": parts, "split": split})
    path = tmp_path_factory.mktemp("tuned") / "best.toml"
    path.write_text(best_toml(tuned), encoding="utf-8")
    for again in (
        Tuned.read(str(tuned)),
        Tuned.read(path),
        Tuned.read(path.parent),
        Tuned.read(from_toml(path)["tuned"]),
    ):
        assert again == tuned
        assert hash(again) == hash(tuned)
        assert str(again) == str(tuned)


def test_it_sets_the_parts_that_are_left_out():
    config = resolve(SimulateConfig, "cifar10", {"recipe": "sgd:lr=0.7"}, {"tuned": FACTS})
    assert (config.recipe.settings["lr"], config.memory.name, config.calibrate_every) == (0.3, "ridge", 3)
    assert config.network == resolve(SimulateConfig, "cifar10").network
    assert config.tuned == Tuned(**FACTS)
    assert config.as_method.tuned == config.tuned
    assert SimulateConfig.model_validate(config.model_dump(mode="json")) == config
    method = Method(tuned=FACTS, policy="static:k=50")
    assert (method.memory.name, method.label) == ("ridge", "tuned:1a2b3c4d | policy:static:k=50")


def test_methods_are_tuned_as_the_settings_are_unless_they_say_otherwise():
    methods = [
        "as = policy:loss",
        "not = tuned:none",
        {"label": "too", "tuned": {**FACTS, "parts": {"memory": CACHE}}},
    ]
    config = resolve(CompareConfig, "quick", {"tuned": FACTS, "methods": methods})
    alike, without, other = config.methods
    assert (alike.memory.name, alike.recipe.settings["lr"], alike.tuned) == ("ridge", 0.3, Tuned(**FACTS))
    default = Method()
    assert (without.memory, without.recipe, without.tuned) == (default.memory, default.recipe, None)
    assert (other.memory.name, other.recipe, other.calibrate_every) == ("cache", default.recipe, 5)
    assert resolve(CompareConfig, "quick", config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"memory": "cache"},
            "expected memory as it was tuned, ridge:limit=4096, got cache; leave it out, or say tuned = none",
        ),
        ({"recipe": "sgd:batch=8"}, "expected recipe as it was tuned"),
        ({"calibrate_every": 4}, "expected calibrate_every as it was tuned, 3, got 4"),
    ],
)
def test_a_tuned_part_that_was_changed_is_refused(given, message):
    for kind in (SimulateConfig, CompareConfig):
        with pytest.raises(InvalidSetting, match=message):
            resolve(kind, "quick", {"tuned": FACTS, **given})
    with pytest.raises(InvalidSetting, match=message):
        Method(tuned=FACTS, **given)
    with pytest.raises(InvalidSetting, match=message):
        resolve(CompareConfig, "quick", {"tuned": FACTS, "methods": [{"label": "it", **given}]})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "expected what settings were tuned on, as `lifetime tune` writes it, got"),
        ({**FACTS, "trials": 0}, "got trials: Input should be greater than or equal to 1"),
        ({**FACTS, "parts": {}}, "got parts: "),
        ({**FACTS, "more": 1}, "got more: "),
        (5, "expected what settings were tuned on"),
        (
            "nowhere/best.toml",
            "expected the folder of a finished run of `lifetime tune`, or its best.toml, got nowhere",
        ),
        ("", "expected the folder of a finished run"),
    ],
)
def test_what_is_none_is_one_line(value, message):
    with pytest.raises(InvalidSetting) as error:
        resolve(SimulateConfig, "quick", {"tuned": value})
    assert message in str(error.value)
    assert "\n" not in str(error.value)
