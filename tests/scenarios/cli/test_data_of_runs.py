"""The content of a data set's files is that of the run, from its beginning to its end."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from agent.errors import DatasetError
from scenarios.config.presets import resolve
from scenarios.config.settings import SimulateConfig
from scenarios.datasets.source import Access
from scenarios.experiments.simulate import SIMULATE
from scenarios.running.experiment import begin
from scenarios.running.progress import SilentReporter
from tests.scenarios import commands
from tests.scenarios.commands import assert_refused

FEW = "--device cpu --train-size 40 --validation-size 10 --test-size 10 --chunks 2 --network resnet:width=2".split()


def archive(path, n_classes):
    images = np.random.default_rng(0).integers(0, 255, (80, 32, 32, 3), dtype=np.uint8)
    np.savez(path, x_train=images, y_train=np.arange(80) % n_classes)


def png(level):
    content = io.BytesIO()
    Image.new("RGB", (32, 32), (level, level, level)).save(content, "PNG")
    return {"bytes": content.getvalue(), "path": None}


def test_files_that_change_after_a_run_has_begun_are_refused(tmp_path):
    archive(tmp_path / "a.npz", 4)
    settings = {"dataset": f"npz:{tmp_path / 'a.npz'}", "train_size": 40, "chunks": 2, "network": "resnet:width=2"}
    access = Access(tmp_path / "cache")
    begun = begin(SIMULATE, resolve(SimulateConfig, "quick", settings), access, runs=tmp_path / "runs")
    archive(tmp_path / "a.npz", 2)
    with pytest.raises(DatasetError, match="as they were when the run began, got others; put those back"):
        begun.execute(SilentReporter(), access)
    assert not (tmp_path / "runs").exists()


def test_a_path_without_files_shows_no_other_run(tmp_path):
    def within(name):
        options = ["--dataset", f"npz:{tmp_path / name}", "--data-dir", tmp_path / "cache", "--runs", tmp_path / "runs"]
        return commands.within("simulate", *FEW, *options)

    archive(tmp_path / "a.npz", 4)
    done = within("a.npz")
    assert done.returncode == 0, done.stderr
    assert_refused(within("typo.npz"), "got nothing at")
    (tmp_path / "a.npz").rename(tmp_path / "b.npz")
    assert within("a.npz").stdout == done.stdout, "shown again without its data"
    assert within("b.npz").returncode == 0
    assert len(list((tmp_path / "runs/simulate").iterdir())) == 1, "the same content elsewhere is the same run"


def test_runs_on_two_columns_of_one_file_are_not_compared(tmp_path):
    table = pa.table(
        {
            "image": [png(i) for i in range(100)],
            "fine": [i % 4 for i in range(100)],
            "coarse": [i % 2 for i in range(100)],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    runs = []
    for label in ("fine", "coarse"):
        options = ["--dataset", f"parquet:{tmp_path / 'a.parquet'},label={label}", "--data-dir", tmp_path / "cache"]
        done = commands.within("simulate", *FEW, *options, "--runs", tmp_path, "--name", label, "--quiet")
        assert done.returncode == 0, done.stderr
        runs.append(tmp_path / "simulate" / label)
    done = commands.within("compare", *runs, "--runs", tmp_path)
    assert_refused(done, "expected runs of one data set, scenario and measure, got dataset 'parquet:label=fine' in")
