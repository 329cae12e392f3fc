import pytest

from agent.errors import InvalidSetting
from scenarios.config.presets import CURVE_PRESETS, from_toml, resolve
from scenarios.config.settings import CurveConfig
from scenarios.running.factory import choose_schedule


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
        ({"lr": "nan"}, "expected --lr to be a finite number, got nan"),
        ({"lr": "0"}, "expected --lr to be greater than 0, got 0"),
        ({"lr": "inf"}, "expected --lr to be a finite number, got inf"),
        ({"depth": "9"}, "expected --depth 6n"),
        ({"seeds": "0"}, "expected --seeds to be greater than or equal to 1, got 0"),
        ({"chunks": "2.5"}, "expected --chunks to be a valid integer"),
        ({"protocol": "offline"}, "expected --protocol to be 'online', 'cooldown' or 'original', got offline"),
        ({"schedule": "steps"}, "expected --schedule constant with --protocol cooldown, got steps"),
        ({"warm": True}, "expected --protocol original with --warm"),
        ({"learning_rate": 1}, "expected settings out of dataset, .* got learning_rate"),
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
        CurveConfig, "cifar10-small", {"lr": 0.5, "seeds": 8}, {"lr": "0.25", "k": "20, 60", "mirror": False}
    )
    assert (config.lr, config.seeds, config.k, config.mirror, config.width) == (0.25, 8, (20, 60), False, 16)


def test_settings_from_toml(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('k = [20, 40]\nweight-decay = 0.0\ndataset = "digits"\n')
    config = resolve(CurveConfig, "quick", from_toml(path))
    assert (config.k, config.weight_decay, config.dataset) == ((20, 40), 0.0, "digits")


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


def test_the_schedule_suits_the_protocol():
    assert choose_schedule(resolve(CurveConfig, "quick")) == "constant"
    assert choose_schedule(resolve(CurveConfig, "quick", {"protocol": "original"})) == "one-cycle"
    assert choose_schedule(resolve(CurveConfig, "cifar10-paper")) == "steps"


def test_the_presets_for_cifar10_are_those_of_the_paper():
    paper = resolve(CurveConfig, "cifar10-paper")
    assert (paper.train_size, paper.validation_size, paper.epochs, paper.batch, paper.lr) == (
        45000,
        5000,
        180,
        125,
        0.09,
    )
    assert (paper.depth, paper.width, paper.keys, paper.pool) == (32, 16, "cache3", False)
    assert paper.k == tuple(range(10, 100, 10))
    small = resolve(CurveConfig, "cifar10-small")
    cooled = resolve(CurveConfig, "cifar10-cooldown")
    assert (cooled.train_size, cooled.epochs, cooled.keys) == (small.train_size, small.epochs, small.keys)
    assert (small.train_size, small.depth, small.protocol, small.k) == (10000, 8, "original", (20, 40, 60, 80))
