import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from agent.policies import LinearPolicy, Policy, PolicyFile, policy_file_text, read_policy_file
from agent.policies.features import FEATURES
from agent.policies.file import FORMAT, MAX_NBYTES
from agent.policies.forecast import fit_prior
from tests.agent.policies.test_learned_policies import worlds_of
from tests.agent.policies.test_policies import EXAMPLES
from tests.agent.toys import same

LINEAR = {"features": ["seen"], "weights": [-2.0], "bias": 1.0}
NETWORK = {"features": ["seen"], "layers": [{"weight": [[1.5]], "bias": [0.1]}, {"weight": [[2.0]], "bias": [-0.0]}]}
GOOD = {"format": FORMAT, "kind": "linear", "settings": LINEAR, "training": {"seeds": [1, 2]}}

FLOATS = st.floats(-1e30, 1e30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("policies") / "policy.json"


def refused(path: Path) -> str:
    """In one line."""
    with pytest.raises(InvalidSetting) as caught:
        read_policy_file(path)
    assert str(caught.value).isprintable()
    assert str(caught.value).startswith(("expected ", f"in policy file {path}: expected "))
    return str(caught.value)


@given(weights=st.lists(FLOATS, max_size=5), bias=FLOATS, training=st.dictionaries(st.text(), JSON, max_size=3))
def test_what_is_written_is_read_to_the_bit(path: Path, weights: list[float], bias: float, training: dict) -> None:
    names = list(FEATURES)[: len(weights)]
    policy = PolicyFile("linear", {"features": names, "weights": weights, "bias": bias}, training)
    text = policy_file_text(policy)
    path.write_text(text)
    again = read_policy_file(path)
    assert again == policy
    assert policy_file_text(again) == text
    assert str(again.make().state()) == str(LinearPolicy(tuple(names), tuple(weights), bias).state())


@pytest.mark.parametrize("kind", ["linear", "network", "forecast"])
def test_every_kind_makes_its_policy(kind: str, path: Path) -> None:
    path.write_text(policy_file_text(PolicyFile(kind, EXAMPLES[kind])))
    made, expected = read_policy_file(path).make(), PolicyFile(kind, EXAMPLES[kind]).make()
    assert isinstance(made, Policy)
    assert type(made).__name__.lower() == f"{kind}policy"
    assert same(made.state(), expected.state())


def test_a_fitted_prior_goes_through_a_file(path: Path) -> None:
    mean, precision = fit_prior(*worlds_of(3, 0.1)[:3])
    settings = {"cost_weight": 0.01, "noise": 0.02, "mean": mean, "precision": precision, "observes": "learner"}
    path.write_text(policy_file_text(PolicyFile("forecast", settings)))
    made = read_policy_file(path).make()
    assert same(made.state(), PolicyFile("forecast", settings).make().state())
    assert made.observes == "learner"


def changed(**parts: object) -> str:
    return json.dumps({**GOOD, **parts})


def with_settings(kind: str, settings: dict, **other: object) -> str:
    return changed(kind=kind, settings={**settings, **other})


MALFORMED = {
    "": "expected JSON of a policy, got: Expecting value",
    json.dumps(GOOD)[:-5]: "expected JSON of a policy, got: Expecting value: line 1",
    json.dumps(GOOD) + "x": "expected JSON of a policy, got: Extra data",
    "[]": f"expected format '{FORMAT}', got 'list'",
    "{}": f"expected format '{FORMAT}', got 'none'",
    changed(format="learn-or-memorize policy 2"): f"expected format '{FORMAT}', got 'learn-or-memorize policy 2'",
    changed(kind="pickle"): "expected kind to be one of linear, network, forecast, got 'pickle'",
    changed(kind=["linear"]): "expected kind to be a text, got ['linear']",
    changed(more=1): "expected the file to have format, kind, settings, training, got 'more'",
    json.dumps({k: v for k, v in GOOD.items() if k != "training"}): "settings, training, got no training",
    changed(settings=[]): "expected settings to be an object, got []",
    changed(training=None): "expected training to be an object, got None",
    '{"format": 1, "format": 1}': "expected JSON of a policy, got: 'format' twice",
    changed().replace("-2.0", "NaN"): "expected JSON of a policy, got: NaN, which is no number",
    changed().replace("-2.0", "-Infinity"): "expected JSON of a policy, got: -Infinity, which is no number",
    changed().replace("-2.0", "1e999"): "expected weights[0] to be a finite number, got inf",
    changed().replace("-2.0", "1" + "0" * 400): "expected weights[0] to be a finite number, got 1000",
    changed().replace("-2.0", "1" * 5000): "expected JSON of a policy, got: Exceeds the limit",
    "[" * 100_000: "expected JSON of a policy, got one that is nested too deeply",
    changed().replace("-2.0", "[" * 100_000): "expected JSON of a policy, got one that is nested too deeply",
    with_settings("linear", LINEAR, bias=True): "expected bias to be a finite number, got True",
    with_settings("linear", LINEAR, bias="1"): "expected bias to be a finite number, got '1'",
    with_settings("linear", LINEAR, weights=1): "expected weights to be a list, got 1",
    with_settings("linear", LINEAR, weights=[1e31]): "expected numbers of at most ±1e+30 in weights and bias",
    with_settings("forecast", {"noise": 1e200}): "expected noise of at most 1e+30, got 1e+200",
    with_settings("forecast", {"mean": [1e308, 0, 0, 0]}): "expected numbers of at most ±1e+30 in the prior's mean",
    "{" + ", ".join(f'"{i}": 0' for i in range(60_000)) + ', "7": 0}': "expected JSON of a policy, got: '7' twice",
    with_settings("linear", LINEAR, weights=[1, 2]): "expected a weight for each of 1 features, got 2 weights",
    with_settings("linear", LINEAR, features=["sen"]): "expected features out of price, seen",
    with_settings("linear", LINEAR, features=[1]): "expected features[0] to be a text, got 1",
    with_settings(
        "linear", LINEAR, observes="x"
    ): "expected settings to have features, weights, bias, actions, got 'observes'",
    with_settings("linear", {"bias": 1}): "expected settings to have features, weights, bias, actions, got no features",
    with_settings("network", NETWORK, layers=[]): "expected layers that end in 1 output",
    with_settings("network", NETWORK, layers=[1]): "expected layers[0] to be an object, got 1",
    with_settings("network", NETWORK, layers=[{"weight": [["x"]], "bias": [0]}]): "expected layers[0].weight[0][0] to",
    with_settings(
        "network", NETWORK, layers=[{"weight": [[1]]}]
    ): "expected layers[0] to have weight, bias, got no bias",
    with_settings("forecast", {"noise": 0}): "expected a finite noise of at least 0.001, got 0",
    with_settings("forecast", {"mean": [1]}): "expected 4 finite numbers for the prior's mean, got (1.0,)",
    with_settings("forecast", {"observes": "nothing"}): "expected observes to be learner or memory, got 'nothing'",
    with_settings("forecast", {"observes": ["memory"]}): "expected observes to be learner or memory, got ['memory']",
    with_settings("forecast", {"seed": 1}): "mean, precision, observes, got 'seed'",
    changed(kind="a\nb\ud800"): r"got 'a\nb\ud800'",
}


@pytest.mark.parametrize("text", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_no_policy_is_refused_in_one_line(text: str, path: Path) -> None:
    path.write_text(text)
    assert MALFORMED[text] in refused(path)


def test_what_is_no_file_is_refused_in_one_line(tmp_path: Path) -> None:
    assert (
        refused(tmp_path)
        == f"expected a policy file at {tmp_path}, got a folder; give its path, as in file:policy.json"
    )
    assert "got none; give its path" in refused(tmp_path / "no.json")
    assert "got none; give its path" in refused(tmp_path / "a\nb")
    assert "expected a readable policy file at" in refused(tmp_path / ("x" * 300))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe{}")
    assert "expected JSON of a policy, got: 'utf-8' codec can't decode" in refused(tmp_path / "bytes")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_NBYTES + 1)
    assert f"expected at most {MAX_NBYTES} bytes, got more" in refused(tmp_path / "huge")


@given(JSON | st.fixed_dictionaries(dict.fromkeys(GOOD, JSON)).map(lambda found: {**found, "format": FORMAT}))
def test_no_json_is_too_odd(path: Path, found: object) -> None:
    path.write_text(json.dumps(found))
    refused(path)


@given(st.sampled_from([("linear", LINEAR), ("network", NETWORK), ("forecast", {"mean": [1.0] * 4})]), JSON, st.data())
def test_no_setting_is_too_odd(path: Path, good: tuple[str, dict], odd: object, data: st.DataObject) -> None:
    kind, settings = good
    path.write_text(with_settings(kind, settings, **{data.draw(st.sampled_from(list(settings))): odd}))
    try:
        read_policy_file(path).make()
    except InvalidSetting:
        refused(path)


@given(st.binary(max_size=20), st.integers(0, 200))
def test_no_damage_is_too_odd(path: Path, damage: bytes, at: int) -> None:
    content = json.dumps(GOOD).encode()
    path.write_bytes(content[:at] + damage + content[at + len(damage) :])
    try:
        read_policy_file(path).make()
    except InvalidSetting:
        refused(path)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (PolicyFile("x", {}), "expected kind to be one of linear, network, forecast, got 'x'"),
        (PolicyFile("linear", {**LINEAR, "bias": math.nan}), "expected bias to be a finite number, got nan"),
        (
            PolicyFile("linear", LINEAR, {"loss": math.nan}),
            "expected finite numbers, texts, lists and dictionaries, got",
        ),
        (PolicyFile("linear", LINEAR, {"of": object()}), "got: Object of type object is not JSON serializable"),
    ],
)
def test_what_could_not_be_read_is_not_written(policy: PolicyFile, message: str) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(message)):
        policy_file_text(policy)
