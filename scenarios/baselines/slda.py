"""Avalanche's streaming linear discriminant analysis on features of a network that is never trained."""

import time
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.data.augmentation import Augmentation
from agent.errors import InvalidSetting
from agent.learners.frozen_features import FEATURES, FeatureReader
from agent.networks.keys import KeyPlaces, features_of
from agent.networks.outputs import Outputs
from agent.networks.protocol import Network, Shape
from agent.randomness import named_seed
from agent.version import Lineage, Version
from scenarios.baselines.counter import FlopCount
from scenarios.baselines.learner import FurtherLabels, silence, strategies
from scenarios.baselines.protocol import Given, check_at_least
from scenarios.baselines.randomness import OwnRandomness


@dataclass(frozen=True)
class Slda:
    """Deep SLDA: a mean for each class and one covariance of features of the network, which is never trained.

    It takes a pretrained network, such as efficientnet-lite0, whose features are computed once for an image and kept.
    Classes without a sample are not predicted.

    Args:
        shrinkage: ε of (1 - ε) Σ + ε I, above 0, at most 1.

    Raises:
        InvalidSetting: a setting outside its range.

    References:
        Hayes & Kanan 2020, arXiv:1909.01520 (shrinkage 1e-4); Avalanche, `StreamingLDA`
    """

    shrinkage: float = 1e-4
    lazy: ClassVar[bool] = False
    augments: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_at_least("shrinkage", self.shrinkage, 1e-12, 1)

    def learner(self, given: Given) -> "SldaLearner":
        """See `Baseline`."""
        if given.training.augmentation != Augmentation():
            raise InvalidSetting(
                "expected no augmentation for the baseline slda, which trains no network; leave it out"
            )
        return SldaLearner(self.shrinkage, given)


class _Scoring(NamedTuple):
    """How features are scored."""

    weights: Float[Tensor, "features classes"]
    offsets: Float[Tensor, " classes"]
    unseen: Bool[Tensor, " classes"]


