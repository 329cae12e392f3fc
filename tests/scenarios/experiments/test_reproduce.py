"""Published settings are lived and put beside what was published."""

import json
from dataclasses import replace

import numpy as np
import pytest

import scenarios
from agent.errors import RunError
from scenarios.analysis.published import Runs, welch_difference
from scenarios.analysis.statistics import mean_interval
from scenarios.config.reproductions import REPRODUCTIONS, Gain, Source
from scenarios.config.reproductions.budgetcl import BUDGETCL
from scenarios.config.reproductions.gdumb import GDUMB
from scenarios.config.reproductions.ocl_survey import OCL_SURVEY
from scenarios.config.reproductions.online_split import ONLINE_SPLIT
from tests.scenarios.commands import kept
from tests.scenarios.reproducing import N_CLASSES, make_small, stand_in

SLOW = pytest.mark.slow
FAST = ("er-cifar10-20", "gdumb-cifar10-200")
ALL = [pytest.param(name, id=name, marks=[] if name in FAST else SLOW) for name in REPRODUCTIONS]


DONE = {
    **dict.fromkeys((*ONLINE_SPLIT, *OCL_SURVEY, *GDUMB, *BUDGETCL), (1, 0)),
    "orhan-cifar10": (1, 100),
    "resmem-cifar100": (1, 200),
    "ranpac-cifar100": (0, 200),
}
"""The share that is learned, and the entries in memory at the end."""


@pytest.fixture(autouse=True)
def _small(monkeypatch, undrawn):
    make_small(monkeypatch)


BASELINES = pytest.mark.filterwarnings("ignore:.* the learner cannot be saved on the way")


@BASELINES
@pytest.mark.parametrize("name", ALL)
def test_what_is_recorded_can_be_lived(tmp_path, name):
    recorded = REPRODUCTIONS[name]
    archive = stand_in(tmp_path / "a.npz", N_CLASSES[recorded.settings["dataset"]])
    found = scenarios.reproduce(reproduction=name, dataset=f"npz:{archive}", threads=1, device="cpu", runs=tmp_path)
    assert found.path.parent == tmp_path / "reproduce"
    assert found.path.name.startswith(f"{name}-a.npz-")
    labels, gaining = list(recorded.settings["methods"]), [gain.label for gain in recorded.gains]
    figures = [(label, each) for label in labels for each in recorded.figures_of(label) or (None,)]
    assert found.frame().method.tolist() == [*(label for label, _ in figures), *gaining]
    lifetimes = found.lifetimes()
    assert len(lifetimes) == 2 * len(labels)
    if name in DONE:
        for column, value in zip(("learned_fraction", "memory_entries"), DONE[name], strict=True):
            assert (lifetimes[column] == value).all()
    for each, (label, published) in zip(found.content["methods"], figures, strict=True):
        metric = published.metric if published else "final_accuracy"
        assert (each["method"], each["metric"]) == (label, metric)
        values = lifetimes[lifetimes.label == label].sort_values("seed")[metric].tolist()
        assert each["ours"]["values"] == pytest.approx(values)
        assert each["ours"]["deviation"] == pytest.approx(np.std(values, ddof=1))
        if published is None:
            assert each["published"] is each["difference"] is None
            continue
        assert each["published"]["values"] == pytest.approx([run / 100 for run in published.runs])
        assert each["published"]["source"]["address"] == published.source.address
        deviation = None if published.deviation is None else published.deviation / 100
        theirs = Runs(published.mean / 100, deviation, published.n_runs)
        difference = welch_difference(Runs.of(values), theirs)
        assert each["difference"] == pytest.approx(vars(difference))
    for each, gain in zip(found.content["gains"], recorded.gains, strict=True):
        by_label = {label: lifetimes[lifetimes.label == label].sort_values("seed") for label in labels}
        one = by_label[gain.label][gain.metric].to_numpy()
        other = by_label[gain.over][gain.metric] if gain.over else by_label[gain.label].learner_accuracy
        assert each["ours"]["values"] == pytest.approx((one - other.to_numpy()).tolist())
    assert scenarios.load(found.path).report == found.report
    assert any(f"not the lossless ones of {recorded.settings['dataset']}" in note for note in found.report.notes)
    for text in (*recorded.circumstances, *recorded.differences):
        assert sum(note.endswith(text) for note in found.report.notes) == 1


@pytest.fixture
def archive(tmp_path):
    return stand_in(tmp_path / "a.npz", 10)


def test_a_shortened_life_is_not_compared(tmp_path, archive):
    given = {"dataset": f"npz:{archive}", "threads": 1, "device": "cpu", "runs": tmp_path}
    found = scenarios.reproduce(reproduction="iid-cifar10", short=True, **given)
    assert found.content["shortened"] == ["train size 50 (100)", "test size 10 (all)"]
    assert [each["difference"] for each in found.content["methods"]] == [None, None]
    assert found.report.parts[-1] == "iid++: not compared with what was published"
    assert found.report.notes[0].startswith("shortened, and not to be compared with what was published: train size 50")
    whole = scenarios.reproduce(reproduction="iid-cifar10", **given)
    assert whole.path != found.path
    assert whole.content["shortened"] == []


