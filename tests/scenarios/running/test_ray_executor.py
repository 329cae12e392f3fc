"""Tasks on a Ray cluster of two nodes: deaths, errors and stops."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
import torch
import yaml

from agent.errors import DatasetError, InvalidSetting, RunError
from scenarios.config.settings import EvaluateConfig
from scenarios.datasets.source import Access
from scenarios.running.identity import describe
from scenarios.running.own_code import ComponentError
from scenarios.running.progress import Interrupted, SilentReporter
from scenarios.running.tasks import Task
from tests.scenarios.commands import TINY, kept, within
from tests.scenarios.running.ray_cluster import POLICY, cluster_of, decided, ray

from scenarios.running.ray_executor import MOST_DEATHS, RayExecutor  # isort: skip
from scenarios.running.ray_connection import check_answers  # isort: skip

CONFIG = EvaluateConfig(trees=".")
FAILURES = [DatasetError("expected, got; do"), RunError("expected, got; do"), ZeroDivisionError("by nobody")]


@pytest.fixture(scope="module")
def cluster():
    with cluster_of({"num_cpus": 1}, {"num_cpus": 1, "num_gpus": 1, "resources": {"other": 1}}, connected=True) as made:
        yield made


class Told(SilentReporter):
    """Takes down what it is told; can ask to stop."""

    stopping = False

    def __init__(self):
        self.done, self.warnings = [], []

    def advance(self, done):
        self.done.append(done)

    def warn(self, what):
        self.warnings.append(what)


def square(_, x, site):
    site.reporter.advance(x)
    site.reporter.warn(f"squaring {x}")
    site.directory.write(f"square{x}", str(x * x))
    return x * x, torch.get_num_threads(), os.getpid(), site.cache.get("who", os.getpid)


def fail(_, number, site):
    raise FAILURES[number]


def die(_, times, site):
    """Kill the worker so many times, after it has reported progress."""
    site.reporter.advance(2)
    died = site.directory.path / "died"
    with died.open("a") as file:
        file.write("x")
    if len(died.read_text()) <= times:
        time.sleep(0.6)
        site.reporter.advance(3)  # reported at once
        os.kill(os.getpid(), 9)
    site.reporter.advance(3)
    return "alive"


def crowd(_, number, site):
    """Note how many tasks work at a time."""
    here = site.directory.path / f"in{number}"
    here.touch()
    time.sleep(0.4)
    n = len(list(site.directory.path.glob("in*")))
    here.unlink()
    return n, torch.cuda.is_available()


def wait_to_stop(_, site):
    site.directory.write("begun", "")
    while not site.reporter.stopping:
        time.sleep(0.01)
    site.directory.write("saved", "")
    raise Interrupted


@pytest.fixture
def run(cluster, tmp_path):
    """A run's folder, and its tasks."""
    import json

    folder = tmp_path / "runs/evaluate/run"
    folder.mkdir(parents=True)
    described = describe("evaluate", "", CONFIG, dataset=None, threads=1, access=Access())
    (folder / "config.json").write_text(json.dumps(described))
    return lambda work, *arguments: Task(work, CONFIG, arguments, folder, Access())


def done(executor, tasks):
    found = {}
    waiting = list(tasks)
    while waiting or executor.working:
        while waiting and executor.free:
            executor.begin(waiting.pop(0))
        found |= {task.arguments: result for task, result in executor.ended()}
    return found


@pytest.mark.slow
def test_tasks_are_done(run):
    reporter = Told()
    with RayExecutor(1, reporter, workers=2) as executor:
        assert executor.ended() == []
        found = done(executor, [run(square, x) for x in range(1, 5)])
        assert {x: result[:2] for (x,), result in found.items()} == {x: (x * x, 1) for x in range(1, 5)}
        assert all(pid == kept != os.getpid() for _, _, pid, kept in found.values())
        assert sum(reporter.done) == 10
        assert sorted(reporter.warnings) == [f"squaring {x}" for x in range(1, 5)]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_errors_arrive(run, number):
    error = FAILURES[number]
    wanted = ComponentError if isinstance(error, ZeroDivisionError) else type(error)
    with RayExecutor(1, Told()) as executor:
        executor.begin(run(fail, number))
        with pytest.raises(wanted) as raised:
            executor.ended()
    assert str(error) in str(raised.value)
    assert type(raised.value) is wanted
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_a_task_whose_worker_dies_is_done_again_and_what_it_reported_is_taken_back(run):
    reporter = Told()
    with RayExecutor(1, reporter) as executor:
        assert done(executor, [run(die, 1)]) == {(1,): "alive"}
    assert sum(reporter.done) == 5
    assert min(reporter.done) < 0
    assert reporter.warnings == ["a worker or its node died; another one goes on from the last checkpoint"]


@pytest.mark.slow
def test_a_task_that_kills_every_worker_ends_the_run_in_one_line(run):
    reporter = Told()
    with RayExecutor(1, reporter) as executor:
        executor.begin(run(die, 100))
        with pytest.raises(RunError, match=rf"expected a worker to end a task of .*, but {MOST_DEATHS + 1} died of it"):
            executor.ended()
    assert sum(reporter.done) == 0
    assert len((run(die, 1).folder / "died").read_text()) == MOST_DEATHS + 1


@pytest.mark.slow
def test_four_tasks_share_a_gpu_and_never_more(cluster, run):
    with RayExecutor(1, Told(), cpus=0, gpus=0.25) as executor:
        found = done(executor, [run(crowd, number) for number in range(10)])
    assert max(n for n, _ in found.values()) <= 4
    assert any(n > 1 for n, _ in found.values())
    assert len(found) == 10


