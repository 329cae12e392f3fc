"""The study of a search: Optuna's journal of its trials, and suggestions that depend on nothing but them.

Only this module imports Optuna, an optional dependency. https://optuna.readthedocs.io
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agent.errors import InvalidSetting, RunError
from agent.randomness import named_seed
from scenarios.config.search_space import Range, Values

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

JOURNAL = "journal.log"

State = Literal["running", "succeeded", "failed"]


@dataclass(frozen=True)
class Trial:
    """A trial of a study."""

    number: int
    point: Mapping[str, Any]
    """A number or a choice for each name that is searched."""
    state: State


def check_installed() -> None:
    """Check that Optuna is installed.

    Raises:
        InvalidSetting: it is missing.
    """
    if find_spec("optuna") is None:
        raise InvalidSetting("expected Optuna for `lifetime tune`, found none; pip install 'learn-or-memorize[tune]'")


class Study:
    """A study in the journal of a run, whose folder no other process uses.

    A suggestion depends on the trials before it, their values and the seed, but on no state of a sampler. So a study
    that goes on suggests what it would have suggested. A trial is one line of the journal: it is there or it is not.

    Args:
        folder: of the run.
        values: what is searched, by name.
        sampler: tpe or random.
        seed: of the suggestions.
        is_read: whether nothing is written, nor mended.

    Raises:
        RunError: the journal is damaged, or belongs to another search, or is missing where it is only read.
    """

    def __init__(
        self, folder: Path, values: Mapping[str, Values], sampler: str, seed: int, *, is_read: bool = False
    ) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._path = folder / JOURNAL
        self._sampler, self._seed = sampler, seed
        self._distributions = {name: _distribution(each) for name, each in values.items()}
        if is_read and not self._path.exists():
            raise RunError(f"expected the journal of a search at {self._path}, found none")
        if not is_read:
            _mend(self._path)
            for lock in folder.glob(f"{JOURNAL}.lock*"):  # of a process that was killed
                lock.unlink()
        try:
            backend = JournalFileBackend(str(self._path), lock_obj=JournalFileOpenLock(str(self._path)))
            storage = JournalStorage(backend)
            self._study = (
                optuna.load_study(storage=storage, study_name="tune")
                if is_read
                else optuna.create_study(storage=storage, study_name="tune", direction="maximize", load_if_exists=True)
            )
            found = self._frozen()
        except OSError:
            raise
        except Exception as error:  # what Optuna raises depends on what is wrong
            raise damaged(self._path, f"{type(error).__name__}: {error}") from error
        for number, trial in enumerate(found):
            if trial.number != number or trial.distributions != self._distributions:
                raise damaged(self._path, f"trial {number} of another search")

    @property
    def trials(self) -> list[Trial]:
        """All trials, by number."""
        states: dict[str, State] = {"COMPLETE": "succeeded", "FAIL": "failed"}
        return [
            Trial(
                each.number,
                {name: each.params[name] for name in self._distributions},
                states.get(each.state.name, "running"),
            )
            for each in self._frozen()
        ]

    def suggest(self) -> None:
        """Add a trial, which is running."""
        import optuna
        from optuna.trial import TrialState, create_trial

        trials = self._frozen()
        there = optuna.create_study(direction="maximize", sampler=self._made_sampler(len(trials)))
        there.add_trials(trials)
        point = there.ask(self._distributions).params
        added = create_trial(state=TrialState.RUNNING, params=point, distributions=self._distributions)
        self._study.add_trial(added)

    def tell(self, number: int, value: float | None) -> None:
        """End a trial with its value, or, without one, as failed."""
        from optuna.trial import TrialState

        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        self._study.tell(number, value, state=state)

    def _frozen(self) -> "list[FrozenTrial]":
        return self._study.get_trials(deepcopy=False)

    def _made_sampler(self, number: int) -> "BaseSampler":
        from optuna.samplers import RandomSampler, TPESampler

        seed = named_seed(self._seed, f"trial {number}") % 2**32
        if self._sampler == "random":
            return RandomSampler(seed=seed)
        return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _distribution(values: Values) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(values, Range):
        return CategoricalDistribution(values)
    if values.is_integer:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _mend(path: Path) -> None:
    """Remove a last line that a process did not write to its end; raises RunError for any other damage."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        with path.open("r+b") as file:
            file.truncate(len(whole))
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            is_object = isinstance(json.loads(line), dict)
        except ValueError:
            is_object = False
        if not is_object:
            raise damaged(path, f"another line {number}")


def damaged(path: Path, got: str) -> RunError:
    """The error of a journal with something else than a study of this search."""
    return RunError(
        f"expected the journal of an Optuna study in {path}, got {' '.join(got.split())}; remove the file: the "
        "same command makes it again, and finds the lifetimes that have ended"
    )
