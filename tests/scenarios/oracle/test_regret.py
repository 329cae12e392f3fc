"""Policies on schedule tables: utilities, regrets and leads, beside slow and obvious code."""

import json
import re
from dataclasses import replace
from itertools import product
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import InvalidSetting, PolicyError, RunError
from agent.policies import Action, Policy, PolicyFile, policy_file_text
from scenarios.analysis.comparison import ScheduleLifetimes, compare
from scenarios.analysis.statistics import mean_interval
from scenarios.config.families import DATASET
from scenarios.config.fields import read_policies
from scenarios.config.members import Member
from scenarios.config.presets import validate
from scenarios.config.settings import EvaluateConfig
from scenarios.oracle.evaluate import evaluate_policies, pricing_of, trained_on
from scenarios.oracle.evaluation_report import short_labels, shown
from scenarios.oracle.priced_table import PricedTable
from scenarios.oracle.regret import _at_equal_cost, evaluate, static_schedules
from scenarios.oracle.table import read_table, schedule_of
from scenarios.oracle.tables import (
    ACCURACY,
    COST,
    REGRET,
    UTILITY,
    Pricing,
    TableSet,
    read_tables,
    tables_digest,
    with_tariffs_drawn,
)
from scenarios.running.provenance import seeds_trained_on
from tests.scenarios.tables import PAYING, paying, planted, synthetic

PRICING = Pricing.read("day-night:period=4", "prices:gflop=0.3,megabyte_written=700,megabyte_chunk=90", 0.02)
BLIND = ["static:k=50", "interleaved:k=50", "random", "tariff", "periodic:period=3", "budget:gflop=9"]
LOOKING = ["loss", "uncertainty", "disagreement", "novelty", "linucb", "thompson", "forecast"]


def policies(text):
    return read_policies(text)


def dataset(text):
    return Member.read(text, DATASET)


def prices(**given):
    return validate(EvaluateConfig, {"trees": ".", **given})


small = st.integers(0, 10**6).flatmap(lambda seed: st.integers(1, 5).map(lambda n: synthetic(seed, n)))


def spent_slowly(table, pricing, actions):
    """What a lifetime that does not look pays, step by step."""
    prices = pricing.tariff.make(n_chunks=table.n_chunks, seed=table.facts["seed"])
    model, node, spent = pricing.model, 1, 0.0
    for i, learns in enumerate(actions):
        node = 2 * node + learns
        last = i == table.n_chunks - 1
        for account, (flops, nbytes) in enumerate(zip(table.flops[node], table.nbytes[node], strict=True)):
            price = 1.0 if last and account in (2, 4) else prices[i]
            spent += flops * model.per_flop * price + nbytes * model.per_byte_written
        spent += table.held_nbytes[node] * model.per_byte_chunk
    return node, spent


@pytest.mark.slow
@given(small)
def test_utilities_and_regrets_are_those_of_slow_code(table):
    table_set, seed = TableSet([table], PRICING), table.facts["seed"]
    every = {}
    for actions in product((0, 1), repeat=table.n_chunks):
        leaf, spent = spent_slowly(table, PRICING, actions)
        every[leaf] = table.accuracy[leaf, 0] - PRICING.cost_weight * spent
        found = table_set.metrics(seed, "nothing", leaf)
        assert found[UTILITY] == pytest.approx(every[leaf])
        assert found[COST] == pytest.approx(spent)
        assert found[ACCURACY] == table.accuracy[leaf, 0]
        learned = sum(int(size) for size, learns in zip(table.n_samples, actions, strict=True) if learns)
        assert found["learned_fraction"] == pytest.approx(learned / int(table.n_samples.sum()))
        assert found[REGRET] >= 0
    best = max(every.values())
    for leaf, utility in every.items():
        assert table_set.metrics(seed, "nothing", leaf)[REGRET] == pytest.approx(best - utility)
    assert table_set.oracle().by_seed[seed][UTILITY] == pytest.approx(best)
    assert table_set.oracle().by_seed[seed][REGRET] == 0


@pytest.mark.slow
@given(small)
def test_who_observes_nothing_has_no_negative_regret_and_who_looks_pays_for_it(table):
    table_set, seed = TableSet([table], PRICING), table.facts["seed"]
    for spec in BLIND:
        assert table_set.run(*policies(spec)).by_seed[seed][REGRET] >= 0
    for leaf in range(1 << table.n_chunks, 2 << table.n_chunks):
        costs = [table_set.metrics(seed, level, leaf)[COST] for level in ("nothing", "learner", "memory")]
        assert costs == pytest.approx(sorted(costs), rel=1e-12)  # the same, where looking computes the keys


