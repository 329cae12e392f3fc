"""The head learner: a linear head on the features of a frozen network, which are computed once for an image."""

import math
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.data.augmentation import Augmentation, Normalization
from agent.errors import InvalidSetting
from agent.learners.frozen_features import FEATURES, FeatureReader
from agent.learners.online import OnlineLearner
from agent.learners.protocol import LearningEstimate
from agent.learners.training import Training, unreported
from agent.networks.flops import flops_per_sample
from agent.networks.keys import KeyPlaces, Keys
from agent.networks.outputs import Outputs
from agent.networks.protocol import Network, Shape
from agent.version import Version

UNCHANGED = Normalization((0.0,), (1.0,))


class HeadLearner:
    """Trains the head of a frozen, pretrained network on features of each chunk as it comes, and rehearses features.

    The head is trained as an online learner trains a network (see `online`), whose inputs are features. The network
    below it never changes, so the features of an image are computed once, rounded to float16, and kept on disk by the
    content of the image; those of a kept image are billed as if they were computed. Images are not augmented. Keys
    from other places than `input` are pooled, computed and kept in the same way.

    Args:
        network: has a `head`, whose parameters alone are trained.
        training: the recipe, bound to a data set and a device; without augmentation and further views.
        keys: where keys are read.
        epochs: samples trained on for each new sample, above 0.
        rehearsal: share of a batch drawn from earlier chunks, 0 to below 1.
        timescale: gradient steps after which the learning rate has fallen to 0.71 of what it was, as 1 / √(1 + steps /
            timescale), above 0; inf for a constant rate.
        ema_decay: decay of the averaged weights for each step; 0 uses the weights themselves.
        stored: the most samples whose features stay for rehearsal, 1 or more, a uniform sample; None for all.
        features_dir: folder of the features that are kept; None keeps none.
        seed: seed of the order of samples and of what stays.

    Raises:
        InvalidSetting: as of the online learner, and a network without a head or with more to train, keys that are not
            pooled, augmentation, or further views.

    References:
        Kornblith et al. 2019, arXiv:1805.08974 (linear classifiers on features of ImageNet)
    """

    lazy: ClassVar[bool] = False
    augments: ClassVar[bool] = False

    def __init__(
        self,
        network: Network,
        training: Training,
        keys: Keys,
        *,
        epochs: float = 6,
        rehearsal: float = 0.5,
        timescale: float = math.inf,
        ema_decay: float = 0.99,
        stored: int | None = None,
        features_dir: Path | None = None,
        seed: int = 0,
    ) -> None:
        if training.augmentation != Augmentation():
            raise InvalidSetting("expected no augmentation for the learner head, which keeps features; leave it out")
        if training.recipe.views:
            raise InvalidSetting("expected a recipe with views=plain for the learner head, got further views")
        self.reader = FeatureReader(network, training, keys, features_dir)
        self.trainer = OnlineLearner(
            self.reader.head,
            replace(training, normalization=UNCHANGED, progress=unreported),
            KeyPlaces((FEATURES,)),
            epochs=epochs,
            rehearsal=rehearsal,
            timescale=timescale,
            ema_decay=ema_decay,
            stored=stored,
            seed=seed,
        )

    @property
    def version(self) -> Version:
        """Of the head that predicts."""
        return self.trainer.version

    @property
    def n_steps(self) -> int:
        """Gradient steps since initialization."""
        return self.trainer.n_steps

    @property
    def pending(self) -> bool:
        """Never: `learn` trains at once."""
        return False

    @property
    def nbytes(self) -> int:
        """Bytes of the features and labels stored for rehearsal."""
        return self.trainer.nbytes

    def most_nbytes(self, inputs: Shaped[Tensor, "n ..."]) -> float:
        """The most bytes that are ever held between chunks; see `BoundedStorage`."""
        return self.trainer.most_nbytes(self.reader.like(inputs))

    def prepare(self, inputs: Shaped[Tensor, "n ..."]) -> Work:
        """Prepare the head from features as the recipe says; only the first call does anything."""
        if self.trainer.prepared or self.trainer.training.recipe.prepare is None:
            return Work()
        activations, reading = self.reader.read(inputs)
        return reading + _of_the_head(self.trainer.prepare(activations[FEATURES]))

    def learn(self, inputs: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"]) -> Work:
        """Compute the features of the chunk, and train on them.

        Raises:
            TrainingDiverged: the loss became non-finite.
        """
        if not len(labels):
            return Work()
        activations, reading = self.reader.read(inputs, reported=3)
        return reading + _of_the_head(self.trainer.learn(activations[FEATURES], labels))

    def estimate(self, inputs: Shaped[Tensor, "n ..."]) -> LearningEstimate:
        """The work of `learn`; nothing is deferred."""
        at_once, later = self.trainer.estimate(self.reader.like(inputs))
        reading = Work(self.reader.flops(len(inputs), tuple(inputs.shape[1:])), samples=len(inputs))
        return LearningEstimate(reading + _of_the_head(at_once), later)

    def flush(self) -> Work:
        """Nothing to do."""
        return Work()

    def forward(self, inputs: Shaped[Tensor, "n ..."]) -> tuple[Outputs, Work]:
        """Probabilities and keys."""
        activations, reading = self.reader.read(inputs)
        outputs, work = self.trainer.forward(activations[FEATURES])
        keys = self.reader.keys_of(inputs, activations)
        return Outputs(outputs.probabilities, keys), reading + _of_the_head(work)

    def forward_flops(self, n: int, shape: Shape) -> int:
        """The FLOPs of `forward`."""
        return n * flops_per_sample(self.reader.network, shape).forward

    def features(self, inputs: Shaped[Tensor, "n ..."]) -> tuple[Float[Tensor, "n features"], Work]:
        """What the head is given."""
        activations, work = self.reader.read(inputs)
        return activations[FEATURES].float(), work

    def key_length(self, shape: Shape) -> int:
        """Numbers in a key."""
        return self.reader.keys.length(self.reader.network, shape)

    def weights(self) -> dict[str, Tensor]:
        """The weights of the head."""
        return {f"head.{name}": values for name, values in self.trainer.weights().items()}

    def facts(self) -> dict[str, Any]:
        """What the recipe chose for the head, as plain values."""
        return self.trainer.facts()

    def fork(self) -> "HeadLearner":
        """An independent copy that draws the same random numbers from here on; the frozen network is shared."""
        fork = copy(self)
        fork.trainer = self.trainer.fork()
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, without the frozen network."""
        return {"trainer": self.trainer.state(), "frozen": self.reader.identity}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned.

        Raises:
            InvalidSetting: it belongs to another frozen network.
        """
        if state["frozen"] != self.reader.identity:
            raise InvalidSetting("expected the state of a head on the same frozen network, got that of another")
        self.trainer.load_state(state["trainer"])


def _of_the_head(work: Work) -> Work:
    """Work of the head, through which images pass that are counted below it."""
    return replace(work, samples=0)
