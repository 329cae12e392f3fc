"""The command line, in real processes, as users type it."""

import json
import os
import signal
import subprocess
import time

import pytest

from tests.scenarios import commands
from tests.scenarios.commands import LIFETIME

TINY = (
    "--device cpu "
    "--train-size 120 --validation-size 40 --test-size 60 --chunks 4 --k 25,75 --seeds 2"
    " --learner cooldown:epochs=1 --network resnet:width=2"
).split()


def lifetime(*arguments, **options):
    return subprocess.run([LIFETIME, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    return runs, lifetime("curve", *TINY, "--runs", runs)


def test_a_clean_run_shows_a_table_and_where_to_look_and_no_warnings(finished):
    runs, done = finished
    assert done.returncode == 0
    assert "Warning" not in done.stderr
    [run] = (runs / "curve").iterdir()
    for expected in (
        "textures, learner cooldown, 2 seeds",
        "1/R",
        "theta",
        str(run / "curve.png"),
        "lifetime view --runs",
    ):
        assert expected in done.stdout
    written = {path.name for path in run.iterdir()}
    assert written >= {"config.json", "curve.json", "curve.csv", "curve.png", "seed0", "seed1"}
    config = json.loads((run / "config.json").read_text())
    assert config["settings"]["k"] == [25, 75]
    assert config["settings"]["device"] in ("cpu", "cuda", "mps")
    assert set(config["versions"]) >= {"python", "torch", "torchvision", "avalanche-lib", "learn-or-memorize"}


def test_tensorboard_gets_scalars_and_the_figure(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    runs, _ = finished
    [run] = (runs / "curve").iterdir()
    board = EventAccumulator(str(run), size_guidance={"images": 0}).Reload()
    assert set(board.Tags()["scalars"]) >= {f"curve_by_chunks_learned/{name}" for name in "xyz"}
    assert [event.step for event in board.Scalars("curve_by_chunks_learned/x")] == [1, 3]
    assert board.Tags()["images"] == ["curve", "surface"]
    life = EventAccumulator(str(run / "seed0/k025")).Reload()
    assert [event.value for event in life.Scalars("decision/learn")] == [1, 0, 0, 0]
    assert [event.step for event in life.Scalars("memory/entries")] == [30, 60, 90, 120]


@pytest.mark.slow
def test_a_finished_run_is_shown_again_and_another_lived_gives_the_same_bytes(finished, tmp_path):
    runs, done = finished
    [run] = (runs / "curve").iterdir()
    before = (run / "curve.json").read_bytes()
    stamp = (run / "seed0/k025/summary.json").stat().st_mtime_ns
    again = lifetime("curve", *TINY, "--runs", runs)
    assert again.stdout == done.stdout
    assert (run / "seed0/k025/summary.json").stat().st_mtime_ns == stamp
    anew = commands.within("curve", *TINY, "--runs", runs, "--force")
    assert anew.returncode == 0
    assert (run / "seed0/k025/summary.json").stat().st_mtime_ns != stamp
    assert (run / "curve.json").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_continues_to_the_same_bytes(finished, tmp_path, stop):
    runs, _ = finished
    [whole] = (runs / "curve").iterdir()
    command = ["curve", *TINY, "--runs", str(tmp_path), "--name", "run"]
    with subprocess.Popen([LIFETIME, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob("curve/run/seed0/*/summary.json")) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(stop)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[stop]
    if stop is not signal.SIGKILL:
        assert "lifetime resume" in errors
        assert "Traceback" not in errors
    assert commands.within(*command).returncode == 0
    assert (tmp_path / "curve/run/curve.json").read_bytes() == (whole / "curve.json").read_bytes()


@pytest.mark.slow
def test_workers_change_no_number_and_may_be_interrupted(finished, tmp_path):
    done = lifetime("curve", *TINY, "--runs", tmp_path, "--name", 2, "--workers", 2)
    assert (done.returncode, "Warning" in done.stderr) == (0, False)
    [run] = (finished[0] / "curve").iterdir()
    whole = (run / "curve.json").read_bytes()
    assert (tmp_path / "curve/2/curve.json").read_bytes() == whole
    command = [LIFETIME, "curve", *TINY, "--runs", str(tmp_path), "--name", "run", "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob("curve/run/seed*/*/trajectory.jsonl")) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "lifetime resume" in errors
    assert commands.within("resume", tmp_path / "curve/run").returncode == 0
    assert (tmp_path / "curve/run/curve.json").read_bytes() == whole


@pytest.mark.slow
def test_what_policies_print_and_warn_in_workers_is_no_result(tmp_path, monkeypatch):
    (tmp_path / "chatty.py").write_text(
        "from agent import Action, Policy\n"
        "class Chatty(Policy):\n"
        "    def decide(self, observation):\n"
        "        print('hello from a policy')\n"
        "        return Action.LEARN\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = ["curve", *TINY, "--runs", tmp_path, "--workers", 1, "--with-policies", "chatty.Chatty", "--json"]
    done = lifetime(*command)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["points"]
    assert "hello from a policy" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--preset", "fast"],
            "expected a preset out of quick, cifar10-cooldown, cifar10-small, cifar10-features, cifar10-full, "
            "cifar10-gpu, cifar10-paper",
        ),
        (["--k", "140"], "expected --k to be less than or equal to 100, got 140"),
        (["--name", "../elsewhere"], "expected --name to be a plain folder name, got '../elsewhere'"),
        (["--name", "{tmp}/elsewhere", "--force"], "expected --name to be a plain folder name"),
        (["--dataset", "folder:/no\nwhere[/x]"], r"/no\nwhere[/x]"),
        (["--recipe", "sgd:lr=nan"], "expected a finite learning rate above 0, at most 1e+30, got nan"),
        (["--dataset", "imagenet"], "imagenet"),
        (["--dataset", "folder:/nowhere"], "/nowhere"),
        (["--dataset", "cifar10", "--data-dir", "{tmp}"], "--download"),
        (["--chunks", "200", "--k", "50"], "expected 1 to 120 chunks for 120 training images, got 200"),
        (["--runs", "/dev/null/runs"], "expected to write in /dev/null/runs"),
        (["--config", "nowhere.toml"], "expected a TOML file at nowhere.toml"),
        (["--keys", "cache3"], "expected keys from places of ResNet(depth=8, width=2, n_classes=10)"),
        (["--learn-rate", "1"], "--learn-rate"),
        (["--recipe", "sgd:lr=1e30"], "expected a finite training loss"),
        (["--train-size", "many"], "expected --train-size"),
        pytest.param(["--device", "cuda"], "expected a device of this machine", id="device"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    if "cuda" in arguments:
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has CUDA")
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    done = commands.within("curve", *TINY, "--runs", tmp_path, *given)
    commands.assert_refused(done, message)


def test_bad_input_to_a_process(tmp_path):
    commands.assert_refused(lifetime("curve", *TINY, "--runs", tmp_path, "--k", "140"), "got 140")


@pytest.mark.slow
def test_another_configuration_under_the_same_name_is_refused(finished, tmp_path):
    first = commands.within("curve", *TINY, "--runs", tmp_path, "--name", "run")
    assert first.returncode == 0
    second = commands.within("curve", *TINY, "--runs", tmp_path, "--name", "run", "--recipe", "sgd:lr=0.01")
    assert second.returncode == 2
    assert "settings.recipe was" in second.stderr


@pytest.mark.slow
def test_a_terminal_without_greek_letters(finished):
    runs, _ = finished
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = lifetime("curve", *TINY, "--runs", runs, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_output_that_nobody_can_take(finished):
    runs, _ = finished
    command = [LIFETIME, "curve", *TINY, "--runs", str(runs)]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("error: expected to read and write, got: [Errno 28]")
    assert done.stderr.count("\n") == 1
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.wait(timeout=120) in (1, 141)  # rich has an end of its own
        assert process.stderr.read() == ""


@pytest.mark.slow
def test_two_processes_do_not_share_a_run(tmp_path):
    from agent.storage.record import open_run

    with open_run(tmp_path / "curve" / "run", {}):
        done = lifetime("curve", *TINY, "--runs", tmp_path, "--name", "run")
    assert done.returncode == 2
    assert "another process is running in it" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["curve", "--help"], ["view", "--help"], ["--version"]])
def test_help_and_version(arguments):
    done = lifetime(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.slow
def test_view_serves_tensorboard(finished):
    import socket
    import urllib.request

    runs, _ = finished
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = [LIFETIME, "view", "--runs", str(runs), "--port", str(port)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout.readline().startswith(f"TensorBoard on {runs}: http://localhost:{port}")
            with urllib.request.urlopen(f"http://localhost:{port}/data/environment") as answer:
                assert answer.status == 200
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


def test_view_without_runs(tmp_path):
    done = lifetime("view", "--runs", tmp_path / "none")
    assert done.returncode == 2
    assert done.stderr.startswith("error: expected a folder of runs at")


@pytest.mark.cifar
def test_the_small_preset_reads_a_folder_of_real_cifar10(cifar_folder, tmp_path):
    few = "--train-size 400 --validation-size 100 --test-size 200 --learner cooldown:epochs=1 --seeds 2 --k 50".split()
    done = lifetime(
        "curve", "--preset", "cifar10-small", "--dataset", f"folder:{cifar_folder}", "--runs", tmp_path, *few
    )
    assert done.returncode == 0, done.stderr
