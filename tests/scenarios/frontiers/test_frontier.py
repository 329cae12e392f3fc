"""`lifetime frontier`: the best options of finished curves and trees as prices move."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import scenarios
from agent.accounting.costs import COST_MODELS
from agent.errors import InvalidSetting
from scenarios.analysis.statistics import ratio_of_means
from scenarios.cli import show
from scenarios.config.presets import resolve
from scenarios.config.settings import FrontierConfig
from scenarios.figures.style import figure_png
from scenarios.frontiers.experiment import measured_in
from scenarios.frontiers.labels import labels_of
from scenarios.oracle.table import schedule_of
from scenarios.oracle.tables import Pricing, TableSet, read_tables
from scenarios.running import results
from tests.scenarios.commands import assert_refused, kept, lifetime, strictly, within
from tests.scenarios.curves import outcome, planted_curve
from tests.scenarios.tables import planted, synthetic

BREAKEVEN = {"breakeven_queries.csv", "breakeven_storage.csv"}
FILES = {"config.json", *BREAKEVEN} | {
    f"frontier{part}.{kind}" for part in ("", "_map") for kind in ("json", "csv", "png")
}


def summaries(seed, name):
    """Learning costs 1 GFLOP a percent and gains; the cache answers dearly and ridge costs nothing more."""
    memory, _, k = name.rpartition(" ")
    learned = float(k) / 100
    if learned == 1:
        return outcome(0.5, flops=100, per_query=0.001, held=2000, learner=0.9 + 0.001 * seed)
    gain = 0.1 if memory else 0.2
    return {
        **outcome(
            0.9 - (0.8 - gain) * (1 - learned) + 0.002 * seed,
            flops=100 * learned + 5,
            calibrate=4,
            per_query=0.001 if memory else 0.006,
            recall=5 if memory else 0,
            written=1000,
            held=round(2000 + 50_000 * (1 - learned)),
        ),
        "by_rule": {"calibrated": {"accuracy": 0.7, "mixture": {"w": 0.5, "setting": None}}},
    }


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    memories = {"with_memories": ["ridge = memory:ridge"], "with_mixtures": "calibrated"}
    return planted_curve(tmp_path_factory.mktemp("curves") / "curve", summaries, **memories)


@pytest.fixture(scope="module")
def found(curve, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        empty = figure_png(Figure(figsize=(1, 1)))  # drawing takes seconds
        patched.setattr(results, "figure_png", lambda figure: empty)
        return scenarios.frontier(paths=[curve], runs=tmp_path_factory.mktemp("found"), name="found")


def read(*paths, **given):
    return measured_in(resolve(FrontierConfig, "quick", {"paths": paths, **given}))[0]


def test_options_are_those_of_the_records(curve):
    measured = read(curve)
    options = measured.options
    labels = [options.label(i) for i in range(len(options))]
    assert labels == [f"{memory} {k}%" for memory in ("cache", "cache, calibrated", "ridge") for k in (10, 50)] + [
        "100%"
    ]
    assert (measured.seeds, measured.n_chunks, measured.n_scored) == ((0, 1, 2), 10, 30)
    at = {label: i for i, label in enumerate(labels)}
    np.testing.assert_allclose(options.accuracy[:, at["100%"]], [0.9, 0.901, 0.902])
    np.testing.assert_allclose(options.accuracy[:, at["cache, calibrated 50%"]], 0.7)
    assert options.flops[0, at["ridge 50%"]] == 59e9  # without what the experimenter pays
    assert options.computing(10)[0, at["ridge 50%"]] == 59e9 + 5e9 + 10e6
    assert options.computing(0)[0, at["ridge 50%"]] == 59e9
    assert options.written[0].tolist() == [1000.0] * 6 + [0.0]
    assert options.byte_chunks[0, at["cache 10%"]] == 47_000
    assert read(curve, calibrating=False).options.flops[0, at["ridge 50%"]] == 55e9
    assert {label: len(indices) for label, indices in measured.by_memory.items()} == {
        "cache": 3,
        "cache, calibrated": 3,
        "ridge": 3,
    }


def test_the_best_options_and_the_prices_between_them(found):
    [of_flops] = [
        each
        for each in found.content["frontiers"]
        if (each["cost"], each["queries"], each["among"]) == ("flops", 0, "cache")
    ]
    best = of_flops["best"]
    assert [each["option"] for each in best] == ["100%", "10%"]  # 50% is on the line between, and dearer by 9
    assert best[0]["cost"]["estimate"] == 100
    gained = [90 + 0.1 * seed - (36 + 0.2 * seed) for seed in range(3)]
    assert best[0]["points_per_unit"]["estimate"] == pytest.approx(np.mean(gained) / (100 - 19))
    assert best[1]["points_per_unit"] is None
    every = {(each["cost"], each["queries"], each["among"]) for each in found.content["frontiers"]}
    memories = ("all memories", "cache", "cache, calibrated", "ridge")
    assert every == {(c, n, m) for c in ("flops", "cloud", "energy") for n in (0, 10_000, 1_000_000) for m in memories}
    rows = found.frame()
    assert len(rows) == sum(len(each["best"]) for each in found.content["frontiers"])
    assert rows.unit.unique().tolist() == ["GFLOP", "EUR", "J"]


def test_break_even_queries_and_prices_of_storage(found):
    by_option = {(each["memory"], each["option"]): each for each in found.content["breakevens"]}
    of_flops = by_option["cache", "10%"]["queries"]["flops"]
    assert of_flops["estimate"] == pytest.approx((100 - 19) / 0.005)
    assert of_flops["low"] == of_flops["high"] == of_flops["estimate"]  # nothing varies between seeds
    never = {"estimate": None, "low": None, "high": None, "note": "its answers cost no more", "never": True}
    assert by_option["ridge", "10%"]["queries"]["flops"] == never
    energy = COST_MODELS["energy"]()
    saved = 81e9 * energy.per_flop - 1000 * energy.per_byte_written - 45_000 * energy.per_byte_chunk
    of_energy = by_option["cache", "10%"]["queries"]["energy"]
    assert of_energy["estimate"] == pytest.approx(saved / (0.005e9 * energy.per_flop))
    without, some, many = by_option["cache", "10%"]["storage"]
    assert without["gflop_per_gigabyte"]["estimate"] == pytest.approx(81e9 / 45_000 * 10)
    assert some["gflop_per_gigabyte"]["estimate"] == pytest.approx((81e9 - 50e9) / 45_000 * 10)
    assert (without["memorizing_cheaper"], many["memorizing_cheaper"]) == ("below", "never")
    assert many["gflop_per_gigabyte"]["estimate"] is None
    rows = found.frame("breakeven_queries")
    assert len(rows) == len(rows.drop_duplicates()) == 6 * 3
    assert "never" in rows.breakeven_queries.tolist()
    of_storage = found.frame("breakeven_storage")
    assert len(of_storage) == len(of_storage.drop_duplicates()) == 6 * 3
    assert list(of_storage) == [
        *("memory", "option", "learned", "queries", "storage_gflop_per_gigabyte"),
        *("storage_gflop_per_gigabyte_low", "storage_gflop_per_gigabyte_high", "memorizing_cheaper"),
    ]


@pytest.mark.usefixtures("undrawn")
def test_break_even_points_have_the_intervals_of_paired_seeds(tmp_path):
    def varying(seed, name):
        if name == "100":
            return outcome(0.9, flops=100 + seed, per_query=0.001, held=2000)
        return outcome(0.8, flops=20 + seed**2, per_query=0.002 + 0.0001 * seed, held=30_000 + 500 * seed)

    run = planted_curve(tmp_path / "curve", varying, k=(10,))
    found = scenarios.frontier(paths=[run], runs=tmp_path, queries="0", costs="flops prices:gflop=0", confidence=0.9)
    [each] = found.content["breakevens"]
    saved, dearer = [80 + seed - seed**2 for seed in range(3)], [0.001 + 0.0001 * seed for seed in range(3)]
    wanted = ratio_of_means(saved, dearer, 0.9)
    shown = each["queries"]["flops"]
    assert [shown[name] for name in ("estimate", "low", "high")] == pytest.approx(
        [wanted.estimate, wanted.low, wanted.high]
    )
    assert shown["low"] < shown["estimate"] < shown["high"]
    wanted = ratio_of_means(saved, [28_000 + 500 * seed for seed in range(3)], 0.9)
    row = found.frame("breakeven_storage").iloc[0]
    assert row.storage_gflop_per_gigabyte_low == pytest.approx(10e9 * wanted.low)
    assert row.storage_gflop_per_gigabyte_high == pytest.approx(10e9 * wanted.high)
    free = found.frame("breakeven_queries").iloc[1]
    assert (free.cost_model, free.note) == ("prices:gflop=0", "both cost nothing at these prices")
    assert np.isnan(float(free.breakeven_queries))
    one = planted_curve(tmp_path / "one", varying, k=(10,), seeds=1)
    [row] = scenarios.frontier(paths=[one], runs=tmp_path, queries="0", costs="flops").content["breakevens"]
    assert row["queries"]["flops"]["estimate"] == pytest.approx(80 / 0.001)
    assert row["queries"]["flops"]["note"] == "an interval needs at least two seeds"


@pytest.mark.usefixtures("undrawn")
def test_where_nothing_costs_anything_no_number_of_queries_is_shown(curve, tmp_path):
    done = within("frontier", curve, "--runs", tmp_path, "--costs", "prices:gflop=0", "--memories", "cache")
    assert (done.returncode, done.stderr) == (0, "")
    row = next(line for line in done.stdout.splitlines() if line.split()[:2] == ["cache", "prices:gflop=0"])
    assert row.split()[2:] == ["-", "-"]


@pytest.mark.slow
def test_a_run_leaves_its_files_and_is_shown_again(curve, tmp_path):
    done = lifetime("frontier", curve, "--runs", tmp_path, "--name", "x", "--queries", 0, "--memories", "cache")
    assert (done.returncode, done.stderr) == (0, "")
    assert "100% until 0.6" in done.stdout
    run = tmp_path / "frontier/x"
    before = kept(run)
    assert before.keys() == FILES
    for name in before.keys() - {"config.json"}:
        assert str(run / name) in done.stdout
    assert Image.open(run / "frontier_map.png").size[0] > 500
    assert EventAccumulator(str(run)).Reload().Tags()["images"] == ["frontier", "frontier_map"]
    assert within("resume", run).stdout == done.stdout
    assert kept(run) == before


@pytest.mark.usefixtures("undrawn")
def test_what_a_run_left_is_loaded(found):
    before = kept(found.path)
    assert strictly((found.path / "frontier.json").read_text()) == json.loads(json.dumps(found.content))
    assert scenarios.load(found.path).report == found.report
    assert kept(found.path) == before


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_their_window(curve, tmp_path, monkeypatch, width):
    monkeypatch.setattr(show, "results_console", lambda: Console(width=width))
    done = within("frontier", curve, "--runs", tmp_path)
    assert max(map(len, done.stdout.partition("note:")[0].splitlines())) <= width
    assert "16k" in done.stdout
    assert "best at the end of what was measured: cache 10%" in done.stdout


@pytest.mark.usefixtures("undrawn")
def test_memories_costs_and_queries_can_be_chosen(curve, tmp_path):
    given = ["--memories", "ridge", "--costs", "prices:gflop=2;cloud:chunk_seconds=60", "--queries", "0,7"]
    done = within("frontier", curve, "--runs", tmp_path, "--name", "x", "--json", *given)
    content = strictly(done.stdout)
    assert content == strictly((tmp_path / "frontier/x/frontier.json").read_text())
    assert content["memories"] == ["ridge"]
    assert list(content["costs"]) == ["prices:gflop=2", "cloud:chunk_seconds=60"]
    assert {each["among"] for each in content["frontiers"]} == {"ridge"}
    assert content["queries"] == [0, 7]
    assert {each["memory"] for each in content["options"]} == {"", "ridge"}


@pytest.mark.usefixtures("undrawn")
def test_runs_of_other_seeds_and_of_other_memories_are_joined(curve, tmp_path):
    def others(seed, name):
        return summaries(seed, name) | {"n_test": 30}

    more = planted_curve(tmp_path / "more", others, first_seed=3, seeds=2, with_memories=["ridge = memory:ridge"])
    knn = planted_curve(tmp_path / "knn", summaries, seeds=5, memory="knn", k=(20, 50))
    measured = read(curve, more, knn, memories=["cache", "knn"])
    assert measured.seeds == (0, 1, 2, 3, 4)
    assert list(measured.by_memory) == ["cache", "knn"]
    assert [measured.options.names[i] for i in measured.by_memory["knn"]] == ["20%", "50%", "100%"]
    every = read(curve, more, knn)  # the second run has no further mixture
    assert every.seeds == (0, 1, 2)
    assert "seeds 3, 4 are left out: not everything was measured under them" in every.notes
    with pytest.raises(
        InvalidSetting, match="expected a seed under which everything was measured, got knn k = 10 with"
    ):
        read(more, planted_curve(tmp_path / "first", summaries, seeds=1, memory="knn"))


@pytest.mark.usefixtures("undrawn")
def test_runs_of_other_ks_of_a_memory_are_joined(tmp_path):
    low = planted_curve(tmp_path / "low", summaries, k=(30,))
    high = planted_curve(tmp_path / "high", summaries, k=(50, 10))
    both = read(low, high)
    assert both.options.names == ("10%", "30%", "50%", "100%")
    assert both.options.memories == ("cache", "cache", "cache", "")
    assert (both.seeds, both.notes) == ((0, 1, 2), read(low).notes)
    more = planted_curve(tmp_path / "more", summaries, k=(30, 60), seeds=1, first_seed=2)
    refused(tmp_path, "expected each memory, k and seed in one run, got cache with k = 30 and seed 2 in", low, more)
    others = {"with_memories": ["cache = memory:ridge"], "memory": "knn", "k": (60,)}
    label = planted_curve(tmp_path / "label", summaries, **others)
    with pytest.raises(InvalidSetting, match="expected one memory of each label"):
        read(low, planted_curve(tmp_path / "third", summaries, seeds=1, first_seed=8, memory="ridge"), label)


@pytest.mark.usefixtures("undrawn")
def test_a_joined_curve_is_read_from_any_folder(tmp_path, monkeypatch):
    for seed in range(2):
        planted_curve(tmp_path / f"work/runs/curve/seed{seed}", summaries, seeds=1, first_seed=seed)
    joined = tmp_path / "work/runs/curve/joined"
    joined.mkdir()
    settings = {"paths": [f"runs/curve/seed{seed}" for seed in range(2)]}
    (joined / "config.json").write_text(json.dumps({"experiment": "join-curves", "settings": settings}))
    (tmp_path / "elsewhere").mkdir()
    for folder, path in ((tmp_path / "work", "runs/curve/joined"), (tmp_path / "elsewhere", joined)):
        monkeypatch.chdir(folder)
        assert read(path).seeds == (0, 1)
    shutil.move(tmp_path / "work/runs/curve/seed1", tmp_path / "away")
    refused(
        tmp_path,
        f"expected a run at runs/curve/seed1, found no such folder (named by the joined curve at {joined})",
        joined,
    )


@pytest.mark.usefixtures("undrawn")
def test_a_joined_curve_stands_for_its_runs(tmp_path):
    for seed in range(2):
        planted_curve(tmp_path / f"seed{seed}", summaries, seeds=1, first_seed=seed)
    whole = planted_curve(tmp_path / "whole", summaries, seeds=2)
    (tmp_path / "joined").mkdir()
    described = {
        "experiment": "join-curves",
        "settings": {"paths": [str(tmp_path / f"seed{seed}") for seed in range(2)]},
    }
    (tmp_path / "joined/config.json").write_text(json.dumps(described))
    one, other = read(tmp_path / "joined"), read(whole)
    assert (one.seeds, one.options.names, one.options.memories) == (
        other.seeds,
        other.options.names,
        other.options.memories,
    )
    np.testing.assert_array_equal(one.options.flops, other.options.flops)
    with pytest.raises(InvalidSetting, match="expected each run once, got"):
        read(tmp_path / "joined", tmp_path / "seed0")


def test_labels_tell_memories_apart():
    base = {"memory": "cache", "keys": "features", "pool": False}
    found = labels_of(
        [base, {**base, "memory": "ridge:limit=512"}, {**base, "memory": "ridge"}, {**base, "pool": True}]
    )
    assert found == ["cache", "ridge:limit=512 pool=False", "ridge:limit=4096 pool=False", "cache pool=True"]
    assert labels_of([{**base, "memory": "ridge:limit=512"}]) == ["ridge"]


def refused(tmp_path, message, *arguments):
    done = within("frontier", *arguments, "--runs", tmp_path / "runs")
    assert_refused(done, message)
    assert not (tmp_path / "runs").exists()


def test_what_is_no_finished_run_is_refused(curve, trees, tmp_path):
    refused(tmp_path, "found no config.json there", tmp_path / "none")
    refused(tmp_path, "config.json; give the folder of the run", curve / "config.json")
    cut = shutil.copytree(curve, tmp_path / "cut")
    (cut / "seed2/k010/summary.json").unlink()
    refused(tmp_path, f"expected a finished lifetime at {cut}/seed2/k010, got none; `lifetime resume {cut}`", cut)
    (cut / "seed2/k010/summary.json").write_text('{"accuracy": 3}')
    refused(tmp_path, f"expected the end of a lifetime in {cut}/seed2/k010/summary.json", cut)
    (cut / "seed2/k010/summary.json").write_text(json.dumps({**summaries(2, "10"), "byte_chunks": None}))
    refused(tmp_path, f"expected the end of a lifetime in {cut}/seed2/k010/summary.json", cut)
    (cut / "config.json").write_text(json.dumps({"experiment": "compare"}))
    refused(tmp_path, "expected a run of curve, curve --join or tree at", cut)
    described = {"experiment": "tree", "settings": {"seeds": 2}}
    (cut / "config.json").write_text(json.dumps(described))
    refused(tmp_path, f"expected a finished tree of seed 0 at {cut}, got none; `lifetime resume {cut}`", cut)
    refused(tmp_path, "expected curves alone or trees alone, got a curve at", curve, trees)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memories", "cache; fog"], "expected --memories out of cache; cache, calibrated; ridge, got fog"),
        (["--memories", ""], "expected labels separated by semicolons, got none"),
        (["--queries", "-1"], "expected --queries to be greater than or equal to 0, got -1"),
        (["--queries", "some"], "expected --queries to be a valid integer"),
        (["--queries", "5,5"], "expected each number of queries once, got 5,5"),
        (["--costs", "flops flops"], "expected each cost model once, got flops 2 times"),
        (["--costs", "love"], "expected a cost model out of flops"),
        (["--costs", " "], "expected names with their settings"),
        (["--costs", "prices:gflop=-1"], "expected prices that are finite and at least 0"),
        (["--tariff", "day-night"], "expected no --tariff with curves, whose price is 1, got day-night; leave it out"),
        (["--confidence", "1"], "expected --confidence to be less than or equal to 0.999999"),
    ],
)
def test_bad_settings_are_refused(curve, tmp_path, arguments, message):
    refused(tmp_path, message, curve, *arguments)


def test_curves_that_cannot_be_compared_are_refused(curve, tmp_path):
    twice = planted_curve(tmp_path / "twice", summaries, seeds=1, first_seed=2)
    refused(tmp_path, "expected each memory, k and seed in one run, got cache with k = 10 and seed 2 in", curve, twice)
    other = planted_curve(tmp_path / "other", summaries, memory="knn", dataset="digits")
    refused(tmp_path, "expected runs of curve with one world and learner", curve, other)
    network = planted_curve(tmp_path / "network", summaries, memory="knn", network="resnet:width=2")
    refused(tmp_path, "may differ, got network ", curve, network)
    label = planted_curve(tmp_path / "label", summaries, seeds=1, first_seed=9, with_memories=["ridge = memory:knn"])
    refused(tmp_path, "expected one memory of each label, got ridge with memory ridge:limit=4096 and", curve, label)
    half = planted_curve(
        tmp_path / "half",
        lambda seed, name: {**summaries(seed, name), "training": {"precision": "bfloat16"}},
        memory="knn",
    )
    refused(tmp_path, "expected curves of one precision, got float32 in", curve, half)


def test_schedules_have_the_costs_of_their_tables(trees):
    measured = read(trees)
    tables = TableSet(read_tables(trees), Pricing.read("constant", "energy", 0.0))
    model = COST_MODELS["energy"]()
    assert measured.seeds == (0, 1, 2, 3)
    for row, seed in enumerate(measured.seeds):
        priced = tables.priced(seed, "nothing")
        leaves = priced.table.nodes(3)
        np.testing.assert_allclose(measured.options.cost(model, 0)[row], priced.spent[leaves])
        assert measured.options.names == tuple(schedule_of(int(leaf)) for leaf in leaves)
    dear = read(trees, tariff="day-night:period=2")
    assert (dear.options.flops != measured.options.flops).any()
    assert (dear.options.byte_chunks == measured.options.byte_chunks).all()
    assert (read(trees, calibrating=False).options.flops < measured.options.flops).all()
    shares = [name.count("L") / 3 for name in measured.options.names]
    assert (np.diff(measured.options.learned[np.argsort(shares, kind="stable")]) > -0.5).all()
    assert measured.options.learned[[0, -1]].tolist() == [0, 1]
    assert measured.options.label(7) == "LLL"


@pytest.mark.usefixtures("undrawn")
def test_trees_of_several_memories_are_one_choice(tmp_path):
    paths = [
        planted(tmp_path / memory, [synthetic(seed, 3, memory=memory) for seed in range(2)])
        for memory in ("cache", "ridge")
    ]
    done = within("frontier", *paths, "--runs", tmp_path / "runs", "--name", "x", "--json")
    content = strictly(done.stdout)
    assert content["memories"] == ["cache", "ridge"]
    assert done.stderr == ""
    assert {each["among"] for each in content["frontiers"]} == {"all memories", "cache", "ridge"}
    assert content["breakevens"] == []
    rows = list(csv.DictReader(io.StringIO((tmp_path / "runs/frontier/x/frontier.csv").read_text())))
    assert {row["queries"] for row in rows} == {"0"}
    assert kept(tmp_path / "runs/frontier/x").keys() == FILES - BREAKEVEN


def test_trees_that_cannot_be_compared_are_refused(trees, tmp_path):
    refused(tmp_path, "expected --queries 0 with trees, which have no queries, got 10", trees, "--queries", "0,10")
    other = planted(tmp_path / "other", [synthetic(9, 3, network="resnet:width=2")])
    refused(tmp_path, "differ in their memories and seeds alone, got network ", trees, other)
    again = planted(tmp_path / "again", [synthetic(3, 3)])
    refused(tmp_path, "expected each memory and seed in one run, got cache with seed 3 in", trees, again)
    priced = planted(tmp_path / "priced", [synthetic(9, 3, tariff="day-night")])
    refused(tmp_path, "differ in their memories and seeds alone, got tariff ", trees, priced)
    assert read(trees, priced, tariff="constant").seeds == (0, 1, 2, 3, 9)