class SldaLearner:
    """Updates its means and its covariance with each sample, and inverts the covariance after each chunk.

    It can neither be forked nor saved. FLOPs are counted while it learns, with 24 D³ for the pseudo-inverse of D × D
    numbers: 22 D³ for a singular value decomposition (Golub & Van Loan 2013, chapter 8), and a product.

    Args:
        shrinkage: see `Slda`.
        given: what learners are made from.
    """

    lazy: ClassVar[bool] = False

    def __init__(self, shrinkage: float, given: Given) -> None:
        self._given, self.network = given, given.network.to(given.training.device).eval()
        self.keys = given.keys
        self.keys.of(self.network)
        self._places = features_of(self.network)
        self._reader = None
        if _is_frozen(self.network):
            self._reader = FeatureReader(self.network, given.training, KeyPlaces((FEATURES,)), given.features_dir)
        self._shrinkage = shrinkage
        self._template: Any = None
        self._scoring: _Scoring | None = None
        self._randomness = OwnRandomness(named_seed(given.seed, "baseline"), given.training.device)
        self._further = FurtherLabels(given.further)
        self._n_chunks = self._n_given = 0
        self.lineage = Lineage()
        self.version = self.lineage.next()

    @property
    def n_steps(self) -> int:
        """Samples that means and covariance were updated with; there are no gradient steps."""
        return self._n_given

    @property
    def pending(self) -> bool:
        """Never: `learn` updates at once."""
        return False

    def flush(self) -> Work:
        """Nothing to do."""
        return Work()

    @property
    def nbytes(self) -> int:
        """Bytes of means, counts and covariance."""
        return sum(each.nbytes for each in self._sums())

    def _sums(self) -> tuple[Tensor, ...]:
        template = self._template
        return () if template is None else (template.muK, template.cK, template.Sigma)

    def learn(self, inputs: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"]) -> Work:
        """Compute features, update with each, and invert the covariance."""
        inputs, labels = self._further.beside(self._n_chunks, inputs, labels)
        self._n_chunks += 1
        if not len(labels):
            return Work()
        features, reading = self.features(inputs)
        start = time.perf_counter()
        if self._template is None:
            device = self._given.training.device
            self._template = strategies().streaming_lda(
                features.shape[1], self._given.n_classes, self._shrinkage, device
            )
        ids = range(self._n_given, self._n_given + len(labels))
        samples = strategies().dataset_of(features.cpu(), labels.cpu(), ids, None)
        formulas = {torch.ops.aten.linalg_pinv: _pinv_flops}
        with self._randomness, silence(), FlopCount(formulas) as counter:
            strategies().Strategy(self._template).train(samples, self._n_chunks - 1, len(labels))
            self._scoring = self._solve()
        self._n_given += len(labels)
        self.version = self.lineage.next()
        work = Work(counter.flops, self.nbytes, time.perf_counter() - start)
        self._given.training.meter.add("training", work)
        return reading + work

    @torch.no_grad()
    def _solve(self) -> "_Scoring":
        """Avalanche's `predict`, whose scores are linear in the features."""
        template = self._template
        template.predict(template.muK[:1])  # which has Λ computed
        weights = template.Lambda @ template.muK.T
        return _Scoring(weights, (template.muK.T * weights).sum(dim=0) / 2, template.cK == 0)

    def answers(self) -> "tuple[_Scoring | None, Version]":
        """How features are scored, and the version."""
        return self._scoring, self.version

    def answer_with(self, answers: "tuple[_Scoring | None, Version]") -> "tuple[_Scoring | None, Version]":
        """Score features in another way; returns the one until now."""
        before = self.answers()
        self._scoring, self.version = answers
        return before

    def features(self, inputs: Shaped[Tensor, "n ..."]) -> tuple[Float[Tensor, "n features"], Work]:
        """What the network's head would be given."""
        if self._reader is not None:
            activations, work = self._reader.read(inputs)
            return activations[FEATURES].float(), work
        outputs, work = self._given.training.look(self.network, inputs, self._places, plain=True)
        return outputs.keys, work

    def forward(self, inputs: Shaped[Tensor, "n ..."]) -> tuple[Outputs, Work]:
        """Probabilities, equal for all classes before the first chunk; the features are the keys."""
        features, work = self.features(inputs)
        scores = features.new_zeros(len(features), self._given.n_classes)
        if self._scoring is not None:
            scores = features @ self._scoring.weights - self._scoring.offsets
            scores = scores.masked_fill(self._scoring.unseen, -torch.inf)
        solving = Work(self._scoring_flops(len(inputs), features.shape[1]))
        return Outputs(scores.softmax(dim=1), features), work + solving

    def _scoring_flops(self, n: int, n_features: int) -> int:
        return 2 * n * n_features * self._given.n_classes

    def forward_flops(self, n: int, shape: Shape) -> int:
        """The FLOPs of `forward`."""
        reader, training = self._reader, self._given.training
        plain = training.flops_of_looking(self.network, shape, plain=True)
        reading = reader.flops(n, shape) if reader is not None else n * plain
        return reading + self._scoring_flops(n, self.key_length(shape))

    def key_length(self, shape: Shape) -> int:
        """Features."""
        return self._places.length(self.network, shape)

    def weights(self) -> dict[str, Tensor]:
        """Means, counts and covariance; before the first chunk there are none."""
        return {name: each.cpu() for name, each in zip(("means", "counts", "covariance"), self._sums(), strict=False)}


def _is_frozen(network: Network) -> bool:
    """Whether nothing below a head would be trained, so that features can be kept."""
    below = [values for name, values in network.named_parameters() if not name.startswith("head.")]
    has_head = FEATURES in network.places and isinstance(getattr(network, "head", None), Network)
    return has_head and not any(values.requires_grad for values in below)


def _pinv_flops(matrix: Tensor, *_: Any) -> int:
    return 24 * matrix.shape[-1] ** 3
