import json
import subprocess
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agent.errors import RunError
from agent.lifetime import live
from agent.policies import StaticPolicy
from agent.record import open_run
from tests.agent.test_lifetime import EXAM, STREAM
from tests.agent.toys import toy_agent


def record(run, name="life", *, upto=None):
    life = run.lifetime(name)
    trajectory = live(toy_agent(), STREAM, StaticPolicy(40), EXAM)
    for step in trajectory.steps[:upto]:
        life.step(step)
    if upto is None:
        life.finish(trajectory, {"n_test": 15})
    life.close()
    return trajectory


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
    with pytest.raises(RunError, match=r"settings\.lr was 1 and is now 2 \(and 1 more\); choose another --name"):
        open_run(tmp_path, {"settings": {"lr": 2, "k": (10,)}}).__enter__()
    with open_run(tmp_path, {"settings": {"lr": 2}}, anew=True) as run:
        assert run.lifetime("life").summary() is None
    assert json.loads((tmp_path / "config.json").read_text()) == {"settings": {"lr": 2}}


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for anew in (False, True):
        with pytest.raises(RunError, match="expected a run or an empty directory"):
            open_run(tmp_path, {}, anew=anew).__enter__()
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_second_process_is_refused(tmp_path):
    code = "import sys, pathlib, agent.record\nagent.record.open_run(pathlib.Path(sys.argv[1]), {}).__enter__()"
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
