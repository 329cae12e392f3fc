"""What frozen features take, computed and kept. `python -m tests.benchmarks features`."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from efficientnet_lite_pytorch import EfficientNet

from agent.learners import HeadLearner
from agent.learners.recipe import sgd
from agent.learners.training import Training
from agent.networks.efficientnet_lite import EfficientNetLite0
from agent.networks.keys import KeyPlaces
from agent.networks.pretrained import pretrained_weights
from tests.benchmarks.ratios import Ratio, alternately, ratios

N, SIDE, RIVAL_BATCH = 256, 128, 32


def head(features_dir: Path | None = None) -> HeadLearner:
    """On EfficientNet-Lite0."""
    network = EfficientNetLite0(SIDE, n_classes=10, generator=torch.Generator().manual_seed(0))
    training = Training(sgd(), EfficientNetLite0.normalization)
    return HeadLearner(network, training, KeyPlaces(), features_dir=features_dir)


def public_features(images: torch.Tensor) -> Callable[[], object]:
    """The public implementation of the network, as it comes."""
    network = EfficientNet.from_name("efficientnet-lite0", image_size=SIDE).eval()
    network.load_state_dict(pretrained_weights(EfficientNetLite0.weights))

    @torch.inference_mode()
    def features() -> None:
        for batch in images.split(RIVAL_BATCH):
            normalized = (batch.float() - 127) / 128
            larger = torch.nn.functional.interpolate(normalized, (SIDE, SIDE), mode="bilinear")
            network.extract_features(larger).mean(dim=(2, 3))

    return features


def measure() -> list[Ratio]:
    """Features of images of 32 pixels; about a minute."""
    images = torch.randint(256, (N, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with TemporaryDirectory() as folder:
        fresh, kept = head(), head(Path(folder))
        kept.forward(images)
        computing, reading, public = alternately(
            lambda: fresh.forward(images), lambda: kept.forward(images), public_features(images)
        )
    rates = f"{N / min(computing):,.0f} and {N / min(public):,.0f} images/s"
    what = f"features of EfficientNet-Lite0 at {SIDE} pixels"
    return [
        Ratio(what, "efficientnet_lite_pytorch", ratios(public, computing), detail=rates),
        Ratio(f"{what}, kept", "computed", ratios(reading, computing), detail=f"{N / min(reading):,.0f} images/s"),
    ]
