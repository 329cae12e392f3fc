"""The experiments as calls from Python."""

import base64
import inspect
import json
import re
import signal
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser
from pathlib import Path

import pandas
import pytest

import scenarios
from agent.errors import InvalidSetting, RunError
from scenarios.calls import CALLS
from scenarios.running.progress import Interrupted, SilentReporter
from tests.scenarios import commands
from tests.scenarios.commands import kept

WORLD = {
    "device": "cpu",
    "threads": 1,
    "train_size": 120,
    "validation_size": 20,
    "chunks": 6,
    "learner": "online:epochs=1",
    "network": "resnet:width=2",
}
LIFETIMES = {**WORLD, "test_size": 60, "evaluate_every": 2, "checkpoint_every": 2}


def options(settings):
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def compared(runs):
    return scenarios.compare(**LIFETIMES, policies="static:k=50 loss", seeds=2, runs=runs, name="compared")


@pytest.fixture(scope="module")
def swept(runs):
    axes = {"scenario": ["iid", "drift"], "memory": ["cache", "ridge"]}
    return scenarios.sweep(axes=axes, **LIFETIMES, seeds=1, runs=runs, name="swept")


class Tags(HTMLParser):
    """The tags of a page, which must be closed in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.images, self.cells = [], [], 0
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes)["src"])
        elif tag != "br":
            self.open.append(tag)
        self.cells += tag == "td"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_call_does_what_the_command_does(compared, tmp_path):
    command = ["compare", *options(LIFETIMES), "--policies", "static:k=50 loss", "--seeds", 2, "--executor", "serial"]
    done = commands.within(*command, "--runs", tmp_path, "--name", "compared", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == compared.content
    assert kept(tmp_path / "compare/compared") == kept(compared.path)


def test_results_are_frames(compared, swept):
    frame = compared.frame()
    assert frame.schedule.tolist() == ["static:k=50", "loss"]
    lifetimes = compared.lifetimes()
    assert len(lifetimes) == 4
    assert lifetimes.groupby("label").final_accuracy.mean()["loss"] == pytest.approx(frame.final_accuracy[1])
    steps = compared.steps()
    assert len(steps) == 4 * 6
    assert set(steps.folder) == {f"seed{seed}/{name}" for seed in (0, 1) for name in ("static-k50", "loss")}
    table = pandas.read_parquet(swept.path / "lifetimes.parquet")
    assert swept.lifetimes().final_accuracy.tolist() == table.final_accuracy.tolist()
    assert swept.value.lifetimes[0].metrics["final_accuracy"] == table.final_accuracy[0]
    with pytest.raises(RunError, match=r"expected a table nothing of .*, which has comparison"):
        compared.frame("nothing")


def test_results_show_themselves_in_a_notebook(compared, swept):
    for results in (compared, swept):
        page = Tags(results._repr_html_())
        assert page.cells > 8
        [image] = page.images
        assert base64.b64decode(image.partition(",")[2]).startswith(b"\x89PNG")
        assert str(results.path) in repr(results)


def test_what_a_run_left_is_loaded_without_a_trace(compared, swept):
    for results in (compared, swept):
        before = {path: path.stat().st_mtime_ns for path in results.path.rglob("*")}
        loaded = scenarios.load(str(results.path))
        assert (loaded.report, loaded.experiment) == (results.report, results.experiment)
        assert loaded._repr_html_() == results._repr_html_()
        assert {path: path.stat().st_mtime_ns for path in results.path.rglob("*")} == before


def test_runs_of_other_versions_are_loaded_but_not_continued(compared):
    config = compared.path / "config.json"
    content = config.read_text()
    try:
        described = json.loads(content)
        described["versions"]["torch"] = "1.0"
        config.write_text(json.dumps(described))
        assert scenarios.load(compared.path).content == compared.content
        with pytest.raises(RunError, match=r"versions\.torch was '1\.0'"):
            scenarios.resume(compared.path)
    finally:
        config.write_text(content)
    assert scenarios.resume(compared.path).content == compared.content


def test_a_sweep_of_another_version_or_without_its_data_is_loaded(swept, monkeypatch):
    monkeypatch.setattr("scenarios.running.identity.versions", lambda **_: {"source": "another"})
    assert scenarios.load(swept.path).content == swept.content


def test_steps_are_those_of_the_present_axes(tmp_path):
    call = {**LIFETIMES, "seeds": 1, "runs": tmp_path, "name": "s", "policies": "loss"}
    del call["chunks"]
    assert max(scenarios.sweep(**call, axes={"chunks": [4, 6]}).steps().step) == 5
    assert set(scenarios.sweep(**call, axes={"chunks": [4]}).steps().step) == {0, 1, 2, 3}


def test_names_are_plain(tmp_path):
    for name in ("", "../out", "a/b"):
        with pytest.raises(InvalidSetting, match="expected --name to be a plain folder name, got"):
            scenarios.simulate(**LIFETIMES, runs=tmp_path, name=name)


def test_settings_come_from_a_file_and_a_dry_run_writes_nothing(tmp_path):
    (tmp_path / "spec.toml").write_text('policies = "loss"\n[axes]\nmemory = ["cache", "ridge"]\n')
    plan = scenarios.sweep(config=tmp_path / "spec.toml", **LIFETIMES, runs=tmp_path / "runs", dry_run=True)
    assert plan.content["lifetimes"] == 6
    assert not (tmp_path / "runs").exists()
    with pytest.raises(InvalidSetting, match="expected an experiment that can tell what it takes"):
        scenarios.simulate(**LIFETIMES, runs=tmp_path, dry_run=True)


@pytest.mark.slow
def test_every_experiment_is_a_call(runs):
    shape = {name: value for name, value in WORLD.items() if name != "chunks"}
    found = {"simulate": scenarios.simulate(**LIFETIMES, runs=runs)}
    curve = {**LIFETIMES, "learner": "cooldown:epochs=1", "k": (0, 50), "seeds": 2, "with_policies": "loss"}
    found["curve"] = scenarios.curve(**curve, runs=runs)
    tuned = {"search": {"recipe.lr": "0.01 .. 0.1 log"}, "trials": 2, "seeds": 1}
    found["tune"] = scenarios.tune(**LIFETIMES, **tuned, runs=runs)
    found["tree"] = scenarios.tree(**shape, chunks=3, seeds=2, runs=runs)
    trees = found["tree"].path
    found["train_policy"] = scenarios.train_policy(trees=trees, iterations=2, population=4, seeds=1, runs=runs)
    policy = found["train_policy"].path / "policy.json"
    found["evaluate"] = scenarios.evaluate(trees=trees, policies=f"file:{policy}", runs=runs)
    paths = [found["simulate"].path]
    found["compare_runs"] = scenarios.compare_runs(paths=paths, where={"policy": "loss"}, runs=runs)
    apart = {name: value for name, value in curve.items() if name != "with_policies"}
    runs_of = [scenarios.curve(**{**apart, "seeds": 1}, first_seed=seed, runs=runs).path for seed in (3, 5)]
    found["join_curves"] = scenarios.join_curves(paths=runs_of, runs=runs)
    stronger = {**apart, "network": "resnet:width=4"}
    runs_of.append(scenarios.curve(**stronger, runs=runs).path)
    found["beside_curves"] = scenarios.beside_curves(paths=runs_of, runs=runs)
    found["frontier"] = scenarios.frontier(paths=[found["join_curves"].path], queries=(0, 1000), runs=runs)
    assert {*found, "compare", "sweep", "reproduce"} == {*CALLS}  # that of reproductions: experiments/test_reproduce.py
    for name, results in found.items():
        before = {path: path.stat().st_mtime_ns for path in results.path.rglob("*")}
        assert scenarios.load(results.path).report == results.report, name
        assert {path: path.stat().st_mtime_ns for path in results.path.rglob("*")} == before, name
        Tags(results._repr_html_())
    assert len(found["tune"].frame()) == 2
    assert found["curve"].frame().k.tolist() == [0, 50]
    assert {*found["frontier"].frame().queries} == {0, 1000}
    assert len(found["curve"].frame("policies")) == 1
    assert found["evaluate"].frame().schedule.nunique() > 5
    assert len(found["simulate"].steps()) == 6
    assert found["simulate"].lifetimes().policy.tolist() == [str(found["simulate"].config.policy)]


@pytest.mark.parametrize(
    ("call", "settings", "message"),
    [
        ("simulate", {"chunkz": 3}, "expected settings out of"),
        ("simulate", {"chunks": "many"}, "expected --chunks to be a valid integer"),
        ("curve", {"k": (0, 33)}, "expected each k to be a whole number"),
        ("compare", {"methods": [scenarios.Method(label="a"), "a = memory:ridge"]}, "expected a label for each method"),
        ("sweep", {"axes": {"memry": ["cache"]}}, "did you mean memory"),
        ("compare", {"executor": "serial", "workers": 2}, "expected --executor processes beside --workers"),
    ],
)
def test_settings_are_checked(tmp_path, call, settings, message):
    with pytest.raises(InvalidSetting, match=re.escape(message)):
        getattr(scenarios, call)(**settings, runs=tmp_path)
    assert not any(tmp_path.iterdir())


def test_calls_are_documented():
    for name in CALLS:
        call = getattr(scenarios, name)
        parameters = inspect.signature(call).parameters
        assert {"progress", "runs", "workers"} <= {*parameters}
        assert call.__name__ == name
        assert all(
            f"{each}: " in call.__doc__ for each in parameters if each not in inspect.signature(_run()).parameters
        )
    assert "axes" in inspect.signature(scenarios.sweep).parameters
    assert inspect.signature(scenarios.simulate).parameters["chunks"].annotation == int | None
    with pytest.raises(AttributeError):
        scenarios.nothing  # noqa: B018


def _run():
    from scenarios.calls import run

    return run


def test_progress_is_reported_on_request(capsys, tmp_path):
    class Counting(SilentReporter):
        done = 0.0

        def advance(self, done):
            self.done += done

    reporter = Counting()
    scenarios.simulate(**LIFETIMES, runs=tmp_path, progress=reporter)
    assert reporter.done == 6
    assert capsys.readouterr() == ("", "")


def test_what_is_unfinished_is_said(tmp_path, monkeypatch):
    class Stopping(SilentReporter):
        looks = 0

        @property
        def stopping(self):
            self.looks += 1
            return self.looks > 8

    axes = {"policy": ["static:k=50"], "scenario": ["iid", "drift"]}
    with pytest.raises(Interrupted):
        scenarios.sweep(axes=axes, **LIFETIMES, seeds=1, runs=tmp_path, name="s", progress=Stopping())
    with pytest.raises(Interrupted):
        scenarios.simulate(**LIFETIMES, runs=tmp_path, name="s", progress=_stopping_at_once())
    partial = scenarios.load(tmp_path / "sweep/s")
    assert partial.content["lifetimes"] + partial.content["missing"] == 2
    assert partial.content["missing"] > 0
    assert any("have not ended" in note for note in partial.report.notes)
    with pytest.raises(RunError, match=r"expected a finished run at .*, got an unfinished one"):
        scenarios.load(tmp_path / "simulate/s")
    assert scenarios.resume(tmp_path / "simulate/s").steps().shape[0] == 6
    assert scenarios.resume(tmp_path / "sweep/s").content["missing"] == 0
    with pytest.raises(RunError, match="expected a run at"):
        scenarios.load(tmp_path)


def _stopping_at_once():
    reporter = SilentReporter()
    reporter.stopping = True
    return reporter


def test_lifetimes_that_fail_are_a_warning(tmp_path):
    axes = {"memory": ["ridge"], "policy": ["novelty", "loss"]}
    with pytest.warns(UserWarning, match="expected every lifetime to end, but 1 failed"):
        found = scenarios.sweep(axes=axes, **LIFETIMES, seeds=1, runs=tmp_path)
    assert found.lifetimes().policy.str.partition(":")[0].tolist() == ["loss"]


def test_calls_from_another_thread(tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(scenarios.simulate(**LIFETIMES, runs=tmp_path)))
    thread.start()
    thread.join()
    assert found[0].content["n_chunks"] == 6


@pytest.mark.slow
def test_ctrl_c_saves_first(tmp_path):
    script = (
        "import scenarios\n"
        f"scenarios.simulate(**{LIFETIMES | {'chunks': 60, 'train_size': 3000, 'checkpoint_every': 1000}!r}, "
        f"runs={str(tmp_path)!r}, name='run')\n"
    )
    run = tmp_path / "simulate/run"
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and commands.n_lines(run) < 2:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt: interrupted; the same call goes on" in errors
    assert (run / "checkpoint.pt").exists()


@pytest.mark.slow
def test_a_script_may_use_workers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import scenarios\n"
        "if __name__ == '__main__':\n"
        f"    found = scenarios.compare(**{LIFETIMES!r}, policies='loss', seeds=2, workers=2, runs={str(tmp_path)!r})\n"
        "    print(found.frame().seeds[0])\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=root, env=None)
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr
