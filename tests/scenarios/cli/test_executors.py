"""Where tasks are done changes no byte: this process, or several."""

import signal

import pytest

from tests.scenarios.commands import TINY, assert_refused, kept, living, points, within

WORLD = "--device cpu --train-size 120 --validation-size 20 --chunks 4 --network resnet:width=2".split()
CURVE = [*WORLD, "--test-size", "60", "--k", "0,50", "--learner", "cooldown:epochs=1", "--with-policies", "loss"]
COMMANDS = {
    "simulate": ["simulate", *TINY],
    "sweep": ["sweep", *TINY, "--axis", "memory = cache | ridge", "--axis", "scenario = iid | drift", "--seeds", 1],
    "curve": ["curve", *CURVE, "--seeds", 2],
    "tree": ["tree", *WORLD, "--learner", "online:epochs=1", "--seeds", 2],
    "beam": ["tree", *WORLD, "--learner", "online:epochs=1", "--seeds", 2, "--search", "beam"],
    **{
        method: ["train-policy", *WORLD, "--learner", "online:epochs=1", "--seeds", 2, "--method", method, *options]
        for method, options in {
            "cma": ("--iterations", 2, "--population", 4),
            "forecast": ("--population", 4),
        }.items()
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sweep", "curve", "tree", "beam", "cma", "forecast"])
def test_executors_give_the_same_bytes(tmp_path, name):
    command = [*COMMANDS[name], "--runs", tmp_path]
    here = within(*command, "--name", "here", "--executor", "serial")
    two = within(*command, "--name", "two", "--workers", 2)
    assert (here.returncode, two.returncode) == (0, 0), two.stderr
    folders = [tmp_path / command[0] / title for title in ("here", "two")]
    assert kept(folders[0]) == kept(folders[1])
    assert points(folders[0]) == points(folders[1])


@pytest.mark.slow
def test_a_run_in_workers_that_is_stopped_saves_what_it_has_done(tmp_path):
    long = [*TINY, "--chunks", 40, "--train-size", 4000, "--checkpoint-every", 1000, "--learner", "online:epochs=3"]
    command = ["simulate", *long, "--workers", 1, "--runs", tmp_path, "--name", "x"]
    run = tmp_path / "simulate/x"
    with living(run, *command, after=3) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert (run / "checkpoint.pt").exists()
    assert within("resume", run).returncode == 0
    whole = within("simulate", *long, "--threads", 1, "--runs", tmp_path, "--name", "y")
    assert whole.returncode == 0
    assert kept(run) == kept(tmp_path / "simulate/y")


def test_threads_identify_a_run_and_the_executor_does_not(tmp_path):
    def simulated(*arguments):
        return within("simulate", *TINY, "--runs", tmp_path, "--name", "x", *arguments)

    assert simulated("--threads", 1).returncode == 0
    summary = (tmp_path / "simulate/x/summary.json").read_bytes()
    assert simulated("--executor", "serial").returncode == 0, "one thread, as before"
    assert (tmp_path / "simulate/x/summary.json").read_bytes() == summary
    assert_refused(simulated("--threads", 2), "settings.threads was 1 and is now 2")
    assert within("resume", tmp_path / "simulate/x").returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--executor", "cloud"],
            "expected an executor out of serial, processes, ray or package.module.Class, got",
        ),
        (["--executor", "serial", "--workers", 2], "expected --executor processes beside --workers, got serial"),
        (["--executor", "processes:workers=many"], "expected workers of processes to be an integer or none, got many"),
        (["--executor", "processes:workers=0"], "expected workers of processes from 1 to 256, got 0"),
        (["--executor", "processes:workers=-3"], "expected workers of processes from 1 to 256, got -3"),
        (["--executor", "processes:workers=2", "--workers", 3], "expected --executor processes beside --workers, got"),
        (["--executor", "processes:cores=2"], "expected settings of processes out of workers, got cores"),
        (["--executor", "ray:workers=0"], "expected workers of ray of at least 1, got 0"),
        (["--executor", "ray:cpus=0.5,gpus=1.5"], "expected gpus of ray to be a share of one, or a whole number, got"),
        (["--executor", "ray:cpus=0"], "expected cpus or gpus of ray above 0, got 0 for both"),
        (["--executor", "ray:storage=foo://x"], "expected storage at a URL of fsspec, as in s3://bucket/runs, got foo"),
        (["--workers", 0], "--workers"),
        (["--threads", 0], "expected --threads to be greater than or equal to 1, got 0"),
    ],
)
def test_an_executor_that_cannot_be_is_one_line(tmp_path, options, message):
    done = within("simulate", *TINY, "--runs", tmp_path / "runs", *options)
    assert_refused(done, message)
    assert not (tmp_path / "runs").exists()
