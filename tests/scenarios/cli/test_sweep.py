"""`lifetime sweep`: combinations of settings as tasks, which end in one table."""

import json
import re
import shutil
import signal
import sys
from pathlib import Path

import duckdb
import pandas
import pytest
from filelock import FileLock

from agent.errors import RunError
from agent.storage.record import LifetimeRecord
from tests.scenarios import commands
from tests.scenarios.commands import TINY, assert_refused, kept, living, n_lines

AXES = ["--axis", "scenario = iid | class-incremental:experiences=2", "--axis", "memory = cache | ridge"]
POLICIES = ["--axis", "policy = static:k=50 | loss"]
SWEEP = ["sweep", *TINY, *AXES, *POLICIES]
SPEC = """
preset = "quick"
device = "cpu"
train_size = 120
validation_size = 20
test_size = 60
chunks = 6
learner = "online:epochs=1"
network = "resnet:width=2"
evaluate_every = 2
checkpoint_every = 2
seeds = {seeds}

[axes]
scenario = ["iid", {{name = "class-incremental", experiences = 2}}]
memory = ["cache", "ridge"]
policy = ["static:k=50", "loss"]
"""
UNABLE = ["--axis", "memory = cache | ridge", "--axis", "policy = static:k=50 | novelty"]


@pytest.fixture
def within():
    """The command line within this process, one task after the other."""

    def call(*arguments, **how):
        here = ["--executor", "serial"] if arguments[0] in ("sweep", "resume") else []
        return commands.within(*arguments, *here, **how)

    return call


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sweep that nobody disturbed."""
    runs = tmp_path_factory.mktemp("whole")
    done = commands.within(*SWEEP, "--seeds", 2, "--executor", "serial", "--runs", runs, "--name", "run")
    assert done.returncode == 0, done.stderr
    return runs / "sweep/run", done


def lifetimes_in(run):
    """The folders of finished lifetimes, with the time at which each was finished."""
    return {path.parent.relative_to(run): path.stat().st_mtime_ns for path in run.rglob("summary.json")}


def test_every_combination_is_lived_as_compare_lives_it(whole, within, tmp_path):
    run, _ = whole
    table = pandas.read_parquet(run / "lifetimes.parquet")
    assert len(table) == 2 * 2 * 2 * 2
    methods = ["--methods", "c = memory:cache", "--methods", "r = memory:ridge"]
    options = [*TINY, *methods, "--scenario", "class-incremental:experiences=2", "--seeds", 2, "--threads", 1]
    assert within("compare", *options, "--runs", tmp_path, "--name", "alone").returncode == 0
    for label, name in (("cache", "c"), ("ridge", "r")):
        for seed in (0, 1):
            chosen = table[(table.label == f"{label} | loss") & (table.seed == seed) & (table.scenario != "iid")]
            [folder] = chosen.folder
            alone = tmp_path / "compare/alone" / f"seed{seed}" / name
            assert (run / folder / "trajectory.jsonl").read_bytes() == (alone / "trajectory.jsonl").read_bytes()
            metrics = json.loads((alone / "summary.json").read_text())["metrics"]
            found = chosen[list(metrics)].iloc[0]
            assert {n: None if pandas.isna(v) else v for n, v in found.items()} == pytest.approx(metrics, abs=0)


def test_the_table_has_every_setting_metric_and_cost(whole):
    run, _ = whole
    table = pandas.read_parquet(run / "lifetimes.parquet")
    settings = json.loads(next(run.glob("scenario-iid-*/config.json")).read_text())["settings"]
    assert {*settings, "network", "recipe", "learner", "memory", "keys", "policy", "budget"} <= {*table.columns}
    assert {"final_accuracy", "total_gflop", "total_cost", "memory_megabytes", "cost_unit", "seed"} <= {*table.columns}
    assert set(table.scenario) == {"iid", "class-incremental:experiences=2"}
    assert table.train_size.tolist() == [120] * len(table)
    assert table.total_gflop.between(0.1, 10).all()


def test_lifetimes_that_can_share_a_learner_are_one_task(whole, within):
    run, done = whole
    plan = json.loads(within(*SWEEP, "--seeds", 2, "--dry-run", "--json", "--runs", run.parent.parent).stdout)
    assert (plan["tasks"], plan["lifetimes"]) == (4, 16)
    assert "16 lifetimes" in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_sweep_that_grows_goes_on_with_what_it_has(within, tmp_path):
    spec = tmp_path / "memories.toml"
    small = SPEC.replace('memory = ["cache", "ridge"]\n', "")
    spec.write_text(small.format(seeds=1))
    assert within("sweep", spec, "--runs", tmp_path).returncode == 0
    run = tmp_path / "sweep/memories"
    before = lifetimes_in(run)
    assert len(before) == 4
    spec.write_text(small.format(seeds=2).replace('"loss"]', '"loss", "interleaved:k=50"]'))
    plan = within("sweep", spec, "--runs", tmp_path, "--dry-run", "--json")
    assert json.loads(plan.stdout)["lifetimes"] == 2 * 3 * 2 - 4
    assert lifetimes_in(run) == before, "a dry run writes nothing"
    assert within("sweep", spec, "--runs", tmp_path).returncode == 0
    after = lifetimes_in(run)
    assert len(after) == 12
    assert {path: after[path] for path in before} == before, "finished lifetimes are not lived again"
    spec.write_text(small.format(seeds=1))  # and back
    assert within("sweep", spec, "--runs", tmp_path).returncode == 0
    assert len(pandas.read_parquet(run / "lifetimes.parquet")) == 4
    assert lifetimes_in(run) == after


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [3, 20, 45])
def test_an_interrupted_sweep_goes_on_to_the_same_bytes(whole, within, tmp_path, stop_after):
    command = [*SWEEP, "--seeds", 2, "--runs", tmp_path, "--name", "run"]
    stopped = within(*command, stop_after=stop_after)
    assert stopped.returncode == 143
    run = tmp_path / "sweep/run"
    assert len(pandas.read_parquet(run / "lifetimes.parquet")) == len(lifetimes_in(run))
    assert within("resume", run).returncode == 0
    here, undisturbed = kept(run), kept(whole[0])
    assert here.keys() == undisturbed.keys()
    assert {name for name in here if here[name] != undisturbed[name]} == set()


@pytest.mark.slow
def test_a_killed_sweep_goes_on_to_the_bytes_of_another_executor(whole, within, tmp_path):
    command = [*SWEEP, "--seeds", 2, "--workers", 2, "--runs", tmp_path, "--name", "run"]
    run = tmp_path / "sweep/run"
    for after in (5, 20):
        with living(run, *command, after=after) as process:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert 0 < n_lines(run) < n_lines(whole[0])
    assert within("resume", run).returncode == 0
    assert {name: content for name, content in kept(run).items() if kept(whole[0])[name] != content} == {}


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_lifetime_that_fails_is_listed_and_the_others_go_on(within, tmp_path):
    command = ["sweep", *TINY, *UNABLE, "--seeds", 2, "--runs", tmp_path, "--name", "run"]
    done = within(*command)
    run = tmp_path / "sweep/run"
    assert done.returncode == 2
    assert "ridge | novelty" in done.stdout
    assert re.fullmatch(
        r"error: expected every lifetime to end, but 2 failed, as that of ridge \| novelty with seed 0: expected a "
        r"memory that measures novelty.*--retry-failed runs the failed ones again\)\n",
        done.stderr,
    )
    table = pandas.read_parquet(run / "lifetimes.parquet")
    assert sorted(table.label) == sorted(2 * ["cache | static:k=50", "cache | novelty", "ridge | static:k=50"])
    [failed, _] = sorted(run.rglob("failed.json"))
    assert "Traceback" in json.loads(failed.read_text())["ridge | novelty"]["traceback"]
    before, when = lifetimes_in(run), failed.stat().st_mtime_ns
    again = within(*command)
    assert (again.returncode, again.stderr) == (2, done.stderr)
    assert failed.stat().st_mtime_ns == when, "it does not run again unless asked"
    assert within(*command, "--retry-failed").returncode == 2
    assert failed.stat().st_mtime_ns > when
    assert lifetimes_in(run) == before
    content = json.loads(within(*command, "--json").stdout)
    assert (content["lifetimes"], content["missing"], len(content["failed"])) == (6, 2, 2)


def test_a_failure_that_is_mended_is_forgotten(within, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    command = [
        "sweep",
        *TINY,
        "--axis",
        "policy = static:k=50 | flaky_policy.Flaky",
        "--runs",
        tmp_path,
        "--name",
        "run",
    ]
    flag = tmp_path / "broken"
    flag.touch()
    source = "import pathlib\nfrom agent import Action, Policy\n\n\nclass Flaky(Policy):\n    def decide(self, seen):\n"
    source += (
        f"        if seen.step == 3 and pathlib.Path({str(flag)!r}).exists():\n            raise OSError(28, 'full')\n"
    )
    (tmp_path / "flaky_policy.py").write_text(source + "        return Action.LEARN\n")
    done = within(*command, "--seeds", 1)
    assert done.returncode == 2
    assert "OSError: [Errno 28] full" in done.stderr
    flag.unlink()
    assert within(*command, "--seeds", 1, "--retry-failed").returncode == 0
    assert not list((tmp_path / "sweep/run").rglob("failed.json"))
    assert not list((tmp_path / "sweep/run").rglob("task-*"))


@pytest.mark.slow
def test_what_was_implied_before_is_found_again(within, tmp_path):
    command = ["sweep", *TINY, "--axis", "memory = cache | ridge", "--seeds", 1, "--runs", tmp_path, "--name", "run"]
    assert within(*command).returncode == 0
    for axes, n_new in (
        (["policy = loss"], 0),  # the default before
        (["tariff = constant | day-night"], 2),
        (["policy = loss | static:k=50", "scenario = iid"], 2),
    ):
        options = [word for axis in axes for word in ("--axis", axis)]
        plan = within(*command, *options, "--dry-run", "--json")
        assert json.loads(plan.stdout)["lifetimes"] == n_new, axes
    spelled = [*command[:-6], "--axis", "x", *command[-6:]]
    spelled[spelled.index("--axis") + 1] = "memory = ridge:limit=4096 | cache"
    del spelled[spelled.index("x") - 1 : spelled.index("x") + 1]
    assert json.loads(within(*spelled, "--dry-run", "--json").stdout)["lifetimes"] == 0


@pytest.mark.slow
def test_an_own_component_is_added_and_corrected(within, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    command = ["sweep", *TINY, "--seeds", 1, "--runs", tmp_path, "--name", "run"]
    assert within(*command, "--axis", "policy = static:k=50").returncode == 0
    before = lifetimes_in(tmp_path / "sweep/run")
    source = (
        "from agent import Action, Policy\n\n\nclass Mine(Policy):\n    def decide(self, seen):\n        return {}\n"
    )
    (tmp_path / "own_of_sweep.py").write_text(source.format("1 / 0"))
    both = ["--axis", "policy = static:k=50 | own_of_sweep.Mine"]
    assert "ZeroDivisionError" in within(*command, *both).stderr
    (tmp_path / "own_of_sweep.py").write_text(source.format("Action.LEARN"))
    monkeypatch.delitem(sys.modules, "own_of_sweep")
    assert within(*command, *both).returncode == 0
    assert lifetimes_in(tmp_path / "sweep/run").items() > before.items()


def test_a_full_disk_loses_no_step(within, tmp_path, monkeypatch):
    command = ["sweep", *TINY, "--axis", "memory = cache | ridge", "--seeds", 1, "--runs", tmp_path, "--name", "run"]
    write, steps = LifetimeRecord.step, []

    def full(self, step):
        steps.append(step.step)
        if step.step == 5 and len(steps) < 20:
            raise RunError(f"expected to write in {self.path}, got: No space left on device")
        write(self, step)

    monkeypatch.setattr(LifetimeRecord, "step", full)
    done = within(*command)
    assert done.returncode == 2
    assert (
        "No space left on device (the others are kept, and the same command runs the failed ones again)" in done.stderr
    )
    assert list((tmp_path / "sweep/run").rglob("checkpoint.pt"))
    monkeypatch.undo()
    del steps[:]
    assert within(*command).returncode == 0


@pytest.mark.slow
def test_damage_is_mended_or_said(whole, within, tmp_path):
    run = tmp_path / "sweep/run"
    shutil.copytree(whole[0], run)
    command = [*SWEEP, "--seeds", 2, "--runs", tmp_path, "--name", "run"]
    undisturbed = kept(run)
    world = next(run.glob("scenario-iid-*"))
    for content in (None, "{}", "garbage"):
        (world / "config.json").unlink() if content is None else (world / "config.json").write_text(content)
        assert within(*command).returncode == 0
        assert kept(run) == undisturbed
    summary = next(world.glob("seed0/*/summary.json"))
    summary.write_text('{"metrics": {}}')
    assert_refused(within(*command), "remove it, and run the sweep again")
    summary.unlink()
    assert within(*command).returncode == 0
    assert kept(run) == undisturbed
    unable = ["sweep", *TINY, *UNABLE, "--seeds", 1, "--runs", tmp_path, "--name", "unable"]
    assert within(*unable).returncode == 2
    [failed] = (tmp_path / "sweep/unable").rglob("failed.json")
    failed.write_text('{"ridge | novelty": 3}')
    assert_refused(within(*unable), "expected the errors of lifetimes in")
    failed.write_text("{}")
    assert "ridge | novelty" in within(*unable).stderr, "it is lived again, and fails again"


def test_two_sweeps_on_one_folder(whole, within):
    run, _ = whole
    before = kept(run)
    with FileLock(run / "lock"):
        done = within(*SWEEP, "--seeds", 3, "--runs", run.parent.parent, "--name", "run")
    assert_refused(done, "to be free, but another process is running in it; wait for it")
    assert kept(run) == before


def test_another_sweep_in_the_folder_of_one_is_refused(whole, within):
    run, _ = whole
    before, there = kept(run), [*SWEEP, "--seeds", 2, "--runs", run.parent.parent, "--name", "run"]
    done = within(*there, "--chunks", 4)
    assert_refused(done, "got another sweep, whose chunks was 6 and is now 4; choose another --name, or --force")
    assert kept(run) == before


def test_compare_reads_the_table(whole, within, tmp_path):
    run, _ = whole
    mixed = within("compare", run, "--runs", tmp_path)
    assert_refused(mixed, "expected runs of one data set, scenario and measure, got scenario 'iid'")
    assert "--where 'scenario = iid'" in mixed.stderr
    choice = ["--where", "scenario = iid", "--where", "policy = static:k=50 | loss", "--where", "memory=ridge"]
    done = within("compare", run, *choice, "--runs", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["schedules"]
    labelled = within(
        "compare", run, "--where", "label = ridge | loss", "--where", "scenario = iid", "--runs", tmp_path
    )
    assert labelled.returncode == 0, labelled.stderr
    assert [each["label"] for each in found] == ["ridge | static:k=50", "ridge | loss"]
    table = pandas.read_parquet(run / "lifetimes.parquet")
    means = table[table.scenario == "iid"].groupby("label").final_accuracy.mean()
    assert all(each["means"]["final_accuracy"]["estimate"] == pytest.approx(means[each["label"]]) for each in found)
    for choice, message in (
        ("nope = 1", "expected settings of lifetimes, label or seed for --where, got nope"),
        ("seed = 7", "expected lifetimes with seed = 7, got those with 0 | 1"),
        ("policy = loss | nothing", "expected lifetimes with policy = loss | nothing, got those with"),
        ("scenario", "expected a name with its values"),
    ):
        assert_refused(within("compare", run, "--where", choice, "--runs", tmp_path), message)
    assert_refused(
        within("compare", "--where", "seed = 1", "--runs", tmp_path), "expected finished runs beside --where"
    )


def test_the_queries_of_the_documentation(whole):
    run, _ = whole
    text = (Path(__file__).parents[3] / "docs/sweeps.md").read_text(encoding="utf-8")
    queries = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert len(queries) == 3
    here = [query.replace("runs/sweep/memories", str(run)) for query in queries]
    means, gains, cheapest = (duckdb.sql(query).df() for query in here)
    table = pandas.read_parquet(run / "lifetimes.parquet")
    wanted = table.groupby(["scenario", "label"]).final_accuracy.mean()
    assert {(row.scenario, row.label): row.percent for row in means.itertuples()} == pytest.approx(
        {key: 100 * value for key, value in wanted.items()}, abs=0.051
    )
    assert (means.lifetimes == 2).all()
    gained = table.pivot_table("final_accuracy", index=["scenario", "policy"], columns="memory").diff(axis=1).iloc[:, 1]
    assert gains.points.tolist() == pytest.approx((100 * gained).tolist(), abs=0.051)
    assert set(cheapest.scenario) == set(table.scenario)
    assert set(cheapest.cheapest) <= set(table.label)


def test_a_damaged_table_is_one_line(whole, within, tmp_path):
    run, _ = whole
    table = run / "lifetimes.parquet"
    content = table.read_bytes()
    try:
        table.write_bytes(content[:100])
        assert_refused(within("compare", run, "--runs", tmp_path), "expected a table of lifetimes at")
        table.unlink()
        assert_refused(within("compare", run, "--runs", tmp_path), "found none; run the sweep first")
    finally:
        table.write_bytes(content)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--axis", "memry = cache"], "(did you mean memory?)"),
        (["--axis", "data_seed = 0 | -1"], "to be greater than or equal to 0, got -1 (at data_seed = -1)"),
        (["--axis", "chunks = 3"], "expected chunks as a setting or as an axis, got both"),
        (["--axis", "network = resnet | mlp:hidden=0"], "hidden"),
        (["nowhere.toml"], "expected a TOML file at nowhere.toml"),
        (["--axis", "scenario = iid | class-incremental:experiences=200"], "(at scenario = class-incremental:experi"),
    ],
)
def test_what_cannot_be_lived_is_refused_before_anything_is(within, tmp_path, options, message):
    done = within("sweep", *TINY, *options, "--seeds", 1, "--runs", tmp_path)
    assert done.returncode == 2, done
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("trajectory.jsonl"))
