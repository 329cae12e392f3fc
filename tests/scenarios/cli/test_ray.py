"""`--executor ray`: whole runs on a cluster of two nodes, whoever dies, the same bytes as in one process."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.scenarios.cli.test_executors import COMMANDS
from tests.scenarios.commands import LIFETIME, TINY, assert_advises_to_resume, assert_refused, ended, kept, points
from tests.scenarios.running.ray_cluster import POLICY, awaited, cluster_of, decided, node_of

pytestmark = pytest.mark.slow

WATCHED = ["compare", *TINY, "--policies", "watched.Watched loss", "--seeds", 2]
DOCS = Path(__file__).parents[3] / "docs/cluster"
DIED = "warning: a worker or its node died; another one goes on from the last checkpoint\n"


@pytest.fixture(scope="module")
def cluster():
    with cluster_of({"num_cpus": 1}, {"num_cpus": 1}) as made:
        yield made


@pytest.fixture
def own(tmp_path):
    """A folder with the user's own policy, in which commands run."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "watched.py").write_text(POLICY)
    return folder


@contextmanager
def running(own, *arguments):
    with subprocess.Popen(
        [LIFETIME, *map(str, arguments)],
        cwd=own,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def end_of(process):
    output, errors = process.communicate(timeout=180)
    return ended(process.returncode, output, errors)


def lifetime(own, *arguments):
    with running(own, *arguments) as process:
        return end_of(process)


@pytest.fixture(scope="module")
def serially(tmp_path_factory):
    """Gives the folder of a run in one process."""

    @cache
    def run(*command):
        folder = tmp_path_factory.mktemp("serially")
        (folder / "watched.py").write_text(POLICY)
        done = lifetime(folder, *command, "--executor", "serial", "--runs", folder / "runs", "--name", "here")
        assert done.returncode == 0, done.stderr
        return folder / "runs" / command[0] / "here"

    return run


def on(cluster, own, name, *options):
    """The options of the same run on a cluster."""
    spec = ",".join(("ray:address=" + cluster.address, *options))
    return ["--executor", spec, "--runs", own / "runs", "--name", name]


def assert_same(run, other):
    assert kept(run) == kept(other)
    assert points(run) == points(other)


def test_the_same_bytes_as_in_one_process_and_no_word_of_ray(cluster, own, serially):
    here, there = serially(*COMMANDS["sweep"]), own / "runs/sweep/there"
    done = lifetime(own, *COMMANDS["sweep"], *on(cluster, own, "there", f"storage=file://{own}/store"))
    assert (done.returncode, done.stderr) == (0, "")
    [folder] = (own / "store/sweep").iterdir()
    assert_same(there, here)
    assert_same(folder, here)


def test_without_an_address_it_is_a_ray_of_this_machine(own, serially):
    here = serially(*COMMANDS["simulate"])
    done = lifetime(own, *COMMANDS["simulate"], "--executor", "ray:cpus=0.5", "--runs", own / "runs", "--name", "there")
    assert (done.returncode, done.stderr) == (0, "")
    assert_same(own / "runs/simulate/there", here)


def test_a_node_is_killed_in_mid_run(own, serially):
    here = serially(*WATCHED)
    (own / "order4").write_text("other pause")  # longer than the time between two looks at the mirror
    (own / "order5").write_text("other wait")
    with (
        cluster_of({"num_cpus": 1}, {"num_cpus": 1}) as cluster,
        running(own, *WATCHED, *on(cluster, own, "there")) as process,
    ):
        pid = int(awaited(own / "order5.obeyed", process))
        node = node_of(cluster, pid)
        assert node is not cluster.head_node
        cluster.remove_node(node, allow_graceful=False)
        done = end_of(process)
    assert (done.returncode, done.stderr) == (0, DIED)
    assert_same(own / "runs/compare/there", here)
    steps = [step for of_process in decided(own).values() for step in of_process]
    assert [steps.count(step) for step in range(6)] == [2, 2, 2, 2, 3, 3], "nobody began anew"


def test_a_worker_is_killed_in_mid_run(cluster, own, serially):
    here = serially(*WATCHED)
    (own / "order4").write_text("other pause")
    (own / "order5").write_text("other wait")
    with running(own, *WATCHED, *on(cluster, own, "there", f"storage={own}/store")) as process:
        os.kill(int(awaited(own / "order5.obeyed", process)), signal.SIGKILL)
        done = end_of(process)
    assert (done.returncode, done.stderr) == (0, DIED)
    assert_same(own / "runs/compare/there", here)
    steps = [step for of_process in decided(own).values() for step in of_process]
    assert [steps.count(step) for step in range(6)] == [2, 2, 2, 2, 3, 3], "nobody began anew"


@pytest.mark.parametrize(("how", "storage"), [(signal.SIGTERM, False), (signal.SIGKILL, True)], ids=str)
def test_a_run_that_is_stopped_goes_on(cluster, own, storage, how, serially):
    long = [*WATCHED, "--chunks", 14, "--train-size", 140]
    here, run = serially(*long), own / "runs/compare/there"
    (own / "order4").write_text("any pause")
    (own / "order5").write_text("any wait")
    options = on(cluster, own, "there", *[f"storage={own}/store"] * storage)
    with running(own, *long, *options) as process:
        awaited(own / "order5.obeyed", process)
        os.killpg(process.pid, how)
        time.sleep(2)
        (own / "order5").unlink()
        done = end_of(process)
    if how != signal.SIGKILL:
        assert done.returncode == 128 + how, done.stderr
        assert_advises_to_resume(done, run)
    assert not (run / "comparison.json").exists()
    assert lifetime(own, "resume", run, *options[:2]).returncode == 0
    assert_same(run, here)
    steps = [step for of_process in decided(own).values() for step in of_process]
    if how != signal.SIGKILL:  # the caller's death ends the cluster's work at once, perhaps before all is at the URL
        assert steps.count(0) <= 3, "the one that waited went on from its checkpoint"


def test_a_full_disk_on_one_worker_loses_nothing(cluster, own, serially):
    here, run = serially(*WATCHED), own / "runs/compare/there"
    (own / "order3").write_text("other pause")
    (own / "order4").write_text("other fill")
    options = on(cluster, own, "there", f"storage={own}/store")
    done = lifetime(own, *WATCHED, *options)
    assert_refused(done, "got: No space left on device")
    assert "(on node " in done.stderr
    assert_refused(lifetime(own, *WATCHED, *on(cluster, own, "there", "gpus=2,cpus=0.5,workers=x")), "workers of ray")
    done = lifetime(own, "resume", run, *options[:2])
    assert (done.returncode, done.stderr) == (0, "")
    assert_same(run, here)
    steps = [step for of_process in decided(own).values() for step in of_process]
    assert steps.count(0) == 2, "both went on"


def test_an_own_policy_that_fails_is_one_line(cluster, own):
    (own / "order3").write_text("any fail")
    done = lifetime(own, *WATCHED, *on(cluster, own, "there"))
    assert_refused(done, "expected Watched.decide to give an Action, but at chunk 3 it raised ZeroDivisionError: by")


def test_an_address_that_does_not_answer_and_a_missing_package_are_one_line(own):
    done = lifetime(own, *WATCHED, "--executor", "ray:address=127.0.0.1:1", "--runs", own / "runs")
    assert_refused(done, "expected an answer from a Ray cluster at 127.0.0.1:1, got: ")
    assert not (own / "runs").exists()
    code = "import sys; sys.modules['ray'] = None; from scenarios.cli import main; sys.argv[0] = 'lifetime'; main()"
    command = [sys.executable, "-c", code, "simulate", *TINY, "--executor", "ray"]
    found = subprocess.run(command, cwd=own, capture_output=True, text=True, timeout=120)
    assert_refused(ended(found.returncode, found.stdout, found.stderr), "pip install 'learn-or-memorize[ray]'")


FAKES = {
    "scontrol": "echo here; echo there",
    "srun": 'while [[ $1 == --* ]]; do shift; done; if [[ $1 == hostname ]]; then echo 127.0.0.1; else exec "$@"; fi',
}
"""What Slurm has, on one machine."""


@pytest.mark.parametrize("stopped", [False, True])
def test_the_slurm_script_starts_ray_runs_a_command_and_ends_all(own, tmp_path, stopped, serially):
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in FAKES.items():
        (commands / name).write_text(f"#!/bin/bash\n{text}\n")
        (commands / name).chmod(0o755)
    (commands / "activate").write_text("")
    environment = os.environ | {
        "PATH": f"{commands}:{Path(LIFETIME).parent}:{os.environ['PATH']}",
        "LIFETIME_ENVIRONMENT": str(tmp_path),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "here,there",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "1",
        "RAY_OPTIONS": "workers=2",
    }
    here = serially(*WATCHED)
    (own / "order5").write_text(f"any {'wait' if stopped else 'pause'}")
    command = [DOCS / "slurm.sh", *WATCHED, "--runs", own / "runs", "--name", "there"]
    with subprocess.Popen(
        list(map(str, command)), cwd=own, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        awaited(own / "order5.obeyed", process)
        if stopped:
            process.send_signal(signal.SIGTERM)
            time.sleep(2)
            (own / "order5").unlink()
        done = end_of(process)
    log = (own / f"ray-{os.getpid()}.log").read_text()
    assert done.returncode == (143 if stopped else 0), (done, log)
    if stopped:
        assert_advises_to_resume(done, own / "runs/compare/there")
    else:
        assert_same(own / "runs/compare/there", here)
