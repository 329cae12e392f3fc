"""Finished curves of different learners beside each other, out of planted numbers."""

import csv
import json
import shutil
from itertools import permutations

import numpy as np
import pytest

import scenarios
from agent.errors import InvalidSetting, RunError
from scenarios.config.presets import resolve
from scenarios.config.settings import BesideCurvesConfig, CurveConfig
from scenarios.experiments.beside_curves import curves_beside, labels_of
from scenarios.experiments.beside_report import beside_json, beside_rows, report
from tests.scenarios.cli.test_join import changed
from tests.scenarios.curves import outcome, planted_curve

pytestmark = pytest.mark.usefixtures("undrawn")

NETWORKS = {"weak": "resnet:width=2", "middle": "convnet", "strong": "resnet:width=4"}
LEVELS = {"weak": 0.5, "middle": 0.7, "strong": 0.9}


def summaries(level):
    """Accuracies around the level of a learner, by seed and name of a lifetime."""

    def of(seed, name):
        generator = np.random.default_rng([seed, *name.encode()])
        noise, more = 0.01 * generator.standard_normal(2)
        k = float(name.split()[-1])
        x = level - 0.2 * (1 - k / 100) + noise
        return outcome(x + (0.1 + 0.1 * more) * (1 - k / 100), learner=x, flops=k)

    return of


def plant(folder, name, **settings):
    """A finished run of one of the three learners."""
    return planted_curve(folder, summaries(LEVELS[name]), **{"network": NETWORKS[name], **settings})


@pytest.fixture
def runs(tmp_path):
    """Runs of three learners, of which the strongest has more k's and a further memory."""
    further = {"k": (10, 20, 50), "with_memories": ["ridge = memory:ridge"]}
    return {name: plant(tmp_path / name, name, **(further if name == "strong" else {})) for name in NETWORKS}


def beside(*paths, **settings):
    return curves_beside(resolve(BesideCurvesConfig, "quick", {"paths": paths, **settings}))


def test_values_are_those_of_each_curve(runs, tmp_path):
    found = scenarios.beside_curves(paths=list(runs.values()), runs=tmp_path / "runs")
    written = json.loads((found.path / "beside.json").read_text())
    assert written == json.loads(json.dumps(found.content))
    assert [each["curve"] for each in written["curves"]] == ["resnet:width=2", "convnet", "resnet:width=4"]
    rows = list(csv.DictReader((found.path / "beside.csv").open()))
    for name, each in zip(NETWORKS, written["curves"], strict=True):
        alone = scenarios.join_curves(paths=[runs[name]], runs=tmp_path / "alone").path
        of_curve = json.loads((alone / "curve.json").read_text())
        own, *further = each["memories"]
        assert own == "cache"
        assert each["memories"][own] == of_curve["points"]
        assert each["seeds"] == of_curve["seeds"]
        assert each["y"] == of_curve["points"][0]["y"]
        for values in csv.DictReader((alone / "curve.csv").open()):
            [row] = [
                row for row in rows if (row["curve"], row["memory"], row["k"]) == (each["curve"], own, values["k"])
            ]
            assert row.items() >= values.items()
            assert float(row["total_gflop"]) == float(values["k"])
        if further:
            of_memories = json.loads((alone / "memories.json").read_text())["memories"]
            assert [point["R"] for point in each["memories"]["ridge"]] == [point["R"] for point in of_memories["ridge"]]
    assert len(rows) == 2 + 2 + 3 + 3
    assert (found.path / "beside.png").exists()


def test_the_order_of_runs_is_of_no_effect(runs, tmp_path):
    paths = list(runs.values())
    contents = [beside_json(beside(*order)) for order in permutations(paths)]
    assert all(content == contents[0] for content in contents)
    folders = {scenarios.beside_curves(paths=list(order), runs=tmp_path).path for order in (paths, paths[::-1])}
    assert len(folders) == 1


