"""A study that goes on suggests what it would have suggested without an interruption."""

import random

import pytest

from agent.errors import RunError
from scenarios.config.search_space import Range
from scenarios.experiments.optuna_study import JOURNAL, Study

VALUES = {"lr": Range(0.01, 0.3, log=True), "n": Range(1, 8, is_integer=True), "memory": ("cache", "ridge")}


def value_of(point):
    """None for a trial that fails."""
    return None if point["n"] == 7 else -((point["lr"] - 0.1) ** 2) - (point["memory"] == "cache") - point["n"] / 100


def lived(folder, n, *, at_a_time=1, sampler="tpe", seed=0, reopen=False):
    """The points of the trials of a study; `reopen` makes it anew before each step, and tells in another order."""
    study = Study(folder, VALUES, sampler, seed)
    while len(study.trials) < n:
        for _ in range(at_a_time):
            study = Study(folder, VALUES, sampler, seed) if reopen else study
            study.suggest()
        running = [each for each in study.trials if each.state == "running"]
        for trial in reversed(running) if reopen else running:
            study.tell(trial.number, value_of(trial.point))
    return study.trials


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("at_a_time", [1, 3])
def test_suggestions_depend_on_the_trials_before_them_and_on_nothing_else(tmp_path, at_a_time, sampler):
    folders = [tmp_path / name for name in ("whole", "reopened", "longer")]
    for folder in folders:
        folder.mkdir()
    how = {"at_a_time": at_a_time, "sampler": sampler}
    whole = lived(folders[0], 24, **how)
    assert lived(folders[1], 24, reopen=True, **how) == whole
    lived(folders[2], 12, **how)
    assert lived(folders[2], 24, **how) == whole
    assert {each.state for each in whole} == {"succeeded", "failed"}


def test_tpe_finds_more_than_chance(tmp_path):
    best = {}
    for sampler in ("tpe", "random"):
        folder = tmp_path / sampler
        folder.mkdir()
        values = [value_of(each.point) for each in lived(folder, 40, sampler=sampler)]
        best[sampler] = sum(sorted(each for each in values if each is not None)[-10:])
    assert best["tpe"] > best["random"]


def test_a_journal_of_another_search_is_refused(tmp_path):
    lived(tmp_path, 2)
    with pytest.raises(RunError, match="got trial 0 of another search; remove the file"):
        Study(tmp_path, {**VALUES, "lr": Range(0.01, 0.5)}, "tpe", 0)


def test_any_cut_of_a_journal_is_a_study_of_the_trials_before_it(tmp_path):
    whole = lived(tmp_path, 12)
    content = (tmp_path / JOURNAL).read_bytes()
    generator = random.Random(0)
    for cut in [0, *(generator.randrange(len(content)) for _ in range(20))]:
        (tmp_path / JOURNAL).write_bytes(content[:cut])
        found = Study(tmp_path, VALUES, "tpe", 0).trials
        assert [each.point for each in found] == [each.point for each in whole[: len(found)]]


def test_a_lock_of_a_process_that_was_killed_holds_nobody_up(tmp_path):
    lived(tmp_path, 1)
    (tmp_path / f"{JOURNAL}.lock").touch()
    assert len(lived(tmp_path, 2)) == 2
