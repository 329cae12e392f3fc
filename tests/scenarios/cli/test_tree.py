"""`lifetime tree`, and what becomes of it when it is killed, starved and spoilt."""

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import DatasetError, InvalidSetting, RunError, TrainingDiverged
from agent.storage.checkpoint import CHECKPOINT
from agent.storage.record import RunDirectory, open_run
from scenarios.config.settings import TreeConfig
from scenarios.oracle import grow as trees
from scenarios.oracle import jobs as branches
from scenarios.oracle.table import read_table
from scenarios.running.executors import EXECUTORS, Context
from scenarios.running.progress import Interrupted
from scenarios.running.tasks import Executor, Run, SerialExecutor
from tests.scenarios import commands
from tests.scenarios.commands import LIFETIME, assert_refused, kept

SMALL = (
    "--device cpu --train-size 40 --validation-size 12"
    " --learner online:epochs=1 --network resnet:width=2 --tariff day-night:period=2"
).split()
TINY = [*SMALL, "--chunks", "5"]
"""Seven branches: a node, two, and four twigs."""


def in_this_process(context: Context, workers: int | None = None) -> Executor:
    """In place of processes, which take seconds to start."""
    return SerialExecutor(context.reporter, context.cache)


@pytest.fixture
def lifetime(monkeypatch):
    """The command line within this process, which is also the crew."""
    monkeypatch.setitem(EXECUTORS, "processes", in_this_process)
    return commands.within


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed."""
    runs = tmp_path_factory.mktemp("whole")
    done = commands.lifetime("tree", *TINY, "--runs", runs, "--name", "run", "--workers", 2)
    assert (done.returncode, done.stderr) == (0, "")
    return runs / "tree/run", done


@pytest.fixture
def run(tmp_path):
    return tmp_path / "tree/run"


@pytest.fixture
def command(tmp_path):
    return ["tree", *TINY, "--runs", tmp_path, "--name", "run", "--workers", 1]


def assert_same(run, whole):
    assert kept(run) == kept(whole[0])
    assert not (run / "seed0/growing").exists()


def assert_stopped(done, run, code):
    assert done.returncode == code, done
    assert done.stderr.startswith("error: interrupted; `")
    assert f"lifetime resume {run}` continues" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def waiting(run):
    return sorted(run.glob(f"seed0/growing/*/{CHECKPOINT}"))


def rows(run):
    return sorted(run.glob("seed0/growing/rows*.npz"))


@pytest.mark.slow
def test_a_tree_shows_its_best_schedule_and_is_kept_as_a_table(whole):
    run, done = whole
    assert kept(run).keys() == {"config.json", "seed0/table.npz", "tree.json"}
    told = json.loads((run / "tree.json").read_text())
    [oracle] = told["oracle"]
    tree = read_table(run / "seed0/table.npz")
    assert tree.n_chunks == 5
    assert tree.facts["settings"]["tariff"] == "day-night:period=2"
    assert (told["cost_weight"], told["unit"], oracle["exact"], oracle["trainings"]) == (0.004, "GFLOP", True, 31)
    for expected in (oracle["schedule"], "textures, iid, day-night:period=2 tariff", "31", "80", f"{run}/seed*/table"):
        assert expected in done.stdout
    config = json.loads((run / "config.json").read_text())
    assert config["machine"]["threads"] == 1


@pytest.mark.slow
def test_a_finished_tree_is_shown_again_and_grown_again_only_if_forced(lifetime, whole, run, command):
    shutil.copytree(whole[0], run)
    shown = whole[1].stdout.replace(str(whole[0]), str(run))
    stamp = (run / "seed0/table.npz").stat().st_mtime_ns
    (run / "seed0/growing").mkdir()  # of a process that was killed just before it was gone
    for arguments in (command, ["resume", run], ["resume", run, "--workers", 1]):
        assert lifetime(*arguments) == commands.Done(0, shown, "")
        assert_same(run, whole)
    assert lifetime(*command, "--quiet") == commands.Done(0, "", "")
    for arguments in (command, ["resume", run]):
        done = lifetime(*arguments, "--json")
        assert done.stderr == ""
        told = json.loads((run / "tree.json").read_text())
        assert json.loads(done.stdout) == {"run": str(run), "oracle": told["oracle"]}
    assert (run / "seed0/table.npz").stat().st_mtime_ns == stamp
    assert lifetime(*command, "--force") == commands.Done(0, shown, "")
    assert (run / "seed0/table.npz").stat().st_mtime_ns != stamp
    assert_same(run, whole)


@pytest.mark.slow
def test_stopped_after_every_branch_a_tree_is_the_same(lifetime, whole, run, command):
    done, n_rows = lifetime(*command, stop_after=1), 0
    while done.returncode:
        assert_stopped(done, run, 143)
        n_rows += 1
        assert len(rows(run)) == n_rows
        done = lifetime("resume", run, "--workers", 1, stop_after=1)
    assert done.stderr == ""
    assert n_rows == 6  # the last branch is not followed by a look
    assert_same(run, whole)


@pytest.mark.slow
def test_progress_counts_every_node_once(monkeypatch, tmp_path):
    class Counting(trees.SilentReporter):
        done, expected, left = 0, 0, 10**9
        stopping = property(lambda self: self.left <= 0)

        def expect(self, total):
            self.expected = total

        def advance(self, done):
            self.done, self.left = self.done + done, self.left - 1

    given = dict(zip([word[2:].replace("-", "_") for word in TINY[::2]], TINY[1::2], strict=True))
    config = TreeConfig.model_validate(given)
    first, second = Counting(), Counting()
    first.left = 3
    with open_run(tmp_path / "run", {}) as directory:
        with pytest.raises(Interrupted):
            trees.run(config, Run(directory, first))
        trees.run(config, Run(directory, second))
    assert 0 < first.done < first.expected == 62
    assert second.done == second.expected == 62


def spoil(path):
    path.write_bytes(path.read_bytes()[:-50])


@pytest.mark.slow
def test_what_cannot_be_read_is_lived_again(lifetime, whole, run, command):
    """Branches that wait, branches that were lived, and files of processes that were killed."""
    for arguments in (command, ["resume", run, "--workers", 1], ["resume", run, "--workers", 1]):
        assert lifetime(*arguments, stop_after=1).returncode == 143
    assert (len(rows(run)), len(waiting(run))) == (3, 2)
    growing = run / "seed0/growing"
    spoil(growing / f"2/{CHECKPOINT}")
    spoil(growing / "rows3.npz")  # of the node that lives on in 6, which waits, and in 7, which has been lived
    shutil.rmtree(growing / "6")
    (growing / ".rows9.npz.123.part").write_bytes(b"half")
    (growing / "rowsx.npz").write_bytes(b"foreign")
    done = lifetime("resume", run, "--workers", 1)
    assert done.returncode == 0
    warnings = done.stderr.splitlines()
    assert [line.startswith("warning: expected ") for line in warnings] == [True] * len(warnings)
    assert sum("running its branch again" in line for line in warnings) == 2
    assert sum("running the branch again from initialization" in line for line in warnings) == 2  # 2 and 3
    assert_same(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["another run", "does not fit", "twice", "previous alone"])
def test_checkpoints_of_any_kind_are_lived_from_or_again(lifetime, whole, run, command, how, monkeypatch):
    assert lifetime(*command, stop_after=1).returncode == 143
    for path in waiting(run):
        checkpoints = RunDirectory(run).checkpoints(str(path.parent.relative_to(run)))
        if how == "another run":
            checkpoints.run = "x"
            checkpoints.save({})
        elif how == "does not fit":
            checkpoints.save({"lifetimes": {"branches": []}, "steps": []})
        elif how == "twice":
            checkpoints.save(checkpoints.load(path))
        else:
            path.rename(path.with_name("checkpoint.previous.pt"))
    done = lifetime("resume", run, "--workers", 1)
    assert done.returncode == 0
    assert done.stderr.count("running the branch again from initialization") == (
        2 if how in ("another run", "does not fit") else 0
    )
    assert done.stderr.count("\n") == done.stderr.count("warning: ")
    assert_same(run, whole)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_with_room_the_tree_goes_on(lifetime, whole, run, command, monkeypatch):
    """Full between the checkpoints of a node's children and its rows."""
    write, written = RunDirectory.write, []

    def starved(directory, name, content):
        written.append(name)
        if len(written) > 2:
            raise RunError(f"expected to write in {directory.path}, got: No space left on device")
        write(directory, name, content)

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "write", starved)
        assert_refused(lifetime(*command), "No space left on device")
    assert len(rows(run)) == 2
    assert len(waiting(run)) == 3  # of the node that failed, too, which is lived again
    resumed = lifetime("resume", run, "--workers", 1)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert_same(run, whole)


