"""The kit for learners: our own pass, and for every promise a broken one is named."""

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import pytest
import torch

from agent.accounting.work import Work
from agent.data.augmentation import Augmentation, Normalization
from agent.learners import AsymmetricReplayLearner, HeadLearner, OnlineLearner, RefitLearner, ReplayLearner
from agent.learners.protocol import LearningEstimate
from agent.learners.recipe import muon, sgd
from agent.learners.sampling import Sampling
from agent.learners.training import Training
from agent.networks import MLP, ConvNet, ResNet
from agent.networks.keys import KeyPlaces
from agent.networks.outputs import Outputs
from agent.testing import BrokenPromise, check_learner
from agent.version import Version
from tests.agent.networks.frozen import FrozenNet
from tests.agent.networks.whitening import WhitenedNet, whitening
from tests.agent.toys import WHOLE

N_CLASSES = 4
IMAGES, VECTORS = (3, 8, 8), (6,)
COUNT = itertools.count()


def training(recipe, shape):
    n = shape[0]
    normalization = Normalization((0.5,) * n, (0.25,) * n) if len(shape) == 3 else Normalization((0.0,) * n, (1.0,) * n)
    return Training(recipe, normalization, Augmentation(shift=1 if len(shape) == 3 else 0))


def of_vectors(kind, **settings):
    """A learner of feature vectors, as the kit makes it."""

    def make(seed):
        network = MLP(16, 1, n_classes=N_CLASSES, input_shape=VECTORS, generator=torch.Generator().manual_seed(seed))
        return kind(network, training(sgd(batch=8), VECTORS), KeyPlaces(), seed=seed, **settings)

    return make


def of_images(kind, network, recipe):
    def make(seed):
        generator = torch.Generator().manual_seed(seed)
        return kind(network(generator), training(recipe(), IMAGES), KeyPlaces(), seed=seed)

    return make


@pytest.mark.parametrize("kind", WHOLE.values(), ids=WHOLE)
def test_our_learners_keep_their_promises_on_feature_vectors(kind):
    check_learner(of_vectors(kind), input_shape=VECTORS)
    another = {"passes": 2, "stored": 9, "apart": True} if issubclass(kind, ReplayLearner) else {"epochs": 1.5}
    check_learner(of_vectors(kind, **another), input_shape=VECTORS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "recipe"),
    [
        (lambda generator: ResNet(8, 2, n_classes=N_CLASSES, generator=generator), lambda: sgd(batch=8)),
        (lambda generator: WhitenedNet(n_classes=N_CLASSES, generator=generator), whitening),
        (
            lambda generator: ConvNet(2, 2, n_classes=N_CLASSES, generator=generator),
            lambda: muon(batch=8, views="mirror", label_smoothing=0),
        ),
    ],
    ids=["resnet, sgd", "prepared, two optimizers", "convnet, muon, two views"],
)
@pytest.mark.parametrize("kind", WHOLE.values(), ids=WHOLE)
def test_our_learners_keep_their_promises_on_images(kind, network, recipe):
    slow = kind is AsymmetricReplayLearner  # with few classes in a minibatch of four
    check_learner(of_images(kind, network, recipe), input_shape=IMAGES, learns=not slow)


@pytest.mark.parametrize(
    ("kind", "settings"), [(OnlineLearner, {"rehearsal": 0.0, "ema_decay": 0.0}), (RefitLearner, {"warm": True})]
)
def test_other_settings_keep_them_too(kind, settings):
    check_learner(of_vectors(kind, **settings), input_shape=VECTORS)


@pytest.mark.parametrize("sampling", get_args(Sampling))
@pytest.mark.parametrize("stored", [None, 9])
def test_batches_of_stored_samples_alone_keep_them_too(sampling, stored):
    make = of_vectors(ReplayLearner, sampling=sampling, rehearsal=1, stored=stored, passes=2)
    check_learner(make, input_shape=VECTORS)


@pytest.mark.parametrize("places", [(), ("input", "filtered")], ids=["features", "other keys"])
def test_a_learner_of_heads_keeps_its_promises_whether_it_keeps_features(places, tmp_path):
    def make(seed, features_dir=None):
        network = FrozenNet(n_classes=N_CLASSES, generator=torch.Generator().manual_seed(seed))
        recipe = replace(training(sgd(batch=8), IMAGES), augmentation=Augmentation())
        return HeadLearner(network, recipe, KeyPlaces(places), features_dir=features_dir, seed=seed)

    check_learner(make, input_shape=IMAGES, learns=False)
    for _ in range(2):
        check_learner(lambda seed: make(seed, tmp_path), input_shape=IMAGES, learns=False)


class Unbilled(OnlineLearner):
    def learn(self, inputs, labels):
        super().learn(inputs, labels)


