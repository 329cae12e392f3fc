"""The command line, as a process of its own or, much faster, within that of the tests."""

import io
import json
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scenarios.cli import main
from scenarios.cli.stopping import STOP

LIFETIME = str(Path(sys.executable).parent / "lifetime")
TINY = (
    "--device cpu --train-size 120 --validation-size 20 --test-size 60 --chunks 6"
    " --learner online:epochs=1 --network resnet:width=2 "
    "--evaluate-every 2 --checkpoint-every 2"
).split()


@dataclass(frozen=True)
class Done:
    """How a program ended, under the names that subprocess has for it."""

    returncode: int
    stdout: str
    stderr: str
    """Without `told`."""
    told: tuple[str, ...] = field(default=(), compare=False)
    """The lines about the data that come before lives begin."""


def ended(returncode, stdout, stderr):
    """How a program ended, with what it tells of the data apart."""
    lines = stderr.splitlines(keepends=True)
    told = tuple(line for line in lines if line.startswith("data: "))
    return Done(returncode, stdout, "".join(line for line in lines if line not in told), told)


def lifetime(*arguments, **options):
    """Run a process to its end."""
    command = [LIFETIME, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, **options)
    return ended(done.returncode, done.stdout, done.stderr)


def within(*arguments, stop_after=None):
    """The same without a process; asked to stop, as by SIGTERM, after so many chunks."""
    looks = iter([False] * ((stop_after or 1) - 1))

    def look(stop):
        stop.number = None if stop_after is None or not next(looks, True) else signal.SIGTERM
        return stop.number is not None

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["lifetime", *map(str, arguments)])
        patched.setattr(type(STOP), "install", lambda _: None)
        patched.setattr(type(STOP), "look", look)
        patched.setattr(STOP, "number", None)
        patched.setattr("threading.excepthook", None)  # to be set back
        printed, complained = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with redirect_stdout(printed), redirect_stderr(complained):
            try:
                main()
                code = 0
            except SystemExit as left:
                code = left.code or 0
    return ended(code, *(stream.buffer.getvalue().decode() for stream in (printed, complained)))


def n_lines(run):
    """Steps on record under a run."""
    return sum(path.read_bytes().count(b"\n") for path in run.rglob("trajectory.jsonl"))


@contextmanager
def living(run, *arguments, after=1):
    """A process that has lived so many chunks more than the record held."""
    command = [LIFETIME, *map(str, arguments)]
    before = {path: path.stat().st_ino for path in run.rglob("trajectory.jsonl")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            while process.poll() is None:  # a resumed trajectory is another file, with the steps of the checkpoint
                if any(before.get(path) != path.stat().st_ino for path in run.rglob("trajectory.jsonl")):
                    break
                time.sleep(0.005)
            begun = n_lines(run)
            while process.poll() is None and n_lines(run) < begun + after:
                time.sleep(0.002)
            yield process
        finally:
            process.kill()


def stopped(run, how, generator: random.Random, *arguments):
    """Send a process a signal somewhere in the middle of its life; returns how it ended."""
    with living(run, *arguments, after=generator.randint(1, 8)) as process:
        time.sleep(generator.uniform(0, 0.05))
        process.send_signal(how)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[how], errors
    return ended(process.returncode, output, errors)


def assert_advises_to_resume(done, run, saved="chunk"):
    """One line that says how to go on."""
    assert done.stderr.startswith("error: interrupted; `")
    assert f"lifetime resume {run}` continues from the last {saved} that was saved" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert list(run.rglob("checkpoint.pt")) or list(run.rglob("summary.json"))  # or it stopped between two tasks


def assert_refused(done, message):
    """One line, exit code 2."""
    assert done.returncode == 2, done
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def strictly(text):
    """The content of JSON, without the constants that are none."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def kept(run):
    """Everything that two equal runs have alike, by path."""
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in ("lock", "seconds.json") and "tfevents" not in path.name
    }


def points(run):
    """All scalars of all that TensorBoard shows under a run."""
    found = {}
    for folder in sorted({path.parent for path in run.rglob("*tfevents*")}):
        board = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
        for tag in board.Tags()["scalars"]:
            found[f"{folder.relative_to(run)}:{tag}"] = [(event.step, event.value) for event in board.Scalars(tag)]
    return found
