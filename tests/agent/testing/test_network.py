"""The kit for networks: our own pass, and for every promise a broken one is named."""

import itertools

import pytest
import torch
from torch import nn

from agent.networks import MLP, Airbench, ConvNet, ResNet, ResNet18
from agent.networks.efficientnet_lite import EfficientNetLite0
from agent.testing import BrokenPromise, check_network
from tests.agent.networks.frozen import FrozenNet
from tests.agent.networks.whitening import WhitenedNet

SHAPE = (6,)
COUNT = itertools.count()


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda generator: ResNet(8, 2, n_classes=4, generator=generator), (3, 8, 8)),
        (lambda generator: ResNet(14, 2, n_classes=4, generator=generator), (3, 9, 5)),
        (lambda generator: ResNet18(2, n_classes=4, generator=generator), (3, 9, 8)),
        (lambda generator: WhitenedNet(n_classes=4, generator=generator), (3, 8, 8)),
        (lambda generator: ConvNet(4, n_classes=4, generator=generator), (3, 8, 8)),
        (lambda generator: ConvNet(2, 1, n_classes=4, generator=generator), (3, 1, 1)),
        (lambda generator: MLP(8, n_classes=4, input_shape=(3, 4, 4), generator=generator), (3, 4, 4)),
        (lambda generator: MLP(8, 1, n_classes=4, input_shape=SHAPE, generator=generator), SHAPE),
        (lambda generator: MLP(8, 0, n_classes=4, input_shape=SHAPE, generator=generator), SHAPE),
        (lambda generator: Persisted(generator), SHAPE),
        (lambda generator: Airbench(93, n_classes=4, generator=generator), (3, 17, 16)),
        (lambda generator: FrozenNet(n_classes=4, generator=generator), (3, 8, 8)),
        (lambda generator: EfficientNetLite0(32, n_classes=4, generator=generator), (3, 32, 32)),
        pytest.param(
            lambda generator: EfficientNetLite0(49, n_classes=4, generator=generator), (3, 8, 8), marks=pytest.mark.slow
        ),
    ],
    ids=[
        "resnet-8",
        "resnet-14",
        "resnet-18",
        "with constants",
        "convnet",
        "a single pixel",
        "mlp",
        "vectors",
        "linear",
        "with a buffer",
        "airbench",
        "frozen",
        "pretrained",
        "pretrained, resized",
    ],
)
def test_our_networks_keep_their_promises(make, shape):
    check_network(make, n_classes=4, input_shape=shape)


class Whole(MLP):
    """The network that others break."""

    def __init__(self, generator):
        super().__init__(8, 2, n_classes=4, input_shape=SHAPE, generator=generator)


class Secretive(Whole):
    @property
    def spec(self):
        return {"widths": {6, 8}}


class Numbered(Whole):
    def __init__(self, generator):
        super().__init__(generator)
        self.number = next(COUNT)

    @property
    def spec(self):
        return {"number": self.number}


class Lost(Whole):
    def __init__(self, generator):
        super().__init__(generator)
        self.key_places = ("hidden7",)


class Twice(Whole):
    @property
    def places(self):
        return ("hidden0", "hidden0")


class Careless(Whole):
    def __init__(self, generator):
        super().__init__(generator)
        torch.rand(1)


class Stubborn(Whole):
    def __init__(self, generator):
        super().__init__(torch.Generator().manual_seed(0))


class Restless(Whole):
    def __init__(self, generator):
        super().__init__(torch.Generator().manual_seed(next(COUNT)))


class Narrow(Whole):
    def tapped(self, inputs, places):
        logits, found = super().tapped(inputs, places)
        return logits[:, :3], found


class Infinite(Whole):
    def tapped(self, inputs, places):
        logits, found = super().tapped(inputs, places)
        return logits / 0, found


class Writing(Whole):
    def tapped(self, inputs, places):
        return super().tapped(inputs.mul_(0.5), places)


class Counting(Whole):
    def __init__(self, generator):
        super().__init__(generator)
        self.register_buffer("n_seen", torch.zeros(()))

    def tapped(self, inputs, places):
        self.n_seen += 1
        return super().tapped(inputs, places)


class Sociable(Whole):
    def tapped(self, inputs, places):
        logits, found = super().tapped(inputs, places)
        return logits - logits.mean(dim=0), found


class Talkative(Whole):
    def tapped(self, inputs, places):
        return super().tapped(inputs, self.places)


class Swapped(Whole):
    def tapped(self, inputs, places):
        logits, found = super().tapped(inputs, places)
        return logits, {name: 2 * value if len(found) > 1 else value for name, value in found.items()}


