"""`lifetime frontier` of trees that offer to consolidate: what that is worth under their tariff."""

import numpy as np
import pytest

import scenarios
from agent.accounting.costs import COST_MODELS
from agent.accounting.work import ACCOUNTS
from agent.policies.signals import SIGNALS
from scenarios.analysis.held_out import N_PRICES
from scenarios.analysis.statistics import mean_interval
from scenarios.config.presets import resolve
from scenarios.config.settings import FrontierConfig, TreeConfig
from scenarios.frontiers.experiment import measured_in
from scenarios.oracle.priced_table import PricedTable
from scenarios.oracle.table import ScheduleTable, n_rows, schedule_of
from scenarios.oracle.tables import read_tables
from tests.scenarios.commands import kept, lifetime, strictly, within
from tests.scenarios.tables import planted

CONSOLIDATION = {f"consolidation.{kind}" for kind in ("csv", "json", "png")}
LEARN, MEMORIZE, CALIBRATE = (ACCOUNTS.index(name) for name in ("learn", "memorize", "calibrate"))
DAYS = "day-night:period=2,day=2,night=0.5"
N = 3
RAW = 20  # of the 100 bytes of an entry


def sleeping(seed=0, n=N, tariff=DAYS, which=0, **settings):
    """A random tree of three actions, in which more learning tends to gain and costs more; one of several."""
    draw = np.random.default_rng([seed, n, which])
    given = TreeConfig.model_validate({"chunks": n, "device": "cpu", "consolidate": "40", "tariff": tariff, **settings})
    nodes, decisions = n_rows(n, 3)
    flops, nbytes = (np.zeros((nodes, len(ACCOUNTS)), dtype=np.int64) for _ in range(2))
    entries, learned = (np.zeros(nodes, dtype=np.int64) for _ in range(2))
    n_samples = np.full(n, 8)
    accuracy = np.full((nodes, 3), np.nan)
    for node in (node for depth in range(1, n + 1) for node in range(3**depth, 2 * 3**depth)):
        action, parent = node % 3, node // 3
        entries[node] = entries[parent] + 8 * (action != 1)
        learned[node] = learned[parent] + 8 * (action > 0)
        flops[node, MEMORIZE] = 10**8 * (action != 1)
        flops[node, LEARN] = (0, 3 * 10**9, 4 * 10**9 + draw.integers(10**8))[action]
        flops[node, CALIBRATE] = draw.integers(10**7)
        nbytes[node, MEMORIZE] = 800 * (action != 1)
        accuracy[node] = round(0.3 + 0.01 * learned[node] + 0.03 * (action == 2) + 0.1 * draw.random(), 2)
    return ScheduleTable(
        {
            "settings": given.model_dump(mode="json"),
            "seed": seed,
            "actions": ["memorize", "learn", "consolidate"],
            "prices": list(given.tariff.make(n_chunks=n, seed=seed)),
            "raw_nbytes": RAW,
        },
        n_samples,
        accuracy,
        flops,
        nbytes,
        learned,
        entries,
        100 * entries,
        100 * entries,
        np.full((decisions, len(SIGNALS)), np.nan),
        *(np.zeros(decisions, dtype=np.int64) for _ in range(2)),
    )


@pytest.fixture(scope="module")
def sleep(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("sleep") / "t", [sleeping(seed) for seed in range(4)])


def chosen_slowly(utilities, names):
    """The best schedule and the best one without C, from the sums of utilities by schedule."""
    without = [name for name in names if "C" not in name]
    order = without + [name for name in names if "C" in name]
    best, plain = max(order, key=utilities.get), max(without, key=utilities.get)  # the first of equal ones
    return best, plain


def worth_slowly(tables, model, price, *, flat):
    """The gains by seed in points, and the best schedules over all seeds, schedule by schedule."""
    every = [price for table in tables for price in table.facts["prices"]]
    by_seed = []
    for table in tables:
        paid = [sum(every) / len(every)] * table.n_chunks if flat else table.facts["prices"]
        priced = PricedTable(table, tuple(paid), model)
        by_seed.append({})
        for leaf in table.nodes(table.n_chunks).tolist():
            schedule, cost, node = schedule_of(leaf, table.actions), float(priced.spent[leaf]), leaf
            while "C" not in schedule and node > 1:  # without raw images, which it never needs
                cost -= RAW * model.per_byte_chunk * table.memory_entries[node]
                cost -= RAW * model.per_byte_written * 8 * (node % 3 == 0)
                node //= 3
            by_seed[-1][schedule] = 100 * table.accuracy[leaf, 0] - price * cost
    names = list(by_seed[0])
    gains = []
    for left_out, own in enumerate(by_seed):
        others = [each for i, each in enumerate(by_seed) if i != left_out] or [own]
        best, plain = chosen_slowly({name: sum(each[name] for each in others) for name in names}, names)
        gains.append(own[best] - own[plain])
    return gains, *chosen_slowly({name: sum(each[name] for each in by_seed) for name in names}, names)


