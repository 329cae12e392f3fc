"""The work of lifetimes before they are lived, for the plan of a sweep."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from agent.accounting.work import Work
from agent.agent import Agent
from agent.data.chunk import Chunk
from agent.learners.protocol import Estimating, Learner
from agent.lifetime.loop import ask
from agent.operations import Action
from agent.policies.observation import Observation
from scenarios.config.method import Method
from scenarios.config.settings import LifetimeConfig
from scenarios.datasets.load import Dataset
from scenarios.running.factory import build_agents, build_baseline
from scenarios.streams.scenario import Scenario

_PROBE = 128
"""Most samples of a chunk that is processed to measure the speed of this machine, and the growth of a memory."""
_PROBE_FLOPS = 5e10
"""Most FLOPs of a training that measures the speed."""
_STEP_NBYTES, _LIFETIME_NBYTES = 2_000, 16_000
"""Bytes of a step and of the other files of a lifetime, weights left out, as the preset `quick` writes them."""


@dataclass(frozen=True)
class Forecast:
    """What a lifetime is expected to take.

    Attributes:
        gflop: that its agent pays, in GFLOP.
        seconds: of one process on this machine, with measuring.
        nbytes: of its files.
        n_chunks: chunks of its stream.
    """

    gflop: float
    seconds: float
    nbytes: float
    n_chunks: int


@dataclass(frozen=True)
class _Rates:
    """What an agent's parts cost, in FLOPs."""

    at_once: Callable[[int], float]
    """Learning from n samples."""
    later: Callable[[int], float]
    """The training that brings a learner of n samples up to date."""
    forward: float
    """A sample."""
    reading: float
    """The key of a sample."""
    recall: Callable[[int], float]
    """A query at one setting, with n entries in memory."""
    recall_all: Callable[[int], float]
    """A query at all settings, with n entries in memory."""
    insert: float
    """A sample."""
    speed: float
    """Of this machine, in FLOP/s."""


def forecast(config: LifetimeConfig, seed: int, method: Method, world: tuple[Dataset, Scenario]) -> Forecast:
    """Estimate a lifetime from the FLOPs of its parts, and the speed of this machine on a few samples.

    Seconds are those of an agent that keeps no features (see `agent.learners.HeadLearner`): one that does takes less.
    A policy that observes nothing is asked for its decisions. The decisions of other policies are unknown: the estimate
    is for a policy that learns every other chunk. The memory's look-ups are extrapolated from its first two insertions.

    Args:
        config: settings of the world.
        seed: of the lifetime.
        method: of the lifetime.
        world: data set and scenario of the same seed.

    Raises:
        InvalidSetting: the data set or the machine does not allow the settings.
    """
    dataset, scenario = replace(world[0], cache_dir=None), world[1]
    measured, untouched = (_agent(config, method, dataset, seed) for _ in range(2))
    rates = _rates(measured, untouched.learner, dataset, scenario.stream[0])
    paid, beside = _Walk(config, method, world, rates).amounts(_decisions(seed, method, scenario.stream))
    weights = sum(values.nbytes for values in untouched.learner.weights().values())
    n = len(scenario.stream)
    nbytes = weights + n * _STEP_NBYTES + _LIFETIME_NBYTES
    if config.keep_predictions:  # ids and labels of 8 bytes, three probabilities of 4 bytes for each class
        nbytes += len(dataset.test) * (16 + 12 * dataset.n_classes)
    return Forecast(paid / 1e9, (paid + beside) / rates.speed, nbytes, n)


def _agent(config: LifetimeConfig, method: Method, dataset: Dataset, seed: int) -> Agent:
    if method.baseline is not None:
        return build_baseline(config, method, dataset, seed=seed)
    return build_agents(config, {"": method}, dataset, seed=seed)[""]


def _decisions(seed: int, method: Method, stream: Sequence[Chunk]) -> list[Action]:
    policy = method.policy.make(seed=seed)
    if policy.observes != "nothing" or policy.needs_estimates:
        return [Action.LEARN if i % 2 == 0 else Action.MEMORIZE for i in range(len(stream))]
    n, n_seen, n_learned, n_memorized, n_waiting = len(stream), 0, 0, 0, 0
    decided: list[Action] = []
    for i, chunk in enumerate(stream):
        learned, memorized = n_learned / max(n_seen, 1), n_memorized / max(n_seen, 1)
        observation = Observation(
            i, n, len(chunk), i / n, learned, memorized, price=chunk.price, actions=method.actions
        )
        decided.append(ask(policy, observation))
        operation = decided[-1].operation
        n_seen += len(chunk)
        n_memorized += len(chunk) * operation.memorizes
        n_waiting += len(chunk) * (operation.memorizes and (operation.consolidates or not operation.learns))
        consolidated = min(n_waiting, method.consolidate.images) if operation.consolidates else 0
        n_waiting -= consolidated
        n_learned += consolidated if operation.consolidates else len(chunk) * operation.learns
    return decided


def _rates(agent: Agent, fresh: Learner, dataset: Dataset, first: Chunk) -> _Rates:
    """Measure an agent, which learns and memorizes a few samples for it; `fresh` is its learner at initialization.

    A learner that cannot estimate learns a few samples too, and takes as much for each further one.
    """
    inputs, shape = dataset.train.inputs, tuple(dataset.train.inputs.shape[1:])
    learner, memory, n = agent.learner, agent.memory, min(len(first), _PROBE)
    chunk = Chunk(0, first.sample_ids[:n], first.inputs[:n], first.labels[:n])

    probed = Work() if isinstance(fresh, Estimating) else _probed(fresh, chunk)

    def learning(n: int) -> tuple[float, float]:
        if not isinstance(fresh, Estimating) or not n:
            of_n = probed.flops * n / max(len(chunk), 1)
            return (0.0, of_n) if fresh.lazy else (of_n, 0.0)
        at_once, later = fresh.estimate(inputs[:n])
        return at_once.flops, later.flops

    insert = memory.estimate_insert(n, agent.key_length(shape)).work.flops / n
    forward, reading = learner.forward_flops(1, shape), agent.reading_flops(1, shape)
    sizes, one, every = [], [], []
    flops, seconds = 0.0, 0.0
    for i in range(2):
        start = time.perf_counter()
        bill = agent.memorize(Chunk(i, chunk.sample_ids, chunk.inputs, chunk.labels))
        if i:  # the first pass is slower
            flops, seconds = sum(charge.work.flops for charge in bill), time.perf_counter() - start
        sizes.append(memory.n_entries)
        one.append(memory.recall_flops(n) / n)
        _, _, work = agent.look(chunk.inputs, memory.settings)
        every.append((work.flops / n) - forward)
    once, later = learning(n)
    if 0 < once < _PROBE_FLOPS and not later:  # it learns at once: its training tells more than its passes
        start = time.perf_counter()
        bill = agent.learn(chunk)
        flops, seconds = flops + sum(charge.work.flops for charge in bill), seconds + time.perf_counter() - start
    return _Rates(
        at_once=lambda n: learning(n)[0],
        later=lambda n: learning(n)[1],
        forward=forward,
        reading=reading,
        recall=_line(sizes, one),
        recall_all=_line(sizes, every),
        insert=insert,
        speed=max(flops, 1.0) / max(seconds, 1e-9),
    )


def _probed(learner: Learner, chunk: Chunk) -> Work:
    """The work of learning a few samples for the second time, when there are some to replay, and of flushing then."""
    learner.learn(chunk.inputs, chunk.labels)
    learner.flush()
    return learner.learn(chunk.inputs, chunk.labels) + learner.flush()


def _line(sizes: Sequence[int], costs: Sequence[float]) -> Callable[[int], float]:
    """The line through two points, and 0 without entries."""
    slope = (costs[1] - costs[0]) / (sizes[1] - sizes[0]) if sizes[1] > sizes[0] else 0.0
    return lambda n: max(0.0, costs[0] + slope * (n - sizes[0])) if n else 0.0


class _Walk:
    """Follows the loop of lifetimes with numbers alone."""

    def __init__(self, config: LifetimeConfig, method: Method, world: tuple[Dataset, Scenario], rates: _Rates) -> None:
        self.config, self.method, self.rates = config, method, rates
        dataset, self.scenario = world
        self.n_validation = 0 if config.calibration == "none" else len(dataset.validation)
        self.n_test = len(dataset.test)
        self.observes = method.policy.make(seed=0).observes
        self.lazy = method.is_lazy
        self.paid = self.measured = 0.0
        self.entries = self.learned = self.unlearned = 0
        self.pending = False
        self.version = 0  # of the network
        self.passed = {"validation": (-1, 0), "test": (-1, 0)}  # the network's version and the entries at the last pass

    def amounts(self, decisions: Sequence[Action]) -> tuple[float, float]:
        """FLOPs that the agent pays, and FLOPs that measuring takes beside them."""
        every, stream, n = self.method.calibrate_every or 0, self.scenario.stream, len(self.scenario.stream)
        if self.scenario.n_experiences > 1:
            self.measured += self._pass("test", self.n_test)
        for i, (chunk, action) in enumerate(zip(stream, decisions, strict=True)):
            self._look(chunk)
            self._perform(action, len(chunk))
            last = i + 1 == n
            calibrates = every and (i + 1) % every == 0
            if last or calibrates:
                self._flush()
                self.paid += self._pass("validation", self.n_validation) if self.entries else 0.0
            if last or (self.config.evaluate_every and (i + 1) % self.config.evaluate_every == 0) or self._ends(i):
                self._evaluate(last=last)
        return self.paid, self.measured

    def _ends(self, step: int) -> bool:
        return self.scenario.n_experiences > 1 and step in self.scenario.ends

    def _look(self, chunk: Chunk) -> None:
        rates, observes = self.rates, self.observes != "nothing"
        if chunk.queries:
            self._flush()
            self.paid += chunk.queries * (rates.forward + rates.recall(self.entries))
        recalled = rates.recall_all(self.entries)
        if observes:
            self._flush()
            self.paid += len(chunk) * (rates.forward + recalled * (self.observes == "memory"))
        if self.config.prequential and len(chunk.asked) and (chunk.newest is not None or not observes):
            self.measured += len(chunk.asked) * (rates.forward + recalled)
            self.measured += rates.later(self.learned) if self.pending else 0.0

    def _perform(self, action: Action, n: int) -> None:
        if action.operation.consolidates:
            self._memorize(n, known=self.observes != "nothing")
            n_learned = min(self.unlearned + n, self.method.consolidate.images)
            self.unlearned += n - n_learned
            self.entries -= n_learned if self.method.consolidate.release else 0
            if n_learned:
                self._learn(n_learned)
            return
        if action.operation.learns:
            self._learn(n)
        if action.operation.memorizes:
            self._memorize(n, known=self.observes != "nothing" and not action.operation.learns)
            self.unlearned += n * (not action.operation.learns)

    def _learn(self, n: int) -> None:
        self.paid += self.rates.at_once(n)
        self.learned += n
        self.pending = True
        if not self.lazy and not self.rates.later(self.learned):
            self._changed()

    def _memorize(self, n: int, *, known: bool) -> None:
        """Memorize n samples, whose outputs may be known."""
        self._flush()
        self.paid += n * self.rates.insert + (0.0 if known else n * self.rates.reading)
        self.entries += n

    def _flush(self) -> None:
        if self.pending and (later := self.rates.later(self.learned)):
            self.paid += later
            self._changed()
        self.pending = False

    def _pass(self, name: str, n: int) -> float:
        """The FLOPs of predicting a fixed set of n inputs, of which those of the last pass are known."""
        version, entries = self.passed[name]
        self.passed[name] = self.version, self.entries
        if version == self.version:
            return n * self.rates.recall_all(self.entries - entries)
        return n * (self.rates.forward + self.rates.recall_all(self.entries))

    def _changed(self) -> None:
        """The learner has changed: keys may be renewed."""
        self.version += 1
        if self.method.rekey.on_learn:
            self.paid += self.entries * self.rates.reading

    def _evaluate(self, *, last: bool) -> None:
        if self.pending and not last:
            self.measured += self.rates.later(self.learned)
        self.measured += self._pass("test", self.n_test)
        if not last and not self.method.calibrate_every and self.entries:
            self.measured += self._pass("validation", self.n_validation)