@pytest.mark.slow
@given(st.integers(1, 4), st.lists(st.integers(0, 10**6), min_size=1, max_size=4, unique=True))
def test_the_best_fixed_schedule_is_that_of_brute_force(n, seeds):
    tables = [synthetic(seed, n) for seed in seeds]
    schedule, lived = TableSet(tables, PRICING).fixed()
    means = {}
    for actions in product((0, 1), repeat=n):
        utilities = []
        for table in tables:
            leaf, spent = spent_slowly(table, PRICING, actions)
            utilities.append(table.accuracy[leaf, 0] - PRICING.cost_weight * spent)
        means["".join("ML"[learns] for learns in actions)] = np.mean(utilities)
    assert means[schedule] == pytest.approx(max(means.values()))
    assert np.mean([values[UTILITY] for values in lived.by_seed.values()]) == pytest.approx(means[schedule])


@pytest.mark.parametrize("n", range(1, 15))
def test_static_schedules_learn_every_number_of_chunks(n):
    specs = static_schedules(n)
    assert len(set(specs)) == len(specs) == n + 1 + max(0, n - 1)
    for family, counts in (("static", range(n + 1)), ("interleaved", range(1, n))):
        policies = [spec.make(seed=0) for spec in specs if spec.name == family]
        assert [policy.n_learned(n) for policy in policies] == list(counts)


def test_a_static_schedule_learns_its_chunks_in_a_tree_of_seven():
    table_set = TableSet([synthetic(3, 7)], PRICING)
    for i, spec in enumerate(static_schedules(7)[:8]):
        leaf = table_set.leaf(3, spec.make(seed=3))
        assert schedule_of(leaf) == "L" * i + "M" * (7 - i)


@pytest.fixture(scope="module")
def tables():
    return [synthetic(seed, 4) for seed in range(5)]


@pytest.fixture(scope="module")
def evaluated(tables):
    return evaluate_policies(tables, policies("random:p=0.3 static:k=30"), PRICING, 0.9)


def schedule(evaluated, label):
    return next(each for each in evaluated.comparison.schedules if each.label == label)


def test_leads_are_paired_by_seed(evaluated):
    values = {each.label: list(each.by_seed.values()) for each in evaluated.comparison.schedules}
    assert {difference.policy for difference in evaluated.differences} >= {
        "random:p=0.3",
        "static:k=30",
        "random",
        "tariff",
    }
    for difference in evaluated.differences:
        own, other = values[difference.policy], values[difference.baseline]
        for metric in (UTILITY, ACCURACY, COST):
            expected = mean_interval([a[metric] - b[metric] for a, b in zip(own, other, strict=True)], 0.9)
            found = {UTILITY: difference.utility, ACCURACY: difference.accuracy, COST: difference.cost}[metric]
            assert (found.estimate, found.low) == (pytest.approx(expected.estimate), pytest.approx(expected.low))
        regrets = [np.mean([value[REGRET] for value in each]) for each in (own, other)]
        if difference.regret_ratio.estimate is not None:
            assert difference.regret_ratio.estimate == pytest.approx(regrets[0] / regrets[1])


def test_every_policy_leads_over_every_other_but_itself(evaluated):
    statics = [*map(str, static_schedules(4))]
    policies = {difference.policy for difference in evaluated.differences}
    pairs = {(difference.policy, difference.baseline) for difference in evaluated.differences}
    assert pairs == {(a, b) for a in policies for b in policies | set(statics) if a != b}
    means = {spec: schedule(evaluated, spec).means[UTILITY].estimate for spec in statics}
    assert evaluated.best_static == max(means, key=means.get)
    assert {each.policy for each in evaluated.at_equal_cost} == policies - set(statics)


