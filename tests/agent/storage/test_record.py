import json
import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agent.errors import CheckpointError, InvalidSetting, RunError
from agent.lifetime.loop import run_lifetime
from agent.policies import StaticPolicy
from agent.storage.record import LifetimeRecord, open_run
from tests.agent.lifetime.test_loop import PLAN, STREAM
from tests.agent.toys import same, toy_agent

IN_ITS_THREAD = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
"""TensorBoard meets the full disk there, too."""


def record(run, name="life", *, upto=None):
    life = run.lifetime(name)
    trajectory = run_lifetime(toy_agent(), STREAM, StaticPolicy(40), PLAN)
    for step in trajectory.steps[:upto]:
        life.step(step)
    if upto is None:
        life.finish(trajectory, {"n_test": 15})
    life.close()
    return trajectory


@contextmanager
def room(nbytes):
    """No file of this process grows beyond so many bytes: a full disk, in earnest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def steps():
    return run_lifetime(toy_agent(), STREAM, StaticPolicy(40), PLAN).steps


def points(path):
    """All that TensorBoard shows of a lifetime."""
    board = scalars(path)
    return {tag: [(event.step, event.value) for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def scalars(path):
    return EventAccumulator(str(path)).Reload()


def test_a_lifetime_is_a_line_a_chunk_a_summary_and_events(tmp_path):
    with open_run(tmp_path / "run", {"lr": 1}) as run:
        assert run.lifetime("life").summary() is None
        trajectory = record(run)
        summary = run.lifetime("life").summary()
    life = tmp_path / "run/life"
    lines = [json.loads(line) for line in (life / "trajectory.jsonl").read_text().splitlines()]
    assert [line["action"] for line in lines] == ["learn"] * 2 + ["memorize"] * 3
    assert summary == {**lines[-1], "n_test": 15}
    assert summary["accuracy"]["agent"] == trajectory.accuracy.agent
    assert "seconds" not in json.dumps(summary)
    assert json.loads((life / "seconds.json").read_text()) == trajectory.seconds
    board = scalars(life)
    assert [event.step for event in board.Scalars("decision/learn")] == [8, 16, 24, 32, 37]
    assert [event.value for event in board.Scalars("memory/entries")] == [0, 0, 8, 16, 21]
    assert board.Scalars("accuracy/agent")[-1].value == pytest.approx(trajectory.accuracy.agent)
    expected = {"accuracy/learner", "accuracy/memory", "mixture/w", "mixture/theta", "cost/learn_gflop"}
    assert set(board.Tags()["scalars"]) >= expected
    names = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {name.split(".tfevents")[0] for name in names} == {
        "config.json", "lock", "trajectory.jsonl", "summary.json", "seconds.json", "events.out"
    }  # fmt: skip


def test_an_unfinished_lifetime_starts_over_without_doubled_points(tmp_path):
    with open_run(tmp_path / "run", {}) as run:
        record(run, upto=3)
        assert len((tmp_path / "run/life/trajectory.jsonl").read_text().splitlines()) == 3
        assert run.lifetime("life").summary() is None
    with open_run(tmp_path / "run", {}) as run:
        record(run)
    assert len((tmp_path / "run/life/trajectory.jsonl").read_text().splitlines()) == 5
    assert len(scalars(tmp_path / "run/life").Scalars("memory/entries")) == 5


def test_a_run_goes_on_only_as_it_was_started(tmp_path):
    with open_run(tmp_path, {"settings": {"lr": 1, "k": (10, 20)}}) as run:
        record(run)
    with open_run(tmp_path, {"settings": {"lr": 1, "k": (10, 20)}}) as run:
        assert run.lifetime("life").summary()
    with pytest.raises(RunError, match=r"settings\.lr was 1 and is now 2 \(and 1 more\); .*choose another --name"):
        open_run(tmp_path, {"settings": {"lr": 2, "k": (10,)}}).__enter__()
    with open_run(tmp_path, {"settings": {"lr": 2}}, anew=True) as run:
        assert run.lifetime("life").summary() is None
    assert json.loads((tmp_path / "config.json").read_text()) == {"settings": {"lr": 2}}


def _without_seeds(*configs):
    return tuple({**each, "preset": None, "settings": {**each["settings"], "seeds": None}} for each in configs)


def _with_seeds(n, **others):
    return {"preset": "quick", "settings": {"lr": 1, "seeds": n, "k": [10, 20]}, **others}


def _larger(stored, now):
    return {**stored, "settings": {**stored["settings"], "seeds": now["settings"]["seeds"]}}


def test_a_run_can_grow(tmp_path):
    with open_run(tmp_path, _with_seeds(2)) as run:
        checkpoints = run.checkpoints("seed1").run
        (tmp_path / "seed1").mkdir()
    stored = (tmp_path / "config.json").read_text()
    with open_run(tmp_path, _with_seeds(3, preset="other"), compared=_without_seeds, grown=_larger) as run:
        assert run.checkpoints("seed1").run == checkpoints  # a seed does not depend on their number
    grown = stored.replace('"seeds": 2', '"seeds": 3')
    assert (tmp_path / "config.json").read_text() == grown
    with pytest.raises(RunError, match=r"settings\.seeds was 3 and is now 4"):  # where they belong to the identity
        open_run(tmp_path, _with_seeds(4), grown=_larger).__enter__()
    with open_run(tmp_path, _with_seeds(4), compared=_without_seeds):
        assert (tmp_path / "config.json").read_text() == grown


@pytest.mark.parametrize("began", [False, True])
def test_further_seeds_that_cannot_begin_leave_the_run_as_it_was(tmp_path, began):
    with open_run(tmp_path, _with_seeds(2)):
        (tmp_path / "seed1").mkdir()
    stored = (tmp_path / "config.json").read_text()
    larger = open_run(tmp_path, _with_seeds(3), compared=_without_seeds, grown=_larger)
    with pytest.raises(InvalidSetting), larger:  # noqa: PT012
        if began:
            (tmp_path / "seed2").mkdir()
        raise InvalidSetting("no data")
    assert (tmp_path / "config.json").read_text() == (stored.replace('"seeds": 2', '"seeds": 3') if began else stored)


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for anew in (False, True):
        with pytest.raises(RunError, match="expected a run or an empty directory"):
            open_run(tmp_path, {}, anew=anew).__enter__()
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_second_process_is_refused(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from agent.storage.record import open_run\n"
        "open_run(pathlib.Path(sys.argv[1]), {}).__enter__()"
    )
    with open_run(tmp_path, {}):
        done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert "another process is running in it" in done.stderr
    with open_run(tmp_path, {}):
        pass


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"expected to write in .*file/run, got: .*; choose another folder with --runs"):
        open_run(tmp_path / "file/run", {}).__enter__()


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_damaged_files_are_named(tmp_path, content):
    with open_run(tmp_path, {}) as run:
        record(run)
        (tmp_path / "life/summary.json").write_text(content)
        with pytest.raises(RunError, match=r"summary\.json.*--force starts anew"):
            run.lifetime("life").summary()
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunError, match=r"expected (a )?JSON .*config\.json"):
        open_run(tmp_path, {}).__enter__()


def test_files_are_replaced_whole(tmp_path, monkeypatch):
    with open_run(tmp_path, {}) as run:
        run.write("table.csv", "before")

        def full(_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(RunError, match="No space left on device"):
            run.write("table.csv", "after")
    assert (tmp_path / "table.csv").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "lock", "table.csv"]


def test_a_record_goes_on_after_the_steps_it_is_given(tmp_path, steps):
    whole, resumed = LifetimeRecord(tmp_path / "whole"), LifetimeRecord(tmp_path / "resumed")
    for step in steps:
        whole.step(step)
    whole.close()
    for step in (*steps[:3], steps[0], steps[4]):  # went astray after the third
        resumed.step(step)
    resumed.close()
    again = LifetimeRecord(tmp_path / "resumed")
    again.restart_after(again.steps(3))
    for step in steps[3:]:
        again.step(step)
    again.close()
    assert (again.path / "trajectory.jsonl").read_bytes() == (whole.path / "trajectory.jsonl").read_bytes()
    assert points(again.path) == points(whole.path)


def test_steps_on_record_are_those_that_were_lived(tmp_path, steps):
    record = LifetimeRecord(tmp_path)
    assert record.steps(0) == []
    record.restart_after(steps)
    assert record.steps(0) == []
    assert record.steps(3) == list(steps[:3])
    assert record.steps(5) == list(steps)
    with pytest.raises(CheckpointError, match=r"expected 6 steps in .*trajectory\.jsonl, got.* 5"):
        record.steps(6)
    record.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1],
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: text.replace("{", "", 1),
        lambda text: text.replace('"samples"', '"simples"', 1),
        lambda text: text.replace('"work": {', '"work": [', 1),
        lambda text: "[]\n" * 5,
        lambda text: "null\n" * 5,
        lambda text: "\0" * 5000,
    ],
    ids=["unended", "half", "empty", "no-json", "unknown", "odd", "lists", "nulls", "zeros"],
)
def test_a_damaged_trajectory_is_no_ground_to_go_on_from(tmp_path, steps, spoil):
    record = LifetimeRecord(tmp_path)
    record.restart_after(steps)
    record.close()
    path = tmp_path / "trajectory.jsonl"
    path.write_text(spoil(path.read_text()))
    with pytest.raises(CheckpointError, match=r"expected 5 steps in .*trajectory\.jsonl, got"):
        record.steps(5)
    path.write_bytes(b"\xff\xfe" * 100)
    with pytest.raises(CheckpointError, match="expected 5 steps"):
        record.steps(5)
    path.unlink()
    with pytest.raises(CheckpointError, match="expected 5 steps"):
        record.steps(5)


def test_going_on_takes_back_that_the_lifetime_was_finished(tmp_path, steps):
    with open_run(tmp_path, {}) as run:
        trajectory = run_lifetime(toy_agent(), STREAM, StaticPolicy(40), PLAN)
        life = run.lifetime("")
        for step in trajectory.steps:
            life.step(step)
        weights = toy_agent().learner.weights()
        life.finish(trajectory, {"metrics": {"final": 0.5}}, settings={"lr": 1}, weights=weights)
        assert same(torch.load(tmp_path / "weights.pt", weights_only=True), dict(weights))
        assert points(tmp_path)["final/final"] == [(0, 0.5)]
        life.restart_after(steps[:2])
        life.close()
        assert life.summary() is None
        assert not (tmp_path / "weights.pt").exists()
        assert not (tmp_path / "seconds.json").exists()
        assert len(points(tmp_path)["memory/entries"]) == 2


def test_an_experiment_s_own_events_are_dropped_when_it_is_lived_anew(tmp_path):
    with open_run(tmp_path, {}) as run:
        for value in (1.0, 2.0):
            with run.tensorboard() as board:
                board.add_scalar("x", value, 0)
    assert points(tmp_path) == {"x": [(0, 2.0)]}


def test_a_record_can_be_synced_and_closed_at_any_time(tmp_path, steps):
    record = LifetimeRecord(tmp_path)
    record.sync()
    record.close()
    record.step(steps[0])
    record.sync()
    record.close()
    record.close()
    assert record.steps(1) == [steps[0]]


def test_checkpoints_belong_to_their_run_and_folder(tmp_path):
    with open_run(tmp_path / "a", {"lr": 1}) as a, open_run(tmp_path / "b", {"lr": 2}) as b:
        assert len({each.run for each in (a.checkpoints(), a.checkpoints("seed0"), b.checkpoints())}) == 3
        assert a.checkpoints("seed0").folder == tmp_path / "a/seed0"
        a.checkpoints().save({"step": 1})
        (tmp_path / "a/checkpoint.pt").rename(tmp_path / "b/checkpoint.pt")
        [path] = b.checkpoints().found()
        with pytest.raises(CheckpointError, match="of another run"):
            b.checkpoints().load(path)


@IN_ITS_THREAD
def test_a_full_disk_harms_nothing_that_was_recorded(tmp_path, steps):
    record = LifetimeRecord(tmp_path)
    for step in steps[:2]:
        record.step(step)
    record.sync()
    whole = (tmp_path / "trajectory.jsonl").read_bytes()
    with room(len(whole) + 100):
        with pytest.raises(RunError, match=r"expected to write in .*, got: File too large"):
            record.step(steps[2])
        record.close()
    again = LifetimeRecord(tmp_path)
    assert again.steps(2) == list(steps[:2])
    again.restart_after(again.steps(2))
    again.close()
    assert (tmp_path / "trajectory.jsonl").read_bytes() == whole
    assert len(points(tmp_path)["memory/entries"]) == 2


@IN_ITS_THREAD
def test_a_full_disk_at_the_end_leaves_the_lifetime_unfinished(tmp_path):
    with open_run(tmp_path, {}) as run:
        trajectory = run_lifetime(toy_agent(), STREAM, StaticPolicy(40), PLAN)
        life = run.lifetime("")
        for step in trajectory.steps:
            life.step(step)
        with room(100), pytest.raises(RunError, match="File too large"):
            life.finish(trajectory, {}, weights=toy_agent().learner.weights())
        assert life.summary() is None
        assert not (tmp_path / "weights.pt").exists()
        assert life.steps(5) == list(trajectory.steps)


def test_what_a_killed_process_was_writing_is_cleared_away(tmp_path):
    with open_run(tmp_path, {"lr": 1}):
        pass
    (tmp_path / "seed0").mkdir()
    for name in (".summary.json.4711.part", "seed0/.new.checkpoint.pt.4711.part", ".config.json.4711.part"):
        (tmp_path / name).write_text("half of a fi")
    (tmp_path / ".notes").write_text("the user's")
    with open_run(tmp_path, {"lr": 1}):
        pass
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"config.json", "lock", ".notes"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match=r"expected to write in .*, got: Permission denied"):
        open_run(tmp_path / "run", {}).__enter__()


def test_settings_that_cannot_be_lived_leave_no_run_behind(tmp_path):
    def refused(path, config):
        with pytest.raises(InvalidSetting), open_run(path, config):
            raise InvalidSetting("expected something else")

    refused(tmp_path / "new", {"lr": 1})
    assert not (tmp_path / "new").exists()
    with open_run(tmp_path / "begun", {"lr": 1}):
        pass
    refused(tmp_path / "begun", {"lr": 1})
    with pytest.raises(RunError, match=r"lr was 1 and is now 2"):
        open_run(tmp_path / "begun", {"lr": 2}).__enter__()
    assert (tmp_path / "begun/config.json").exists()
