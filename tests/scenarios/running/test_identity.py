"""What decides the numbers of a run, and what does not."""

import json
import os
import shutil

import pytest

from scenarios.config.settings import CompareConfig, CurveConfig, SimulateConfig, TreeConfig
from scenarios.datasets.source import Access
from scenarios.running import code_digest, identity, machine
from scenarios.running.code_digest import digest_of, what_it_does
from scenarios.running.identity import default_name, identity_of, run_folder, same_run
from tests.scenarios.commands import assert_refused, kept, lifetime, within
from tests.scenarios.datasets.test_load import write_tree

TINY = (
    "--device cpu --validation-size 6 --test-size 12 --chunks 4"
    " --learner online:epochs=1 --network resnet:width=2 --evaluate-every 2 "
    "--policy interleaved:k=50"
).split()


def config(**changed):
    return SimulateConfig.model_validate({"device": "cpu", **changed})


def describe(experiment, preset, config, data_dir=None):
    return identity.describe(experiment, preset, config, dataset=config.dataset, threads=None, access=Access(data_dir))


@pytest.fixture
def photos(tmp_path):
    write_tree(tmp_path / "photos" / "train", {"cat": 20, "dog": 20})
    write_tree(tmp_path / "photos" / "test", {"cat": 6, "dog": 6}, first=100)
    return tmp_path / "photos"


def test_words_are_no_part_of_what_code_does():
    code = '''
"""A module."""
LIMIT = 3
"""Of something."""
def double(x):
    """Twice."""
    if x > LIMIT:  # too much
        raise ValueError(f"expected at most {LIMIT}, got {x}")
    return 2 * x
'''
    other = """
LIMIT = 3
def double(x):


    # why
    if x > LIMIT:
        raise ValueError("too large")
    return 2 * x
"""
    assert what_it_does(code.encode()) == what_it_does(other.encode())
    assert what_it_does(code.encode()) != what_it_does(code.replace("2 * x", "3 * x").encode())
    assert what_it_does(code.encode()) != what_it_does(code.replace("LIMIT = 3", "LIMIT = 4").encode())


def test_the_digest_is_of_the_code_that_lives_and_not_of_what_shows_it(tmp_path, monkeypatch):
    root = code_digest.Path(code_digest.__file__).parents[2]
    for package in ("agent", "scenarios"):
        shutil.copytree(root / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_digest, "__file__", str(tmp_path / "scenarios/running/code_digest.py"))

    def digest():
        digest_of.cache_clear()
        return digest_of()

    before = digest()
    for name in ("scenarios/cli/commands.py", "scenarios/figures/curve.py", "scenarios/config/settings.py"):
        (tmp_path / name).write_text(
            (tmp_path / name).read_text(encoding="utf-8") + "\nA_TABLE = 1\n", encoding="utf-8"
        )
    mixture = tmp_path / "agent/memory/mixture.py"
    mixture.write_text("# a comment\n" + mixture.read_text(encoding="utf-8"), encoding="utf-8")
    assert digest() == before
    mixture.write_text(mixture.read_text(encoding="utf-8").replace("i / 40", "i / 20"), encoding="utf-8")
    assert digest() != before
    (tmp_path / "agent/new.py").write_text("x = 1\n", encoding="utf-8")
    digest_of.cache_clear()


def test_what_is_there_to_be_read_is_there():
    root = code_digest.Path(code_digest.__file__).parents[2]
    assert all((root / name).is_file() for name in code_digest.READING)


def test_the_processor_s_instructions_are_part_of_a_run(monkeypatch):
    before = identity_of(describe("simulate", "quick", config()))
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "ANOTHER")
    assert identity_of(describe("simulate", "quick", config())) != before
    monkeypatch.undo()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert identity_of(describe("simulate", "quick", config())) != before


@pytest.mark.slow
def test_a_resume_on_other_instructions_is_refused_and_says_so(tmp_path):
    arguments = ("simulate", *TINY, "--train-size", 40, "--runs", tmp_path, "--name", "run", "--quiet")
    assert within(*arguments).returncode == 0
    other = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    for again in (arguments, ("resume", tmp_path / "simulate/run")):
        done = lifetime(*again, env=other)
        assert_refused(done, "machine.cpu_capability was ")
        assert " and is now 'DEFAULT'" in done.stderr


def test_versions_of_decoders_are_part_of_runs_on_folders_alone(photos, tmp_path, monkeypatch):
    def identities():
        folder = config(dataset=f"folder:{photos}")
        return [
            identity_of(describe("simulate", "quick", each, data_dir=tmp_path / "c")) for each in (config(), folder)
        ]

    textures, folder = identities()
    monkeypatch.setattr("scenarios.running.machine.decoder_versions", lambda: {"pillow": "1.0"})
    assert identities()[0] == textures
    assert identities()[1] != folder


@pytest.mark.parametrize("package", ["stable-baselines3", "cmaes", "avalanche-lib", "learn-or-memorize", "torchvision"])
def test_what_a_lifetime_does_not_use_is_no_part_of_it(package, monkeypatch):
    before = describe("simulate", "quick", config())
    version = machine.distribution_version
    monkeypatch.setattr(machine, "distribution_version", lambda name: "0.0" if name == package else version(name))
    after = describe("simulate", "cifar10", config())
    assert after["versions"][package] == "0.0"
    assert identity_of(after) == identity_of(before)


