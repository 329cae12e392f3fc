import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from agent.networks.convnet import ConvNet
from scenarios.config.method import Method
from scenarios.config.presets import resolve
from scenarios.config.settings import CompareConfig, LifetimeConfig, settings_of


def compared(*methods, **settings):
    return resolve(CompareConfig, "quick", {"methods": methods, **settings}).methods


@pytest.mark.parametrize(
    ("text", "label", "parts"),
    [
        ("ridge = memory:ridge | policy:static:k=50", "ridge", {"memory": "ridge:limit=4096", "policy": "static:k=50"}),
        ("a=memory:ridge|policy:loss", "a", {"memory": "ridge:limit=4096", "policy": "loss"}),
        ("lr=0.1 = network:mlp", "lr=0.1", {"policy": "loss"}),
        ("two words = keys:stem + features | pool:true", "two words", {"keys": "stem+features", "pool": True}),
        ("policy:static:k=50", "static:k=50", {"policy": "static:k=50", "memory": "cache"}),
        ("memory:ridge | rekey:every:5", "memory:ridge | rekey:every:5", {"rekey": "every:5"}),
        ("x = calibrate-every:3 | budget:inf", "x", {"calibrate_every": 3, "budget": None}),
        (" = memory:ridge", "memory:ridge", {"pool": True}),
    ],
)
def test_a_method_is_read_from_text(text, label, parts):
    method = Method.read(text)
    written = method.model_dump(mode="json")
    assert method.label == label
    assert {name: written[name] for name in parts} == parts
    assert Method.of(written) == method
    assert pickle.loads(pickle.dumps(method)) == method


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("static:k=50", "expected parts of a method out of network, recipe, .*, policy, got static"),
        ("a = foo:bar", r"got foo \(in the method a\)"),
        ("a = memory:foo", r"expected a memory out of cache, knn, .* \(in the method a\)"),
        ("a = memory:", "expected a method as in 'ridge = memory:ridge"),
        ("", "expected a method as in 'ridge = memory:ridge"),
        ("a = policy:loss | policy:random", "expected each part of a method once, got policy twice"),
        ("a = rekey:sometimes", "expected never, on-learn or every:n"),
        ("a = budget:-1", "expected --budget to be greater than or equal to 0"),
        ("a = learner:online:epochs=x", "expected epochs of online to be a number, got x"),
    ],
)
def test_a_text_that_is_no_method_is_one_clear_line(text, message):
    with pytest.raises(InvalidSetting, match=message) as error:
        compared(text)
    assert "\n" not in str(error.value)


@given(st.text(max_size=40))
@example("0\n0:0")
def test_any_text_is_a_method_or_one_line(text):
    refusal = ""
    try:
        method = Method.read(text)
    except InvalidSetting as error:
        refusal = str(error)
    else:
        assert Method.of(method.model_dump(mode="json")) == method
    assert "\n" not in refusal


def test_what_a_method_leaves_out_comes_from_the_settings():
    methods = compared(
        "plain = policy:loss",
        "slow = learner:online:epochs=2",
        {"label": "table", "network": {"name": "resnet", "width": 4}},
        Method(label="value", network="mlp", policy="random"),
        learner="online:epochs=9,ema_decay=0.5",
        network="resnet:depth=14",
        keys="stem",
        calibrate_every=2,
    )
    plain, slow, table, value = (method.model_dump(mode="json") for method in methods)
    assert plain["learner"] == "online:epochs=9,rehearsal=0.5,timescale=inf,ema_decay=0.5"
    assert slow["learner"] == "online:epochs=2,rehearsal=0.5,timescale=inf,ema_decay=0.5"
    assert (plain["network"], table["network"]) == ("resnet:depth=14,width=8", "resnet:depth=14,width=4")
    assert (plain["keys"], table["keys"]) == ("stem", "stem")
    assert value["network"].startswith("mlp")
    assert value["keys"] != "stem", "places of keys belong to a network"
    assert {method.calibrate_every for method in methods} == {2}