@pytest.mark.slow
def test_the_table_of_another_seed_is_refused(lifetime, whole, run):
    shutil.copytree(whole[0], run)
    tree = read_table(run / "seed0/table.npz")
    (run / "seed0/table.npz").write_bytes(replace(tree, facts={**tree.facts, "seed": 1}).as_npz())
    assert_refused(lifetime("resume", run), "expected the tree of seed 0 at")


@pytest.mark.parametrize(
    "error",
    [DatasetError("expected a data set, got none"), InvalidSetting("expected less"), TrainingDiverged(3, 0.5)],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_branches_are_one_line_and_leave_nothing_behind(lifetime, run, command, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(branches, "expand", fail)
    assert_refused(lifetime(*command), str(error))
    assert not run.exists()


@pytest.mark.slow
def test_settings_that_cannot_be_lived_drop_nothing_even_if_forced(lifetime, whole, run, command):
    shutil.copytree(whole[0], run)
    assert_refused(lifetime(*command, "--chunks", 14, "--force", "--train-size", 13), "got 14")
    assert_refused(lifetime(*command, "--keys", "stage7", "--force"), "expected keys from places of ResNet(depth=8")
    assert_refused(lifetime(*command, "--rekey", "on-learn"), "settings.rekey was 'never' and is now 'on-learn'")
    assert_same(run, whole)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--chunks", "15"], "expected at most 14 chunks for --search all, got 15, which have 2^15 schedules; lower"),
        (["--chunk-size", "2"], "expected at most 14 chunks for --search all, got 20"),
        (["--learner", "refit"], "expected a learner that learns at once, such as online, got refit"),
        (["--prequential"], "No such option"),
        (["--validation-size", "1"], "expected --validation-size to be greater than or equal to 2, got 1"),
        (["--train-size", "4"], "expected 1 to 4 chunks for 4 training images, got 5"),
        (["--workers", "0"], "--workers"),
        (["--search", "everywhere"], "expected --search to be 'all' or 'beam', got everywhere"),
        (["--cost-weight", "-1"], "expected --cost-weight to be greater than or equal to 0"),
        (["--seeds", "0"], "expected --seeds to be greater than or equal to 1"),
        (["--cost", "love"], "expected a cost model out of"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(lifetime, run, command, given, message):
    if "--chunk-size" in given:
        command = [word for word in command if word not in ("--chunks", "5")]
    assert_refused(lifetime(*command, *given), message)
    assert not run.exists()


def test_a_learner_that_trains_lazily_is_refused_from_a_file_too(lifetime, tmp_path, run, command):
    (tmp_path / "settings.toml").write_text('learner = "refit"\n')
    at = command.index("--learner")
    command = [*command[:at], *command[at + 2 :], "--config", tmp_path / "settings.toml"]
    assert_refused(lifetime(*command), "expected a learner that learns at once, such as online, got refit")
    assert not run.exists()


@pytest.mark.slow
@pytest.mark.parametrize("path", ["seed0/table.npz", "seed0/oracle.json"])
def test_a_result_that_cannot_be_read_is_one_line(lifetime, whole, run, command, path):
    shutil.copytree(whole[0], run)
    if path == "seed0/oracle.json":
        command = [*command, "--search", "beam", "--force"]
        assert lifetime(*command).returncode == 0
        command.remove("--force")
    for content in (b"", b"{}", b'{"seed": 0, "schedule": 1}', b"[1]"):
        (run / path).write_bytes(content)
        for arguments in (command, ["resume", run]):
            assert_refused(lifetime(*arguments), str(run / path))


# Searches, and streams of other lengths


@pytest.mark.slow
def test_a_wide_beam_finds_the_best_of_the_table(lifetime, whole, run, command):
    done = lifetime(*command, "--search", "beam", "--beam-width", "16")
    assert (done.returncode, done.stderr) == (0, "")
    assert kept(run).keys() == {"config.json", "seed0/oracle.json", "tree.json"}
    [best] = json.loads((whole[0] / "tree.json").read_text())["oracle"]
    [found] = json.loads((run / "tree.json").read_text())["oracle"]
    assert found["utility"] == best["utility"]
    assert not found["exact"]
    assert found["schedule"] in done.stdout
    assert "best schedules that a beam of 16 finds" in done.stdout
    assert lifetime("resume", run) == done


def test_several_seeds_each_have_their_tree(lifetime, tmp_path):
    few = [*SMALL, "--chunk-size", "20", "--runs", tmp_path, "--name", "run", "--seeds", 2, "--first-seed", 3]
    done = lifetime("tree", *few, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [oracle["seed"] for oracle in json.loads(done.stdout)["oracle"]] == [3, 4]
    tables = [read_table(tmp_path / f"tree/run/seed{seed}/table.npz") for seed in (3, 4)]
    assert [tree.n_samples.tolist() for tree in tables] == [[20, 20]] * 2
    assert not (tables[0].accuracy == tables[1].accuracy).all()
    assert lifetime("resume", tmp_path / "tree/run", "--json") == done


@pytest.mark.parametrize("chunks", [1, 4])
def test_short_streams_have_trees_too(lifetime, tmp_path, chunks):
    done = lifetime("tree", *SMALL, "--chunks", chunks, "--runs", tmp_path, "--name", "run", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert read_table(tmp_path / "tree/run/seed0/table.npz").n_chunks == chunks


# Processes


def children_of(pid):
    """Processes that were spawned for work, by id."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            words = (path / "cmdline").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        if parent == pid and any(b"spawn_main" in word for word in words):
            found.append(int(path.name))
    return found


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def alive(pid):
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def begun(arguments):
    """A process in a group of its own."""
    command = [LIFETIME, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_killed_by_child_and_parent_and_interrupted_a_tree_is_the_same(whole, run, tmp_path):
    first = begun(["tree", *TINY, "--runs", tmp_path, "--name", "run", "--workers", 2])
    until(lambda: len(rows(run)) >= 2)
    workers = children_of(first.pid)
    first.kill()
    first.communicate()
    assert workers
    until(lambda: not any(map(alive, workers)), 10)  # nobody is left behind

    second = begun(["resume", run, "--workers", 2])
    until(lambda: children_of(second.pid))
    os.kill(children_of(second.pid)[0], signal.SIGKILL)
    output, errors = second.communicate(timeout=60)
    assert_refused(
        commands.ended(second.returncode, output, errors),
        "one was killed, perhaps for lack of memory; the same command continues",
    )

    third = begun(["resume", run, "--workers", 2])
    until(lambda: children_of(third.pid))
    workers = children_of(third.pid)
    os.killpg(third.pid, signal.SIGINT)  # as Ctrl-C, while processes are still about to begin
    output, errors = third.communicate(timeout=60)
    assert_stopped(commands.ended(third.returncode, output, errors), run, 130)
    assert not any(map(alive, workers))

    last = commands.lifetime("resume", run, "--workers", 1)
    assert (last.returncode, last.stderr) == (0, "")
    assert_same(run, whole)
