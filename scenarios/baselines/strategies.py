"""Avalanche's strategies, and what is mended in them; beside `streams.avalanche`, all that imports avalanche."""

import copy
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from agent.learners.training import Schedule
from scenarios.baselines.model import Features
from scenarios.baselines.protocol import Parts

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a solver that Avalanche imports warns about other solvers
    from avalanche.benchmarks.scenarios import DatasetExperience
    from avalanche.benchmarks.utils import (
        AvalancheDataset,
        DataAttribute,
        _make_taskaware_classification_dataset,
        concat_datasets,
        make_avalanche_dataset,
    )
    from avalanche.benchmarks.utils.data_attribute import TensorDataAttribute
    from avalanche.training.plugins import (
        EvaluationPlugin,
        EWCPlugin,
        LwFPlugin,
        MIRPlugin,
        ReplayPlugin,
        SupervisedPlugin,
    )
    from avalanche.training.regularization import AMLCriterion
    from avalanche.training.storage_policy import ClassBalancedBuffer, ExemplarsBuffer, ReservoirSamplingBuffer
    from avalanche.training.supervised import DER, ER_ACE, ER_AML, StreamingLDA
    from avalanche.training.templates import SupervisedTemplate
    from avalanche.training.utils import cycle

Transform = Callable[[Tensor], Tensor]
"""Of one input, such as an augmentation."""

COMPACTED_EVERY = 16
"""Chunks after which buffers copy their samples: until then they refer to whole chunks, and get slower with each."""


# Data


def dataset_of(
    inputs: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"], ids: Sequence[int], transform: Transform | None
) -> AvalancheDataset:
    """Labelled inputs as Avalanche has them, with the attribute `sample_id`; they are transformed for training only."""
    return _make_taskaware_classification_dataset(
        TensorDataset(inputs, labels),
        transform_groups={"train": (transform, None), "eval": (None, None)},
        task_labels=0,
        targets=labels.tolist(),
    ).update_data_attribute("sample_id", DataAttribute(list(ids), "sample_id"))


def ids_in(buffer: ExemplarsBuffer) -> list[int]:
    """The ids of the samples in a buffer."""
    samples = buffer.buffer
    return [int(each) for each in samples.sample_id] if len(samples) else []


def compact(buffer: ExemplarsBuffer, transform: Transform | None) -> None:
    """Let a buffer have copies of its samples, in their order, instead of parts of all chunks that they come from."""
    if isinstance(buffer, Everything):
        return
    for each in getattr(buffer, "buffer_groups", {"": buffer}).values():
        if len(each.buffer):
            each.buffer = _copied(each.buffer, transform)


def _copied(samples: AvalancheDataset, transform: Transform | None) -> AvalancheDataset:
    items = [samples.eval()[i] for i in range(len(samples))]
    inputs, labels = (torch.stack([torch.as_tensor(item[part]) for item in items]) for part in (0, 1))
    copied = dataset_of(inputs, labels, [int(each) for each in samples.sample_id], transform)
    if not hasattr(samples, "logits"):
        return copied
    return _with_logits(copied, torch.stack([item[3] for item in items]))


def _with_logits(samples: AvalancheDataset, logits: Tensor) -> AvalancheDataset:
    attribute = TensorDataAttribute(list(logits), name="logits", use_in_getitem=True)
    return make_avalanche_dataset(samples, data_attributes=[attribute])


def forked(buffer: ExemplarsBuffer) -> ExemplarsBuffer:
    """An independent buffer with the same samples: Avalanche replaces data sets and weights, and changes neither."""
    fork = copy.copy(buffer)
    if hasattr(buffer, "buffer_groups"):
        fork.buffer_groups = {name: copy.copy(group) for name, group in buffer.buffer_groups.items()}
        fork.seen_classes = set(buffer.seen_classes)
    return fork


class Everything(ExemplarsBuffer):
    """A buffer without a bound."""

    buffer: AvalancheDataset

    def __init__(self) -> None:
        super().__init__(max_size=0)

    def update_from_dataset(self, new_data: AvalancheDataset) -> None:
        """Append samples."""
        self.buffer = concat_datasets([self.buffer, new_data]) if len(self.buffer) else new_data

    def resize(self, strategy: Any, new_size: int) -> None:
        """It has no size."""


def balanced_by_class(mem: int) -> ExemplarsBuffer:
    """A buffer of equally many samples of each class, which are drawn uniformly."""
    return ClassBalancedBuffer(max_size=mem, adaptive_size=True)


# The strategies, as the adapter has them


