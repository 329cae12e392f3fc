"""Processes that work side by side."""

import multiprocessing
import os
import pickle
import signal

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
from scenarios.running.progress import Interrupted, SilentReporter
from scenarios.running.workers import WorkerPool

ERRORS = [
    *(kind("expected, got; do") for kind in (CheckpointError, DatasetError, InvalidSetting, LifetimeError)),
    *(kind("expected, got; do") for kind in (PolicyError, RunError)),
    TrainingDiverged(3, 0.5),
]


class Impatient(SilentReporter):
    stopping = False


def square(x):
    return x * x, torch.get_num_threads(), os.getpid()


def fail(error):
    raise error


def hang():
    signal.pause()


def end():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_can_be_sent_from_process_to_process(error):
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


@pytest.mark.slow
def test_tasks_are_done_errors_arrive_and_whoever_is_stopped_leaves_nobody_behind():
    reporter = Impatient()
    with WorkerPool(1, reporter) as pool:
        assert pool.ended() == []
        pool.begin(square, 3)
        assert pool.working
        assert not pool.free
        [(result, n_threads, process)] = pool.ended()
        assert (result, n_threads) == (9, 1)
        assert process != os.getpid()
        assert pool.free
        assert not pool.working
        for error in ERRORS:
            pool.begin(fail, error)
            with pytest.raises(type(error), match=r"expected.*, got") as raised:
                pool.ended()
            assert str(raised.value) == str(error)
        pool.begin(hang)
        reporter.stopping = True
        with pytest.raises(Interrupted):
            pool.ended()
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_process_that_is_killed_is_one_line():
    with WorkerPool(2, SilentReporter()) as pool:
        pool.begin(hang)
        pool.begin(end)
        with pytest.raises(RunError, match="expected 2 worker processes, but one was killed"):
            pool.ended()
    assert multiprocessing.active_children() == []
