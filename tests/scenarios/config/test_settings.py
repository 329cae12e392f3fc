import pytest

from agent.errors import InvalidSetting
from scenarios.config.families import LEARNER, RECIPE
from scenarios.config.members import Member
from scenarios.config.presets import CURVE_PRESETS, from_toml, resolve
from scenarios.config.settings import CurveConfig


@pytest.mark.parametrize("preset", CURVE_PRESETS)
def test_every_preset_is_valid_and_every_setting_documented(preset):
    assert resolve(CurveConfig, preset).k
    assert all(field.description for field in CurveConfig.model_fields.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": "140"}, "expected --k to be less than or equal to 100, got 140"),
        ({"k": "-5"}, "expected --k to be greater than or equal to 0, got -5"),
        ({"k": "10,abc"}, "expected --k to be a valid number, .*, got abc"),
        ({"k": "nan"}, "expected --k"),
        ({"k": ""}, "expected --k"),
        ({"k": "10,10"}, "expected each k once"),
        ({"k": "12"}, "expected each k to be a whole number of the 20 chunks, got 12; the nearest are 10 and 15"),
        ({"confidence": "nan"}, "expected --confidence to be a finite number, got nan"),
        ({"max_megapixels": "0"}, "expected --max-megapixels to be greater than 0, got 0"),
        ({"depth": "8"}, r"expected --network resnet:depth=\.\.\., got --depth, as it was called before"),
        ({"ema_decay": 0.9}, r"expected --learner online:ema_decay=\.\.\., got --ema-decay, as it was"),
        ({"keys": "stem,features"}, r"expected --keys of places joined by \+ \(stem\+features\), got stem,features"),
        ({"network": 5}, "expected --network to be a valid string, got 5"),
        ({"network": ["resnet"]}, "expected --network to be a valid string"),
        ({"with_policies": 5}, "expected --policy to be a valid string, got 5"),
        ({"network": {"name": "resnet", "depth=14,width": 4}}, "expected a table with a name and settings"),
        ({"keys": []}, r"expected --keys of places joined by \+, as in stem\+features, got nothing"),
        ({"network": {"depth": 8}}, "expected a table with a name and settings without commas"),
        ({"recipe": "sgd:"}, "expected settings key=value"),
        ({"seeds": "0"}, "expected --seeds to be greater than or equal to 1, got 0"),
        ({"chunks": "2.5"}, "expected --chunks to be a valid integer"),
        ({"warm": True}, "expected --learner refit with --warm: with cooldown y always continues"),
        ({"learning_rate": 1}, "expected settings out of network, .* got learning_rate"),
        ({"confidence": "1"}, "expected --confidence to be less than or equal to 0.999999, got 1"),
        ({"train_size": "0"}, "expected --train-size to be greater than or equal to 1, got 0"),
    ],
)
def test_bad_settings_are_one_clear_line(settings, message):
    with pytest.raises(InvalidSetting, match=message) as error:
        resolve(CurveConfig, "quick", settings)
    assert "\n" not in str(error.value)


def test_unknown_preset():
    with pytest.raises(InvalidSetting, match=r"expected a preset out of quick, .*cifar10-paper, got fast"):
        resolve(CurveConfig, "fast")


def test_later_settings_win_and_typed_values_are_read():
    config = resolve(
        CurveConfig, "cifar10-small", {"evaluate_every": 2, "seeds": 8}, {"evaluate_every": "5", "k": "20, 60"}
    )
    assert (config.evaluate_every, config.seeds, config.k) == (5, 8, (20, 60))


