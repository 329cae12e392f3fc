"""Where keys are read in a network, by one agent or by several that share it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from agent.errors import InvalidSetting
from agent.networks.protocol import Network, Shape, identity_of, on_meta, shown

INPUT = "input"
"""The place before the network: its input, such as normalized pixels. Every network has it, and pooling spares it."""


@dataclass(frozen=True)
class KeyPlaces:
    """Where a network's activations are read as keys, and in what form.

    Args:
        names: places of the network, its aliases, or `input`; empty for the network's default.
        pooled: average each place over space, which leaves its channels, or use every activation. The input is never
            averaged, of which no more than a colour would be left.
        weights: one for each name, above 0, or none. With weights the cosine of two keys is the weighted mean of the
            cosines at each place; without, a place counts by the size of its activations.

    Raises:
        InvalidSetting: weights that are not one for each name, each once, or not finite and above 0.
    """

    names: tuple[str, ...] = ()
    pooled: bool = True
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.weights and len(self.weights) != len(self.names):
            raise InvalidSetting(f"expected a weight for each of {', '.join(self.names)}, got {self.weights}")
        if self.weights and len(set(self.names)) < len(self.names):
            raise InvalidSetting(f"expected each place once where places have weights, got {', '.join(self.names)}")
        if not all(0 < weight < float("inf") for weight in self.weights):
            raise InvalidSetting(f"expected finite weights of keys above 0, got {self.weights}")

    @classmethod
    def parse(cls, texts: Sequence[str], *, pooled: bool) -> "KeyPlaces":
        """Places with weights as texts, `stem*0.5`; a place without a weight has the weight 1 if another has one.

        Raises:
            InvalidSetting: a text after * that is no number above 0.
        """
        names, weights = [], []
        for text in texts:
            name, times, weight = text.partition("*")
            try:
                weights.append(float(weight) if times else 1.0)
            except ValueError:
                raise InvalidSetting(
                    f"expected a weight after the * of a place, as in stem*0.5+features, got {text}"
                ) from None
            names.append(name.strip())
        weighted = any("*" in text for text in texts)
        return cls(tuple(names), pooled, tuple(weights) if weighted else ())

    def of(self, network: Network) -> tuple[str, ...]:
        """The places in `network`.

        Raises:
            InvalidSetting: a place that the network does not have.
        """
        named = self.names or network.key_places
        places = tuple(place for name in named for place in network.aliases.get(name, (name,)))
        known = (INPUT, *network.places)
        unknown = [place for place in places if place not in known]
        if unknown:
            listed = ", ".join(known if len(known) <= 6 else (*known[:3], "...", *known[-2:]))
            meant = [name for name in named if name in network.aliases]
            raise InvalidSetting(
                f"expected keys from places of {shown(network)} ({listed}), got "
                f"{', '.join(unknown)}" + (f", which {', '.join(meant)} stands for" if meant else "")
            )
        return places

    def resolved(self, network: Network) -> "KeyPlaces":
        """The same keys by names of places alone; raises InvalidSetting as `of` does."""
        names = self.of(network)
        of_name = dict(zip(self.names, self.weights, strict=False))
        weights = [weight for name, weight in of_name.items() for _ in network.aliases.get(name, (name,))]
        return replace(self, names=names, weights=tuple(weights))

    def length(self, network: Network, shape: Shape) -> int:
        """Numbers in the key of an input of `shape`."""
        return _length(self, network, shape)

    def read(self, activations: dict[str, Tensor]) -> Float[Tensor, "n length"]:
        """Keys in float32: each place pooled or flattened, concatenated; not normalized (the memory does that).

        With weights (and then by names of places alone), each place has the norm √weight.
        """
        parts = []
        for place, activation in activations.items():
            averaged = self.pooled and activation.ndim == 4 and place != INPUT
            part = (activation.mean(dim=(2, 3)) if averaged else activation).flatten(1).float()
            if self.weights:
                part = part / part.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)  # so that no square overflows
                part = F.normalize(part, dim=1) * self.weights[self.names.index(place)] ** 0.5
            parts.append(part)
        return torch.cat(parts, dim=1)


def features_of(network: Network) -> KeyPlaces:
    """The features that the head of a network is given, averaged over space.

    They are at the place `features`, or at the last place of a network without it; without any place they are the
    input.
    """
    return KeyPlaces(("features",) if "features" in network.places else (network.places[-1:] or (INPUT,)))


@dataclass(frozen=True)
class JointKeys:
    """The keys of several agents that share a network, side by side: one forward pass reads them all.

    A learner takes it in place of `KeyPlaces`; each agent takes its `Columns` of what the learner gives. `joint_keys`
    makes both.

    Args:
        parts: keys of each agent, by names of places alone: neither aliases nor the network's default.
    """

    parts: tuple[KeyPlaces, ...]

    def of(self, network: Network) -> tuple[str, ...]:
        """The places in `network`, each once; raises InvalidSetting as `KeyPlaces.of` does."""
        return tuple(dict.fromkeys(place for part in self.parts for place in part.of(network)))

    def length(self, network: Network, shape: Shape) -> int:
        """Numbers in the joint key of an input of `shape`."""
        return _length(self, network, shape)

    def read(self, activations: dict[str, Tensor]) -> Float[Tensor, "n length"]:
        """The keys of each part, concatenated."""
        of_parts = [{place: activations[place] for place in activations if place in part.names} for part in self.parts]
        return torch.cat([part.read(own) for part, own in zip(self.parts, of_parts, strict=True)], dim=1)


Keys = KeyPlaces | JointKeys
"""What a learner is given to read keys with."""


class Columns(NamedTuple):
    """The part of a learner's keys that belongs to one agent: columns from `first` up to `end`, exclusive."""

    first: int
    end: int

    @property
    def length(self) -> int:
        """Numbers in a key of the agent."""
        return self.end - self.first

    def of(self, keys: Float[Tensor, "n joint"]) -> Float[Tensor, "n length"]:
        """These columns as a tensor of its own, so that arithmetic on it rounds as it does where they are all."""
        return keys[:, self.first : self.end].contiguous()


