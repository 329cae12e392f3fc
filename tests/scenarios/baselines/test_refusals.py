"""What a baseline does not do is said in one line."""

from dataclasses import replace

import pytest
import torch

from agent.data.augmentation import Augmentation
from agent.errors import InvalidSetting, TrainingDiverged
from agent.learners.recipe import muon
from scenarios.baselines.registry import BASELINES
from scenarios.config.families import BASELINE
from scenarios.config.members import make
from tests.agent.networks.frozen import FrozenNet
from tests.agent.toys import N_CLASSES, toy_images
from tests.scenarios.baselines.toys import made


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("icarl", "expected a baseline out of naive, replay, gdumb, er-ace, er-aml, der[+][+], mir, lwf, ewc, "),
        ("naive:passes=0", "expected passes from 1 to 1e[+]09, got 0"),
        ("er-ace:mem=0", "expected mem from 1 to 1e[+]09, got 0"),
        ("replay:mem=10,batch_mem=11", "expected batch_mem from 1 to the 10 samples of mem, got 11"),
        ("der++:alpha=-1", "expected alpha from 0 to"),
        ("mir:batch_mem=30,subsample=20", "expected subsample from 30 to"),
        ("er-aml:temperature=0", "expected temperature from 0.001 to"),
        ("ewc:mode=often", "expected mode of ewc to be one of online, separate, got often"),
        ("ewc:decay=2", "expected decay from 0 to 1, got 2"),
        ("gdumb:epochs=0", "expected epochs from 1 to 100000, got 0"),
        ("slda:shrinkage=0", "expected shrinkage from 1e-12 to 1, got 0"),
        ("er-ace:memory=5", "expected settings of er-ace out of mem, batch_mem, passes, got memory"),
    ],
)
def test_settings_have_ranges(spec, message):
    with pytest.raises(InvalidSetting, match=message) as error:
        make(spec, BASELINE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["er-ace", "er-aml", "der++", "lwf", "ewc"])
def test_a_loss_of_its_own_takes_the_mean_cross_entropy_beside_it(name):
    with pytest.raises(
        InvalidSetting, match=f"expected a recipe with the mean cross-entropy .* baseline {name}".replace("+", "[+]")
    ):
        made(name, recipe=muon(batch=8))


def test_mir_and_slda_say_which_networks_and_images_they_take():
    frozen = FrozenNet(n_classes=N_CLASSES, generator=torch.Generator())
    with pytest.raises(InvalidSetting, match="of which every parameter is trained for the baseline mir"):
        made("mir", network=frozen)
    given = made("naive")._given
    training = replace(given.training, augmentation=Augmentation(shift=1))
    with pytest.raises(InvalidSetting, match="expected no augmentation for the baseline slda"):
        BASELINES["slda"]().learner(given._replace(training=training))


def test_a_training_that_diverges_says_so():
    learner, data = made("naive", lr=1e20), toy_images(24)

    def learn_often():
        for _ in range(4):
            learner.learn(data.inputs, data.labels)

    with pytest.raises(TrainingDiverged, match="lower it"):
        learn_often()