def test_settings_that_change_no_number_are_no_part_of_a_run():
    before = identity_of(describe("simulate", "quick", config()))
    assert identity_of(describe("simulate", "quick", config(checkpoint_every=3, max_megapixels=7))) == before
    assert identity_of(describe("simulate", "quick", config(recipe="sgd:lr=0.06"))) != before


def test_seeds_of_curves_and_comparisons_can_be_added_later():
    for experiment, kind, is_part in (
        ("curve", CurveConfig, False),
        ("compare", CompareConfig, False),
        ("tree", TreeConfig, True),
    ):
        of = [identity_of(describe(experiment, "quick", kind(device="cpu", seeds=seeds))) for seeds in (2, 3)]
        assert (of[0] != of[1]) == is_part
        another = identity_of(describe(experiment, "quick", kind(device="cpu", seeds=2, first_seed=1)))
        assert another != of[0]


@pytest.mark.slow
def test_a_folder_is_the_same_however_it_is_spelled_and_wherever_it_lies(photos, tmp_path, monkeypatch):
    options = (*TINY, "--runs", tmp_path / "runs", "--data-dir", tmp_path / "cache", "--quiet")
    assert within("simulate", "--dataset", f"folder:{photos}", *options).returncode == 0
    [run] = (tmp_path / "runs/simulate").iterdir()
    before, stamp = kept(run), (run / "summary.json").stat().st_mtime_ns
    (tmp_path / "link").symlink_to(photos)
    shutil.copytree(photos, tmp_path / "elsewhere/copy")
    for spelled, folder in (
        ("photos", tmp_path),
        ("../link", tmp_path / "elsewhere"),
        ("copy", tmp_path / "elsewhere"),
    ):
        monkeypatch.chdir(folder)
        assert within("simulate", "--dataset", f"folder:{spelled}", *options).returncode == 0
    assert [path.name for path in (tmp_path / "runs/simulate").iterdir()] == [run.name]
    assert (kept(run), (run / "summary.json").stat().st_mtime_ns) == (before, stamp)
    write_tree(photos / "train", {"cat": 1}, first=900)  # another content is another run
    assert within("simulate", "--dataset", f"folder:{photos}", *options).returncode == 0
    assert len(list((tmp_path / "runs/simulate").iterdir())) == 2


@pytest.mark.slow
def test_an_unfinished_run_goes_on_where_its_folder_lies_now(photos, tmp_path):
    options = ("--data-dir", tmp_path / "cache", "--quiet")
    arguments = ("simulate", *TINY, "--runs", tmp_path, "--name", "run", *options)
    assert within(*arguments, "--dataset", f"folder:{photos}").returncode == 0
    run = tmp_path / "simulate/run"
    before = kept(run)
    (run / "summary.json").unlink()  # as if it had been stopped
    photos.rename(tmp_path / "moved")
    assert_refused(within("resume", run, *options), "expected a folder with PATH/train/")
    assert within("resume", run, *options, "--dataset", f"folder:{tmp_path / 'moved'}").returncode == 0
    assert kept(run) == before
    write_tree(tmp_path / "moved/train", {"cat": 1}, first=900)
    other = within("resume", run, *options, "--dataset", f"folder:{tmp_path / 'moved'}")
    assert_refused(other, "data was ")


@pytest.mark.slow
def test_a_finished_run_is_shown_and_compared_without_its_data(photos, tmp_path):
    options = (*TINY, "--runs", tmp_path / "runs", "--data-dir", tmp_path / "cache", "--dataset", f"folder:{photos}")
    first = within("simulate", *options)
    assert first.returncode == 0
    assert first.told == ("data: 2 classes (cat, dog), 34 training, 6 validation and 12 test images\n",)
    [run] = (tmp_path / "runs/simulate").iterdir()
    shutil.rmtree(photos)
    shutil.rmtree(tmp_path / "cache")
    for again in (("simulate", *options), ("resume", run)):
        done = within(*again)
        assert (done.returncode, done.stderr, done.told) == (0, "", ())
        assert done.stdout == first.stdout
    assert within("compare", run, "--runs", tmp_path / "runs").returncode == 0
    assert_refused(within("simulate", *options, "--seed", 1), "expected a folder with PATH/train/")
    assert len(list((tmp_path / "runs/simulate").iterdir())) == 1


def test_names_of_runs_are_short_in_any_alphabet(tmp_path):
    words = ["数据" * 50, "ёжик" * 40, "policy:" + "k=1," * 90, "seed0"]
    name = default_name(words, "0123abcd")
    assert len(name.encode()) <= 200
    assert name.endswith("-0123abcd")
    (tmp_path / name).mkdir()


def test_a_name_is_the_same_however_it_is_composed(tmp_path):
    composed, apart = "caf\u00e9", "cafe\u0301"
    assert run_folder(tmp_path, apart, [], {}) == tmp_path / composed
    (tmp_path / apart).mkdir()
    assert run_folder(tmp_path, composed, [], {}) == tmp_path / apart


def test_identities_are_plain_values():
    described = describe("simulate", "quick", config())
    assert json.loads(json.dumps(described)) == described
    assert same_run(described, described)[0] == same_run(described, described)[1]
