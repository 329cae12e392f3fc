"""The kit for recipes: our own pass, and for every promise a broken one is named."""

import itertools
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from agent.learners.recipe import ParameterGroup, Recipe, adamw, muon, sgd
from agent.networks import MLP
from agent.testing import BrokenPromise, check_recipe
from tests.agent.networks.whitening import WhitenedNet, whitening

SHAPE = (6,)
COUNT = itertools.count()


def small(generator):
    return MLP(8, 1, n_classes=4, input_shape=SHAPE, generator=generator)


@pytest.mark.parametrize(
    "make",
    [
        sgd,
        partial(sgd, momentum=0.0),
        partial(sgd, views="mirror"),
        adamw,
        partial(muon, lr=0.02),
        lambda: Recipe(
            (
                ParameterGroup(torch.optim.AdamW, {"lr": 0.01}, names=r"linear\..*"),
                ParameterGroup(torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
            ),
            loss=partial(F.cross_entropy, reduction="sum", label_smoothing=0.2),
        ),
    ],
    ids=["sgd", "without momentum", "two views", "adamw", "muon", "two optimizers, a summed and smoothed loss"],
)
def test_our_recipes_keep_their_promises(make):
    check_recipe(make)
    check_recipe(make, network=small, n_classes=4, input_shape=SHAPE)


def test_a_recipe_that_prepares_keeps_its_promises():
    check_recipe(whitening, network=lambda generator: WhitenedNet(n_classes=3, generator=generator), n_classes=3)


class Lazy(torch.optim.SGD):
    def step(self, closure=None):
        pass


class Deaf(torch.optim.SGD):
    """Steps at a rate of its own."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] = 0.1
        super().step(closure)


class Noisy(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] *= 1 + next(COUNT) / 7
        super().step(closure)


class Drawing(torch.optim.SGD):
    def step(self, closure=None):
        torch.rand(1)
        super().step(closure)


class Forgetful(torch.optim.SGD):
    """Keeps the number of its steps beside its state."""

    n_steps = 0

    def step(self, closure=None):
        self.n_steps += 1
        for group in self.param_groups:
            group["lr"] /= self.n_steps
        super().step(closure)


class Upward(torch.optim.SGD):
    def __init__(self, params, lr):
        super().__init__(params, lr, maximize=True)


def by(optimizer, **settings):
    return lambda: Recipe((ParameterGroup(optimizer, {"lr": 0.05, **settings}),))


def vandal(network, inputs):
    for parameter in network.parameters():
        parameter.data.mul_(1 + next(COUNT))


PREPARED = []


def trespassing(network, inputs):
    """Changes the networks that were prepared before."""
    for each in PREPARED:
        each.linear.weight.mul_(2)
    PREPARED.append(network)


BROKEN = {
    "no recipe": (lambda: {"lr": 0.1}, "is an agent.learners.Recipe"),
    "no rate": (by(torch.optim.SGD, lr=0.0), "^<lambda> .* a new component can be made; it raised .* rate above 0"),
    "a view of no sense": (lambda: replace(sgd(), views=("mirror",)), "a new component can be made; it raised .*views"),
    "no precision": (partial(sgd, precision="half"), "^sgd .* a new component can be made; it raised .*precision"),
    "a rate too high": (partial(sgd, lr=1e10), "steps leave loss and weights finite; after 3 steps .* not: loss"),
    "a preparation of infinite weights": (
        lambda: replace(sgd(), prepare=lambda network, inputs: network.linear.weight.mul_(torch.nan)),
        "prepare leaves weights finite; these are not: linear.weight",
    ),
    "a preparation of other networks": (
        lambda: replace(sgd(), prepare=trespassing),
        "prepare changes only the network that it is given",
    ),
    "a parameter of no group": (
        lambda: Recipe((ParameterGroup(torch.optim.SGD, {"lr": 0.1}, names="hidden.*"),)),
        "each parameter that requires a gradient has one optimizer",
    ),
    "a loss for each sample": (
        lambda: replace(sgd(), loss=partial(F.cross_entropy, reduction="none")),
        "one finite number with a gradient",
    ),
    "lazy": (by(Lazy), "a gradient step changes weights"),
    "deaf": (by(Deaf), "step at the rate `lr`"),
    "drawing": (by(Drawing), "global random state"),
    "noisy": (by(Noisy), "the same steps give the same weights"),
    "forgetful": (by(Forgetful), "optimizers continue from their state"),
    "a preparation that draws": (
        lambda: replace(sgd(), prepare=lambda network, inputs: torch.nn.init.normal_(network.linear.weight)),
        "global random state",
    ),
    "a preparation that differs": (lambda: replace(sgd(), prepare=vandal), "follows from the inputs alone"),
    "upward": (by(Upward), "lower its loss"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_recipe_is_named(name):
    make, promise = BROKEN[name]
    with pytest.raises(BrokenPromise, match=promise):
        check_recipe(make, network=small, n_classes=4, input_shape=SHAPE)