def joint_keys(wanted: Sequence[KeyPlaces], network: Network, shape: Shape) -> tuple[Keys, tuple[Columns | None, ...]]:
    """The keys that a learner must read for several agents, and the columns of each agent in them.

    Args:
        wanted: the keys of each agent; equal ones are read once.
        network: that is read.
        shape: of an input.

    Returns:
        What the learner is given, and for each agent its columns; None for all columns.

    Raises:
        InvalidSetting: a place that the network does not have.
    """
    resolved = [keys.resolved(network) for keys in wanted]
    parts = tuple(dict.fromkeys(resolved))
    if len(parts) == 1:
        return (parts[0] if parts[0].weights else wanted[0]), (None,) * len(wanted)
    columns, first = {}, 0
    for part in parts:
        columns[part] = Columns(first, first + part.length(network, shape))
        first = columns[part].end
    return JointKeys(parts), tuple(columns[each] for each in resolved)


_LENGTHS: dict[tuple[Keys, type[Network], str, Shape], int] = {}


def _length(keys: Keys, network: Network, shape: Shape) -> int:
    key = keys, *identity_of(network), shape
    if key not in _LENGTHS:
        with torch.inference_mode():
            twin, one = on_meta(network, shape)
            _LENGTHS[key] = keys.read(tapped(twin, one, keys.of(network))[1]).shape[1]
    return _LENGTHS[key]


def tapped(
    network: Network, inputs: Float[Tensor, "n ..."], places: Collection[str]
) -> tuple[Float[Tensor, "n classes"], dict[str, Tensor]]:
    """Logits, and the activations at places of the network or before it, in the order of the forward pass."""
    logits, found = network.tapped(inputs, [place for place in places if place != INPUT])
    return logits, ({INPUT: inputs} if INPUT in places else {}) | found


def check_takes(network: Network, shape: Shape, n_classes: int) -> None:
    """Check on the meta device that a network takes inputs of `shape` and gives `n_classes` logits.

    Raises:
        InvalidSetting: it does not.
    """
    try:
        twin, one = on_meta(network, shape)
        with torch.inference_mode():
            logits, found = tapped(twin, one, (INPUT, *network.places))
        if logits.ndim != 2 or len(logits) != 1 or tuple(found) != (INPUT, *network.places):
            raise ValueError(f"logits of shape {tuple(logits.shape)} and places {', '.join(found)}")
        if logits.shape[1] != n_classes:
            raise ValueError(f"{logits.shape[1]} logits for {n_classes} classes")
    except Exception as error:  # a network may be a user's own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InvalidSetting(
            f"expected a network that takes inputs of shape {tuple(shape)}, got {shown(network)}: {reason}; choose "
            "another --network (mlp takes inputs of any shape)"
        ) from error
