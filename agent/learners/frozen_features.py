"""Activations below the head of a frozen network, which are computed once for an image and kept on disk."""

import hashlib
import logging
import sys
import time
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float, Float16, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.data.feature_store import FeatureStore, contents_of
from agent.errors import InvalidSetting
from agent.learners.training import Training
from agent.networks.flops import flops_per_sample
from agent.networks.keys import INPUT, JointKeys, KeyPlaces, Keys
from agent.networks.protocol import Network, Shape, shown

_logger = logging.getLogger(__name__)

FEATURES = "features"
"""The place of a network whose activations its head is given."""

AT_ONCE = {"cpu": 8, "cuda": 256}
"""Images in a forward pass, by device: on a CPU as few as its caches hold, in which passes are fastest."""

WRITTEN_AT_ONCE = 256
"""Images after which features are written to disk, so that little is lost if a first pass is interrupted."""


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
        self._store: FeatureStore | None = None

    @cached_property
    def identity(self) -> str:
        """Of the frozen network and its inputs: weights, settings and normalization."""
        identity = hashlib.blake2b(digest_size=8)
        identity.update(repr((shown(self.network), self.training.normalization)).encode())
        for name, values in sorted([*self.network.named_parameters(), *self.network.named_buffers()]):
            if not name.startswith("head."):
                identity.update(name.encode() + values.detach().cpu().contiguous().numpy().tobytes())
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
        missing, store = torch.arange(len(inputs)), self._opened(sum(lengths))
        if store is not None:
            contents = contents_of(inputs)
            rows, found = store.read(contents)
            missing = (~found).nonzero()[:, 0]
        self.training.progress(reported * (len(inputs) - len(missing)))
        for block in missing.split(WRITTEN_AT_ONCE) if len(missing) else ():
            rows[block] = self._computed(inputs[block], reported)
            if store is not None:
                store.write([contents[row] for row in block.tolist()], rows[block])
        seconds = time.perf_counter() - start
        # The head counts the images.
        self.training.meter.add("forward", Work(self.flops(len(missing), shape), seconds=seconds))
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
            averaged = [(each.mean(dim=(2, 3)) if each.ndim == 4 else each).flatten(1) for each in activations]
            rows.append(torch.cat(averaged, dim=1)[: len(batch)].half().cpu())
            self.training.progress(reported * len(batch))
        if not torch.isfinite(found := torch.cat(rows)).all():
            raise InvalidSetting(
                f"expected activations of {shown(self.network)} at {', '.join(self.places)} within float16 (65,504), "
                "got larger ones or none that are finite; other --keys, or another network"
            )
        return found

    def _opened(self, length: int) -> FeatureStore | None:
        """The store of these activations, or None to keep none.

        It is named by all that decides activations but the machine: the frozen network, the places, and the code of
        both. A network whose code is not in a file, such as of a notebook, keeps none, which is a warning.
        """
        if self._store is None and self.features_dir is not None:
            sources = _sources([*self.network.modules(), self.training.normalization])
            if sources is None:
                self.features_dir = None
                _logger.warning(
                    "expected the code of %s in a file, so that features of other code are told apart, got a class of "
                    "a notebook or a prompt; computing features without keeping any",
                    type(self.network).__name__,
                )
                return None
            places = hashlib.blake2b(repr(self.places).encode(), digest_size=8)
            for source in [*sources, Path(__file__).read_bytes()]:
                places.update(source)
            self._store = FeatureStore(self.features_dir / f"{self.identity}-{places.hexdigest()}.sqlite", length)
        return self._store

    def _length(self, place: str, shape: Shape) -> int:
        return KeyPlaces((place,)).length(self.network, shape)


def _sources(parts: Iterable[object]) -> list[bytes] | None:
    """The files that define the classes of parts, but PyTorch's; None if one is not in a file."""
    kinds = {kind for part in parts for kind in type(part).__mro__}
    names = {kind.__module__ for kind in kinds if kind.__module__.partition(".")[0] not in ("torch", "builtins")}
    files = [getattr(sys.modules.get(name), "__file__", None) for name in sorted(names)]
    return None if None in files else [Path(str(file)).read_bytes() for file in files]


def _check_frozen(network: Network) -> None:
    """Raise InvalidSetting for a network that has no head, or of which more is trained."""
    trained = [name for name, values in network.named_parameters() if values.requires_grad]
    changing = [name for name in trained if not name.startswith("head.")]
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