@pytest.mark.usefixtures("undrawn")
def test_rows_are_those_of_a_search_schedule_by_schedule(sleep, tmp_path):
    found = scenarios.frontier(paths=[sleep], runs=tmp_path, name="x", confidence=0.9)
    rows = found.frame("consolidation")
    tables = read_tables(sleep)
    assert len(rows) == 3 * 2 * N_PRICES
    assert {(row.cost_model, row.tariff, row.memory) for row in rows.itertuples()} == {
        (cost, tariff, "cache") for cost in ("flops", "cloud", "energy") for tariff in ("given", "flat")
    }
    for row in rows.iloc[::23].itertuples():
        model = COST_MODELS[row.cost_model]()
        gains, best, without = worth_slowly(tables, model, row.points_per_unit, flat=row.tariff == "flat")
        wanted = mean_interval(gains, 0.9)
        assert (row.best, row.best_without, row.unit) == (best, without, model.unit)
        np.testing.assert_allclose(
            [row.worth, row.worth_low, row.worth_high], [wanted.estimate, wanted.low, wanted.high], atol=1e-8
        )
    assert rows.best.str.contains("C").any()
    assert not rows.best_without.str.contains("C").any()


@pytest.mark.usefixtures("undrawn")
def test_it_is_in_the_report_and_in_the_files(sleep, tmp_path):
    done = within("frontier", sleep, "--runs", tmp_path, "--name", "x")
    assert (done.returncode, done.stderr) == (0, "")
    assert "what consolidating is worth by flops, in points of accuracy" in done.stdout
    shown = " ".join(done.stdout.split())  # captions are folded
    assert "flat: interval above 0 at" in shown
    run = tmp_path / "frontier/x"
    for name in CONSOLIDATION:
        assert str(run / name) in done.stdout
    content = strictly((run / "consolidation.json").read_text())
    assert content == strictly((run / "frontier.json").read_text())["consolidation"]
    assert content["prices_of_chunks"] == [2, 0.5, 2]
    assert content["flat_price"] == 1.5
    assert content["notes"][0] in shown
    [at, *_] = content["worth"][0]["at"]
    assert at.keys() == {"points_per_unit", "worth", "best", "best_without"}
    before = kept(run)
    assert within("frontier", sleep, "--runs", tmp_path, "--name", "y").stdout == done.stdout.replace("/x/", "/y/")
    after = kept(tmp_path / "frontier/y")
    assert {name: after[name] for name in CONSOLIDATION} == {name: before[name] for name in CONSOLIDATION}
    assert within("resume", run).stdout == done.stdout


@pytest.mark.usefixtures("undrawn")
def test_trees_of_two_actions_have_no_such_files(trees, tmp_path):
    done = within("frontier", trees, "--runs", tmp_path, "--name", "x")
    assert not CONSOLIDATION & kept(tmp_path / "frontier/x").keys()
    assert "consolidat" not in done.stdout
    assert "consolidation" not in strictly((tmp_path / "frontier/x/frontier.json").read_text())
    assert measured_in(resolve(FrontierConfig, "quick", {"paths": [trees]}))[0].consolidating is None


@pytest.mark.usefixtures("undrawn")
def test_equal_prices_have_no_control_and_a_single_seed_no_interval(tmp_path):
    run = planted(tmp_path / "t", [sleeping(tariff="constant:price=2")])
    costs = "prices:gflop=0 flops"
    found = scenarios.frontier(paths=[run], runs=tmp_path, costs=costs)
    rows = found.frame("consolidation")
    assert len(rows) == N_PRICES
    assert set(rows.tariff) == {"given"}
    assert set(rows.cost_model) == {"flops"}  # where nothing costs anything there is no price
    assert rows.worth_low.isna().all()
    assert (rows.worth >= 0).all()
    assert (rows.worth > 0).any()
    assert any("is biased upward, and is never negative" in note for note in found.report.notes)
    free = scenarios.frontier(paths=[run], runs=tmp_path, costs="prices:gflop=0")
    assert not CONSOLIDATION & {path.name for path in free.path.iterdir()}


