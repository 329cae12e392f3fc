"""Gradient descent: a recipe bound to a data set and a device, learning-rate schedules, and the gradient step."""

import copy
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int32, Int64, Shaped
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from agent.accounting.meter import Meter
from agent.accounting.work import Work
from agent.data.augmentation import Augmentation, Normalization, moved
from agent.errors import InvalidSetting, TrainingDiverged
from agent.learners.precision import precision_of
from agent.learners.recipe import Recipe
from agent.networks.flops import flops_per_sample
from agent.networks.keys import Keys, tapped
from agent.networks.outputs import Outputs
from agent.networks.protocol import Network, Shape

Schedule = Callable[[float], float]
"""Maps the share of training done (0 to 1) to a factor on the learning rate."""


def constant(done: float) -> float:
    """The same rate throughout."""
    return 1.0


def one_cycle(done: float) -> float:
    """Linear warm-up over the first 30%, then a cosine to zero (Smith & Topin 2017, arXiv:1708.07120)."""
    warm_up = 0.3
    if done < warm_up:
        return 0.04 + 0.96 * done / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def steps(done: float) -> float:
    """The steps of Orhan 2018 (arXiv:1805.08709): lr, lr/9 after half, lr/90 after three quarters."""
    return 1.0 if done < 0.5 else 1 / 9 if done < 0.75 else 1 / 90


def warm_restarts(done: float) -> float:
    """Cosines from 1 to 0.01, each twice as long as the one before (Loshchilov & Hutter 2017, arXiv:1608.03983).

    Of 256 parts the first, at 0.1, warms up, and cosines begin with the parts 1, 2, 4, ... and 128, as in GDumb.
    """
    part = 256 * done
    if part < 1:
        return 0.1
    begun = 2 ** min(int(math.log2(part)), 7)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (part / begun - 1)))


def one_minus_sqrt(done: float) -> float:
    """From 1 down to 0, steeply at first: the cool-down that Hägele et al. 2024 recommend (arXiv:2405.18392)."""
    return 1 - math.sqrt(done)


def falling(step: int, timescale: float) -> float:
    """1 / √(1 + step / timescale), which needs no known end (Zhai et al. 2022, arXiv:2106.04560, section 3.5)."""
    return 1 / math.sqrt(1 + step / timescale)


ScheduleName = Literal["constant", "one-cycle", "steps", "warm-restarts"]
SCHEDULES: dict[ScheduleName, Schedule] = {
    "constant": constant,
    "one-cycle": one_cycle,
    "steps": steps,
    "warm-restarts": warm_restarts,
}


MAX_EPOCHS = 1e5
FORWARD_BATCH = 500
"""Samples in one forward pass: bounds memory, and large enough to fill two cores."""

Progress = Callable[[int], None]
"""Called with work done, in forward passes of one sample: a training step on it is three, further views none."""


def unreported(n_forward_passes: int) -> None:
    """Report no progress."""


