"""A learner that knows the contract alone, and has none of the further abilities: class means of its inputs."""

import torch

from agent.accounting.work import Work
from agent.networks.outputs import Outputs
from agent.version import Lineage


class Prototypes:
    """Names the class whose mean input is nearest; keys are the inputs themselves.

    Args:
        network: tells how many classes there are.
        training: gives the normalization.
        temperature: of the probabilities.
    """

    lazy = False

    def __init__(self, network, training, temperature: float = 100.0):
        self.normalization, self.temperature = training.normalization, temperature
        self.n_classes = network.spec["n_classes"]
        self.sums, self.counts = None, torch.zeros(self.n_classes)
        self.n_steps, self.nbytes, self.pending = 0, 0, False
        self.lineage = Lineage()
        self.version = self.lineage.next()

    def learn(self, inputs, labels):
        if not len(labels):
            return Work()
        rows = self.normalization(inputs).flatten(1)
        if self.sums is None:
            self.sums = torch.zeros(self.n_classes, rows.shape[1])
        self.sums.index_add_(0, labels, rows)
        self.counts += torch.bincount(labels, minlength=self.n_classes)
        self.n_steps += 1
        self.version = self.lineage.next()
        return Work(samples=len(labels))

    def flush(self):
        return Work()

    def forward(self, inputs):
        rows, n = self.normalization(inputs).flatten(1), len(inputs)
        logits = torch.zeros(n, self.n_classes)
        if self.sums is not None:
            means = self.sums / self.counts.clamp_min(1)[:, None]
            logits = (-torch.cdist(rows, means) / self.temperature).masked_fill(self.counts == 0, -30.0)
        return Outputs(logits.softmax(dim=1), rows), Work(self.forward_flops(n, inputs.shape[1:]), samples=n)

    def forward_flops(self, n, shape):
        return 2 * n * self.key_length(shape) * self.n_classes

    def key_length(self, shape):
        return torch.Size(shape).numel()

    def weights(self):
        return {"sums": torch.zeros(0) if self.sums is None else self.sums, "counts": self.counts}
