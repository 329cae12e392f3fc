"""What can be searched, and how it is read."""

import math
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from scenarios.config.method import Method
from scenarios.config.presets import resolve, validate
from scenarios.config.search_space import Range, Space, read_search, space_of
from scenarios.config.tune import TuneConfig

SEARCH = ["recipe.lr = 0.01 .. 0.3 log", "network.width = 2..8", "memory = cache | ridge", "calibrate-every = 0 .. 10"]


def tuned(search, **given):
    return resolve(TuneConfig, "quick", {"search": search, **given})


def test_ranges_and_choices_have_the_kind_of_their_parameter():
    space = tuned(SEARCH).space
    assert space.values == {
        "recipe.lr": Range(0.01, 0.3, log=True),
        "network.width": Range(2, 8, is_integer=True),
        "memory": ("cache", "ridge"),
        "calibrate_every": Range(0, 10, is_integer=True),
    }
    assert tuned(["learner.epochs = 1 .. 8"]).space.values["learner.epochs"] == Range(1, 8), "epochs need not be whole"


def test_a_table_says_the_same():
    table = {"recipe.lr": "0.01 .. 0.3 log", "network": {"width": "2 .. 8"}, "memory": ["cache", {"name": "ridge"}]}
    assert read_search({**table, "calibrate-every": "0 .. 10"}) == read_search(SEARCH)
    assert read_search({"learner.epochs": [1, 2.5], "pool": [True, False]}) == {
        "learner.epochs": ["1", "2.5"],
        "pool": ["true", "false"],
    }


def test_a_method_has_what_a_point_says_and_the_rest_as_given():
    config = tuned(SEARCH, recipe="sgd:batch=16", policy="static:k=50")
    point = {"recipe.lr": 0.1, "network.width": 4, "memory": "ridge", "calibrate_every": 3}
    method = config.space.method(point, "it")
    alone = Method.of({"recipe": "sgd:lr=0.1,batch=16", "network": "resnet:width=4", "memory": "ridge"})
    assert (method.recipe, method.network, method.memory) == (alone.recipe, alone.network, alone.memory)
    assert (method.pool, method.keys) == (alone.pool, alone.keys), "as suits the memory that was chosen"
    assert (method.calibrate_every, str(method.policy), method.label) == (3, "static:k=50", "it")


def test_what_a_choice_decides_by_default_is_decided_for_each():
    space = tuned(["learner = online | refit", "network = resnet:width=2 | mlp"]).space
    by_learner = {(each.learner.name, each.calibrate_every) for each in space.probes()}
    assert by_learner == {("online", 5), ("refit", 0)}
    assert {(each.network.name, each.keys is None) for each in space.probes()} == {("resnet", False), ("mlp", True)}
    config = tuned(["learner = online | refit"])
    assert (config.prequential, config.queries) == (False, 0), "all trials live in one world"