def test_a_spec_of_the_same_name_changes_only_the_keys_that_it_names():
    config = resolve(CurveConfig, "cifar10-small", {"recipe": "sgd:lr=0.5"}, {"recipe": {"name": "sgd", "momentum": 0}})
    assert config.recipe == Member.read("sgd:lr=0.5,batch=125,momentum=0", RECIPE)
    assert str(config.recipe) == "sgd:lr=0.5,momentum=0,weight_decay=0.0001,batch=125,views=plain,precision=auto"
    recipe = resolve(CurveConfig, "quick", {"recipe": "sgd:0.2,batch=8"}).recipe
    assert recipe == Member.read("sgd:lr=0.2,batch=8", RECIPE)
    assert resolve(CurveConfig, "cifar10-small", {"recipe": "adamw"}).recipe == Member.read("adamw", RECIPE)
    cooldown = resolve(CurveConfig, "cifar10-small", {"learner": "cooldown"}).learner
    assert cooldown == Member.read("cooldown", LEARNER)


def test_places_of_keys_are_those_of_the_network_that_they_were_said_of():
    assert resolve(CurveConfig, "cifar10-small").keys == ("stage2.block0.relu", "stage2.block0")
    assert resolve(CurveConfig, "cifar10-small", {"network": "resnet:width=4"}).keys is not None
    assert resolve(CurveConfig, "cifar10-small", {"network": "mlp"}).keys is None
    assert resolve(CurveConfig, "cifar10-small", {"network": "mlp", "keys": ["input", "hidden0"]}).keys == (
        "input",
        "hidden0",
    )


def test_settings_from_toml(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text(
        'k = [20, 40]\nevaluate-every = 2\nrecipe = {name = "sgd", weight_decay = 0.0}\n[learner]\nname = "online"\n'
    )
    config = resolve(CurveConfig, "quick", from_toml(path))
    assert (config.k, config.evaluate_every) == ((20, 40), 2)
    assert (config.recipe, config.learner) == (
        Member.read("sgd:lr=0.1,weight_decay=0", RECIPE),
        Member.read("online", LEARNER),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), ("k = [", "expected a TOML file at"), ("k = " + 9999 * "[", "expected a TOML file at")],
)
def test_a_bad_toml_file_is_named(tmp_path, content, message):
    path = tmp_path / "settings.toml"
    if content:
        path.write_text(content)
    with pytest.raises(InvalidSetting, match=message):
        from_toml(path)


def test_the_k_that_an_error_recommends_is_accepted():
    with pytest.raises(InvalidSetting, match=r"the nearest are 14\.2857 and 28\.5714"):
        resolve(CurveConfig, "quick", {"chunks": 7, "k": "20"})
    assert resolve(CurveConfig, "quick", {"chunks": 7, "k": "14.2857,28.5714"}).k == (14.2857, 28.5714)


def test_the_presets_for_cifar10_are_those_of_the_paper():
    paper = resolve(CurveConfig, "cifar10-paper")
    assert (paper.train_size, paper.validation_size) == (45000, 5000)
    assert paper.recipe == Member.read("sgd:lr=0.09,batch=125", RECIPE)
    assert paper.learner == Member.read("refit:epochs=180,schedule=steps", LEARNER)
    assert (str(paper.network), paper.keys, paper.pool) == ("resnet:depth=32,width=16", ("cache3",), False)
    assert paper.k == tuple(range(10, 100, 10))
    full = resolve(CurveConfig, "cifar10-full")
    assert (full.train_size, full.validation_size, full.test_size) == (45000, 5000, None)
    assert full.k == paper.k
    assert (str(full.network), full.keys, full.pool) == ("airbench:size=94", ("group2",), False)
    assert full.recipe.spec.settings["views"] == "mirror"
    assert (full.learner.name, float(full.learner.spec.settings["share"]) <= 0.2) == ("cooldown", True)
    assert (full.mixture, full.with_mixtures, full.surface) == ("calibrated", ("author",), True)
    assert {resolve(CurveConfig, name).mixture for name in CURVE_PRESETS} == {"author", "calibrated"}
    assert paper.mixture == resolve(CurveConfig, "cifar10-cooldown").mixture == "author"
    small = resolve(CurveConfig, "cifar10-small")
    cooled = resolve(CurveConfig, "cifar10-cooldown")
    assert (cooled.train_size, cooled.network, cooled.keys) == (small.train_size, small.network, small.keys)
    assert (small.train_size, small.learner.name, small.k) == (10000, "refit", (20, 40, 60, 80))