def test_at_equal_cost_heuristics_are_rivals_and_trained_policies_are_not(tables, policy):
    trained = policy({"settings": {"dataset": "digits"}, "seeds": [0]})
    found = evaluate_policies(tables, policies(trained), PRICING, 0.95).at_equal_cost
    by_kind = {(each.policy, each.among): each for each in found}
    statics = set(map(str, static_schedules(4)))
    names = {each.policy for each in found}
    assert {among for _, among in by_kind} == {"statics", "statics and heuristics"}
    for name in names:
        alone, among_all = by_kind[name, "statics"], by_kind[name, "statics and heuristics"]
        assert alone.rivals is None or set(alone.rivals) <= statics
        assert among_all.rivals is None or set(among_all.rivals) <= (statics | names) - {name, trained}
        if alone.difference and among_all.difference:
            assert among_all.difference.estimate <= alone.difference.estimate + 1e-12
    assert any(set(each.rivals or ()) - statics for each in found)


def test_whoever_is_asked_for_is_shown_static_or_not(evaluated):
    assert {"static:k=30", "random:p=0.3", "oracle", evaluated.best_static} <= set(shown(evaluated))


def test_the_oracle_s_regret_is_nothing_and_nobody_blind_is_better(evaluated):
    assert {value[REGRET] for value in schedule(evaluated, "oracle").by_seed.values()} == {0.0}
    fixed = schedule(evaluated, "best fixed schedule").means[UTILITY].estimate
    assert fixed >= schedule(evaluated, evaluated.best_static).means[UTILITY].estimate


def test_regret_without_anything_to_regret_has_no_ratio():
    pricing = Pricing.read("constant", "flops", 0.0)
    found = evaluate_policies([paying(seed) for seed in range(3)], policies("static:k=100 static:k=0"), pricing, 0.95)
    [difference] = [
        each for each in found.differences if (each.policy, each.baseline) == ("static:k=0", "static:k=100")
    ]
    assert difference.regret_ratio.estimate is None
    assert difference.utility.estimate == pytest.approx(-0.4)


def lot(costs, accuracies, budget):
    """The best accuracy of choosing by lot between two, on a fine grid of lots, at a mean cost within the budget."""
    best = -inf
    for a, b in product(range(len(costs)), repeat=2):
        for share in np.linspace(0, 1, 201):
            if share * costs[a] + (1 - share) * costs[b] <= budget + 1e-12:
                best = max(best, share * accuracies[a] + (1 - share) * accuracies[b])
    return best


amounts = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 100)), min_size=1, max_size=4)


@given(amounts, st.integers(0, 40))
def test_at_equal_cost_stands_the_best_lot(statics, budget):
    def schedule(label, cost, accuracy):
        by_seed = {seed: {COST: float(cost + seed), ACCURACY: accuracy / 100 - 0.01 * seed} for seed in (0, 1)}
        return ScheduleLifetimes(label, by_seed)

    lived = [schedule(f"s{i}", *each) for i, each in enumerate(statics)]
    policy, *others = compare([schedule("policy", budget, 50), *lived]).schedules
    found = _at_equal_cost(policy, "statics", others, 0.95)
    expected = lot([cost for cost, _ in statics], [accuracy / 100 for _, accuracy in statics], budget)
    if expected == -inf:
        assert (found.rivals, found.difference) == (None, None)
    else:
        assert 0 <= found.share <= 1
        assert 0.5 - found.difference.estimate == pytest.approx(expected, abs=0.011)
        assert 0.5 - found.difference.estimate >= expected - 1e-9


# What was trained on


@pytest.fixture
def policy(tmp_path):
    """Writes a policy file; returns its spec."""

    def written(training, name="policy.json"):
        path = tmp_path / name
        settings = {"features": ["price"], "weights": [-1.0], "bias": 1.0}
        path.write_text(policy_file_text(PolicyFile("linear", settings, training)))
        return f"file:{path}"

    return written


def test_trees_that_were_trained_on_are_left_out(tables, policy):
    one = policy({"settings": {"dataset": "textures"}, "seeds": [0, 3, 77]})
    other = policy({"settings": {"dataset": "textures"}, "seeds": [1]}, "other.json")
    found = evaluate_policies(tables, policies(f"{one} {other}"), PRICING, 0.95)
    assert (found.comparison.seeds, found.left_out) == ((2, 4), (0, 1, 3))
    assert evaluate_policies(tables, policies(one), PRICING, 0.95).comparison.seeds == (1, 2, 4)


def test_other_data_and_policies_by_hand_leave_all_in(tables, policy):
    for training in ({}, {"settings": {"dataset": "digits"}, "seeds": [0, 1, 2, 3, 4]}):
        found = evaluate_policies(tables, policies(policy(training)), PRICING, 0.95)
        assert (found.comparison.seeds, found.left_out) == ((0, 1, 2, 3, 4), ())