@dataclass(frozen=True)
class Strategy:
    """A strategy that learns one experience after the other, each a chunk."""

    template: SupervisedTemplate
    buffer: ExemplarsBuffer | None = None
    held: Callable[[], Iterable[Tensor]] = tuple
    """Tensors that it keeps beside samples and the weights that predict."""
    sample_nbytes: int = 0
    """Bytes that it stores of each sample in the buffer, beside input and label."""

    def train(self, samples: AvalancheDataset, number: int, batch: int) -> None:
        """Train on a chunk.

        Args:
            samples: of the chunk.
            number: its position.
            batch: new samples in a gradient step.
        """
        self.template.train_mb_size = batch
        self.template.train(DatasetExperience(dataset=samples, current_experience=number), eval_streams=[])


class _GivenOptimizer:
    """A strategy that leaves the optimizer alone, which is several; the network never grows."""

    def make_optimizer(self, **_: Any) -> None:
        """Nothing to make."""


class _Plain(_GivenOptimizer, SupervisedTemplate):
    """Gradient steps, with what plugins do before and after them."""


class _ErAce(_GivenOptimizer, ER_ACE):
    """As it is."""


class _Der(_GivenOptimizer, DER):
    """As it is."""


def _common(parts: Parts, passes: int) -> dict[str, Any]:
    return {
        "model": parts.model,
        "optimizer": parts.optimizers,
        "criterion": parts.criterion,
        "train_mb_size": parts.batch,
        "train_epochs": passes,
        "device": parts.device,
        "evaluator": _silent(),
    }


