"""The promises of learners."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from agent.abilities import Forkable, Resumable, missing_members
from agent.accounting.work import Work
from agent.learners.protocol import Estimating, KeyReading, Learner, Preparable, Representing
from agent.networks.outputs import Outputs
from agent.networks.protocol import Shape
from agent.testing.promises import (
    BrokenPromise,
    billed,
    distributions,
    labels_of,
    own_randomness,
    run_all,
    same,
    sample_inputs,
    through_a_file,
    untouched,
)

SIZES = (11, 4, 1)
"""Samples in the chunks that learners are given."""


def check_learner(
    make: Callable[[int], Learner], *, n_classes: int = 4, input_shape: Shape = (3, 8, 8), learns: bool = True
) -> None:
    """Check that learners keep the contract `agent.learners.Learner`, and those of their optional abilities.

    Args:
        make: returns a new learner for a seed.
        n_classes: its number of classes, 2 or more.
        input_shape: shape of one input: images (three dimensions) are uint8, other inputs floats.
        learns: whether two passes over 200 easy samples must make it better than chance.

    Raises:
        BrokenPromise: naming the first promise that is broken.
    """
    _LearnerCheck(make, n_classes, tuple(input_shape), learns).run()


class _LearnerCheck:
    """The promises of a learner, one for each method."""

    def __init__(self, make: Callable[[int], Learner], n_classes: int, input_shape: Shape, learns: bool) -> None:
        self.make, self.n_classes, self.shape, self.must_learn = make, n_classes, input_shape, learns

    def run(self) -> None:
        """Check all promises, simple ones first."""
        promises: list[Callable[[], None]] = [
            self.offers_everything,
            *(partial(self.gives_distributions_and_keys, n) for n in (0, 1, 7)),
            self.is_deterministic,
            self.treats_inputs_independently,
            self.says_what_is_pending,
            self.changes_its_version,
        ]
        abilities = {
            KeyReading: self.reads_the_keys_of_forward,
            Representing: self.gives_features,
            Preparable: self.prepares_once,
            Estimating: self.bills_as_estimated,
            Forkable: self.forks_are_independent,
            Resumable: self.survives_a_round_trip,
        }
        run_all(partial(self.make, 0), promises)
        further = [promise for ability, promise in abilities.items() if isinstance(self.make(0), ability)]
        run_all(partial(self.make, 0), further + [self.learns] * self.must_learn)

    def samples(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        labels = labels_of(n, self.n_classes, seed)
        return sample_inputs(n, self.shape, labels, seed), labels

    def made(self, seed: int = 0) -> Any:
        """A learner that is prepared."""
        learner = self.make(seed)
        if isinstance(learner, Preparable):
            learner.prepare(self.samples(12, 77)[0])
        return learner

    def learn(self, learner: Learner, n: int, seed: int) -> Work:
        samples = self.samples(n, seed)
        with untouched(learner, *samples):
            return billed(learner, "learn", learner.learn(*samples))

    def teach(self, learner: Learner, *sizes: int, seed: int = 0) -> None:
        """Learn chunks of these sizes, with a flush after each."""
        for number, n in enumerate(sizes):
            self.learn(learner, n, seed + number)
            billed(learner, "flush", learner.flush())

    def forward(self, learner: Learner, inputs: Tensor) -> tuple[Outputs, Work]:
        with untouched(learner, inputs):
            outputs, work = learner.forward(inputs)
        if not distributions(outputs.probabilities, (len(inputs), self.n_classes)):
            found = f"shape {tuple(outputs.probabilities.shape)} for {len(inputs)} inputs, {outputs.probabilities[:1]}"
            raise BrokenPromise(learner, "forward gives a distribution over classes for each input", found)
        if outputs.keys.shape != (len(inputs), learner.key_length(self.shape)):
            found = f"shape {tuple(outputs.keys.shape)}, announced {learner.key_length(self.shape)} numbers"
            raise BrokenPromise(learner, "keys have as many numbers as `key_length` says", found)
        if not bool(torch.isfinite(outputs.keys).all()):
            raise BrokenPromise(learner, "keys are finite", f"{outputs.keys[:1]}")
        return outputs, billed(learner, "forward", work)

    def outputs(self, learner: Learner, n: int = 6) -> Outputs:
        return self.forward(learner, self.samples(n, 99)[0])[0]

    def offers_everything(self) -> None:
        learner = self.make(0)
        if lacks := missing_members(learner, Learner):
            promise = "a learner offers all that agent.learners.Learner names"
            raise BrokenPromise(learner, promise, f"missing {lacks}")
        weights = learner.weights()
        if not all(isinstance(each, Tensor) for each in weights.values()):
            raise BrokenPromise(learner, "weights are tensors by name", f"{ {k: type(v) for k, v in weights.items()} }")

    def gives_distributions_and_keys(self, n: int) -> None:
        learner = self.make(0)
        if learner.pending:
            raise BrokenPromise(learner, "nothing is pending at initialization", "pending")
        _, work = self.forward(learner, self.samples(n, 5)[0])
        if work.flops != learner.forward_flops(n, self.shape) or work.samples != n:
            found = f"{learner.forward_flops(n, self.shape)} announced, {work.flops} billed for {work.samples} samples"
            raise BrokenPromise(learner, "a forward pass takes what `forward_flops` says, for n samples", found)

    def is_deterministic(self) -> None:
        with own_randomness(self.make(0)):
            one, other = self.make(0), self.make(0)
            for each in (one, other):
                self.teach(each, *SIZES)
        if not same(tuple(self.outputs(one)), tuple(self.outputs(other))):
            found = "two learners of one seed differ"
            raise BrokenPromise(one, "the same samples give the same learner, to the bit", found)

    def treats_inputs_independently(self) -> None:
        learner = self.make(0)
        self.teach(learner, *SIZES)
        alone = [self.forward(learner, each)[0] for each in self.samples(6, 99)[0].split(1)]
        for name, among, single in zip(Outputs._fields, self.outputs(learner), zip(*alone, strict=True), strict=True):
            difference = float((among - torch.cat(single)).abs().max())
            if difference > 0.01 * float(among.abs().max()):  # bfloat16 rounds to 0.4%
                found = f"{name} differ by {difference:.3g} from those of the inputs alone"
                raise BrokenPromise(learner, "an input's outputs do not depend on other inputs", found)

    def reads_the_keys_of_forward(self) -> None:
        learner = self.made()
        inputs, _ = self.samples(7, 5)
        whole, forward = self.forward(learner, inputs)
        outputs, work = learner.read(inputs)
        if not torch.equal(outputs.keys, whole.keys):
            raise BrokenPromise(learner, "`read` gives the keys of `forward`", f"{outputs.keys[:1]}")
        announced = learner.reading_flops(7, self.shape)
        if not work.flops == announced <= forward.flops:
            found = f"{announced} announced, {work.flops} billed, {forward.flops} for `forward`"
            raise BrokenPromise(learner, "`read` takes what `reading_flops` says, at most what `forward` takes", found)

    def gives_features(self) -> None:
        learner = self.made()
        self.teach(learner, *SIZES)
        inputs, version = self.samples(7, 5)[0], learner.version
        with untouched(learner, inputs):
            features, work = learner.features(inputs)
            alone, _ = learner.features(inputs[:1])
        billed(learner, "features", work)
        if features.ndim != 2 or len(features) != 7 or features.dtype != torch.float32:
            found = f"shape {tuple(features.shape)} of {features.dtype} for 7 inputs"
            raise BrokenPromise(learner, "features are a row of float32 for each input", found)
        if not bool(torch.isfinite(features).all()):
            raise BrokenPromise(learner, "features are finite", f"{features[:1]}")
        if float((features[:1] - alone).abs().max()) > 0.01 * float(features.abs().max()):
            raise BrokenPromise(learner, "an input's features do not depend on other inputs", f"{alone} alone")
        if learner.version != version:
            raise BrokenPromise(learner, "features keep the version", f"{version}, then {learner.version}")

    def says_what_is_pending(self) -> None:
        learner = self.make(0)
        before = learner.n_steps
        self.learn(learner, SIZES[0], 0)
        if learner.pending != type(learner).lazy:
            found = f"lazy {type(learner).lazy}, pending {learner.pending} after learn"
            raise BrokenPromise(learner, "learning waits for flush if a learner is lazy, and only then", found)
        learner.flush()
        if learner.pending or learner.flush() != Work():
            found = "pending after flush" if learner.pending else "a second flush was billed"
            raise BrokenPromise(learner, "after flush nothing is pending", found)
        if not learner.n_steps > before:
            raise BrokenPromise(learner, "`n_steps` counts gradient steps", f"{before}, then {learner.n_steps}")
        self.teach(learner, 0)
        if learner.nbytes < 0:
            raise BrokenPromise(learner, "`nbytes` is 0 or more", f"{learner.nbytes}")

    def changes_its_version(self) -> None:
        learner = self.make(0)
        version, before = learner.version, self.outputs(learner)
        if learner.version != version:
            raise BrokenPromise(learner, "a forward pass keeps the version", f"{version}, then {learner.version}")
        weights = {name: each.clone() for name, each in learner.weights().items()}
        self.teach(learner, SIZES[0])
        if same(tuple(self.outputs(learner)), tuple(before)):
            return
        if learner.version == version:
            raise BrokenPromise(learner, "the version changes whenever outputs do", f"{version} before and after")
        if same(learner.weights(), weights):
            raise BrokenPromise(learner, "weights() has the weights that predict", "outputs changed, and these did not")

    def prepares_once(self) -> None:
        learner, other = self.make(0), self.make(0)
        assert isinstance(learner, Preparable)
        assert isinstance(other, Preparable)
        inputs, _ = self.samples(12, 3)
        billed(learner, "prepare", learner.prepare(inputs))
        version, before = learner.version, self.outputs(learner)
        again = learner.prepare(self.samples(12, 4)[0])
        if again != Work() or learner.version != version or not same(tuple(self.outputs(learner)), tuple(before)):
            raise BrokenPromise(learner, "a network is prepared once", f"a second time took {again}")
        other.prepare(inputs)
        if not same(tuple(self.outputs(other)), tuple(before)):
            raise BrokenPromise(learner, "a preparation follows from the inputs alone", "two of the same differ")

    def bills_as_estimated(self) -> None:
        learner = self.make(0)
        assert isinstance(learner, Estimating)
        for seed, n in enumerate((*SIZES, 0)):
            inputs, labels = self.samples(n, seed)
            version = learner.version
            at_once, later = learner.estimate(inputs)
            if learner.version != version or learner.pending:
                raise BrokenPromise(learner, "an estimate changes nothing", "the version changed, or something pends")
            for what, estimated, took in (
                ("learn", at_once, learner.learn(inputs, labels)),
                ("flush", later, learner.flush()),
            ):
                if (estimated.flops, estimated.nbytes, estimated.samples) != (took.flops, took.nbytes, took.samples):
                    found = f"{what} of {n} samples: estimated {estimated}, took {took}"
                    raise BrokenPromise(learner, "learning takes what `estimate` says", found)

    def forks_are_independent(self) -> None:
        learner = self.made()
        self.teach(learner, *SIZES)
        version, before = learner.version, self.outputs(learner)
        fork = learner.fork()
        if fork.version != version or not same(tuple(self.outputs(fork)), tuple(before)):
            raise BrokenPromise(learner, "a fork has the same past, and at first the same version", "it differs")
        self.teach(fork, 9, seed=20)
        if learner.version != version or not same(tuple(self.outputs(learner)), tuple(before)):
            raise BrokenPromise(learner, "training a fork does not change the learner", "outputs changed")
        self.teach(learner, 9, seed=20)
        if not same(tuple(self.outputs(fork)), tuple(self.outputs(learner))):
            raise BrokenPromise(learner, "a fork draws the numbers that the learner draws", "outputs differ")
        if learner.version == fork.version:
            raise BrokenPromise(learner, "a learner and its fork differ in version after training", f"{fork.version}")

    def survives_a_round_trip(self) -> None:
        for flushed in (True, False):
            learner, restored, third = self.made(), self.make(1), self.make(2)
            assert isinstance(restored, Resumable)
            assert isinstance(third, Resumable)
            self.teach(learner, *SIZES)
            if not flushed:
                self.learn(learner, 5, 40)
            state = through_a_file(learner, learner.state())
            restored.load_state(state)
            third.load_state(state)
            self.teach(third, 5, seed=60)  # must not affect `restored`, though both loaded the same state
            if restored.pending != learner.pending or restored.n_steps != learner.n_steps:
                facts = [(each.pending, each.n_steps) for each in (learner, restored)]
                found = f"pending and steps were {facts[0]}, and are {facts[1]}"
                raise BrokenPromise(learner, "a learner is restored from its state, to the bit", found)
            for each in (learner, restored):
                each.flush()
            if not same(tuple(self.outputs(restored)), tuple(self.outputs(learner))):
                raise BrokenPromise(learner, "a learner is restored from its state, to the bit", "outputs differ")
            for each in (learner, restored):
                self.teach(each, 9, 2, seed=30)
            if not same(tuple(self.outputs(restored)), tuple(self.outputs(learner))):
                found = "after more samples outputs differ"
                raise BrokenPromise(learner, "a restored learner continues as the one that was saved", found)

    def learns(self) -> None:
        learner = self.make(0)
        self.teach(learner, 100, 100)
        self.teach(learner, 100, 100)
        inputs, labels = self.samples(100, 50)
        predicted = self.forward(learner, inputs)[0].probabilities.cpu().argmax(dim=1)
        right = float((predicted == labels).float().mean())
        if right <= 1.3 / self.n_classes:
            raise BrokenPromise(
                learner, "a learner learns easy samples", f"{right:.0%} right of {self.n_classes} classes"
            )
