"""The promises of recipes."""

import copy
from collections.abc import Callable

import torch

from agent.data.augmentation import Augmentation, Normalization
from agent.learners.recipe import Recipe
from agent.learners.training import Training, clone
from agent.networks.protocol import Network, Shape
from agent.networks.resnet import ResNet
from agent.testing.promises import (
    BrokenPromise,
    labels_of,
    own_randomness,
    run_all,
    same,
    sample_inputs,
    through_a_file,
)

N_STEPS = 30
"""Gradient steps within which the loss of a batch must fall."""


def check_recipe(
    make: Callable[[], Recipe],
    *,
    network: Callable[[torch.Generator], Network] | None = None,
    n_classes: int = 4,
    input_shape: Shape = (3, 8, 8),
) -> None:
    """Check that recipes keep the contract `agent.learners.Recipe`.

    Args:
        make: returns the recipe, the same each time.
        network: returns a network to train, with weights drawn from the generator; by default a small ResNet.
        n_classes: the network's number of classes.
        input_shape: shape of one input.

    Raises:
        BrokenPromise: naming the first promise that is broken.
    """
    made = network or (lambda generator: ResNet(8, 4, n_classes=n_classes, generator=generator))
    _RecipeCheck(make, made, n_classes, tuple(input_shape)).run()


class _RecipeCheck:
    """The promises of a recipe, one for each method."""

    def __init__(
        self,
        make: Callable[[], Recipe],
        network: Callable[[torch.Generator], Network],
        n_classes: int,
        input_shape: Shape,
    ) -> None:
        self.make, self.new_network, self.n_classes, self.shape = make, network, n_classes, input_shape
        self.labels = labels_of(8, n_classes, 2)
        self.inputs = sample_inputs(8, input_shape, self.labels, 2)

    def run(self) -> None:
        """Check all promises, simple ones first."""
        promises = [
            self.is_a_recipe,
            self.trains_each_parameter,
            self.has_a_loss,
            self.steps_at_its_learning_rate,
            self.is_deterministic,
            self.survives_a_round_trip,
            self.prepares_without_surprises,
            self.learns,
        ]
        run_all(self.make, promises)

    def training(self) -> Training:
        return Training(self.make(), Normalization.of(self.inputs), Augmentation())

    def network(self) -> Network:
        return self.new_network(torch.Generator().manual_seed(0)).train()

    def steps(self, network: Network, optimizers: list[torch.optim.Optimizer], n: int, factor: float = 1.0) -> float:
        """Take n gradient steps on the same batch; returns the last loss."""
        training, loss = self.training(), torch.tensor(0.0)
        moves = training.augmentation.draw(1, len(self.labels), torch.Generator().manual_seed(3))[0]
        for _ in range(n):
            loss = training.step(network, optimizers, self.inputs, self.labels, moves, factor=factor)
        if wrong := _not_finite({"loss": loss, **network.state_dict()}):
            found = f"after {n} steps on a batch these are not: {wrong}; a lower learning rate may help"
            raise BrokenPromise(self.make(), "gradient steps leave loss and weights finite", found)
        return float(loss)

    def is_a_recipe(self) -> None:
        recipe = self.make()
        if not isinstance(recipe, Recipe):
            raise BrokenPromise(recipe, "a recipe is an agent.learners.Recipe", f"got {recipe!r}"[:200])

    def trains_each_parameter(self) -> None:
        recipe = self.make()
        try:
            recipe.optimizers(self.network())
        except Exception as error:
            promise = "each parameter that requires a gradient has one optimizer"
            raise BrokenPromise(recipe, promise, str(error)) from error

    def has_a_loss(self) -> None:
        recipe = self.make()
        logits = torch.randn(8, self.n_classes, generator=torch.Generator().manual_seed(1)).requires_grad_()
        loss = recipe.loss(logits, self.labels)
        if loss.shape != () or not bool(torch.isfinite(loss)) or not loss.requires_grad:
            raise BrokenPromise(recipe, "the loss of a batch is one finite number with a gradient", f"got {loss}")

    def steps_at_its_learning_rate(self) -> None:
        network, still = self.network(), self.network()
        before = clone(network, network)
        self.steps(network, self.training().optimizers(network), 1)
        trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
        if all(torch.equal(network.get_parameter(name), before.get_parameter(name)) for name in trained):
            raise BrokenPromise(self.make(), "a gradient step changes weights", "none changed")
        self.steps(still, self.training().optimizers(still), 1, factor=0.0)
        changed = [name for name in trained if not torch.equal(still.get_parameter(name), before.get_parameter(name))]
        if changed:
            promise = "optimizers step at the rate `lr` of their groups, so that at 0 no weight changes"
            raise BrokenPromise(self.make(), promise, f"{changed[0]} changed")

    def is_deterministic(self) -> None:
        one, other = self.network(), self.network()
        with own_randomness(self.make()):
            for each in (one, other):
                self.steps(each, self.training().optimizers(each), 3)
        if not same(dict(one.state_dict()), dict(other.state_dict())):
            raise BrokenPromise(self.make(), "the same steps give the same weights, to the bit", "two networks differ")

    def survives_a_round_trip(self) -> None:
        network, other = self.network(), self.network()
        optimizers, restored = (self.training().optimizers(each) for each in (network, other))
        self.steps(network, optimizers, 3)
        other.load_state_dict(copy.deepcopy(network.state_dict()))
        saved = through_a_file(self.make(), {"optimizers": [each.state_dict() for each in optimizers]})
        for optimizer, state in zip(restored, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        fork, of_fork = clone((network, optimizers), network)
        self.steps(network, optimizers, 2)
        for each, its in ((other, restored), (fork, of_fork)):
            self.steps(each, its, 2)
            if not same(dict(each.state_dict()), dict(network.state_dict())):
                found = f"the weights of {'a fork' if each is fork else 'a restored network'} differ"
                raise BrokenPromise(self.make(), "optimizers continue from their state, to the bit", found)

    def prepares_without_surprises(self) -> None:
        recipe = self.make()
        if recipe.prepare is None:
            return
        given = self.network().eval()
        before = copy.deepcopy(dict(given.state_dict()))
        with own_randomness(recipe):
            one = self.training().prepared(given, self.inputs)[0]
            first = copy.deepcopy(dict(one.state_dict()))
            other = self.training().prepared(given, self.inputs)[0]
        if wrong := _not_finite(first):
            raise BrokenPromise(recipe, "prepare leaves weights finite", f"these are not: {wrong}")
        if not same([dict(given.state_dict()), dict(one.state_dict())], [before, first]):
            raise BrokenPromise(recipe, "prepare changes only the network that it is given", "another changed")
        if not same(dict(one.state_dict()), dict(other.state_dict())):
            raise BrokenPromise(recipe, "a preparation follows from the inputs alone", "two of the same differ")
        self.training().optimizers(one)  # must cover parameters that prepare unfroze

    def learns(self) -> None:
        network = self.network()
        network, _ = self.training().prepared(network, self.inputs)
        optimizers = self.training().optimizers(network)
        first = self.steps(network, optimizers, 1)
        last = self.steps(network, optimizers, N_STEPS)
        if not last < first:
            found = f"from {first:.3g} to {last:.3g}"
            raise BrokenPromise(self.make(), f"{N_STEPS} steps on a batch lower its loss", found)


def _not_finite(values: dict[str, torch.Tensor]) -> str:
    """Names of the first tensors with NaN or infinity."""
    return ", ".join([name for name, each in values.items() if not bool(torch.isfinite(each).all())][:3])
