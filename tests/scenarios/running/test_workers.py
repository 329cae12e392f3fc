"""Processes that work side by side."""

import multiprocessing
import os
import pickle
import signal
from pathlib import Path

import pytest
import torch

from agent.errors import (
    CheckpointError,
    DatasetError,
    InvalidSetting,
    LifetimeError,
    PolicyError,
    RunError,
    TrainingDiverged,
)
from scenarios.config.settings import EvaluateConfig
from scenarios.datasets.source import Access
from scenarios.running.progress import Interrupted, SilentReporter
from scenarios.running.tasks import Task
from scenarios.running.workers import ProcessExecutor

ERRORS = [
    *(kind("expected, got; do") for kind in (CheckpointError, DatasetError, InvalidSetting, LifetimeError)),
    *(kind("expected, got; do") for kind in (PolicyError, RunError)),
    TrainingDiverged(3, 0.5),
]


class Impatient(SilentReporter):
    stopping = False

    def __init__(self):
        self.done, self.warnings = 0, []

    def advance(self, done):
        self.done += done

    def warn(self, what):
        self.warnings.append(what)


def square(_, x, site):
    site.reporter.advance(x)
    site.reporter.warn(f"squaring {x}")
    return x * x, torch.get_num_threads(), os.getpid()


def fail(_, error, site):
    raise error


def hang(_, site):
    signal.pause()


def end(_, site):
    os.kill(os.getpid(), signal.SIGKILL)


def task(work, *arguments):
    return Task(work, EvaluateConfig(trees="."), arguments, Path("unused"), Access())


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_can_be_sent_from_process_to_process(error):
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


@pytest.mark.slow
def test_tasks_are_done_errors_arrive_and_whoever_is_stopped_leaves_nobody_behind():
    reporter = Impatient()
    with ProcessExecutor(1, 2, reporter) as pool:
        assert pool.ended() == []
        pool.begin(task(square, 3))
        assert pool.working
        assert not pool.free
        [(done, (result, n_threads, process))] = pool.ended()
        assert (done.arguments, result, n_threads) == ((3,), 9, 2)
        assert (reporter.done, reporter.warnings) == (3, ["squaring 3"])
        assert process != os.getpid()
        assert pool.free
        assert not pool.working
        for error in ERRORS:
            pool.begin(task(fail, error))
            with pytest.raises(type(error), match=r"expected.*, got") as raised:
                pool.ended()
            assert str(raised.value) == str(error)
        pool.begin(task(hang))
        reporter.stopping = True
        with pytest.raises(Interrupted):
            pool.ended()
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_process_that_is_killed_is_one_line():
    with ProcessExecutor(2, 1, SilentReporter()) as pool:
        pool.begin(task(hang))
        pool.begin(task(end))
        with pytest.raises(RunError, match="expected 2 worker processes, but one was killed"):
            pool.ended()
    assert multiprocessing.active_children() == []