def test_nothing_left_to_evaluate_on_is_refused(tables, policy):
    with pytest.raises(InvalidSetting, match=r"that no policy was trained on, got only those of 0, 1, 2, 3, 4; grow"):
        evaluate_policies(
            tables, policies(policy({"settings": {"dataset": "textures"}, "seeds": list(range(9))})), PRICING, 0.95
        )


def test_settings_of_before_are_refused_with_their_new_place(tmp_path):
    training = {"settings": {"dataset": "textures", "lr": 0.1}, "seeds": [0]}
    path = tmp_path / "policy.json"
    path.write_text(policy_file_text(PolicyFile("linear", {"features": [], "weights": [], "bias": 1.0}, training)))
    with pytest.raises(
        InvalidSetting, match=r"expected --recipe sgd:lr=\.\.\. among the settings .* got lr, as it was"
    ):
        seeds_trained_on(path, dataset("textures"), None)


@pytest.mark.parametrize(
    "training",
    [
        {"seeds": [1]},
        {"settings": {"dataset": "textures"}},
        {"settings": {}, "seeds": [1]},
        {"settings": 3, "seeds": [1]},
        {"settings": {"dataset": "textures"}, "seeds": ["x"]},
        {"settings": {"dataset": "textures"}, "seeds": None},
    ],
)
def test_a_training_that_nobody_understands_is_refused(tables, policy, training, tmp_path):
    policy(training)
    with pytest.raises(InvalidSetting, match="to name the data set and the seeds that it was trained on, got"):
        trained_on(tmp_path / "policy.json", tables)


@pytest.mark.parametrize("spec", LOOKING)
def test_who_learns_while_living_is_newborn_in_each_tree(tables, spec):
    together = TableSet(tables, PRICING).run(*policies(spec)).by_seed
    alone = {
        table.facts["seed"]: TableSet([table], PRICING).run(*policies(spec)).by_seed[table.facts["seed"]]
        for table in tables
    }
    assert together == alone


# Policies of one's own


class Forgetful(Policy):
    def decide(self, observation):
        return None


class Failing(Policy):
    def decide(self, observation):
        raise KeyError("lost")


class Asking(Policy):
    observes = "everything"

    def decide(self, observation):
        return Action.LEARN


def test_a_policy_of_one_s_own_that_fails_is_one_line(tables):
    refused = {
        "Forgetful": "expected Forgetful.decide to give an Action out of memorize, learn, got None",
        "Failing": "expected Failing.decide to give an Action, but at chunk 0 it raised KeyError",
        "Asking": "expected Asking.observes to be one of nothing, learner, memory, got 'everything'",
    }
    for name, message in refused.items():
        with pytest.raises((InvalidSetting, PolicyError), match=re.escape(message)):
            evaluate_policies(tables, policies(f"{__name__}.{name}"), PRICING, 0.95)


# Prices


def test_prices_are_the_trees_where_none_are_given():
    table = synthetic(0, 2, tariff="random-walk", cost="cloud", cost_weight=7, budget=3)
    assert pricing_of([table], prices()) == Pricing.read("random-walk", "cloud", 7.0, 3.0)
    given = {"tariff": "day-night:day=2.0", "cost": "flops", "cost_weight": 0.0, "budget": inf}
    assert pricing_of([table], prices(**given)) == Pricing.read("day-night:day=2", "flops", 0.0, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cost_weight": nan}, "expected --cost-weight to be .*, got nan"),
        ({"cost_weight": inf}, "expected --cost-weight to be .*, got inf"),
        ({"cost_weight": -1.0}, "expected --cost-weight to be greater than or equal to 0, got -1"),
        ({"budget": nan}, "expected --budget to be .*, got nan"),
        ({"tariff": "free"}, "expected a tariff out of constant, .*, got free"),
        ({"cost": "love"}, "expected a cost model out of flops, .*, got love"),
    ],
)
def test_prices_that_cannot_be_are_refused(tables, given, message):
    with pytest.raises(InvalidSetting, match=message):
        pricing_of(tables, prices(**given))


# Tables of a run