class Refunding(OnlineLearner):
    def flush(self):
        return Work(flops=-1)


class Fractional(OnlineLearner):
    def forward(self, inputs):
        outputs, work = super().forward(inputs)
        object.__setattr__(work, "flops", float(work.flops))
        return outputs, work


class Centering(OnlineLearner):
    """Subtracts the mean of the batch from keys."""

    def forward(self, inputs):
        outputs, work = super().forward(inputs)
        keys = outputs.keys - outputs.keys.mean(dim=0)
        return outputs._replace(keys=keys), work


class Sociable(OnlineLearner):
    """Predictions depend on the batch, as those of batch normalization in training mode."""

    def forward(self, inputs):
        outputs, work = super().forward(inputs)
        mixed = outputs.probabilities.lerp(outputs.probabilities.mean(dim=0), 0.5) if len(inputs) else outputs[0]
        return outputs._replace(probabilities=mixed), work


class NaN(OnlineLearner):
    """Diverges without saying so."""

    def forward(self, inputs):
        outputs, work = super().forward(inputs)
        return outputs._replace(probabilities=outputs.probabilities * (torch.nan if self.n_steps else 1)), work


class Infinite(NaN):
    def forward(self, inputs):
        outputs, work = OnlineLearner.forward(self, inputs)
        return outputs._replace(keys=outputs.keys / 0), work


class Brightening(OnlineLearner):
    def learn(self, inputs, labels):
        return super().learn(inputs.add_(1), labels)


class Relabelling(OnlineLearner):
    def learn(self, inputs, labels):
        work = super().learn(inputs, labels)
        labels.fill_(0)
        return work


class Weightless(OnlineLearner):
    def weights(self):
        return {name: torch.zeros_like(each) for name, each in super().weights().items()}


class Ticking(OnlineLearner):
    def forward(self, inputs):
        self.version = self.lineage.next()
        return super().forward(inputs)


class Counted(OnlineLearner):
    """Versions are numbers of steps."""

    @property
    def version(self):
        return Version("", self.n_steps)

    @version.setter
    def version(self, value):
        pass

    n_steps = 0


class Incomplete(OnlineLearner):
    key_length = property(lambda self: (_ for _ in ()).throw(AttributeError("key_length")))


class Nameless(OnlineLearner):
    def weights(self):
        return {"all": [1.0, 2.0]}


class Writing(OnlineLearner):
    def forward(self, inputs):
        found = super().forward(inputs)
        inputs += 1
        return found


class Logits(OnlineLearner):
    def forward(self, inputs):
        outputs, work = super().forward(inputs)
        return Outputs(outputs.probabilities * 2, outputs.keys), work


class LongKeys(OnlineLearner):
    def key_length(self, shape):
        return super().key_length(shape) + 1


class Cheap(OnlineLearner):
    def forward_flops(self, n, shape):
        return super().forward_flops(n, shape) // 2


class Misreading(OnlineLearner):
    def read(self, inputs):
        outputs, work = super().read(inputs)
        return outputs._replace(keys=outputs.keys + 1), work


class Overreading(OnlineLearner):
    def reading_flops(self, n, shape):
        return super().reading_flops(n, shape) + 1


class Doubled(OnlineLearner):
    def features(self, inputs):
        features, work = super().features(inputs)
        return features.double(), work


class Boundless(OnlineLearner):
    def features(self, inputs):
        features, work = super().features(inputs)
        return features / 0, work


class Whitening(OnlineLearner):
    def features(self, inputs):
        features, work = super().features(inputs)
        return features - features.mean(dim=0), work


class Restless(OnlineLearner):
    def features(self, inputs):
        self.version = self.lineage.next()
        return super().features(inputs)


class Fickle(OnlineLearner):
    def learn(self, inputs, labels):
        return super().learn(inputs, (labels + next(COUNT)) % N_CLASSES)


class Drawing(OnlineLearner):
    def learn(self, inputs, labels):
        torch.rand(1)
        return super().learn(inputs, labels)


class Busy(OnlineLearner):
    @property
    def pending(self):
        return True


class Eager(RefitLearner):
    lazy = False


class Expensive(OnlineLearner):
    def flush(self):
        return Work(flops=1)


class Uncounted(OnlineLearner):
    @property
    def n_steps(self):
        return 0

    @n_steps.setter
    def n_steps(self, value):
        pass


class Indebted(OnlineLearner):
    @property
    def nbytes(self):
        return -1


class Timeless(OnlineLearner):
    @property
    def version(self):
        return Version("", 1)

    @version.setter
    def version(self, value):
        pass


class Repeating(OnlineLearner):
    def prepare(self, inputs):
        return Work(flops=3)


