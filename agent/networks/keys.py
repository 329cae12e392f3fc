"""Where keys are read in a network."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from agent.errors import InvalidSetting
from agent.networks.resnet import ResNet

CACHE3 = "stage2.block0,stage2.block2.relu,stage2.block3"
"""The places of Orhan 2018 (arXiv:1805.08709, "Cache3" for ResNet-32), all in the last stage."""


@dataclass(frozen=True)
class KeyPlaces:
    """Where a network's activations are read as keys, and in what form.

    Args:
        names: one place or several, separated by commas (`stage2.block0,stage1.block0.relu`), or `cache3`.
        pooled: average each place over space (its number of channels remains) or keep every activation.
    """

    names: str = "features"
    pooled: bool = True

    def of(self, network: ResNet) -> tuple[str, ...]:
        """The places in `network`.

        Raises:
            InvalidSetting: a place that the network does not have.
        """
        places = tuple(place.strip() for place in (CACHE3 if self.names == "cache3" else self.names).split(","))
        unknown = [place for place in places if place not in network.places]
        if unknown:
            raise InvalidSetting(
                f"expected keys from places of a ResNet-{network.depth} ({network.places[0]}, {network.places[1]} ... "
                f"{network.places[-2]}, {network.places[-1]}), got {', '.join(unknown)}"
                + ("; cache3 needs a depth of 26 or more" if self.names == "cache3" else "")
            )
        return places

    def length(self, network: ResNet, height: int, width: int) -> int:
        """Numbers in a key of an image of height × width."""
        return _length(self, network.depth, network.width, height, width)

    def read(self, activations: dict[str, Tensor]) -> Float[Tensor, "n length"]:
        """Keys in float32: each place pooled or flattened, side by side; not normalized (the memory does that)."""
        parts = []
        for activation in activations.values():
            pooled = activation.mean(dim=(2, 3)) if self.pooled and activation.ndim == 4 else activation
            parts.append(pooled.flatten(1).float())
        return torch.cat(parts, dim=1)


@lru_cache
def _length(keys: KeyPlaces, depth: int, channels: int, height: int, width: int) -> int:
    # Tensors on the meta device have shapes and no data: the length costs milliseconds, once.
    with torch.inference_mode():
        network = ResNet(depth, channels, 1, generator=torch.Generator()).to("meta").eval()
        _, activations = network.tapped(torch.empty(1, 3, height, width, device="meta"), keys.of(network))
        return keys.read(activations).shape[1]
