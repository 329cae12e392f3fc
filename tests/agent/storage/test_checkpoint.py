"""Checkpoints: replaced whole, and distrusted when they are read."""

import io
import pickle
import random
import zipfile
from pathlib import Path

import pytest
import torch

from agent.errors import CheckpointError, RunError
from agent.storage.checkpoint import CHECKPOINT, PREVIOUS, Checkpoints, replace_file
from tests.agent.toys import same


def a_state(n=0):
    """Tensors of several kinds among plain values."""
    generator = torch.Generator().manual_seed(n)
    return {
        "step": n,
        "weights": {"conv": torch.randn(40, 30, generator=generator), "n": torch.tensor(3)},
        "labels": torch.arange(50) + n,
        "name": "θ",
        "nothing": None,
        "list": [1, 2.5, (True, "x")],
    }


def full(*_):
    raise OSError(28, "No space left on device")


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path, "this run")


def refused(checkpoints, content, *, run="this run"):
    """The reason why a file of this content is refused."""
    path = checkpoints.folder / CHECKPOINT
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        Checkpoints(checkpoints.folder, run).load(path)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def saved_bytes(checkpoints, state=None):
    checkpoints.save(a_state() if state is None else state)
    return (checkpoints.folder / CHECKPOINT).read_bytes()


def torch_bytes(value):
    content = io.BytesIO()
    torch.save(value, content)
    return content.getvalue()


def test_what_is_saved_is_loaded_to_the_bit(checkpoints):
    assert checkpoints.found() == []
    checkpoints.save(a_state())
    [path] = checkpoints.found()
    assert same(checkpoints.load(path), a_state())


def test_the_last_two_are_kept_the_newest_first(checkpoints):
    for n in range(4):
        checkpoints.save(a_state(n))
    assert [path.name for path in checkpoints.found()] == [CHECKPOINT, PREVIOUS]
    assert [checkpoints.load(path)["step"] for path in checkpoints.found()] == [3, 2]
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == sorted([CHECKPOINT, PREVIOUS])


def test_dropping_leaves_nothing_and_can_be_repeated(checkpoints):
    for n in range(2):
        checkpoints.save(a_state(n))
    (checkpoints.folder / f"new.{CHECKPOINT}").write_bytes(b"of a process that died")
    for _ in range(2):
        checkpoints.drop()
        assert not checkpoints.folder.exists()


