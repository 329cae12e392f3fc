"""Predictions of a lifetime in a file: read as they were written, in bytes that depend on nothing else."""

import zipfile

import numpy as np
import pytest

from agent.errors import RunError
from agent.storage.npz import npz_bytes
from agent.storage.predictions import Predictions, read_predictions


def predictions(n=7, names=("cat", "dög", "eel"), seed=0, memory=True):
    generator = np.random.default_rng(seed)
    drawn = [generator.dirichlet(np.ones(len(names)), n).astype(np.float32) for _ in range(3)]
    labels = generator.integers(0, len(names), n)
    return Predictions(generator.permutation(n), labels, drawn[0], drawn[1] if memory else None, drawn[2], names)


def equal(one, other):
    fields = ("ids", "labels", "learner", "memory", "agent")
    return one.class_names == other.class_names and all(
        np.array_equal(getattr(one, name), getattr(other, name))
        if getattr(one, name) is not None
        else getattr(other, name) is None
        for name in fields
    )


@pytest.mark.parametrize("memory", [True, False])
def test_what_was_written_is_read_from_the_file_or_its_folder(tmp_path, memory):
    kept = predictions(memory=memory)
    (tmp_path / "predictions.npz").write_bytes(kept.as_npz())
    for path in (tmp_path, tmp_path / "predictions.npz", str(tmp_path)):
        assert equal(read_predictions(path), kept)
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as archive:
        assert set(archive) == {"ids", "labels", "learner", "agent", "class_names"} | ({"memory"} if memory else set())
        assert archive["learner"].dtype == np.float32
        assert archive["ids"].dtype == archive["labels"].dtype == np.int64


def test_the_same_predictions_give_the_same_bytes_at_any_time(tmp_path):
    assert predictions().as_npz() == predictions().as_npz()
    assert predictions().as_npz() != predictions(seed=1).as_npz()
    (tmp_path / "x.npz").write_bytes(npz_bytes({"a": np.arange(3)}))
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        assert [each.date_time for each in archive.infolist()] == [(1980, 1, 1, 0, 0, 0)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ids": np.arange(7, dtype=np.int32)}, r"ids of shape \(7,\) and type int32"),
        ({"labels": np.full(7, 3)}, "labels outside 0 to 2"),
        ({"labels": np.arange(6)}, r"ids of shape \(7,\)"),
        ({"learner": np.ones((7, 2), np.float32)}, r"learner of shape \(7, 2\) .* for 7 items, 3 classes"),
        ({"memory": np.ones((7, 3))}, "memory of shape .* and type float64"),
        ({"agent": np.full((7, 3), np.nan, np.float32)}, "agent with NaN or infinity"),
    ],
)
def test_impossible_predictions_are_refused(tmp_path, changed, message):
    kept = predictions()
    arrays = {"ids": kept.ids, "labels": kept.labels, "learner": kept.learner, "agent": kept.agent}
    arrays |= {"memory": kept.memory, "class_names": np.array(kept.class_names)}
    (tmp_path / "predictions.npz").write_bytes(npz_bytes(arrays | changed))
    with pytest.raises(RunError, match=f"expected predictions at .*predictions.npz, got: {message}"):
        read_predictions(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "got: no such file"),
        (b"", "got: "),
        (b"years of work", "got: "),
        (predictions().as_npz()[:-200], "got: "),
        (npz_bytes({"ids": np.arange(3)}), "got: .*labels"),
    ],
)
def test_what_is_no_file_of_predictions_is_one_line_that_says_what_to_do(tmp_path, content, message):
    if content is not None:
        (tmp_path / "predictions.npz").write_bytes(content)
    with pytest.raises(RunError, match=message) as error:
        read_predictions(tmp_path / "predictions.npz")
    assert "remove the file summary.json beside it, and `lifetime resume` of that run" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_byte_that_changed_is_noticed(tmp_path):
    content = bytearray(predictions(n=300).as_npz())
    content[len(content) // 2] ^= 255
    (tmp_path / "predictions.npz").write_bytes(content)
    with pytest.raises(RunError, match="expected predictions at"):
        read_predictions(tmp_path)
