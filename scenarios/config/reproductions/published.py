"""What was published, and the settings in which it is lived here."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Source:
    """Where figures were published."""

    title: str
    address: str
    """Of the file or page that has the figures."""


@dataclass(frozen=True)
class Published:
    """A published figure: the mean of a metric over runs.

    Attributes:
        mean: in percent.
        spread: in percentage points; None if the source gives none.
        n_runs: the runs that the mean is over.
        source: where it was published.
        spread_is: what `spread` is: the standard deviation between runs, or the standard error of their mean.
        metric: the metric of a lifetime's summary that it is compared with, from 0 to 1.
        runs: the value of each run, in percent, where the source gives them.
    """

    mean: float
    spread: float | None
    n_runs: int
    source: Source
    spread_is: Literal["deviation", "error"] = "deviation"
    metric: str = "final_accuracy"
    runs: tuple[float, ...] = ()

    @classmethod
    def of_runs(cls, *runs: float, source: Source, metric: str = "final_accuracy") -> "Published":
        """The mean and the standard deviation of two or more runs, in percent."""
        mean, deviation = statistics.mean(runs), statistics.stdev(runs)
        return cls(mean, deviation, len(runs), source, metric=metric, runs=runs)

    @property
    def deviation(self) -> float | None:
        """The standard deviation between runs, in percentage points; None if the source gives no spread."""
        if self.spread is None or self.spread_is == "deviation":
            return self.spread
        return self.spread * self.n_runs**0.5


def named(label: str, metric: str) -> str:
    """What a figure is called: the label of its method, with the metric unless that is final accuracy."""
    return label if metric == Published.metric else f"{label}, {metric.replace('_', ' ')}"


@dataclass(frozen=True)
class Gain:
    """A published difference between two methods, paired by run: what one gains over the other.

    Attributes:
        label: of the method that gains.
        over: of the method that it is compared with; None for the learner of the same method, without its memory.
        source: where it was published.
        mean: in percentage points; None if the source states only the direction.
        deviation: the standard deviation of the paired difference between runs, in percentage points; None if the
            source gives none, as most do.
        n_runs: the runs that the mean is over; 1 if the source does not say.
        direction: what the source claims of the gain's sign: that there is a gain, or that there is none.
        metric: of a lifetime's summary, from 0 to 1.
    """

    label: str
    over: str | None
    source: Source
    mean: float | None = None
    deviation: float | None = None
    n_runs: int = 1
    direction: Literal["above 0", "not above 0"] = "above 0"
    metric: str = "final_accuracy"

    def __str__(self) -> str:
        """What was published, in one phrase without its spread: `both over learned: +0.9`."""
        return f"{self.name}: {self.direction if self.mean is None else f'{self.mean:+.1f}'}"

    @property
    def name(self) -> str:
        """The methods, as reports name the gain."""
        return f"{self.label} over {self.other}"

    @property
    def other(self) -> str:
        """What it is compared with, as reports name it."""
        return "its learner" if self.over is None else self.over


_N_CLASSES = {"cifar10": 10, "cifar100": 100}


@dataclass(frozen=True)
class Reproduction:
    """A published setting, recorded as settings of `lifetime compare`, with what was published.

    Attributes:
        summary: what it is, in one line.
        settings: of `lifetime compare`, with `methods`, `dataset` and `seeds`; nothing depends on defaults that would
            change a number.
        published: the figure for each method that has one, by its label; several of different metrics for a method that
            has them.
        circumstances: what the source did and this program does too; one sentence each.
        differences: what this program does otherwise; one sentence each.
        hours: that it takes on two cores.
        short: settings in place of the recorded ones with `--short`.
        short_hours: that it takes then.
        gains: differences between two of the methods.
    """

    summary: str
    settings: Mapping[str, Any]
    published: Mapping[str, Published | tuple[Published, ...]]
    circumstances: tuple[str, ...]
    differences: tuple[str, ...]
    hours: float
    short: Mapping[str, Any]
    short_hours: float
    gains: tuple[Gain, ...] = ()

    def figures_of(self, label: str) -> tuple[Published, ...]:
        """The figures of a method; none if nothing was published of it."""
        found = self.published.get(label, ())
        return found if isinstance(found, tuple) else (found,)

    @property
    def figures(self) -> tuple[tuple[str, Published], ...]:
        """Every figure after its name, which says of what method and, but for final accuracy, of what metric it is."""
        return tuple((named(label, each.metric), each) for label in self.published for each in self.figures_of(label))

    @property
    def n_classes(self) -> int:
        """Of its data set."""
        return _N_CLASSES[self.settings["dataset"]]

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every source, once."""
        figures = [each.source for _, each in self.figures]
        return tuple(dict.fromkeys([*figures, *(gain.source for gain in self.gains)]))