def test_trees_are_read_by_seed(tmp_path):
    run = planted(tmp_path, [synthetic(seed, 2) for seed in (10, 9, 0)])
    found = read_tables(run)
    assert [table.facts["seed"] for table in found] == [0, 9, 10]
    assert tables_digest(found) == tables_digest(read_tables(run)) != tables_digest(found[:2])


def with_facts(table, **facts):
    kept = {name: value for name, value in (table.facts | facts).items() if value is not None}
    return replace(table, facts=kept)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"settings": None}, "expected a schedule table at .*"),
        ({"settings": [1]}, "expected a schedule table at .*"),
        ({"seed": None}, "expected a schedule table at .*, got: no seed among its facts"),
        ({"seed": "1"}, "expected a schedule table at .*, got: no seed among its facts, but '1'"),
        ({"seed": True}, "expected a schedule table at .*, got: no seed"),
        ({"seed": -1}, "expected a schedule table at .*, got: no seed"),
    ],
)
def test_facts_that_lack_what_everyone_asks_for_are_refused(tmp_path, facts, message):
    path = tmp_path / "table.npz"
    path.write_bytes(with_facts(synthetic(1, 2), **facts).as_npz())
    with pytest.raises(RunError, match=message) as refused:
        read_table(path)
    assert "\n" not in str(refused.value)


def test_trees_that_do_not_belong_together_are_refused(tmp_path):
    one, other = synthetic(0, 2), synthetic(1, 2, recipe="sgd:lr=0.2")
    with pytest.raises(RunError, match=r"expected trees that differ in their seeds alone, got another recipe at"):
        read_tables(planted(tmp_path / "a", [one, other]))
    run = planted(tmp_path / "b", [one])
    (run / "seed0").rename(run / "seed3")
    with pytest.raises(RunError, match=r"expected the tree of that seed at .*seed3/table.npz, got the one of seed 0"):
        read_tables(run)
    odd = {name: value for name, value in one.facts["settings"].items() if name != "dataset"}
    with pytest.raises(RunError, match="got no dataset"):
        read_tables(planted(tmp_path / "c", [with_facts(one, settings=odd)]))
    odd = one.facts["settings"] | {"cost_weight": -1}
    with pytest.raises(RunError, match=r"expected --cost-weight to be .*, got -1, in the settings of the tree in"):
        read_tables(planted(tmp_path / "d", [with_facts(one, settings=odd)]))
    with pytest.raises(RunError, match=r"expected a run of `lifetime tree` at .*, found no seed"):
        read_tables(tmp_path / "none")


def test_an_orchard_is_of_equal_trees():
    with pytest.raises(InvalidSetting, match="at least 1 schedule table"):
        TableSet([], PRICING)
    with pytest.raises(InvalidSetting, match="one number of chunks, got several"):
        TableSet([synthetic(0, 2), synthetic(1, 3)], PRICING)
    with pytest.raises(InvalidSetting, match="each of another seed"):
        TableSet([synthetic(0, 2), synthetic(0, 2)], PRICING)


# Labels


def test_policy_files_are_called_by_the_folders_of_their_runs():
    labels = ["loss", "file:/r/one/policy.json", "file:/r/two/policy.json", "file:/r/mine.json", "file:a.json"]
    assert list(short_labels(labels).values()) == [
        "loss",
        "file:…/one",
        "file:…/two",
        "file:…/mine.json",
        "file:a.json",
    ]
    twice = ["file:/a/x/policy.json", "file:/b/x/policy.json"]
    assert short_labels(twice) == {label: label for label in twice}


def test_few_static_schedules_are_shown(evaluated):
    labels = shown(evaluated)
    statics = [label for label in labels if label in [*map(str, static_schedules(4))]]
    assert set(statics) == {"static:k=0", "static:k=100", evaluated.best_static}
    assert {"oracle", "best fixed schedule", "random:p=0.3", "static:k=30", "forecast:cost_weight=0.02"} <= set(labels)


def test_the_best_policy_of_a_paying_tree_is_that_of_the_tariff():
    tables = [paying(seed) for seed in (1, 2)]
    pricing = pricing_of(tables, prices())
    assert pricing == Pricing.read(**PAYING)
    found = evaluate(tables, policies("tariff"), pricing, trained_on={})
    assert found.fixed == "MLML"
    assert schedule(found, "tariff").means[REGRET].estimate == pytest.approx(0)
    assert json.dumps([each.by_seed for each in found.comparison.schedules], allow_nan=False)


