"""What further seeds cost, and how the seeds for a wanted width are shown."""

import json

import pytest

from agent.errors import RunError
from scenarios.analysis.formats import duration
from scenarios.analysis.sample_size import SampleSize
from scenarios.experiments.wanted_width import (
    CostOfSeed,
    WantedWidth,
    cost_of_seed,
    wanted_width_json,
    wanted_width_parts,
)

COST = CostOfSeed(gflop=100.0, spent=2.0, seconds=(60.0, 180.0))


@pytest.fixture
def written(tmp_path):
    """Writes the files of a finished lifetime; returns its folder."""

    def write(name, gflop, seconds):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"spent_gflop": gflop, "spent": gflop}))
        if seconds is not None:
            (folder / "seconds.json").write_text(json.dumps(seconds))
        return folder

    return write


def test_the_cost_of_a_seed_is_the_mean_and_time_that_is_shared_gives_two_bounds(written):
    one = [written("0/a", 10, {"learn": 3, "evaluate": 1}), written("0/b", 20, {"learn": 3, "decide": 2})]
    other, apart = (
        [written("1/a", 30, {"learn": 5}), written("1/b", 40, {"learn": 6})],
        written("0/c", 50, {"learn": 9}),
    )
    cost = cost_of_seed({0: [one, [apart]], 1: [other]})
    assert (cost.gflop, cost.spent) == (75, 75)
    assert cost.seconds == ((5 + 9 + 6) / 2, (4 + 5 + 9 + 11) / 2)


@pytest.mark.parametrize("seconds", [None, [], {"learn": "long"}])
def test_a_seed_without_all_records_of_time_does_not_count_for_time(written, seconds):
    whole, partly = [written("0/a", 10, {"learn": 3})], [written("1/a", 10, {"learn": 9}), written("1/b", 10, seconds)]
    assert cost_of_seed({0: [whole], 1: [partly]}).seconds == (3, 3)
    assert cost_of_seed({1: [partly]}).seconds is None


def test_a_summary_without_work_is_refused(written):
    folder = written("0/a", "much", None)
    with pytest.raises(RunError, match=r"expected spent_gflop in .*summary\.json, got none or an invalid one"):
        cost_of_seed({0: [[folder]]})


def test_all_intervals_need_the_seeds_of_the_widest(written):
    needs = {"a": SampleSize(3, 0.05, 6, 20), "b": SampleSize(3, 0.01, 2, 3)}
    wanted = WantedWidth(4.0, "points", needs, COST, "EUR")
    assert (wanted.more, wanted.more_cautious) == (3, 17)
    content = wanted_width_json(wanted)
    assert [each["width"] for each in content["intervals"]] == [5.0, 1.0]
    assert [each["more"] for each in content["intervals"]] == [3, 0]
    assert content["costs"]["more"] == {"gflop": 300.0, "spent": 6.0, "unit": "EUR", "seconds": [180.0, 540.0]}
    assert content["costs"]["more_cautious"]["gflop"] == 1700
    _, table, one, every = wanted_width_parts(wanted, of="accuracy", intervals="t", how="Live them.")
    assert table.title == "seeds for intervals of accuracy 4 points wide, from end to end"
    assert table.rows[0] == ("a", "5.0", "3", "6", "3", "300", "20", "17", "1,700")
    assert table.rows[-1] == ("all of them", "", "", "6", "3", "300", "20", "17", "1,700")
    assert one.startswith("One more seed, all lifetimes of it: 100 GFLOP and 2 EUR, about 60 s to 3 min in one process")
    assert every == (
        "For all intervals: 3 more seeds expected, about 3 min to 9 min; with caution 17, about 17 min to 51 min. "
        "Live them."
    )


def test_what_is_narrow_or_unknown_is_said():
    enough = WantedWidth(1.0, "", {"R": SampleSize(3, 0.5, 2, 3)}, COST, "GFLOP")
    assert wanted_width_parts(enough, of="R", intervals="", how="")[-1] == "Every interval is as narrow already."
    unknown = {"R": SampleSize(1, None, None, None, "one seed has no spread"), "S": SampleSize(1, None, 3, 4)}
    wanted = WantedWidth(1.0, "", unknown, CostOfSeed(0.5, 0.5, None), "GFLOP")
    content = wanted_width_json(wanted)
    assert content["more"] is content["costs"]["more"] is content["costs"]["one_seed"]["seconds"] is None
    _, table, reason, cost = wanted_width_parts(wanted, of="R", intervals="", how="")
    assert table.rows[0] == ("R", "-", "1", "-", "-", "-", "-", "-", "-")
    assert (reason, cost) == ("R: one seed has no spread.", "One more seed, all lifetimes of it: 0.5 GFLOP.")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 s"),
        (0.512, "0.51 s"),
        (89, "89 s"),
        (90, "1.5 min"),
        (5000, "83 min"),
        (5400, "1.5 h"),
        (4e7, "11,111 h"),
    ],
)
def test_a_time_has_its_natural_unit(seconds, shown):
    assert duration(seconds) == shown