@pytest.mark.usefixtures("undrawn")
def test_each_memory_has_its_own_worth(tmp_path):
    names = ("cache", "knn", "ridge", "residual")
    paths = [
        planted(tmp_path / memory, [sleeping(seed, which=i, memory=memory) for seed in range(2)])
        for i, memory in enumerate(names)
    ]
    alone = scenarios.frontier(paths=paths[:1], runs=tmp_path, costs="flops").frame("consolidation")
    found = scenarios.frontier(paths=paths, runs=tmp_path, costs="flops")
    rows = found.frame("consolidation")
    assert list(rows.memory.unique()) == list(names)
    of_cache = rows[rows.memory == "cache"].reset_index(drop=True)
    assert of_cache.equals(alone)
    assert "consolidation.png shows the first 3 of 4 memories" in found.report.notes


def test_prices_are_those_of_the_tariff(sleep):
    def read(**given):
        return measured_in(resolve(FrontierConfig, "quick", {"paths": [sleep], **given}))[0]

    measured = read()
    assert measured.consolidating.prices.tolist() == [2, 0.5, 2]
    assert measured.consolidating.chosen.tolist() == ["C" in name for name in measured.options.names]
    constant = read(tariff="constant:price=1.5")
    assert constant.consolidating.flat_flops is None
    np.testing.assert_array_equal(constant.options.flops, measured.consolidating.flat_flops)
    walk = read(tariff="random-walk:sigma=0.5")
    assert walk.consolidating.prices[0] == 1
    assert np.ptp(walk.consolidating.prices) > 0
    free = read(calibrating=False)
    assert (free.consolidating.flat_flops < measured.consolidating.flat_flops).all()


@pytest.mark.slow
def test_a_grown_tree_is_read_and_drawn(tmp_path):
    given = "--consolidate 10 --train-size 40 --validation-size 20 --chunks 2 --network resnet:width=2 --device cpu"
    tariff = "--seeds 2 --tariff day-night:period=2 --learner online:epochs=1"
    grown = within("tree", *given.split(), *tariff.split(), "--runs", tmp_path, "--name", "t")
    assert grown.returncode == 0, grown.stderr
    done = lifetime("frontier", tmp_path / "tree/t", "--runs", tmp_path, "--name", "x")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "frontier/x/consolidation.png").read_bytes().startswith(b"\x89PNG")
    assert kept(tmp_path / "frontier/x").keys() >= CONSOLIDATION


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--rekey", "on-learn"], ["--capacity", 50, "--eviction", "fifo"]])
def test_schedules_without_it_cost_what_they_would_without_the_action(tmp_path, how):
    small = "--device cpu --train-size 60 --validation-size 20 --chunks 3 --network resnet:width=2 --workers 1".split()
    small += [*"--learner online:epochs=1 --seeds 2 --runs".split(), tmp_path, *how]
    for name, offered in (("two", []), ("three", ["--consolidate", 25])):
        assert within("tree", *small, *offered, "--name", name).returncode == 0
    two, three = (
        measured_in(resolve(FrontierConfig, "quick", {"paths": [tmp_path / "tree" / name]}, {}))[0]
        for name in ("two", "three")
    )
    plain = ~three.consolidating.chosen
    assert [name for name, is_plain in zip(three.options.names, plain, strict=True) if is_plain] == list(
        two.options.names
    )
    np.testing.assert_array_equal(three.options.accuracy[:, plain], two.options.accuracy)
    np.testing.assert_array_equal(three.options.flops[:, plain], two.options.flops)
    written = three.options.written - three.consolidating.unused_written
    held = three.options.byte_chunks - three.consolidating.unused_byte_chunks
    np.testing.assert_array_equal(written[:, plain], two.options.written)
    np.testing.assert_array_equal(held[:, plain], two.options.byte_chunks)
    assert not three.consolidating.unused_written[:, ~plain].any()
    assert three.consolidating.unused_byte_chunks.any() == ("--rekey" not in how)