def test_runs_that_differ_in_their_seeds_are_one_curve(runs, tmp_path):
    first = plant(tmp_path / "first", "middle", seeds=1)
    others = plant(tmp_path / "others", "middle", seeds=2, first_seed=1)
    whole = beside(runs["weak"], runs["middle"])
    apart = beside(runs["weak"], others, first)
    assert beside_json(apart) == beside_json(whole)
    joined = scenarios.join_curves(paths=[others, first], runs=tmp_path / "runs").path
    assert beside_json(beside(joined, runs["weak"])) == beside_json(whole)
    with pytest.raises(InvalidSetting, match=r"expected each run once, got .*first twice"):
        beside(joined, runs["weak"], first)
    with pytest.raises(InvalidSetting, match="expected each seed in one run, got seed 0 in"):
        beside(runs["weak"], runs["middle"], first)


def test_runs_of_one_learner_may_differ_in_nothing_else(runs, tmp_path):
    more = plant(tmp_path / "more", "middle", seeds=1, first_seed=8, k=(20, 50))
    with pytest.raises(InvalidSetting, match=r"got k \(10.0, 50.0\) in .*; leave one of them out"):
        beside(runs["weak"], runs["middle"], more)


def test_other_seeds_recipes_and_precisions_are_noted(runs, tmp_path):
    assert not [note for note in beside(*runs.values()).notes if "differ" in note or "precision" in note]
    other = plant(tmp_path / "other", "strong", seeds=2, first_seed=5, recipe="sgd:lr=0.3", learner="online")
    for path in other.glob("*/k100/summary.json"):
        path.write_text(path.read_text().replace("float32", "bfloat16"))
    notes = beside(runs["weak"], other).notes
    seeds = "(resnet:width=2: 0, 1, 2; resnet:width=4: 5, 6)"
    assert f"the intervals of different curves are of other seeds {seeds}" in notes
    assert any(note.startswith("the learners also differ in recipe and learner, which their labels") for note in notes)
    precisions = "float32 (resnet:width=2), bfloat16 (resnet:width=4)"
    assert f"the networks were computed in other precisions: {precisions}" in notes
    assert "4 values of R are read together, but no interval is corrected for multiple comparisons" in notes


def test_the_report_shows_y_and_R_at_common_ks(runs):
    found = beside(*runs.values())
    assert found.shown_ks == [10, 50]
    shown = report(found, runs["weak"])
    [(wide, narrow)] = [part for part in shown.parts if isinstance(part, list)]
    assert [column.heading for column in wide.columns] == ["curve", "seeds", "y", "R at\nk = 10%", "R at\nk = 50%"]
    point = next(iter(found.curves.values())).learners[0].statistics
    assert wide.rows[0][:3] == ("resnet:width=2", "3", f"{100 * point.y.estimate:.1f}")
    assert wide.rows[0][3] == f"{point.R.estimate:.2f} [{point.R.low:.2f}, {point.R.high:.2f}]"
    assert [row[0] for row in narrow.rows] == ["10", "", "", "50", "", ""]
    assert narrow.rows[0][3] == wide.rows[0][3]


def test_four_of_many_ks_are_shown_and_none_without_a_common_one(tmp_path):
    many = plant(tmp_path / "many", "weak", k=range(10, 101, 10))
    few = plant(tmp_path / "few", "strong", k=range(10, 100, 10))
    found = beside(many, few)
    assert found.shown_ks == [10, 40, 60, 90]
    other = plant(tmp_path / "other", "middle", k=(0,))
    none = beside(many, other)
    assert none.shown_ks == []
    assert "No k is in all curves: R at each k is in beside.csv." in report(none, tmp_path).parts


def test_one_seed_leaves_R_undetermined(tmp_path):
    found = beside(*(plant(tmp_path / name, name, seeds=1) for name in ("weak", "strong")))
    rows = beside_rows(found)
    assert {(row["R"], row["R_low"], row["R_note"]) for row in rows} == {
        (None, None, "an interval needs at least two seeds")
    }
    assert "R undetermined: an interval needs at least two seeds." in report(found, tmp_path).parts


def test_the_level_of_intervals_can_be_chosen(runs):
    wide, narrow = (beside(*runs.values(), confidence=level) for level in (0.99, 0.5))
    ends = [found.curves["convnet"].learners[0].statistics.R for found in (wide, narrow)]
    assert ends[0].high > ends[1].high


