"""The promises of networks."""

import copy
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from agent.networks.flops import flops_per_sample
from agent.networks.keys import INPUT, tapped
from agent.networks.protocol import Network, Shape
from agent.testing.promises import BrokenPromise, own_randomness, run_all, same, through_a_file, untouched

REMEDY = "build layers on the meta device, then `to_empty`, and draw from the generator, as agent/networks/convnet.py"


def check_network(
    make: Callable[[torch.Generator], Network], *, n_classes: int = 4, input_shape: Shape = (3, 8, 8)
) -> None:
    """Check that networks keep the contract `agent.networks.Network`.

    Args:
        make: returns a new network with weights drawn from the generator.
        n_classes: its number of classes.
        input_shape: shape of one input.

    Raises:
        BrokenPromise: naming the first promise that is broken.
    """
    _NetworkCheck(make, n_classes, tuple(input_shape)).run()


class _NetworkCheck:
    """The promises of a network, one for each method."""

    def __init__(self, make: Callable[[torch.Generator], Network], n_classes: int, input_shape: Shape) -> None:
        self.with_generator, self.n_classes, self.shape = make, n_classes, input_shape

    def run(self) -> None:
        """Check all promises, simple ones first."""
        promises: list[Callable[[], None]] = [
            self.is_a_network,
            self.describes_itself,
            self.draws_from_its_generator_alone,
            *(partial(self.gives_logits, n) for n in (0, 1, 5)),
            self.treats_inputs_independently,
            self.gives_its_activations,
            self.counts_its_flops,
            self.trains_each_parameter,
            self.survives_a_round_trip,
        ]
        run_all(partial(self.with_generator, torch.Generator()), promises)

    def make(self, seed: int = 0) -> Any:
        return self.with_generator(torch.Generator().manual_seed(seed))

    def inputs(self, n: int) -> Tensor:
        """Random inputs, as if normalized."""
        return torch.randn(n, *self.shape, generator=torch.Generator().manual_seed(1))

    def is_a_network(self) -> None:
        network = self.make()
        if not isinstance(network, Network):
            raise BrokenPromise(network, "a network is derived from agent.networks.Network", "it is not")

    def describes_itself(self) -> None:
        network = self.make()
        try:
            plain = json.loads(json.dumps(network.spec))
        except (TypeError, ValueError) as error:
            raise BrokenPromise(network, "a network's spec holds plain values", f"{network.spec}: {error}") from error
        if json.loads(json.dumps(self.make(1).spec)) != plain:
            found = f"{plain}, then {self.make(1).spec}"
            raise BrokenPromise(network, "networks that differ only in their weights have equal specs", found)
        known = (*network.places, *network.aliases, INPUT)
        if unknown := [place for place in network.key_places if place not in known]:
            raise BrokenPromise(network, "key_places are places of the network, or its input", f"{unknown}")
        if len(set(network.places)) < len(network.places) or INPUT in network.places:
            raise BrokenPromise(network, "names of places are unique, and none is `input`", f"{network.places}")

    def draws_from_its_generator_alone(self) -> None:
        with own_randomness(self.make(), REMEDY):
            one, again, other = self.make(), self.make(), self.make(1)
        if not same(dict(one.state_dict()), dict(again.state_dict())):
            raise BrokenPromise(one, "initial weights follow from the generator", "two of equal seeds differ")
        if same(dict(one.state_dict()), dict(other.state_dict())):
            raise BrokenPromise(one, "initial weights follow from the generator", "two of different seeds are equal")

    def gives_logits(self, n: int) -> None:
        network = self.make().eval()
        with torch.no_grad():
            logits = network(self.inputs(n))
        if logits.shape != (n, self.n_classes) or not bool(torch.isfinite(logits).all()):
            found = f"shape {tuple(logits.shape)} for {n} inputs, {logits[:1]}"
            raise BrokenPromise(network, "a network gives a finite logit for each input and class", found)

    def treats_inputs_independently(self) -> None:
        network, inputs = self.make().eval(), self.inputs(5)
        before = copy.deepcopy(dict(network.state_dict()))
        with torch.no_grad(), untouched(network, inputs):
            whole, alone = network(inputs), torch.cat([network(each) for each in inputs.split(1)])
        if not same(dict(network.state_dict()), before):
            raise BrokenPromise(network, "in evaluation mode a forward pass changes nothing", "buffers changed")
        if not torch.allclose(whole, alone, rtol=1e-3, atol=1e-4):
            found = f"{whole[0]} among others, {alone[0]} alone"
            raise BrokenPromise(network, "in evaluation mode an input's logits do not depend on other inputs", found)

    def gives_its_activations(self) -> None:
        network, inputs = self.make().eval(), self.inputs(3)
        with torch.no_grad():
            logits, every = tapped(network, inputs, (INPUT, *network.places))
            plain, none = network.tapped(inputs, ())
            one = {place: network.tapped(inputs, (place,))[1] for place in network.places}
        if tuple(every) != (INPUT, *network.places) or none:
            found = f"asked for {network.places}, got {tuple(every)[1:]}; asked for none, got {tuple(none)}"
            raise BrokenPromise(network, "tapped returns the requested places, in their order", found)
        for place in network.places:
            if tuple(one[place]) != (place,) or not torch.equal(one[place][place], every[place]):
                found = f"{place} alone is {tuple(one[place])}"
                raise BrokenPromise(network, "a place gives the same alone and among others", found)
            if len(every[place]) != len(inputs) or every[place].ndim < 2:
                found = f"{place} has shape {tuple(every[place].shape)} for {len(inputs)} inputs"
                raise BrokenPromise(network, "activations have a row for each input", found)
        if not torch.equal(logits, plain):
            raise BrokenPromise(network, "reading places changes no logit", f"{logits[0]}, {plain[0]}")

    def counts_its_flops(self) -> None:
        network = self.make()
        try:
            traced = flops_per_sample(network, self.shape)
        except Exception as error:
            promise = "a network can be traced on the meta device, where tensors have no data"
            raise BrokenPromise(network, promise, f"{error!r}"[:300]) from error
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.eval()(self.inputs(3))
        if counter.get_total_flops() != 3 * traced.forward:
            found = f"{traced.forward} traced for one, {counter.get_total_flops()} counted for three"
            raise BrokenPromise(network, "FLOPs are proportional to the batch size", found)

    def trains_each_parameter(self) -> None:
        network = self.make().train()
        with own_randomness(network):
            network(self.inputs(5)).square().sum().backward()
        for name, parameter in network.named_parameters():
            if parameter.requires_grad and parameter.grad is None:
                promise = "each parameter that requires a gradient gets one"
                raise BrokenPromise(network, promise, f"{name} got none")

    def survives_a_round_trip(self) -> None:
        network, other, inputs = self.make().train(), self.make(1), self.inputs(5)
        optimizer = torch.optim.SGD([each for each in network.parameters() if each.requires_grad], lr=1e-3)
        for scale in (1, 2):  # what changes in training, such as batch statistics, must be saved, too
            network(scale * inputs + scale).square().mean().backward()
            optimizer.step()
        other.load_state_dict(through_a_file(network, dict(network.state_dict())))
        copied = copy.deepcopy(network)
        for mode, training in ("evaluation", False), ("training", True):
            with torch.no_grad():
                trained, *others = (each.train(training)(inputs) for each in (network, other, copied))
            for what, logits in zip(("restored from its state_dict", "copied"), others, strict=True):
                if not same(logits, trained):
                    found = f"after two gradient steps, in {mode} mode: {trained[0]}, {what} {logits[0]}"
                    raise BrokenPromise(network, f"a network is {what}, to the bit", found)