@pytest.mark.parametrize(("n_seeds", "short"), [(3, False), pytest.param(3, True, marks=SLOW), (1, False)])
def test_gains_are_paired_by_seed(tmp_path, archive, monkeypatch, n_seeds, short):
    source = Source("a paper", "https://example.org")
    gains = (
        Gain("iid++", "iid", source, 8.6),
        Gain("iid++", "iid", source, 8.6, deviation=0.5, n_runs=3),
        Gain("iid", "iid++", source, direction="not above 0"),
    )
    monkeypatch.setitem(REPRODUCTIONS, "iid-cifar10", replace(REPRODUCTIONS["iid-cifar10"], gains=gains))
    given = {"dataset": f"npz:{archive}", "threads": 1, "device": "cpu", "runs": tmp_path, "seeds": n_seeds}
    found = scenarios.reproduce(reproduction="iid-cifar10", short=short, **given)
    by_seed = found.lifetimes().pivot(index="seed", columns="label", values="final_accuracy")
    values = (by_seed["iid++"] - by_seed["iid"]).to_numpy()
    plain, spread, direction = found.content["gains"]
    for each, sign in ((plain, 1), (spread, 1), (direction, -1)):
        interval = mean_interval(sign * values)
        assert each["ours"]["values"] == pytest.approx((sign * values).tolist())
        assert each["ours"]["interval"] == pytest.approx(vars(interval))
    assert (plain["method"], plain["over"]) == ("iid++", "iid")
    assert (plain["published"]["mean"], plain["published"]["deviation"]) == (0.086, None)
    assert (direction["published"]["mean"], direction["published"]["direction"]) == (None, "not above 0")
    assert direction["difference"] is None
    if short:
        assert plain["difference"] is None
    else:
        alone = pytest.approx(values.mean() - 0.086)
        assert plain["difference"] == {"estimate": alone, "low": None, "high": None}
        welch = welch_difference(Runs.of(values.tolist()), Runs(0.086, 0.005, 3))
        assert spread["difference"] == pytest.approx(vars(welch))
    rows = found.frame()
    assert rows.over.tolist()[2:] == ["iid", "iid", "iid++"]
    assert rows.ours.tolist()[2:] == pytest.approx([values.mean(), values.mean(), -values.mean()])
    assert found.report.parts[-1].startswith("iid over iid++: ")
    assert ("published as not above 0, ours " in found.report.parts[-1]) == (n_seeds > 1)
    assert scenarios.load(found.path).report == found.report


@BASELINES
def test_what_is_shortened_of_methods_is_said(tmp_path, archive, monkeypatch):
    recorded = REPRODUCTIONS["gdumb-cifar10-200"]
    parts = recorded.settings["methods"]["gdumb"]
    short = {"methods": {"gdumb": {**parts, "baseline": parts["baseline"].replace("epochs=2", "epochs=1")}}}
    monkeypatch.setitem(REPRODUCTIONS, "gdumb-cifar10-200", replace(recorded, short=short))
    given = {"dataset": f"npz:{archive}", "threads": 1, "device": "cpu", "runs": tmp_path}
    found = scenarios.reproduce(reproduction="gdumb-cifar10-200", short=True, seeds=1, **given)
    assert found.content["shortened"] == [
        "baseline of gdumb gdumb:mem=200,epochs=1,schedule=warm-restarts "
        "(gdumb:mem=200,epochs=2,schedule=warm-restarts)"
    ]


@pytest.mark.slow
def test_more_seeds_go_on_in_the_same_folder(tmp_path, archive):
    given = {"reproduction": "er-cifar10-20", "dataset": f"npz:{archive}", "threads": 1, "device": "cpu"}
    one = scenarios.reproduce(**given, seeds=1, runs=tmp_path / "one")
    assert one.report.parts[-1] == (
        "er-ace: the difference has no interval, which needs two runs and the spread of both"
    )
    grown = scenarios.reproduce(**given, seeds=2, runs=tmp_path / "one")
    whole = scenarios.reproduce(**given, seeds=2, runs=tmp_path / "two")
    assert grown.path == one.path
    assert kept(grown.path) == kept(whole.path)


def test_a_run_whose_reproduction_has_lost_its_metric_says_so(tmp_path, archive):
    given = {"reproduction": "iid-cifar10", "dataset": f"npz:{archive}", "threads": 1, "device": "cpu"}
    found = scenarios.reproduce(**given, runs=tmp_path)
    path = found.path / "seed0/iid/summary.json"
    summary = json.loads(path.read_text())
    summary["metrics"]["final_accuracy"] = None
    path.write_text(json.dumps(summary))
    with pytest.raises(RunError, match="expected final_accuracy of every lifetime of iid, got 1 of 2"):
        scenarios.load(found.path)
