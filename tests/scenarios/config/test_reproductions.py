"""What is recorded: figures of the source, settings that can be lived, and a table in the documentation."""

import re
from pathlib import Path

import pytest

from agent.errors import InvalidSetting
from scenarios.config.reproduce import CHANGEABLE, ReproduceConfig, read_reproduce
from scenarios.config.reproductions import REPRODUCTIONS, Gain, Published, Source
from scenarios.config.reproductions.online_split import ONLINE_SPLIT
from scenarios.config.settings import settings_of

DOCS = Path(__file__).parents[3] / "docs/reproductions.md"
SOMEWHERE = Source("a paper", "https://example.org")
MEANS = {
    "er-cifar10-20": {"er": 24.6, "er-ace": 44.7},
    "er-cifar10-50": {"er": 34.9, "er-ace": 45.5},
    "er-cifar10-100": {"er": 40.0, "er-ace": 53.7},
    "er-cifar100-20": {"er": 12.0, "er-ace": 17.9},
    "er-cifar100-50": {"er": 16.2, "er-ace": 21.5},
    "er-cifar100-100": {"er": 17.5, "er-ace": 24.6},
    "iid-cifar10": {"iid": 63.8, "iid++": 72.4},
    "iid-cifar100": {"iid": 19.2, "iid++": 27.6},
    "budgetcl-cifar10": {},
    "budgetcl-cifar100": {},
    "orhan-cifar10": {},
    "resmem-cifar100": {},
    "ranpac-cifar100": {
        "ncm, memory accuracy": 61.5,
        "ridge, memory accuracy": 73.3,
        "projected, memory accuracy": 75.5,
    },
    "er-cifar100-2000": {"er": 28.1, "er, linear probe": 44.9},
    "gdumb-cifar10-200": {"gdumb": 35.0},
    "gdumb-cifar10-500": {"gdumb": 45.4},
    "gdumb-cifar10-1000": {"gdumb": 61.2},
}
"""As the source sums them up."""


GAINS = {
    **{
        f"budgetcl-{dataset}": [
            f"{sampling} over uniform: not above 0" for sampling in ("class-balanced", "recent", "herding")
        ]
        for dataset in ("cifar10", "cifar100")
    },
    "orhan-cifar10": ["resnet20 over its learner: above 0", "airbench over its learner: above 0"],
    "resmem-cifar100": ["resnet8 over its learner: +1.8"],
    "ranpac-cifar100": ["ridge over ncm: +11.8", "projected over ridge: +2.2"],
}


def test_the_gains_are_those_of_the_source():
    assert {name: list(map(str, each.gains)) for name, each in REPRODUCTIONS.items() if each.gains} == GAINS
    recorded = REPRODUCTIONS["ranpac-cifar100"]
    for gain in recorded.gains:
        assert gain.mean == pytest.approx(recorded.published[gain.label].mean - recorded.published[gain.over].mean)


def test_the_figures_are_those_of_the_source():
    found = {
        name: {figure_of: round(figure.mean, 1) for figure_of, figure in each.figures}
        for name, each in REPRODUCTIONS.items()
    }
    assert found == MEANS


@pytest.mark.parametrize("name", REPRODUCTIONS)
@pytest.mark.parametrize("short", [False, True])
def test_what_is_recorded_is_a_comparison_of_what_was_published(name, short):
    recorded = REPRODUCTIONS[name]
    config = read_reproduce("quick", {"reproduction": name, "short": short})
    assert [method.label for method in config.methods] == list(recorded.settings["methods"])
    experiences = config.scenario.settings.get("experiences", 1)
    assert config.chunks % experiences == 0
    size, rest = divmod(config.train_size, config.chunks)
    assert (rest, size % 10) == (0, 0)
    assert str(config.dataset) == recorded.settings["dataset"]
    assert recorded.hours > 5 * recorded.short_hours > 0
    assert recorded.short.keys() <= ReproduceConfig.model_fields.keys()


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_figures_and_gains_are_of_methods_that_are_lived(name):
    recorded = REPRODUCTIONS[name]
    labels = set(recorded.settings["methods"])
    assert set(recorded.published) <= labels
    assert recorded.published or recorded.gains
    for gain in recorded.gains:
        assert gain.label != gain.over
        assert {gain.label, gain.over or gain.label} <= labels
        assert gain.mean is None or (gain.mean > 0) == (gain.direction == "above 0")
    assert len({gain.name for gain in recorded.gains}) == len(recorded.gains)


def test_gains_say_what_was_published():
    assert str(Gain("both", "learned", SOMEWHERE, 0.94)) == "both over learned: +0.9"
    assert str(Gain("a", "b", SOMEWHERE, direction="not above 0")) == "a over b: not above 0"
    assert str(Gain("a", None, SOMEWHERE, 1.25)) == "a over its learner: +1.2"


@pytest.mark.parametrize("name", ONLINE_SPLIT)
def test_of_online_streams_all_is_learned_as_often_as_it_was_published(name):
    recorded = REPRODUCTIONS[name]
    config = read_reproduce("quick", {"reproduction": name})
    assert {figure.n_runs for figure in recorded.published.values()} == {config.seeds}
    assert list(recorded.published) == [method.label for method in config.methods]
    assert all(str(method.policy) == "static:k=100" for method in config.methods)
    assert all(method.recipe.settings["precision"] == "float32" for method in config.methods)


