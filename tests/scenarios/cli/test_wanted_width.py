"""`--want-width`, and further seeds in the folder of a run."""

import json
import shutil

import pytest

from tests.scenarios.commands import TINY, assert_refused, kept, points, strictly, within

COMPARE = ["compare", *TINY, "--policies", "static:k=50 loss", "--name", "run"]
CURVE = (
    "curve --device cpu --train-size 120 --validation-size 40 --test-size 60 --chunks 4 --k 25,75"
    " --learner cooldown:epochs=1 --network resnet:width=2 --name run"
).split()


def two_seeds(command, runs):
    done = within(*command, "--seeds", 2, "--runs", runs)
    assert (done.returncode, done.stderr) == (0, "")
    return runs / command[0] / "run"


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison of two seeds, which nobody disturbs."""
    return two_seeds(COMPARE, tmp_path_factory.mktemp("compared"))


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    """A curve of two seeds, which nobody disturbs."""
    return two_seeds(CURVE, tmp_path_factory.mktemp("curve"))


@pytest.mark.slow
def test_a_finished_comparison_says_how_many_seeds_it_needs_and_stays_as_it_is(compared):
    command, run = [*COMPARE, "--seeds", 2, "--runs", compared.parents[1]], compared
    before, shown = kept(run), within(*command)
    done = within(*command, "--want-width", 20)
    assert (done.returncode, done.stderr) == (0, "")
    for expected in (
        "seeds for intervals of final accuracy 20 points wide, from end to end",
        "all of them  ",
        "One more seed, all lifetimes of it: ",
        "in one process, on the machine of these lifetimes.",
    ):
        assert expected in done.stdout
        assert expected not in shown.stdout
    wanted = strictly(within(*command, "--want-width", 20, "--json").stdout)["wanted_width"]
    comparison = json.loads((run / "comparison.json").read_text())
    assert "wanted_width" not in comparison
    for schedule, interval in zip(comparison["schedules"], wanted["intervals"], strict=False):
        mean = schedule["means"]["final_accuracy"]
        assert (interval["of"], interval["seeds"]) == (schedule["label"], 2)
        assert interval["width"] == pytest.approx(100 * (mean["high"] - mean["low"]))
    gflop = sum(schedule["means"]["total_gflop"]["estimate"] for schedule in comparison["schedules"])
    assert wanted["costs"]["one_seed"]["gflop"] == pytest.approx(gflop)
    assert wanted["more"] == max(interval["more"] for interval in wanted["intervals"])
    assert kept(run) == before


@pytest.mark.slow
def test_a_finished_curve_says_how_many_seeds_it_needs_and_stays_as_it_is(curve):
    command, run = [*CURVE, "--seeds", 2, "--runs", curve.parents[1]], curve
    before = kept(run)
    done = within(*command, "--want-width", 0.5)
    assert (done.returncode, done.stderr) == (0, "")
    assert "seeds for intervals of R 0.5 wide, from end to end" in done.stdout
    wanted = strictly(within(*command, "--want-width", 0.5, "--json").stdout)["wanted_width"]
    assert [interval["of"] for interval in wanted["intervals"]] == ["R at k = 25", "R at k = 75"]
    spent = [json.loads(path.read_text())["spent_gflop"] for path in run.glob("seed*/*/summary.json")]
    assert len(spent) == 6
    assert wanted["costs"]["one_seed"]["gflop"] == pytest.approx(sum(spent) / 2)
    low, high = wanted["costs"]["one_seed"]["seconds"]
    assert 0 < low < high
    assert kept(run) == before


@pytest.mark.slow
def test_a_run_that_begins_with_the_question_is_the_same_run(compared, tmp_path):
    done = within(*COMPARE, "--seeds", 2, "--runs", tmp_path, "--want-width", 20)
    assert done.returncode == 0
    assert kept(tmp_path / "compare/run") == kept(compared)
    assert "seeds for intervals" not in within("resume", tmp_path / "compare/run").stdout


@pytest.mark.slow
@pytest.mark.parametrize(("command", "of_two"), [(COMPARE, "compared"), (CURVE, "curve")])
def test_further_seeds_go_on_in_the_same_folder(request, tmp_path, command, of_two):
    runs = shutil.copytree(request.getfixturevalue(of_two).parents[1], tmp_path / "runs")
    kind = command[0]
    run = runs / kind / "run"
    stamps = {path: path.stat().st_mtime_ns for path in run.rglob("summary.json")}
    grown = within(*command, "--seeds", 3, "--runs", runs)
    assert (grown.returncode, grown.stderr) == (0, "")
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps  # not lived again
    fresh = within(*command, "--seeds", 3, "--runs", tmp_path / "fresh")
    assert grown.stdout == fresh.stdout.replace(str(tmp_path / "fresh"), str(runs))
    assert kept(run) == kept(tmp_path / "fresh" / kind / "run")
    assert points(run) == points(tmp_path / "fresh" / kind / "run")
    assert_refused(
        within(*command, "--seeds", 2, "--runs", runs), "expected at least the 3 seeds that the run has, got 2"
    )
    assert within("resume", run).stdout == grown.stdout


@pytest.mark.slow
def test_a_run_without_a_name_is_found_again_with_more_seeds(tmp_path):
    unnamed = [*COMPARE[:-2], "--runs", tmp_path]
    for seeds in (1, 2):
        assert within(*unnamed, "--seeds", seeds).returncode == 0
    [run] = (tmp_path / "compare").iterdir()
    assert json.loads((run / "config.json").read_text())["settings"]["seeds"] == 2


@pytest.mark.slow
def test_an_interrupted_run_goes_on_from_its_checkpoint_with_more_seeds(compared, tmp_path):
    command = [*COMPARE, "--runs", tmp_path]
    assert within(*command, "--seeds", 2, stop_after=9).returncode == 143
    run = tmp_path / "compare/run"
    assert list(run.rglob("checkpoint.pt"))
    done = within(*command, "--seeds", 3, stop_after=8)
    assert (done.returncode, "checkpoint" in done.stderr) == (143, False)
    assert within("resume", run).returncode == 0
    grown = shutil.copytree(compared.parents[1], tmp_path / "grown")
    assert within(*COMPARE, "--seeds", 3, "--runs", grown).returncode == 0
    assert kept(run) == kept(grown / "compare/run")


@pytest.mark.slow
def test_seeds_that_were_lived_apart_are_compared_together(compared, tmp_path):
    apart = [*COMPARE, "--first-seed", 2, "--seeds", 1, "--runs", tmp_path]
    assert within(*apart).returncode == 0
    paths = (compared, tmp_path / "compare/run")
    done = within("compare", *paths, "--runs", tmp_path / "both", "--want-width", 20, "--json")
    content = strictly(done.stdout)
    assert content["seeds"] == [0, 1, 2]
    assert {interval["seeds"] for interval in content["wanted_width"]["intervals"]} == {3}
    [run] = (tmp_path / "both/compare").iterdir()
    assert "wanted_width" not in json.loads((run / "comparison.json").read_text())
    shown = within("compare", *paths, "--runs", tmp_path / "both", "--want-width", 2)
    assert "compare --first-seed 3 --seeds " in " ".join(shown.stdout.split())


def test_one_seed_has_no_spread(tmp_path):
    done = within(*COMPARE, "--seeds", 1, "--runs", tmp_path, "--want-width", 20)
    assert "one seed has no spread: at least two are needed" in done.stdout
    assert "For all intervals" not in done.stdout


@pytest.mark.parametrize(
    ("width", "message"),
    [
        ("0", "expected --want-width to be greater than 0, got 0"),
        ("-1", "expected --want-width to be greater than 0, got -1"),
        ("nan", "expected --want-width to be a finite number, got nan"),
        ("inf", "expected --want-width to be a finite number, got inf"),
        ("narrow", "expected --want-width to be a valid number"),
    ],
)
def test_widths_that_are_none(tmp_path, width, message):
    for command in (
        [*COMPARE, "--seeds", 2],
        [*CURVE, "--seeds", 2],
        ["compare", tmp_path, "--name", "x"],
    ):
        assert_refused(within(*command, "--runs", tmp_path, f"--want-width={width}"), message)