class Moody(OnlineLearner):
    def prepare(self, inputs):
        if self.prepared:
            return Work()
        self.prepared = True
        with torch.no_grad():
            for parameter in self.predictor.parameters():
                parameter.mul_(1 + next(COUNT))
        return Work()


class Optimist(OnlineLearner):
    def estimate(self, inputs):
        told = super().estimate(inputs)
        return LearningEstimate(
            Work(told.at_once.flops // 2, told.at_once.nbytes, samples=told.at_once.samples), Work()
        )


class Trying(OnlineLearner):
    def estimate(self, inputs):
        self.version = self.lineage.next()
        return super().estimate(inputs)


class Siamese(OnlineLearner):
    def fork(self):
        return self


class Sharing(OnlineLearner):
    def fork(self):
        fork = super().fork()
        fork.network, fork.optimizers, fork.predictor = self.network, self.optimizers, self.predictor
        return fork


class Independent(OnlineLearner):
    def fork(self):
        fork = super().fork()
        fork.order.manual_seed(next(COUNT))
        return fork


class Renamed(OnlineLearner):
    def fork(self):
        fork = super().fork()
        fork.version = fork.lineage.next()
        return fork


class Lossy(OnlineLearner):
    def state(self):
        return super().state() | {"carried": 0.0, "n_steps": 0}


class Opaque(OnlineLearner):
    def state(self):
        return super().state() | {"what": SimpleNamespace()}


class Unbuffered(OnlineLearner):
    def state(self):
        return super().state() | {"samples": {}}


class Failing(OnlineLearner):
    def learn(self, inputs, labels):
        raise OSError("no")


class Lending(OnlineLearner):
    """Shares what it was loaded from."""

    def load_state(self, state):
        super().load_state(state)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)


class Contrary(OnlineLearner):
    def learn(self, inputs, labels):
        return super().learn(inputs, (labels + 1) % N_CLASSES)


BROKEN = [
    (Incomplete, "offers all that agent.learners.Learner names; missing .'key_length'"),
    (Nameless, "weights are tensors by name"),
    (Unbilled, "bills are a Work of whole numbers, 0 or more; learn gave None"),
    (Refunding, "bills are a Work of whole numbers, 0 or more; flush gave"),
    (Fractional, "bills are a Work of whole numbers, 0 or more; forward gave"),
    (Centering, "outputs do not depend on other inputs"),
    (Sociable, "outputs do not depend on other inputs"),
    (Misreading, "`read` gives the keys of `forward`"),
    (Overreading, "`read` takes what `reading_flops` says"),
    (Doubled, "features are a row of float32 for each input"),
    (Boundless, "features are finite"),
    (Whitening, "an input's features do not depend on other inputs"),
    (Restless, "features keep the version"),
    (NaN, "a distribution over classes for each input"),
    (Infinite, "keys are finite"),
    (Brightening, "tensors that it is given are left as they are"),
    (Relabelling, "tensors that it is given are left as they are"),
    (Weightless, "has the weights that predict"),
    (Ticking, "a forward pass keeps the version"),
    (Counted, "a learner and its fork differ in version after training"),
    (Writing, "tensors that it is given are left as they are"),
    (Logits, "a distribution over classes for each input"),
    (LongKeys, "keys have as many numbers as `key_length` says"),
    (Cheap, "takes what `forward_flops` says"),
    (Fickle, "the same samples give the same learner"),
    (Drawing, "global random state"),
    (Busy, "nothing is pending at initialization"),
    (Eager, "waits for flush if a learner is lazy"),
    (Expensive, "after flush nothing is pending; a second flush was billed"),
    (Uncounted, "`n_steps` counts gradient steps"),
    (Indebted, "`nbytes` is 0 or more"),
    (Timeless, "the version changes whenever outputs do"),
    (Repeating, "a network is prepared once"),
    (Moody, "a preparation follows from the inputs alone"),
    (Optimist, "learning takes what `estimate` says; learn of 11 samples"),
    (Trying, "an estimate changes nothing"),
    (Siamese, "training a fork does not change the learner"),
    (Sharing, "training a fork does not change the learner"),
    (Independent, "a fork draws the numbers that the learner draws"),
    (Renamed, "a fork has the same past, and at first the same version"),
    (Lossy, "a learner is restored from its state"),
    (Opaque, "states are tensors and plain values"),
    (Unbuffered, "a restored learner continues as the one that was saved"),
    (Failing, r"is deterministic; it raised OSError\('no'\)"),
    (Lending, "continues as the one that was saved|is restored from its state"),
    (Contrary, "a learner learns easy samples"),
]


@pytest.mark.parametrize(("broken", "promise"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_learner_is_named(broken, promise):
    with pytest.raises(BrokenPromise, match=promise):
        check_learner(of_vectors(broken), input_shape=VECTORS)