def test_rates_on_a_mean_are_twice_those_on_a_sum_of_two_means():
    config = read_reproduce("quick", {"reproduction": "er-cifar10-20"})
    assert {method.label: method.recipe.settings["lr"] for method in config.methods} == {"er": 0.2, "er-ace": 0.02}
    learners = [method.learner.settings for method in config.methods]
    assert all((found["stored"], found["apart"], found["rehearsal"]) == (200, True, 0.5) for found in learners)


def test_samplings_differ_in_nothing_else_and_take_equal_steps_out_of_all_images():
    recorded = REPRODUCTIONS["budgetcl-cifar10"]
    config = read_reproduce("quick", {"reproduction": "budgetcl-cifar10"})
    learners = [method.learner.settings for method in config.methods]
    assert [learner.pop("sampling") for learner in learners] == list(recorded.settings["methods"])
    assert all(learner == learners[0] for learner in learners)
    assert (learners[0]["stored"], learners[0]["rehearsal"]) == (None, 1)
    assert len({str(method.recipe) for method in config.methods}) == 1
    assert [(gain.label, gain.over, gain.mean, gain.direction) for gain in recorded.gains] == [
        (label, "uniform", None, "not above 0") for label in ("class-balanced", "recent", "herding")
    ]
    n_drawn = learners[0]["passes"] * config.train_size // config.chunks
    assert n_drawn == 90 * config.methods[0].recipe.settings["batch"]  # as a circumstance says


def test_a_method_may_have_figures_of_several_metrics():
    recorded = REPRODUCTIONS["er-cifar100-2000"]
    assert [each.metric for each in recorded.figures_of("er")] == ["final_accuracy", "linear_probe"]
    assert recorded.figures_of("of ours alone") == ()
    assert REPRODUCTIONS["iid-cifar10"].figures_of("iid") == (REPRODUCTIONS["iid-cifar10"].published["iid"],)
    assert len(recorded.sources) == 1
    assert read_reproduce("quick", {"reproduction": "er-cifar100-2000"}).evaluate == ("linear-probe",)


def test_some_settings_may_be_changed():
    given = {"reproduction": "iid-cifar100", "dataset": "folder:somewhere", "seeds": 5, "first_seed": 3, "threads": 1}
    config = read_reproduce("quick", {"seeds": 9}, given)
    assert (str(config.dataset), config.seeds, config.first_seed) == ("folder:somewhere", 5, 3)
    shortened = read_reproduce("quick", {**given, "short": True})
    assert (shortened.train_size, shortened.chunks, shortened.seeds) == (5000, 20, 5)


@pytest.mark.parametrize(
    ("preset", "given", "message"),
    [
        ("quick", {"reproduction": "er-cifar10"}, "expected a reproduction out of er-cifar10-20, "),
        ("quick", {}, "expected a reproduction out of er-cifar10-20, "),
        ("cifar10", {"reproduction": "iid-cifar10"}, "got --preset cifar10; `lifetime compare` takes any settings"),
        (
            "quick",
            {"reproduction": "iid-cifar10", "train_size": 10, "network": "mlp"},
            "expected the settings that iid-cifar10 records, and beside them only --short, --dataset, ",
        ),
        ("quick", {"reproduction": "iid-cifar10", "train_size": 10}, "got --train-size; "),
        (
            "quick",
            {"reproduction": "iid-cifar10", "dataset": "textures"},
            "expected the images of cifar10 for iid-cifar10, as --dataset folder:PATH, npz:PATH or parquet:PATH if "
            "they are elsewhere, got textures",
        ),
        ("quick", {"reproduction": "iid-cifar10", "dataset": "cifar100"}, "are elsewhere, got cifar100"),
        ("quick", {"reproduction": "iid-cifar10", "seeds": 0}, "expected --seeds to be greater than or equal to 1"),
        ("quick", {"reproduction": "iid-cifar10", "short": "maybe"}, "expected --short to be a valid boolean"),
    ],
)
def test_all_others_are_recorded(preset, given, message):
    with pytest.raises(InvalidSetting, match=re.escape(message)):
        read_reproduce(preset, given)


def test_what_may_be_changed_exists_and_decides_no_method():
    assert set(CHANGEABLE) < ReproduceConfig.model_fields.keys()
    assert not set(CHANGEABLE) & settings_of(ReproduceConfig, "method")


def test_standard_errors_are_read_as_deviations():
    assert Published(50.0, 1.0, 4, SOMEWHERE, spread_is="error").deviation == 2.0
    assert Published(50.0, 1.0, 4, SOMEWHERE).deviation == 1.0
    assert Published(50.0, None, 4, SOMEWHERE).deviation is None


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_the_documentation_has_each_figure(name):
    recorded, rows = REPRODUCTIONS[name], DOCS.read_text(encoding="utf-8").splitlines()
    [row] = [row for row in rows if row.startswith(f"| `{name}` |")]
    for figure_of, figure in recorded.figures:
        deviation = "" if figure.deviation is None else f" ± {figure.deviation:.1f}"
        assert f"{figure_of} {figure.mean:.1f}{deviation}" in row
    for gain in recorded.gains:
        assert str(gain) in row
    assert f"| {recorded.hours:g} h, {60 * recorded.short_hours:.0f} min |" in row