def test_paths_of_a_tariff_are_averaged_for_each_tree():
    tables, pricing = [synthetic(seed, 3) for seed in (0, 1)], Pricing.read("random-walk:sigma=0.5", "flops", 0.01)
    found = evaluate(tables, policies("tariff"), pricing, trained_on={}, n_draws=3)
    assert (found.n_paths, found.comparison.seeds) == (3, (0, 1))
    every = TableSet(with_tariffs_drawn(tables, pricing.tariff, 3), pricing).run(*policies("tariff"))
    for metric in (UTILITY, REGRET, COST, ACCURACY):
        paths = [values[metric] for values in every.by_seed.values()]
        means = [values[metric] for values in schedule(found, "tariff").by_seed.values()]
        assert means == pytest.approx([np.mean(paths[:3]), np.mean(paths[3:])])
    constant = evaluate(tables, policies("tariff"), PRICING, trained_on={}, n_draws=3)
    assert constant.n_paths == 1


def test_regret_is_to_the_best_schedule_of_who_does_not_look():
    table, pricing = synthetic(3, 3), Pricing.read("constant", "flops", 0.05)
    n_leaves = 1 << table.n_chunks
    best = max(table.accuracy[n_leaves:, 0] - 0.05 * PricedTable(table, (1.0,) * 3, pricing.model).spent[n_leaves:])
    values = TableSet([table], pricing).run(*policies("loss:threshold=0")).by_seed[3]
    looking = PricedTable(table, (1.0,) * 3, pricing.model, observes="learner")
    reached = table.accuracy[-1, 0] - 0.05 * looking.spent[-1]
    assert looking.spent[-1] > PricedTable(table, (1.0,) * 3, pricing.model).spent[-1]
    assert values[UTILITY] == pytest.approx(reached)
    assert values[REGRET] == pytest.approx(best - reached)


def test_the_best_static_schedule_is_that_of_the_highest_utility():
    tables = [synthetic(seed, 3) for seed in (0, 1)]
    pricing = Pricing.read("constant", "flops", 1e6)  # nothing is worth it
    found = evaluate(tables, policies("tariff"), pricing, trained_on={})
    utilities = {each.label: each.means[UTILITY].estimate for each in found.comparison.schedules}
    assert found.best_static == max(map(str, static_schedules(3)), key=utilities.get)
    accuracies = {each.label: each.means[ACCURACY].estimate for each in found.comparison.schedules}
    assert found.best_static != max(map(str, static_schedules(3)), key=accuracies.get)


@pytest.mark.parametrize(
    ("theirs", "ours", "print_of_theirs", "print_of_ours", "same"),
    [
        ("textures", "textures", None, None, True),
        ("textures", "digits", None, None, False),
        ("folder:a", "folder:/x/a", "1", "1", True),
        ("folder:a", "folder:a", "1", "2", False),
        ("folder:a", "folder:b", None, "2", True),
    ],
)
def test_a_data_set_is_known_however_it_is_spelled(tmp_path, theirs, ours, print_of_theirs, print_of_ours, same):
    training = {"settings": {"dataset": theirs}, "seeds": [0, 3], "data": print_of_theirs}
    path = tmp_path / "policy.json"
    path.write_text(policy_file_text(PolicyFile("linear", {"features": [], "weights": [], "bias": 1.0}, training)))
    assert seeds_trained_on(path, dataset(ours), print_of_ours) == (frozenset({0, 3}) if same else frozenset())


@pytest.mark.parametrize(
    "training",
    [
        {"settings": {"dataset": ["textures"]}, "seeds": [0]},
        {"settings": {"dataset": "textures"}, "seeds": "012"},
        {"settings": {"dataset": "textures"}, "seeds": {"5": 1}},
        {"settings": {"dataset": "textures"}, "seeds": [1.9]},
        {"settings": {"dataset": "textures"}, "seeds": [-5]},
        {"settings": "textures", "seeds": [0]},
        {"seeds": [0]},
    ],
)
def test_a_training_that_is_told_oddly_is_refused(tmp_path, training):
    path = tmp_path / "policy.json"
    path.write_text(policy_file_text(PolicyFile("linear", {"features": [], "weights": [], "bias": 1.0}, training)))
    with pytest.raises(InvalidSetting, match="to name the data set and the seeds that it was trained on"):
        seeds_trained_on(path, dataset("textures"), None)