def test_a_truncated_checkpoint_is_refused(checkpoints):
    content = saved_bytes(checkpoints)
    for length in (0, 1, 100, len(content) // 2, len(content) - 30, len(content) - 1):
        assert "expected a " in refused(checkpoints, content[:length])


def test_a_flipped_bit_is_refused_or_changes_nothing(checkpoints):
    """Some bits mean nothing: the padding between the parts, and times."""
    content, generator = saved_bytes(checkpoints), random.Random(0)
    path, n_refused = checkpoints.folder / CHECKPOINT, 0
    for _ in range(300):
        flipped = bytearray(content)
        flipped[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        path.write_bytes(flipped)
        try:
            state = checkpoints.load(path)
        except CheckpointError:
            n_refused += 1
        else:
            assert same(state, a_state())
    assert n_refused > 150


def test_every_flipped_bit_of_a_tensor_is_refused(checkpoints):
    content, generator = saved_bytes(checkpoints), random.Random(0)
    first = content.index(a_state()["weights"]["conv"].numpy().tobytes())
    for _ in range(50):
        flipped = bytearray(content)
        flipped[first + generator.randrange(40 * 30 * 4)] ^= 1 << generator.randrange(8)
        assert "expected a whole checkpoint" in refused(checkpoints, flipped)


def test_a_checkpoint_of_another_run_is_refused(checkpoints):
    message = refused(checkpoints, saved_bytes(checkpoints), run="another")
    assert message.startswith("expected a checkpoint of this run at")
    assert message.endswith("got one of another run")


@pytest.mark.parametrize(
    "value",
    [
        {"format": "learn-or-memorize checkpoint 0", "run": "this run", "state": {}},
        {"format": "learn-or-memorize checkpoint 99", "run": "this run", "state": {}},
        {"run": "this run", "state": {}},
        {"format": "learn-or-memorize checkpoint 2", "run": "this run", "state": [1, 2]},
        {"format": "learn-or-memorize checkpoint 2", "run": "this run"},
        {"conv.weight": torch.ones(3)},
        [1, 2, 3],
        torch.ones(3),
        None,
    ],
    ids=["old", "new", "unmarked", "no-state", "without", "weights", "list", "tensor", "none"],
)
def test_a_file_of_another_format_is_refused(checkpoints, value):
    assert "expected a checkpoint of this program" in refused(checkpoints, torch_bytes(value))


@pytest.mark.parametrize(
    "content", [b"\0" * 5000, b"years of work", b"\x80\x04.", b"PK\x03\x04" + b"\0" * 100, b"PK\x05\x06" + b"\0" * 18]
)
def test_a_file_that_is_no_checkpoint_is_refused(checkpoints, content):
    assert "expected a checkpoint at" in refused(checkpoints, content)


def test_a_zip_of_something_else_is_refused(checkpoints):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("thesis.txt", "years of work")
    assert "expected a checkpoint at" in refused(checkpoints, content.getvalue())


def test_a_folder_in_its_place_is_refused(checkpoints):
    (checkpoints.folder / CHECKPOINT).mkdir()
    with pytest.raises(CheckpointError, match="expected a checkpoint at"):
        checkpoints.load(checkpoints.folder / CHECKPOINT)


class Trap:
    """Leaves a mark where code of a pickle runs."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("how", ["in a checkpoint", "as a checkpoint", "bare pickle", "old format"])
def test_code_in_a_checkpoint_is_not_run(checkpoints, tmp_path, how):
    mark = tmp_path / "mark"
    trap, content = Trap(mark), io.BytesIO()
    if how == "in a checkpoint":
        content.write(
            torch_bytes({"format": "learn-or-memorize checkpoint 2", "run": "this run", "state": {"x": trap}})
        )
    elif how == "as a checkpoint":
        content.write(torch_bytes(trap))
    elif how == "bare pickle":
        pickle.dump(trap, content)
    else:
        torch.save({"state": trap}, content, _use_new_zipfile_serialization=False)
    assert "expected a checkpoint at" in refused(checkpoints, content.getvalue())
    assert not mark.exists()
    if how != "bare pickle":
        torch.load(io.BytesIO(content.getvalue()), weights_only=False)
        assert mark.exists()  # so the trap was a good one


@pytest.mark.parametrize("at", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.open"])
def test_a_full_disk_harms_no_earlier_checkpoint(checkpoints, monkeypatch, at):
    for n in range(2):
        checkpoints.save(a_state(n))
    with monkeypatch.context() as patched:
        patched.setattr(at, full)
        with pytest.raises(RunError, match="No space left on device; what was saved before is kept"):
            checkpoints.save(a_state(2))
    assert [checkpoints.load(path)["step"] for path in checkpoints.found()] == [1, 0]
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == sorted([CHECKPOINT, PREVIOUS])
    checkpoints.save(a_state(3))
    assert [checkpoints.load(path)["step"] for path in checkpoints.found()] == [3, 1]


def test_a_disk_that_becomes_full_while_tensors_are_written_harms_no_earlier_checkpoint(checkpoints):
    resource = pytest.importorskip("resource", reason="a limit on the size of files stands for a full disk")
    checkpoints.save(a_state(0))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(RunError, match="File too large; what was saved before is kept"):
            checkpoints.save({**a_state(1), "large": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [each.name for each in checkpoints.folder.iterdir()] == [CHECKPOINT]
    assert checkpoints.load(checkpoints.found()[0])["step"] == 0


@pytest.mark.parametrize("survived", range(4))
def test_a_process_that_dies_while_saving_leaves_a_good_checkpoint(checkpoints, monkeypatch, survived):
    """It dies at any of the three times that a file takes another's place, or after them."""

    class Died(BaseException):
        pass

    for n in range(2):
        checkpoints.save(a_state(n))
    replace, left = Path.replace, iter([True] * survived + [False])

    def until_death(path, target):
        if not next(left):
            raise Died
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", until_death)
        if survived < 3:
            with pytest.raises(Died):
                checkpoints.save(a_state(2))
        else:
            checkpoints.save(a_state(2))
    assert [checkpoints.load(path)["step"] for path in checkpoints.found()] == [[1, 0], [1, 0], [1], [2, 1]][survived]
    checkpoints.save(a_state(3))
    assert checkpoints.load(checkpoints.found()[0])["step"] == 3
    assert len(checkpoints.found()) == 2


def test_a_file_is_replaced_whole_and_its_folder_made(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    replace_file(path, b"before")
    replace_file(path, memoryview(b"after"))
    assert path.read_bytes() == b"after"
    assert [each.name for each in path.parent.iterdir()] == ["file"]
