"""`lifetime curve --beside`: finished curves of different learners beside each other."""

import pytest

from tests.scenarios.commands import assert_refused, kept, lifetime, strictly, within
from tests.scenarios.experiments.test_beside_curves import plant


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Finished runs of two learners, without training."""
    folder = tmp_path_factory.mktemp("runs")
    return [plant(folder / name, name) for name in ("strong", "weak")]


@pytest.mark.slow
def test_a_process_shows_curves_beside_each_other(runs, tmp_path, monkeypatch):
    before = [kept(run) for run in runs]
    done = lifetime("curve", "--beside", *runs, "--name", "x", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 learners, the weakest first" in done.stdout
    assert done.stdout.index("resnet:width=2") < done.stdout.index("resnet:width=4")
    assert "figure: runs/curve/x/beside.png" in done.stdout
    assert "table:  runs/curve/x/beside.csv, runs/curve/x/beside.json" in done.stdout
    written = kept(tmp_path / "runs/curve/x")
    assert {"beside.csv", "beside.json", "beside.png"} <= written.keys()
    monkeypatch.chdir(tmp_path)
    for again in (["curve", "--beside", *runs, "--name", "x", "--force"], ["resume", "runs/curve/x"]):
        assert within(*again) == done
        assert kept(tmp_path / "runs/curve/x") == written
    assert [kept(run) for run in runs] == before


@pytest.mark.usefixtures("undrawn")
def test_json_is_what_the_file_holds(runs, tmp_path):
    done = within("curve", "--beside", *runs, "--runs", tmp_path, "--name", "x", "--json", "--confidence", 0.9)
    content = strictly(done.stdout)
    assert content == strictly((tmp_path / "curve/x/beside.json").read_text())
    assert content["confidence"] == 0.9


@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_is_one_line_and_leaves_nothing(runs, tmp_path):
    def refused(message, *arguments):
        assert_refused(within("curve", *arguments, "--runs", tmp_path / "runs"), message)
        assert not (tmp_path / "runs").exists()

    refused("expected --join or --beside, got both", "--beside", *runs, "--join", runs[0])
    refused(f"expected two or more finished runs after --beside, got {runs[0]} alone", "--beside", runs[0])
    refused("expected no settings beside finished runs", "--beside", *runs, "--chunks", 4)
    refused("expected no settings beside finished runs", "--beside", *runs, "--want-width", 3)
    refused("expected --join before folders of finished runs", *runs)
    refused("expected each run once, got", "--beside", runs[0], runs[1], runs[1])
    refused("expected the folder of a run, got the file", "--beside", runs[0], runs[1] / "config.json")
    refused("found no config.json there", "--beside", runs[0], tmp_path / "none")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("more", [[], ["--force"]])
def test_a_run_that_is_read_is_not_written(runs, tmp_path, more):
    own = plant(tmp_path / "curve/own", "middle")
    before = kept(own)
    done = within("curve", "--beside", own, *runs, "--runs", tmp_path, "--name", "own", *more)
    assert_refused(done, "expected a folder of its own for the result, got")
    assert kept(own) == before
