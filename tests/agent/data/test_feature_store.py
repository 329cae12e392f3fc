"""Features on disk, by the content of images."""

import logging
import multiprocessing
import os
import sqlite3
import stat
from contextlib import closing

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.data.feature_store import FeatureStore, contents_of

LENGTH = 5
IMAGE = st.integers(0, 12)


def images(n, seed=0):
    return torch.randint(256, (n, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def rows(n, seed=0):
    return torch.randn(n, LENGTH, generator=torch.Generator().manual_seed(seed)).half()


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "deep" / "features.sqlite", LENGTH)


def test_equal_images_have_equal_contents_and_others_do_not():
    one = images(20)
    assert contents_of(one) == contents_of(one.clone())
    assert contents_of(one.flip(0)) == contents_of(one)[::-1]
    changed = one.clone()
    changed[3, 0, 0, 0] ^= 1
    assert [a == b for a, b in zip(contents_of(one), contents_of(changed), strict=True)] == [i != 3 for i in range(20)]
    assert contents_of(one.float()) != contents_of(one)
    assert contents_of(one.view(20, 3, 2, 8)) != contents_of(one)
    assert contents_of(one.contiguous(memory_format=torch.channels_last)) == contents_of(one)
    assert contents_of(one[:0]) == []


def test_nothing_is_found_before_anything_is_written(store):
    found_rows, found = store.read(contents_of(images(3)))
    assert not found.any()
    assert torch.equal(found_rows, torch.zeros(3, LENGTH).half())
    assert not store.file.parent.exists()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(IMAGE, st.integers(0, 99)), max_size=6), st.lists(IMAGE, max_size=20))
def test_it_is_a_dictionary(tmp_path_factory, writes, asked):
    store, known = FeatureStore(tmp_path_factory.mktemp("store") / "f.sqlite", LENGTH), {}
    contents = contents_of(images(13))
    for image, seed in writes:
        store.write([contents[image]], rows(1, seed))
        known[image] = rows(1, seed)[0]
    found_rows, found = store.read([contents[image] for image in asked])
    for image, row, is_found in zip(asked, found_rows, found.tolist(), strict=True):
        assert is_found == (image in known)
        assert torch.equal(row, known.get(image, torch.zeros(LENGTH).half()))


@pytest.fixture
def warned(caplog):
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_damaged_row_is_computed_again(store, warned):
    contents = contents_of(images(5))
    store.write(contents, rows(5))
    with sqlite3.connect(store.file) as database:
        [value] = database.execute("SELECT row FROM features WHERE content = ?", (contents[2],)).fetchone()
        [of_another] = database.execute("SELECT row FROM features WHERE content = ?", (contents[1],)).fetchone()
        damaged = value[:-1] + bytes([value[-1] ^ 1])
        database.execute("UPDATE features SET row = ? WHERE content = ?", (damaged, contents[2]))
        database.execute("UPDATE features SET row = ? WHERE content = ?", (b"x", contents[0]))
        database.execute("UPDATE features SET row = ? WHERE content = ?", (of_another, contents[3]))
        database.execute("UPDATE features SET row = 7 WHERE content = ?", (contents[4],))
    found_rows, found = store.read(contents)
    assert found.tolist() == [False, True, False, False, False]
    assert torch.equal(found_rows[1], rows(5)[1])
    assert len(warned()) == 1
    assert "computing them again" in warned()[0]
    store.write(contents, rows(5))
    assert store.read(contents)[1].all()


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_file_is_a_warning(store, warned, content):
    store.file.parent.mkdir()
    store.file.write_bytes(content)
    contents = contents_of(images(2))
    assert not store.read(contents)[1].any()
    store.write(contents, rows(2))
    store.write(contents, rows(2))
    assert len(warned()) == 1  # and then it is not used any more
    assert "remove the damaged file" in warned()[0]
    assert store.file.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path, warned):
    (tmp_path / "file").write_text("")
    store = FeatureStore(tmp_path / "file" / "features.sqlite", LENGTH)
    store.write(contents_of(images(2)), rows(2))
    assert len(warned()) == 1


def test_a_locked_file_is_a_warning(store, warned, monkeypatch):
    contents = contents_of(images(2))
    store.write(contents, rows(2))
    monkeypatch.setattr("agent.data.feature_store._WAIT_SECONDS", 0.01)
    with closing(sqlite3.connect(store.file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert not store.read(contents)[1].any()
        store.write(contents, rows(2))
    assert len(warned()) == 1
    assert "locked" in warned()[0]
    assert "remove" not in warned()[0]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_file_that_cannot_be_written_is_read(store, warned):
    contents = contents_of(images(2))
    store.write(contents[:1], rows(1))
    store.file.chmod(stat.S_IRUSR)
    store.write(contents[1:], rows(1))
    assert store.read(contents)[1].tolist() == [True, False]
    assert len(warned()) == 1


def write_many(file, first):
    store = FeatureStore(file, LENGTH)
    for seed in range(first, first + 10):
        store.write(contents_of(images(20, seed)), rows(20, seed))


@pytest.mark.slow
def test_processes_write_at_once(store):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_many, args=(store.file, first)) for first in (0, 5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    for seed in range(15):
        found_rows, found = store.read(contents_of(images(20, seed)))
        assert found.all()
        assert torch.equal(found_rows, rows(20, seed))