@dataclass(frozen=True)
class Training:
    """A recipe bound to the inputs of one data set and to one device.

    Args:
        recipe: how networks are trained.
        normalization: of the data set.
        augmentation: of batches; see `Recipe.augmentation_on`.
        device: where networks and batches are stored.
        compiled: fuse forward and backward pass with `torch.compile`; this changes the order of additions and so the
            last digits.
        progress: called with work done.
        meter: counts what is computed.
    """

    recipe: Recipe
    normalization: Normalization
    augmentation: Augmentation = Augmentation()  # noqa: RUF009 (frozen)
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)
    compiled: bool = False
    progress: Progress = unreported
    meter: Meter = field(default_factory=Meter, compare=False)

    def facts(self, network: Network) -> dict[str, Any]:
        """What the recipe chose for this data set, network and machine, as plain values."""
        precision = precision_of(self.recipe.precision, network, self.device)
        return {"augmentation": asdict(self.augmentation), "precision": precision}

    def optimizers(self, network: Network) -> list[torch.optim.Optimizer]:
        """New optimizers of the network's parameters."""
        return self.recipe.optimizers(network, fused=self.device.type == "cuda")

    def prepared(self, network: Network, inputs: Shaped[Tensor, "n ..."]) -> tuple[Network, Work]:
        """A copy of the network, prepared from the first inputs of the stream; the network itself without `prepare`."""
        if self.recipe.prepare is None:
            return network, Work()
        start = time.perf_counter()
        training, network = network.training, copy.deepcopy(network).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self.recipe.prepare(network, self.normalization(inputs.to(self.device)))
        network.train(training)
        work = Work(counter.get_total_flops(), seconds=time.perf_counter() - start, samples=len(inputs))
        self.meter.add("training", work)
        return network, work

    def step(
        self,
        network: Network,
        optimizers: Sequence[torch.optim.Optimizer],
        inputs: Shaped[Tensor, "n ..."],
        labels: Int64[Tensor, " n"],
        moves: Int32[Tensor, "3 n"],
        *,
        factor: float = 1.0,
        new: "NewSamples | None" = None,
    ) -> Float[Tensor, ""]:
        """Take one gradient step on a batch that is on the device; returns the loss.

        It never waits for the device, so that a GPU receives the next step while it works on this one: the loss is
        checked later, by `check_finite`.

        Args:
            network: in training mode.
            optimizers: of the network's parameters.
            inputs: the batch.
            labels: its classes.
            moves: of the augmentation, drawn for the batch.
            factor: multiplies all learning rates.
            new: what is done otherwise with the first samples of the batch, which are new; None for nothing.

        Raises:
            InvalidSetting: `compiled` on a machine without a compiler, or a batch of one sample that the network
                refuses.
        """
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        prepared = self.normalization(self.augmentation(inputs, moves))
        loss_of = _compiled_loss if self.compiled else _loss
        with self.mixed_precision(network):
            try:
                loss = loss_of(network, prepared, labels, self.recipe.loss, new)
            except ValueError as error:  # as of batch normalization, if a channel has but one number
                if min(_passed_together(len(inputs), new)) > 1:
                    raise
                raise InvalidSetting(
                    f"expected at least 2 samples in each gradient step of {type(network).__name__}, got 1, which it "
                    f"refuses: {error}; larger chunks or batches have more"
                ) from error
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        return loss.detach()

    @torch.inference_mode()
    def look(
        self, network: Network, inputs: Shaped[Tensor, "n ..."], keys: Keys, *, plain: bool = False
    ) -> tuple[Outputs, Work]:
        """Forward passes in evaluation mode, in batches of bounded size.

        Args:
            network: in evaluation mode.
            inputs: any number of them.
            keys: read from the plain inputs.
            plain: leave out the other views of the inputs, over which probabilities are averaged.

        Raises:
            InvalidSetting: a mirror view of inputs that are not images.
        """
        start = time.perf_counter()
        places, views = keys.of(network), () if plain else self.recipe.views
        probabilities, read = [], []
        for batch in inputs.split(FORWARD_BATCH):
            here = batch.to(self.device)
            with self.mixed_precision(network):
                logits, activations = tapped(network, self.normalization(here), places)
                further = [network(self.normalization(moved(here, view))) for view in views]
            found = [each.float().softmax(dim=1) for each in (logits, *further)]
            probabilities.append(found[0] if not further else torch.stack(found).mean(dim=0))
            read.append(keys.read(activations))
            self.progress(len(batch))
        flops = len(inputs) * self.flops_of_looking(network, inputs.shape[1:], plain=plain)
        work = Work(flops, seconds=time.perf_counter() - start, samples=len(inputs))
        self.meter.add("forward", work)
        return Outputs(torch.cat(probabilities), torch.cat(read)), work

    def flops_of_steps(self, network: Network, shape: Shape, n_samples: int, n_steps: int) -> int:
        """FLOPs of gradient steps on inputs of a shape, so many in all; the optimizers' matrix products included."""
        of_samples = n_samples * flops_per_sample(network, shape).training
        return of_samples + n_steps * self.recipe.flops_of_step(network)

    def flops_of_looking(self, network: Network, shape: Shape, *, plain: bool = False) -> int:
        """FLOPs of `look` for one input."""
        n_views = 1 if plain else 1 + len(self.recipe.views)
        return n_views * flops_per_sample(network, shape).forward

    def mixed_precision(self, network: Network) -> torch.autocast:
        """A context in which matrix products have the recipe's precision."""
        enabled = precision_of(self.recipe.precision, network, self.device) == "bfloat16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)


class NewSamples(NamedTuple):
    """The new samples of a batch, its first ones; the others are rehearsed."""

    n: int
    apart: bool
    """Whether they pass through the network before the others, so that batch normalization sees them alone."""
    left_out: Bool[Tensor, " classes"] | None
    """Classes that their loss leaves out; None for none."""


