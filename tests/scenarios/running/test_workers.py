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
from scenarios.running.progress import Interrupted, Unwatched
from scenarios.running.workers import Crew

ERRORS = [
    *(kind("expected, got; do") for kind in (CheckpointError, DatasetError, InvalidSetting, LifetimeError)),
    *(kind("expected, got; do") for kind in (PolicyError, RunError)),
    TrainingDiverged(3, 0.5),
]


class Impatient(Unwatched):
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


def test_tasks_are_done_errors_arrive_and_whoever_is_stopped_leaves_nobody_behind():
    watcher = Impatient()
    with Crew(1, watcher) as crew:
        assert crew.ended() == []
        crew.begin(square, 3)
        assert crew.working
        assert not crew.free
        [(result, n_threads, process)] = crew.ended()
        assert (result, n_threads) == (9, 1)
        assert process != os.getpid()
        assert crew.free
        assert not crew.working
        for error in ERRORS:
            crew.begin(fail, error)
            with pytest.raises(type(error), match=r"expected.*, got") as raised:
                crew.ended()
            assert str(raised.value) == str(error)
        crew.begin(hang)
        watcher.stopping = True
        with pytest.raises(Interrupted):
            crew.ended()
    assert multiprocessing.active_children() == []


def test_a_process_that_is_killed_is_one_line():
    with Crew(2, Unwatched()) as crew:
        crew.begin(hang)
        crew.begin(end)
        with pytest.raises(RunError, match="expected 2 processes to live, but one was killed"):
            crew.ended()
    assert multiprocessing.active_children() == []