def test_settings_are_read_again_as_they_were_written():
    config = tuned(SEARCH, recipe="sgd:batch=16")
    again = validate(TuneConfig, config.model_dump(mode="json"))
    assert again == config
    assert [each.label for each in again.probes] == [each.label for each in config.probes]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ([], "expected something to search"),
        (["recipe.lr"], "expected a name with its values"),
        (["memory = cache"], "expected a range, or two or more choices of memory"),
        (["memory = cache | cache"], "expected each choice of memory once, got cache twice"),
        (["memory = cache | nope"], "expected a memory out of cache, knn"),
        (["memory = 1 .. 5"], "expected choices of memory, each name:key=value"),
        (["memry = cache | ridge"], "did you mean memory?"),
        (["dataset = textures | digits"], "got dataset: in another world or with another measure"),
        (["label = a | b"], "expected parts of a method to search"),
        (["keys.place = 1 .. 2"], "expected keys, which has no keys"),
        (["recipe.lr = 0.3 .. 0.01"], "expected a range from a lower to a higher number"),
        (["recipe.lr = 0.1 .. 0.1"], "expected a range from a lower to a higher number"),
        (["recipe.lr = 0 .. 1 log"], "expected a range above 0 for the logarithms"),
        (["recipe.lr = a .. b"], "expected a range of numbers for recipe.lr"),
        (["recipe.lr = 0 .. inf"], "expected a range of numbers for recipe.lr"),
        (["recipe.lr = 0 .. 1 linear"], "expected a range of numbers for recipe.lr"),
        (["recipe.nope = 1 .. 2"], "expected settings of sgd, out of lr, .* got recipe.nope"),
        (["recipe = sgd | adamw", "recipe.momentum = 0 .. 1"], "expected settings of adamw, .* got recipe.momentum"),
        (["recipe = sgd:lr=1 | adamw", "recipe.lr = 0 .. 1"], "expected recipe.lr to be searched or to be set by"),
        (["recipe.views = 1 .. 3"], "expected choices of recipe.views, each one of"),
        (["recipe.views = plain | x"], "expected choices of recipe.views to be one of"),
        (["network.width = 1.5 .. 3"], "expected a range of whole numbers for network.width"),
        (["calibrate_every = -3 .. 5"], "expected --calibrate-every to be greater than or equal to 0, got -3"),
        (["pool = true | perhaps"], "expected --pool to be a valid boolean"),
        (["pool = true | false", "pool = true | false"], "expected pool to be searched once|expected each name"),
    ],
)
def test_what_cannot_be_searched_is_one_line(search, message):
    with pytest.raises(InvalidSetting, match=message) as error:
        tuned(search)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trials": 0}, "expected --trials to be greater than or equal to 1, got 0"),
        ({"trials": 5, "at_a_time": 2}, "expected --trials as a multiple of --at-a-time 2, got 5"),
        ({"maximize": "utility"}, "expected --cost-weight for --maximize utility"),
        ({"cost_weight": 1}, "expected --cost-weight for --maximize utility, and only for it"),
        ({"maximize": "prequential_accuracy", "learner": "refit"}, "expected --prequential for"),
        ({"held_out": 2.5}, "expected --held-out of a share below 1, or a number of images"),
        ({"held_out": 0}, "expected --held-out to be greater than 0"),
    ],
)
def test_settings_that_contradict_each_other_are_one_line(given, message):
    with pytest.raises(InvalidSetting, match=message):
        tuned(["recipe.lr = 0.1 .. 0.3"], **given)


@settings(max_examples=60, deadline=None)
@given(st.floats(allow_nan=True), st.floats(allow_nan=True), st.booleans())
def test_any_range_is_read_as_it_is_written_or_refused(low, high, log):
    text = f"{low!r} .. {high!r}{' log' * log}"
    if math.isfinite(low) and math.isfinite(high) and low < high and (low > 0 or not log):
        found = Range.read(text, "recipe.lr")
        assert (found.low, found.high, found.log) == (low, high, log)
        assert Range.read(str(found), "recipe.lr") == found
    else:
        with pytest.raises(InvalidSetting, match="expected a range"):
            Range.read(text, "recipe.lr")


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="recip.lmoy=|0123 -gs:\n", max_size=30))
def test_any_text_is_a_search_or_refused(text):
    with suppress(InvalidSetting):
        space_of(read_search([text]), {})


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 0.3), st.sampled_from(["cache", "ridge"]), st.integers(0, 10))
def test_every_point_of_a_space_is_a_method(lr, memory, every):
    search = read_search(["recipe.lr = 0.01 .. 0.3 log", "memory = cache | ridge", "calibrate_every = 0 .. 10"])
    method = Space(dict.fromkeys(search, ()), {}).method(
        {"recipe.lr": lr, "memory": memory, "calibrate_every": every}, ""
    )
    assert method.recipe.settings["lr"] == lr
    assert (method.memory.name, method.calibrate_every) == (memory, every)