def _passed_together(n: int, new: NewSamples | None) -> list[int]:
    """The numbers of samples that pass through the network together, out of a batch of n."""
    return [new.n, n - new.n] if new is not None and new.apart and new.n < n else [n]


Loss = Callable[[Tensor, Tensor], Tensor]


def _loss(network: Network, inputs: Tensor, labels: Tensor, loss: Loss, new: NewSamples | None) -> Tensor:
    logits = [network(some) for some in inputs.split(_passed_together(len(inputs), new))]
    whole = logits[0] if len(logits) == 1 else torch.cat(logits)
    if new is not None and new.left_out is not None:
        whole = torch.cat([whole[: new.n].masked_fill(new.left_out, -torch.inf), whole[new.n :]])
    return loss(whole, labels)


@cache
def _compiler() -> Callable[[Network, Tensor, Tensor, Loss, NewSamples | None], Tensor]:
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # warns of a missing CUDA
    return torch.compile(_loss, dynamic=False)


def _compiled_loss(network: Network, inputs: Tensor, labels: Tensor, loss: Loss, new: NewSamples | None) -> Tensor:
    """Compiled at the first batch of each size, once for all networks of the same shape."""
    from torch._dynamo.exc import TorchDynamoException  # takes a second to import

    try:
        return _compiler()(network, inputs, labels, loss, new)
    except TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        raise InvalidSetting(f"expected torch.compile to work here, got: {reason}; --no-compile does without") from None


Copied = TypeVar("Copied")


def clone(trained: Copied, network: Network) -> Copied:
    """A deep copy of a network and its optimizers that shares the parameters which are never trained."""
    return copy.deepcopy(trained, {id(parameter): parameter for parameter in _constants(network).values()})


def weights_of(network: Network) -> dict[str, Tensor]:
    """Parameters and buffers for a state: copies, except of parameters that are never trained."""
    constants = _constants(network)
    return {name: values if name in constants else values.clone() for name, values in network.state_dict().items()}


def load_weights(network: Network, weights: dict[str, Tensor], constants: Sequence[str]) -> None:
    """Load the weights of a state into a network.

    Forks may share the parameters that are never trained, so these are replaced and never written to.

    Args:
        network: of the same spec.
        weights: from `weights_of`.
        constants: names of the parameters that are never trained, from `constants_of`.
    """
    for name, parameter in dict(network.named_parameters()).items():
        parameter.requires_grad_(name not in constants)
        if name in constants:
            parent, _, last = name.rpartition(".")
            value = weights[name].to(parameter.device)
            setattr(network.get_submodule(parent), last, torch.nn.Parameter(value, requires_grad=False))
    network.load_state_dict(weights)


def constants_of(network: Network) -> list[str]:
    """Names of the parameters that are never trained."""
    return list(_constants(network))


def _constants(network: Network) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in network.named_parameters() if not parameter.requires_grad}


def check_finite(network: Network, losses: list[Tensor], rates: Sequence[float], *, first_step: int) -> None:
    """Check several gradient steps at once, so that a GPU need not be waited for after each.

    Args:
        network: after those steps.
        losses: of consecutive gradient steps.
        rates: their learning rates.
        first_step: number of the first of them.

    Raises:
        TrainingDiverged: at the first step with a non-finite loss, or at the last step if the weights are not finite.
    """
    norms = torch.stack(torch._foreach_norm(list(network.parameters())))
    finite = torch.isfinite(torch.stack([*losses, norms.sum()])).tolist()
    if not all(finite):
        step = min(finite.index(False), len(losses) - 1)
        raise TrainingDiverged(first_step + step, rates[step])


def passes(n: int, n_drawn: int, generator: torch.Generator) -> Int64[Tensor, " n_drawn"]:
    """`n_drawn` rows out of `n`, from consecutive random permutations: no row comes twice before all have come once."""
    permutations = [torch.randperm(n, generator=generator) for _ in range(-(-n_drawn // n))]
    return torch.cat(permutations)[:n_drawn] if permutations else torch.zeros(0, dtype=torch.int64)


def even_sizes(n_samples: int, largest: int) -> tuple[int, ...]:
    """Sizes of the fewest batches that hold `n_samples`, none above `largest`; they differ by at most one."""
    n_steps = -(-n_samples // largest)
    return tuple(n_samples // n_steps + (step < n_samples % n_steps) for step in range(n_steps))