def test_defaults_depend_on_the_method_s_own_learner_and_memory():
    eager, lazy, ridge = compared("a = learner:online", "b = learner:refit", "c = memory:ridge")
    assert (eager.calibrate_every, lazy.calibrate_every) == (5, 0)
    assert (eager.pool, ridge.pool) == (False, True)
    config = resolve(CompareConfig, "quick", {"methods": ["a = learner:online", "b = learner:refit"]})
    assert (config.queries, config.prequential) == (0, False), "one world, in which the lazy learner can live too"


def test_policies_are_methods_of_one_agent():
    config = resolve(CompareConfig, "quick", {"policies": "loss static:k=50", "memory": "ridge"})
    assert [method.label for method in config.methods] == ["loss", "static:k=50"]
    assert {str(method.memory) for method in config.methods} == {"ridge:limit=4096"}
    both = resolve(CompareConfig, "quick", {"policies": "loss", "methods": ["a = memory:ridge"]})
    assert [method.label for method in both.methods] == ["a", "loss"]
    assert len(resolve(CompareConfig, "quick").methods) == 8
    assert [method.file_name for method in config.methods] == ["loss", "static-k50"]


def test_a_configuration_is_read_again_as_it_was():
    config = resolve(CompareConfig, "cifar10", {"methods": ["a = memory:ridge", "network:mlp"], "policies": "loss"})
    again = CompareConfig.model_validate(config.model_dump(mode="json"))
    assert again == config
    assert hash(again) == hash(config)
    assert pickle.loads(pickle.dumps(config)) == config


class Dropping(ConvNet):
    """A network with a setting that may be none."""

    def __init__(self, n_classes: int, generator: object, drop: float | None = None) -> None: ...


def test_a_method_without_a_setting_is_read_again_without_it():
    own = f"{__name__}.Dropping"
    methods = {"methods": [f"a = network:{own}:drop=none", f"b = network:{own}"], "network": f"{own}:drop=0.5"}
    config = resolve(CompareConfig, "quick", methods)
    assert [method.network.settings for method in config.methods] == [{"drop": None}, {"drop": 0.5}]
    assert CompareConfig.model_validate(config.model_dump(mode="json")) == config


def test_a_method_in_python_raises_one_line():
    for parts in ({"memory": "ridge:sketch=3"}, {"memori": "ridge"}, {"policy": 3}):
        with pytest.raises(InvalidSetting, match="expected") as error:
            Method(**parts)
        assert "\n" not in str(error.value)


def test_labels_are_unique_also_as_names_of_files():
    with pytest.raises(InvalidSetting, match="expected a label for each method, got a and a; label them apart"):
        compared("a = memory:ridge", "a = memory:cache")
    with pytest.raises(InvalidSetting, match="expected a label for each method, got static:k=50 and static:k=50"):
        compared("static:k=50 = policy:loss", policies="static:k=50")
    with pytest.raises(InvalidSetting, match="got static-k50 and static:k=50; label them apart"):
        compared("static-k50 = policy:loss", policies="static:k=50")
    names = [method.file_name for method in compared("A b = memory:ridge", "a b = memory:cache", "a-b = policy:loss")]
    assert len({name.lower() for name in names}) == 3


def test_a_table_of_tables_labels_methods():
    config = resolve(CompareConfig, "quick", {"methods": {"one": {"memory": "ridge"}, "two": {"policy": "random"}}})
    assert [method.label for method in config.methods] == ["one", "two"]
    with pytest.raises(InvalidSetting, match="expected each part of a method once, got calibrate_every twice"):
        compared({"label": "a", "calibrate-every": 3, "calibrate_every": 2})
    with pytest.raises(InvalidSetting, match="expected no label in the table of the method a, which has one"):
        resolve(CompareConfig, "quick", {"methods": {"a": {"label": "b", "policy": "loss"}}})
    [one] = resolve(CompareConfig, "quick", {"methods": {"memory": {"name": "ridge"}}}).methods
    assert one.label == "memory:ridge"


def test_settings_in_which_lifetimes_may_differ_are_those_of_a_method():
    of_methods = Method.model_fields.keys() - {"label", "policy"}
    assert settings_of(LifetimeConfig, "method") == of_methods
