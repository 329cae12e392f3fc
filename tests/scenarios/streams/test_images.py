"""All images of a stream, as a measurement at its end is given them."""

import pytest
import torch

from scenarios.config.settings import SimulateConfig
from scenarios.datasets.source import Access
from scenarios.running.progress import SilentReporter
from scenarios.running.world import load_world

SIZES = {"dataset": "textures", "train_size": 90, "validation_size": 20, "test_size": 60, "chunks": 6}


@pytest.mark.parametrize("scenario", ["iid", "class-incremental:experiences=2", "zipf", "long-tailed", "noisy-labels"])
def test_each_image_is_there_once_with_the_label_of_the_stream(scenario):
    config = SimulateConfig.model_validate({**SIZES, "scenario": scenario})
    _, world = load_world(config, 0, Access(None, False), SilentReporter())
    seen = {}
    for chunk in world.stream:
        for row, image, label in zip(chunk.sample_ids.tolist(), chunk.inputs, chunk.labels.tolist(), strict=True):
            seen[row] = image, label
    assert len(world.images) == len(seen)
    for found, label, row in zip(world.images.inputs, world.images.labels.tolist(), sorted(seen), strict=True):
        assert torch.equal(found, seen[row][0])
        assert label == seen[row][1]