@pytest.mark.parametrize(
    ("settings", "labels", "left_out"),
    [
        ([{"network": "resnet:width=2"}, {"network": "resnet:width=4"}], ["resnet:width=2", "resnet:width=4"], []),
        ([{"network": "resnet:width=2"}, {"network": "convnet"}], ["resnet", "convnet"], []),
        (
            [
                {"network": "convnet:width=8", "recipe": "adamw", "learner": "online"},
                {"network": "convnet:width=16", "recipe": "sgd", "learner": "refit"},
            ],
            ["convnet:width=8", "convnet:width=16"],
            ["recipe", "learner"],
        ),
        (
            [
                {"recipe": "sgd:lr=0.1", "learner": "online:epochs=1"},
                {"recipe": "sgd:lr=0.2", "learner": "online:epochs=2"},
                {"network": "convnet", "recipe": "sgd:lr=0.1", "learner": "online:epochs=1"},
            ],
            ["resnet sgd:lr=0.1 online:epochs=1", "resnet sgd:lr=0.2 online:epochs=2", "convnet sgd:lr=0.1 "
             "online:epochs=1"],
            [],
        ),
        ([{"learner": "online"}, {"learner": "cooldown"}], ["online", "cooldown"], []),
        ([{"memory": "cache"}, {"memory": "ridge"}], ["cache", "ridge"], []),
        ([{"keys": "stem"}, {"keys": "input"}], ["keys=stem", "keys=input"], []),
        (
            [{"network": "convnet"}, {"network": "resnet", "keys": "stem"}],
            ["convnet", "resnet keys=stem"],
            [],
        ),
        ([{"capacity": "50"}, {"mixture": "calibrated"}], ["capacity=50 mixture=author", "capacity=None "
         "mixture=calibrated"], []),
    ],
)  # fmt: skip
def test_labels_show_what_differs(settings, labels, left_out):
    found = labels_of([resolve(CurveConfig, "quick", {"device": "cpu", **each}) for each in settings])
    assert found == (labels, left_out)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("test_size", 20),
        ("train_size", 40),
        ("chunks", 20),
        ("data_seed", 3),
        ("image_size", 16),
        ("dataset", "digits"),
    ],
)
def test_runs_in_another_world_are_refused_by_the_setting(runs, tmp_path, name, value):
    other = changed(runs["strong"], tmp_path / "other", {name: value})
    with pytest.raises(InvalidSetting, match=rf"seeds may differ, got {name} .* in .*weak and .*look at those apart"):
        beside(runs["weak"], other)


def test_other_data_is_refused(runs, tmp_path):
    described = json.loads((runs["strong"] / "config.json").read_text())
    (runs["strong"] / "config.json").write_text(json.dumps({**described, "data": "another"}))
    with pytest.raises(InvalidSetting, match=r"got data None in .*weak and 'another' in"):
        beside(runs["weak"], runs["strong"])


def test_what_cannot_stand_beside_each_other_is_refused(runs, tmp_path):
    more = plant(tmp_path / "more", "weak", seeds=1, first_seed=7)
    with pytest.raises(InvalidSetting, match="got one learner in all 2 runs; --join makes one curve"):
        beside(runs["weak"], more)
    with pytest.raises(InvalidSetting, match="expected each run once, got"):
        beside(runs["weak"], runs["strong"], tmp_path / "strong/../weak")
    with pytest.raises(RunError, match=r"expected the folder of a run, got the file .*config.json"):
        beside(runs["weak"], runs["strong"] / "config.json")
    with pytest.raises(RunError, match=r"found no config.json there"):
        beside(runs["weak"], tmp_path / "none")
    cut = shutil.copytree(runs["strong"], tmp_path / "cut")
    (cut / "seed2/k010/summary.json").unlink()
    with pytest.raises(RunError, match=r"seed2/k010, got none; `lifetime resume"):
        beside(runs["weak"], cut)
    (cut / "config.json").write_text(json.dumps({"experiment": "tree"}))
    with pytest.raises(RunError, match=r"expected a run of curve or of curve --join at .*cut, got one of tree"):
        beside(runs["weak"], cut)
    with pytest.raises(InvalidSetting, match="expected --paths"):
        beside(runs["weak"])