class Averaged(Whole):
    def tapped(self, inputs, places):
        logits, found = super().tapped(inputs, places)
        return logits, {name: value.mean(dim=0) for name, value in found.items()}


class Disturbed(Whole):
    def tapped(self, inputs, places):
        logits, found = super().tapped(inputs, places)
        return logits + (1 if len(found) > 1 else 0), found


class Concrete(Whole):
    def tapped(self, inputs, places):
        logits, found = super().tapped(inputs, places)
        return logits * (1 if float(inputs.sum()) > -1e9 else 2), found


class Bulk(Whole):
    def tapped(self, inputs, places):
        if len(inputs) > 1:
            inputs @ inputs.T
        return super().tapped(inputs, places)


class Idle(Whole):
    def __init__(self, generator):
        super().__init__(generator)
        self.spare = nn.Parameter(torch.zeros(3))


class Unpersisted(Whole):
    """A running mean that is not saved."""

    persistent = False

    def __init__(self, generator):
        super().__init__(generator)
        self.register_buffer("mean", torch.zeros(4), persistent=self.persistent)

    def tapped(self, inputs, places):
        logits, found = super().tapped(inputs, places)
        if self.training:
            self.mean.lerp_(logits.detach().mean(dim=0), 0.1)
        return logits - self.mean, found


class Persisted(Unpersisted):
    persistent = True


class Attribute(Whole):
    """A scale that is set by the first batch in training."""

    scale = None

    def tapped(self, inputs, places):
        if self.training and self.scale is None:
            self.scale = float(inputs.square().mean())
        return super().tapped(inputs / (self.scale or 1), places)


class Uncopied(Whole):
    """A deep copy has the initial weights."""

    def __deepcopy__(self, memo):
        return Uncopied(torch.Generator().manual_seed(0))


class Stepping(Whole):
    """A count that only training reads."""

    n_steps = 0

    def tapped(self, inputs, places):
        logits, found = super().tapped(inputs, places)
        self.n_steps += self.training
        return logits / (1 + self.n_steps * self.training), found


class Plain(Whole):
    """PyTorch draws the initial weights."""

    def __init__(self, generator):
        super().__init__(generator)
        self.linear = nn.Linear(8, 4)


class NaN(Whole):
    def __init__(self, generator):
        super().__init__(generator)
        self.linear.weight.data.fill_(torch.nan)


class Refusing(Whole):
    def __init__(self, generator):
        raise ValueError("no")


class Forgetful(Whole):
    def __init__(self, generator):
        super().__init__(generator)
        self.shift = torch.rand(4, generator=generator)

    def tapped(self, inputs, places):
        logits, found = super().tapped(inputs, places)
        return logits + self.shift.to(logits.device), found


class Failing(Whole):
    def tapped(self, inputs, places):
        raise OSError("no")


BROKEN = [
    (Failing, r"Failing breaks a promise: gives logits; it raised OSError\('no'\)"),
    (lambda generator: nn.Linear(6, 4), "is derived from agent.networks.Network"),
    (Secretive, "spec holds plain values"),
    (Numbered, "have equal specs"),
    (Lost, "key_places are places of the network"),
    (Twice, "names of places are unique"),
    (Refusing, r"^Refusing breaks a promise: a new component can be made; it raised ValueError\('no'\)"),
    (Careless, "global random state"),
    (Plain, "global random state .* as agent/networks/convnet.py"),
    (Stubborn, "follow from the generator; two of different seeds are equal"),
    (Restless, "follow from the generator; two of equal seeds differ"),
    (Narrow, "a finite logit for each input and class"),
    (Infinite, "a finite logit for each input and class"),
    (NaN, "a finite logit for each input and class"),
    (Writing, "tensors that it is given are left as they are"),
    (Counting, "in evaluation mode a forward pass changes nothing"),
    (Sociable, "an input's logits do not depend on other inputs"),
    (Talkative, "returns the requested places"),
    (Swapped, "a place gives the same alone and among others"),
    (Averaged, "have a row for each input"),
    (Disturbed, "reading places changes no logit"),
    (Concrete, "traced on the meta device"),
    (Bulk, "FLOPs are proportional to the batch size"),
    (Idle, "each parameter that requires a gradient gets one; spare"),
    (Forgetful, "restored from its state_dict"),
    (Unpersisted, "restored from its state_dict"),
    (Attribute, "restored from its state_dict"),
    (Stepping, "restored from its state_dict"),
    (Uncopied, "a network is copied, to the bit"),
]


@pytest.mark.parametrize(("broken", "promise"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_network_is_named(broken, promise):
    with pytest.raises(BrokenPromise, match=promise):
        check_network(broken, n_classes=4, input_shape=SHAPE)