@pytest.mark.slow
def test_no_more_tasks_at_a_time_than_workers(run):
    with RayExecutor(1, Told(), workers=1) as executor:
        found = done(executor, [run(crowd, number) for number in range(3)])
    assert {n for n, _ in found.values()} == {1}


@pytest.mark.slow
@pytest.mark.parametrize("why", ["stopped", "an error elsewhere"])
def test_tasks_save_what_they_have_done_before_a_run_ends(run, why):
    reporter, folder = Told(), run(square, 1).folder
    with RayExecutor(1, reporter) as executor:
        executor.begin(run(wait_to_stop))
        while not (folder / "begun").exists():
            time.sleep(0.05)
        if why == "stopped":
            reporter.stopping = True
        else:
            executor.begin(run(fail, 0))
        with pytest.raises(Interrupted if why == "stopped" else DatasetError):
            executor.ended()
        assert (folder / "saved").exists()


@pytest.mark.slow
def test_a_node_that_computes_other_digits_is_named(run):
    task = run(square, 1)
    config = task.folder / "config.json"
    config.write_text(config.read_text().replace('"torch": "', '"torch": "1.'))
    with RayExecutor(1, Told()) as executor:
        executor.begin(task)
        with pytest.raises(
            RunError, match=r"expected every node to compute the same digits, but torch of versions is '1\..* on node"
        ):
            executor.ended()


@pytest.mark.slow
def test_a_node_that_does_not_see_the_folder_is_named(run, monkeypatch):
    task = run(square, 1)
    with RayExecutor(1, Told()) as executor:
        executor._connect()
        executor._caller = executor._prepare(task.folder)
        (task.folder / "config.json").unlink()
        executor.begin(task)
        with pytest.raises(RunError, match=r"expected every node to see the run in .*storage=URL"):
            executor.ended()


@pytest.mark.slow
def test_the_files_of_a_task_come_from_a_folder_of_its_node(run, tmp_path):
    store = tmp_path / "store"
    with RayExecutor(1, Told(), storage=f"file://{store}") as executor:
        task = run(square, 3)
        done(executor, [task])
        assert (task.folder / "square3").read_text() == "9"
        [there] = store.rglob("square3")
        assert there.parent.parent.name == "evaluate"
        (task.folder / "evaluation.json").write_text("{}")  # by the caller, after all tasks
    assert {path.name for path in there.parent.iterdir()} == {"config.json", "square3", "evaluation.json"}
    assert {path.name for path in task.folder.iterdir()} == {"config.json", "square3", "evaluation.json"}


def test_an_address_without_a_cluster_is_one_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RunError, match=rf"expected an answer from a Ray cluster at 127.0.0.1:{port}, got: .*refused"):
        check_answers(f"127.0.0.1:{port}")


def test_the_reason_of_another_server_is_without_the_head_of_a_line_of_a_log(monkeypatch):
    line = b"[2026-11-29 05:12:59,633 W 7471 7471] gcs_client.cc:210: Failed to reach it: RpcError: 404\n"
    ended = subprocess.CompletedProcess([], 1, b"", b"more\n" + line)
    monkeypatch.setattr("scenarios.running.ray_connection.subprocess.run", lambda *_, **how: ended)
    with pytest.raises(RunError, match="a Ray cluster at auto, got: Failed to reach it: RpcError: 404; start one"):
        check_answers("auto")


@pytest.mark.slow
def test_an_address_that_does_not_answer_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(RunError, match=r"expected an answer from a Ray cluster at .*, got: none in 15 seconds"):
            check_answers(f"127.0.0.1:{port}")


@pytest.mark.slow
def test_more_than_this_machine_has_is_one_line(cluster, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # which Ray would set, for this process and those to come
    ray.shutdown()
    try:
        with (
            pytest.raises(InvalidSetting, match=r"expected at most the CPUs and GPUs of this machine, got .*99 GPUs"),
            RayExecutor(1, Told(), gpus=99) as executor,
        ):
            assert executor.free
        assert not ray.is_initialized()
    finally:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="critical")


@pytest.mark.slow
def test_a_run_whose_worker_is_killed_ends_in_the_bytes_of_one_process(cluster, tmp_path, monkeypatch):
    own = tmp_path / "own"
    own.mkdir()
    (own / "killed_once.py").write_text(POLICY)
    monkeypatch.chdir(own)
    monkeypatch.syspath_prepend(own)
    runs = tmp_path / "runs"
    command = ["compare", *TINY, "--policies", "killed_once.Watched loss", "--seeds", 1, "--runs", runs, "--name"]
    assert within(*command, "here", "--executor", "serial").returncode == 0
    (own / "decided").unlink()
    (own / "order5").write_text("any die")
    done = within(*command, "there", "--executor", "ray")
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert done.stderr.startswith("warning: a worker or its node died; another one goes on from the last checkpoint")
    assert kept(runs / "compare/there") == kept(runs / "compare/here")
    assert list(decided(own).values()) == [[0, 1, 2, 3, 4, 5], [4, 5]], "the second began at the checkpoint"


def test_the_files_to_start_from_are_valid():
    folder = Path(__file__).parents[3] / "docs/cluster"
    assert subprocess.run(["bash", "-n", str(folder / "slurm.sh")]).returncode == 0
    cluster = yaml.safe_load((folder / "ray.yaml").read_text())
    assert cluster["max_workers"] == len(cluster["provider"]["worker_ips"])
