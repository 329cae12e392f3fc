"""Experience replay: every few samples as they come and as many out of a store, or all out of the store."""

import time
from typing import Any, ClassVar

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.data.herding import herding_flops
from agent.data.sample_store import LABEL_NBYTES
from agent.errors import InvalidSetting
from agent.learners.online import OnlineLearner, Plan
from agent.learners.protocol import LearningEstimate
from agent.learners.sampling import Sampling, class_balanced, herded, recent
from agent.learners.training import NewSamples, Training, even_sizes
from agent.networks.keys import KeyPlaces, Keys
from agent.networks.protocol import Network, Shape, n_outputs

MOST_PASSES = 1000

FEATURES = KeyPlaces()
"""What herding compares: the network's default place, averaged over space, wherever keys are read."""


class ReplayLearner(OnlineLearner):
    """Experience replay (ER): gradient steps on a few new samples and on others out of a reservoir of fixed size.

    A chunk is cut into minibatches of new samples, which are met one after the other. On each, the network takes
    `passes` steps; the batch of each step has all of the minibatch and a share drawn from the reservoir, which is a
    uniform sample of all that came before the minibatch. The weights themselves predict: there is no average of them.

    With a rehearsed share of 1 no place in a batch is kept for new samples: a chunk of n is stored first, and the
    batches of its steps hold `passes` × n samples drawn from all that is then in store, as BudgetCL's do. `sampling`
    decides what the steps train on, and not how many there are. herding passes all that is in store through the network
    before the first step, unless all of it is drawn equally often; that is part of the work of learning.

    With `apart`, batch normalization has the statistics of new and of rehearsed samples for themselves in each step, as
    in the code of Caccia et al. 2022 (pclucas14/AML). The loss is the mean over both; theirs is the sum of the means
    of the two halves, so that their learning rate is half of ours.

    Args:
        network: initial weights; the learner owns the network from now on.
        training: the recipe, bound to a data set and a device; its batch counts new and rehearsed samples.
        keys: where keys are read.
        stored: the most samples that stay in the reservoir, 1 or more; None for all.
        rehearsal: share of a batch from the reservoir, above 0, at most 1; the others are new.
        passes: gradient steps on each minibatch, 1 or more, each with other samples from the reservoir; with a
            rehearsed share of 1, samples drawn for each new one.
        apart: pass new and rehearsed samples through the network one after the other, not together.
        sampling: which samples are drawn from the reservoir: uniform; class-balanced, each class with the same
            probability; recent, the last ones; herding, those whose mean feature is nearest that of their class
            (with a rehearsed share of 1, for each chunk).
        seed: seed of the order of samples, of augmentation and of what stays.

    Raises:
        InvalidSetting: a setting outside its range, places that the network lacks, or a recipe that lacks some of its
            parameters.

    References:
        Chaudhry et al. 2019, arXiv:1902.10486 (algorithm 1, with a reservoir)
        Prabhu et al. 2023, arXiv:2303.11165 (BudgetCL: samplings at an equal number of steps, all samples stored)
        Vitter 1985, "Random sampling with a reservoir"
    """

    asymmetric: ClassVar[bool] = False
    """Whether the loss of new samples leaves out the classes that are known already and not among them."""

    def __init__(
        self,
        network: Network,
        training: Training,
        keys: Keys,
        *,
        stored: int | None = 1000,
        rehearsal: float = 0.5,
        passes: int = 1,
        apart: bool = False,
        sampling: Sampling = "uniform",
        seed: int = 0,
    ) -> None:
        if not 1 <= passes <= MOST_PASSES:
            raise InvalidSetting(f"expected from 1 to {MOST_PASSES:,} passes over new samples, got {passes}")
        if not 0 < rehearsal <= 1:
            raise InvalidSetting(f"expected a rehearsed share above 0, at most 1, got {rehearsal}")
        super().__init__(network, training, keys, ema_decay=0, stored=stored, seed=seed, keeps=True)
        self.rehearsal, self.passes, self.apart, self.sampling = rehearsal, passes, apart, sampling
        if self.from_store and (apart or self.asymmetric):
            raise InvalidSetting(
                "expected a rehearsed share below 1 where new samples are treated otherwise than rehearsed ones "
                "(apart=true, er-ace), got 1; lower rehearsal"
            )
        if sampling == "herding" and not self.from_store:
            raise InvalidSetting(
                f"expected a rehearsed share of 1 for herding, which chooses once for each chunk, got {rehearsal}; "
                "choose rehearsal=1 or sampling=class-balanced"
            )
        if training.recipe.batch_size < 2 and not self.from_store:
            raise InvalidSetting("expected a batch of at least 2, new samples and rehearsed ones, got 1; raise batch")
        if self.asymmetric and not _leaves_out(training):
            raise InvalidSetting(
                "expected a loss that can leave out classes, as cross-entropy without label smoothing; choose --recipe "
                "sgd or label_smoothing=0"
            )
        self.known: Tensor | None = None
        """Whether each class was learned before; None at initialization."""

    def learn(self, inputs: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"]) -> Work:
        """Train on the chunk, minibatch by minibatch, or with a rehearsed share of 1 all at once.

        Raises:
            TrainingDiverged: the loss became non-finite.
        """
        work = Work()
        if self.known is None:
            self.known = torch.zeros(n_outputs(self.network, inputs.shape[1:]), dtype=torch.bool)
        size = max(1, len(labels)) if self.from_store else self.n_new
        for some, of_some in zip(inputs.split(size), labels.split(size), strict=True):
            work += super().learn(some, of_some)
            self.known = self.known.index_fill(0, of_some.cpu(), True)  # forks share the earlier tensor
        return work

    @property
    def from_store(self) -> bool:
        """Whether batches are drawn from the store alone, new samples being stored first."""
        return self.rehearsal == 1

    @property
    def n_new(self) -> int:
        """New samples in a batch, 1 or more, unless batches are drawn from the store alone."""
        size = self.training.recipe.batch_size
        return size - self.n_rehearsed

    @property
    def n_rehearsed(self) -> int:
        """Rehearsed samples in a batch, once there are any in store."""
        size = self.training.recipe.batch_size
        return min(max(1, round(self.rehearsal * size)), size - 1)

    def _plan(self, n_new: int) -> Plan:
        if self.from_store:
            sizes = even_sizes(self.passes * n_new, self.training.recipe.batch_size)
            return Plan(sizes, sizes, 0.0)
        n_rehearsed = self.n_rehearsed if len(self.samples) else 0
        return Plan((n_new + n_rehearsed,) * self.passes, (n_rehearsed,) * self.passes, 0.0)

    def _draw(self, n: int, n_earlier: int) -> tuple[Int64[Tensor, " n"], Work]:
        n_drawable = len(self.samples) if self.from_store else n_earlier
        if self.sampling == "uniform" or not n:
            return super()._draw(n, n_drawable)
        labels = self.samples.labels[:n_drawable].cpu()
        if self.sampling == "class-balanced":
            return class_balanced(labels, n, self.order), Work()
        if self.sampling == "recent" or not n % n_drawable:
            return recent(n_drawable, n, self.order), Work()  # for herding: everything, equally often
        start = time.perf_counter()
        looked, look = self.training.look(self.predictor, self.samples.rows, FEATURES, plain=True)
        rows = herded(looked.keys.cpu(), labels, n, self.order)
        work = self._drawing_work(n, n_drawable, self.samples.rows.shape[1:])
        chosen = Work(work.flops - look.flops, seconds=time.perf_counter() - start - look.seconds)
        self.training.meter.add("training", chosen)
        return rows, look + chosen

    def _drawing_work(self, n: int, n_drawable: int, shape: Shape) -> Work:
        """The work of drawing n samples out of n_drawable: that of herding; without its seconds."""
        if self.sampling != "herding" or not n or not n % n_drawable:
            return Work()
        looking = n_drawable * self.training.flops_of_looking(self.predictor, shape, plain=True)
        length = FEATURES.length(self.predictor, shape)
        return Work(looking + herding_flops(n_drawable, n % n_drawable, length), samples=n_drawable)

    def _new_samples(self, n: int, labels: Int64[Tensor, " m"]) -> NewSamples | None:
        left_out = None
        if self.asymmetric:
            assert self.known is not None
            left_out = self.known.index_fill(0, labels.cpu(), False).to(self.training.device)
        return NewSamples(n, self.apart, left_out) if self.apart or self.asymmetric else None

    def estimate(self, inputs: Shaped[Tensor, "n ..."]) -> LearningEstimate:
        """The work of `learn`; nothing is deferred."""
        n, shape, nbytes = len(inputs), inputs.shape[1:], inputs.nbytes + len(inputs) * LABEL_NBYTES
        if self.from_store:
            n_steps, n_trained = len(self._plan(n).sizes), self.passes * n
            flops = self.training.flops_of_steps(self.network, shape, n_trained, n_steps)
            drawing = self._drawing_work(n_trained, len(self.samples) + n, shape)
            return LearningEstimate(Work(flops, nbytes, samples=n_trained) + drawing, Work())
        n_minibatches = -(-n // self.n_new)
        n_rehearsing = n_minibatches - (not len(self.samples) and n > 0)  # the first of all has nothing to rehearse
        n_trained = self.passes * (n + n_rehearsing * self.n_rehearsed)
        flops = self.training.flops_of_steps(self.network, shape, n_trained, self.passes * n_minibatches)
        return LearningEstimate(Work(flops, nbytes, samples=n_trained), Work())

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {**super().state(), "known": self.known}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        super().load_state(state)
        self.known = state["known"]


class AsymmetricReplayLearner(ReplayLearner):
    """Experience replay with an asymmetric loss (ER-ACE): new samples do not push known classes away.

    The loss of a new sample is cross-entropy over the classes of its minibatch and those that were never seen; the
    classes that are known and not in the minibatch are left out. Rehearsed samples have all classes in their loss. So
    the first samples of new classes do not overwrite what the network knows. Everything else is as in er.

    Args:
        network: initial weights; the learner owns the network from now on.
        training: the recipe, bound to a data set and a device; its batch counts new and rehearsed samples.
        keys: where keys are read.
        stored: the most samples that stay in the reservoir, 1 or more; None for all.
        rehearsal: share of a batch from the reservoir, above 0 and below 1; the others are new.
        passes: gradient steps on each minibatch, 1 or more, each with other samples from the reservoir.
        apart: pass new and rehearsed samples through the network one after the other, not together.
        sampling: which samples are drawn from the reservoir: uniform, class-balanced or recent, as in er.
        seed: seed of the order of samples, of augmentation and of what stays.

    Raises:
        InvalidSetting: as er does, and for a loss that cannot leave out classes.

    References:
        Caccia et al. 2022, arXiv:2104.05025, section 4 (equation 2)
    """

    asymmetric: ClassVar[bool] = True


def _leaves_out(training: Training) -> bool:
    """Whether the loss is finite where the logit of another class is minus infinity."""
    logits = torch.tensor([[0.0, 0.0, -torch.inf]])
    return bool(torch.isfinite(training.recipe.loss(logits, torch.tensor([0]))))
