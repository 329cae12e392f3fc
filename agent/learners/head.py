"""The head learner: a linear head on the features of a frozen network, which are computed once for an image."""

import hashlib
import math
import time
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float16, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.data.augmentation import Augmentation, Normalization
from agent.data.feature_store import FeatureStore, contents_of
from agent.errors import InvalidSetting
from agent.learners.online import OnlineLearner
from agent.learners.protocol import LearningEstimate
from agent.learners.training import Training, unreported
from agent.networks.flops import flops_per_sample
from agent.networks.keys import INPUT, JointKeys, KeyPlaces, Keys
from agent.networks.outputs import Outputs
from agent.networks.protocol import Network, Shape, shown
from agent.version import Version

FEATURES = "features"
"""The place of a network whose activations its head is given."""

AT_ONCE = {"cpu": 8, "cuda": 256}
"""Images in a forward pass, by device: on a CPU as few as its caches hold, in which passes are fastest."""

WRITTEN_AT_ONCE = 256
"""Images after which features are written to disk, so that little is lost if a first pass is interrupted."""

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
        recipe = replace(training.recipe, prepare=None)
        self.trainer = OnlineLearner(
            self.reader.head,
            replace(training, recipe=recipe, normalization=UNCHANGED, progress=unreported),
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


class FeatureReader:
    """Activations below the head of a frozen network, computed once for an image.

    Args: see `HeadLearner`; raises as it does.
    """

    def __init__(self, network: Network, training: Training, keys: Keys, features_dir: Path | None) -> None:
        _check_frozen(network)
        _check_pooled(network, keys)
        self.network = network.to(training.device).eval()
        self.training, self.keys, self.features_dir = training, keys, features_dir
        self.head: Network = network.head  # type: ignore[assignment]
        wanted = {FEATURES, *keys.of(network)}
        self.places = tuple(place for place in network.places if place in wanted)

    @cached_property
    def identity(self) -> str:
        """Of all that decides the activations but the machine."""
        identity = hashlib.blake2b(digest_size=8)
        identity.update(repr((shown(self.network), self.training.normalization, self.places)).encode())
        for name, values in sorted(self.network.state_dict().items()):
            if not name.startswith("head."):
                identity.update(name.encode() + values.cpu().contiguous().numpy().tobytes())
        return identity.hexdigest()

    def flops(self, n: int, shape: Shape) -> int:
        """The FLOPs of the network below its head for n images of `shape`."""
        whole = flops_per_sample(self.network, shape).forward
        return n * (whole - flops_per_sample(self.head, (self._length(FEATURES, shape),)).forward)

    def like(self, inputs: Shaped[Tensor, "n ..."]) -> Float16[Tensor, "n features"]:
        """The features of inputs without their values, on the meta device."""
        n_features = self._length(FEATURES, tuple(inputs.shape[1:]))
        return torch.empty(len(inputs), n_features, dtype=torch.float16, device="meta")

    def keys_of(
        self, inputs: Shaped[Tensor, "n ..."], activations: dict[str, Float16[Tensor, "n _"]]
    ) -> Float[Tensor, "n length"]:
        """The keys of inputs, whose activations were read."""
        places = self.keys.of(self.network)
        first = {INPUT: self.training.normalization(inputs.to(self.training.device))} if INPUT in places else {}
        return self.keys.read(first | {place: activations[place] for place in self.places if place in places})

    @torch.inference_mode()
    def read(
        self, inputs: Shaped[Tensor, "n ..."], *, reported: int = 1
    ) -> tuple[dict[str, Float16[Tensor, "n _"]], Work]:
        """The activations of inputs, averaged over space, by place, and the work of computing them all.

        Args:
            inputs: any number of them.
            reported: forward passes that each input is reported as, as progress.
        """
        start, shape = time.perf_counter(), tuple(inputs.shape[1:])
        lengths = [self._length(place, shape) for place in self.places]
        rows = torch.empty(len(inputs), sum(lengths), dtype=torch.float16)
        missing, store = torch.arange(len(inputs)), None
        if self.features_dir is not None:
            store = FeatureStore(self.features_dir / f"{self.identity}.sqlite", sum(lengths))
            contents = contents_of(inputs)
            rows, found = store.read(contents)
            missing = (~found).nonzero()[:, 0]
        self.training.progress(reported * (len(inputs) - len(missing)))
        for block in missing.split(WRITTEN_AT_ONCE) if len(missing) else ():
            rows[block] = self._computed(inputs[block], reported)
            if store is not None:
                store.write([contents[row] for row in block.tolist()], rows[block])
        seconds = time.perf_counter() - start
        self.training.meter.add("forward", Work(self.flops(len(missing), shape), seconds=seconds, samples=len(missing)))
        activations = dict(zip(self.places, rows.to(self.training.device).split(lengths, dim=1), strict=True))
        return activations, Work(self.flops(len(inputs), shape), seconds=seconds, samples=len(inputs))

    def _computed(self, inputs: Shaped[Tensor, "n ..."], reported: int) -> Float16[Tensor, "n length"]:
        """The activations of inputs side by side.

        All batches have one size, the last with zeros at its end, since kernels round by the size of a batch.
        """
        size, device, rows = AT_ONCE.get(self.training.device.type, 256), self.training.device, []
        for batch in inputs.split(size):
            filled = torch.cat([batch, batch.new_zeros(size - len(batch), *batch.shape[1:])])
            normalized = self.training.normalization(filled.to(device))
            activations = self.network.tapped(normalized, self.places)[1].values()
            averaged = [each.mean(dim=(2, 3)) if each.ndim == 4 else each for each in activations]
            rows.append(torch.cat(averaged, dim=1)[: len(batch)].half().cpu())
            self.training.progress(reported * len(batch))
        return torch.cat(rows)

    def _length(self, place: str, shape: Shape) -> int:
        return KeyPlaces((place,)).length(self.network, shape)


def _check_frozen(network: Network) -> None:
    """Raise InvalidSetting for a network that has no head, or that changes below it."""
    trained = [name for name, values in network.named_parameters() if values.requires_grad]
    changing = [name for name in (*trained, *dict(network.named_buffers())) if not name.startswith("head.")]
    if changing or FEATURES not in network.places or not isinstance(getattr(network, "head", None), Network):
        raise InvalidSetting(
            "expected a network that is frozen below its head for the learner head, such as efficientnet-lite0, got "
            f"{shown(network)}"
        )


def _check_pooled(network: Network, keys: Keys) -> None:
    """Raise InvalidSetting for keys of all activations of a place."""
    for part in keys.parts if isinstance(keys, JointKeys) else (keys,):
        whole = () if part.pooled else set(part.of(network)) - {INPUT, FEATURES}
        if whole:
            raise InvalidSetting(
                f"expected pooled keys for the learner head, got {', '.join(sorted(whole))} without; --pool"
            )