def _silent() -> EvaluationPlugin:
    """No metrics and no loggers: evaluations are the simulator's, and nothing is printed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing is logged
        return EvaluationPlugin()


def naive(parts: Parts, *, passes: int) -> Strategy:
    """Fine-tuning."""
    return Strategy(_Plain(**_common(parts, passes)))


def replay(parts: Parts, *, mem: int, batch_mem: int, passes: int) -> Strategy:
    """Experience replay from a reservoir."""
    buffer = ReservoirSamplingBuffer(max_size=mem)
    plugin = ReplayPlugin(mem_size=mem, batch_size_mem=batch_mem, storage_policy=buffer)
    return Strategy(_Plain(plugins=[plugin], **_common(parts, passes)), buffer)


def er_ace(parts: Parts, *, mem: int, batch_mem: int, passes: int) -> Strategy:
    """Experience replay with an asymmetric cross-entropy."""
    template = _ErAce(mem_size=mem, batch_size_mem=batch_mem, **_common(parts, passes))
    return Strategy(template, template.storage_policy)


def er_aml(parts: Parts, *, mem: int, batch_mem: int, passes: int, temperature: float) -> Strategy:
    """Experience replay with an asymmetric metric loss."""
    features = Features(parts.model.network, parts.tally)
    template = _ErAml(
        mem_size=mem, batch_size_mem=batch_mem, feature_extractor=features, temp=temperature, **_common(parts, passes)
    )
    template.aml_criterion = MendedAml(features, temp=temperature, device=parts.device)
    return Strategy(template, template.storage_policy)


class _ErAml(_GivenOptimizer, ER_AML):
    """With loaders for each class that always have a batch: those of Avalanche drop batches that are not full, and so
    search for ever where a class has fewer samples in the buffer than a batch has, and fail where it has none."""

    def _before_training_exp(self, **kwargs: Any) -> None:
        policy, n = self.storage_policy, self.batch_size_mem
        policy.update(self, **kwargs)
        if len(policy.buffer) >= n and self.experience.current_experience > 0:
            self.replay_loader = cycle(DataLoader(policy.buffer, batch_size=n, shuffle=True, drop_last=True))
            self.pos_neg_loaders = [
                cycle(DataLoader(group.buffer, batch_size=min(self.train_mb_size, len(group.buffer)), shuffle=True))
                for group in policy.buffer_groups.values()
                if len(group.buffer)
            ]
        super(ER_AML, self)._before_training_exp(**kwargs)


class MendedAml(AMLCriterion):
    """The asymmetric metric loss of ER-AML, normalized for each anchor.

    Avalanche 0.6 subtracts the maximum and the normalizer of the j-th anchor from the j-th column, where the paper's
    code (pclucas14/AML, methods/er_aml.py) takes those of each row. And it fails for a sample without another sample
    of its class, or of another class, in the buffer; here such samples are left out, as in that code.
    """

    def __call__(
        self,
        input_in: Tensor,
        target_in: Tensor,
        task_in: Tensor,
        output_buffer: Tensor,
        target_buffer: Tensor,
        pos_neg_replay: tuple[Tensor, ...],
    ) -> Tensor:
        """The loss of a batch and of the samples replayed."""
        same = target_in[:, None] == pos_neg_replay[1][None, :]
        paired = same.any(dim=1) & (~same).any(dim=1)
        if not paired.any():
            return torch.nn.functional.cross_entropy(output_buffer, target_buffer)
        batch = input_in[paired], target_in[paired], task_in[paired]
        return super().__call__(*batch, output_buffer, target_buffer, pos_neg_replay)

    def _AMLCriterion__sup_con_loss(
        self, anchor_features: Tensor, features: Tensor, anchor_targets: Tensor, targets: Tensor
    ) -> Tensor:
        log_prob = (anchor_features @ features.T / self.temp).log_softmax(dim=1)
        positive = (anchor_targets[:, None] == targets[None, :]).float()
        return -(self.temp / self.base_temp) * ((positive * log_prob).sum(1) / positive.sum(1)).mean()


def der(parts: Parts, *, mem: int, batch_mem: int, passes: int, alpha: float, beta: float) -> Strategy:
    """Dark experience replay."""
    template = _Der(mem_size=mem, batch_size_mem=batch_mem, alpha=alpha, beta=beta, **_common(parts, passes))
    return Strategy(template, template.storage_policy, sample_nbytes=4 * parts.n_classes)


def mir(parts: Parts, *, mem: int, batch_mem: int, passes: int, subsample: int) -> Strategy:
    """Maximally interfered retrieval."""
    plugin = _Mir(batch_size_mem=batch_mem, mem_size=mem, subsample=subsample)
    return Strategy(_Plain(plugins=[plugin], **_common(parts, passes)), plugin.storage_policy)


class _Mir(MIRPlugin):
    """With replay also where the last batch of a chunk has all classes, or nearly all.

    Avalanche never replays a class that was in that batch. So it replays nothing on a stream that mixes its classes;
    here it then draws from the whole buffer. It is always given batches of `subsample` samples, if there are so many.
    """

    def after_training_exp(self, strategy: SupervisedTemplate, **kwargs: Any) -> None:
        """Fill the buffer, and prepare what is replayed beside the next chunk."""
        self.storage_policy.post_adapt(strategy, strategy.experience)
        present = set(strategy.mb_y.tolist())
        groups = {int(name): group.buffer for name, group in self.storage_policy.buffer_groups.items()}
        samples = concat_datasets([group for name, group in groups.items() if name not in present])
        if len(samples) <= self.batch_size_mem:
            samples = concat_datasets(list(groups.values()))
        n = min(self.subsample, len(samples))
        whole = len(samples) >= self.batch_size_mem
        loader = DataLoader(samples, batch_size=n, shuffle=True, drop_last=True) if whole else None
        self.replay_loader = None if loader is None else cycle(loader)


def lwf(parts: Parts, *, passes: int, alpha: float, temperature: float) -> Strategy:
    """Learning without forgetting."""
    plugin = LwFPlugin(alpha=alpha, temperature=temperature)

    def held() -> list[Tensor]:
        teacher = plugin.lwf.prev_model
        return [] if teacher is None else [*teacher.parameters(), *teacher.buffers()]

    return Strategy(_Plain(plugins=[plugin], **_common(parts, passes)), held=held)


def ewc(parts: Parts, *, passes: int, strength: float, mode: str, decay: float) -> Strategy:
    """Elastic weight consolidation."""
    plugin = EWCPlugin(strength, mode=mode, decay_factor=decay if mode == "online" else None)

    def held() -> list[Tensor]:
        kept = [*plugin.saved_params.values(), *plugin.importances.values()]
        return [each.data for of_experience in kept for each in of_experience.values()]

    return Strategy(_Plain(plugins=[plugin], **_common(parts, passes)), held=held)


def retrained(parts: Parts, *, epochs: int, schedule: Schedule, n_steps: int) -> Strategy:
    """One training of `n_steps` gradient steps, over which the learning rate follows a schedule."""
    return Strategy(_Plain(plugins=[_Scheduled(schedule, n_steps)], **_common(parts, epochs)))


class _Scheduled(SupervisedPlugin):
    """Learning rates that follow a schedule."""

    def __init__(self, schedule: Schedule, n_steps: int) -> None:
        super().__init__()
        self.schedule, self.n_steps = schedule, n_steps

    def before_training_iteration(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Set the rates of the next step."""
        factor = self.schedule(strategy.clock.train_iterations / self.n_steps)
        for group in strategy.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor


def streaming_lda(n_features: int, n_classes: int, shrinkage: float, device: torch.device) -> "FeaturesLda":
    """Deep streaming linear discriminant analysis, of features."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Avalanche's own evaluation plugin has callbacks which it never calls
        return FeaturesLda(
            slda_model=torch.nn.Identity(),
            criterion=torch.nn.functional.cross_entropy,
            input_size=n_features,
            num_classes=n_classes,
            shrinkage_param=shrinkage,
            device=device,
            evaluator=_silent(),
        )


class FeaturesLda(_GivenOptimizer, StreamingLDA):
    """Without a prediction of each batch, for which Avalanche inverts a matrix, and which nothing uses."""

    def training_epoch(self, **_: Any) -> None:
        """Update means and covariance with one sample after the other."""
        for batch in self.dataloader:
            self.mbatch = batch
            self._unpack_minibatch()
            for features, label in zip(self.mb_x, self.mb_y, strict=True):
                self.fit(features[None], label[None])
