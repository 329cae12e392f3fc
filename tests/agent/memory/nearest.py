"""A memory that knows the contract alone: the k nearest of a limited number of entries, which looks at images, too."""

import copy
from typing import NamedTuple

import torch

from agent.accounting.work import Work
from agent.memory.entries import check_entries, check_keys, normalized
from agent.memory.mixture import LinearMixing
from agent.memory.protocol import Insertion, InsertionEstimate, ReadOut
from agent.version import Lineage


class Nearest(NamedTuple):
    """The cache: similarities and labels of the nearest entries so far."""

    n_entries: int
    similarity: torch.Tensor
    labels: torch.Tensor


class NearestMemory(LinearMixing):
    settings = tuple({"k": k, "temperature": t} for k in (1.0, 3.0) for t in (0.1, 1.0))
    prior = {"k": 3.0, "temperature": 0.1}  # noqa: RUF012
    needs_inputs = True
    pools_keys = True

    def __init__(self, n_classes, *, device=None, capacity=12):
        self.n_classes, self.capacity = n_classes, capacity
        self.keys = torch.empty(0, 0)
        self.labels = self.ids = torch.empty(0, dtype=torch.int64)
        self.brightness = torch.empty(0)
        self.lineage = Lineage()
        self.version = self.lineage.next()

    @property
    def n_entries(self):
        return len(self.labels)

    @property
    def nbytes(self):
        return self.n_entries * self.nbytes_each(self.keys.shape[1])

    def nbytes_each(self, key_length):
        return 4 * key_length + 8 + 8 + 4

    def n_evicted(self, n):
        return max(0, self.n_entries + n - self.capacity)

    def estimate_insert(self, n, key_length):
        each, evicted = self.nbytes_each(key_length), self.n_evicted(n)
        return InsertionEstimate(Work(nbytes=n * each), (n - evicted) * each, evicted)

    def insert(self, outputs, labels, ids, inputs=None):
        length = self.keys.shape[1] if self.n_entries else None
        check_entries(outputs.keys, labels, ids, n_classes=self.n_classes, key_length=length)
        n, n_evicted = len(labels), self.n_evicted(len(labels))
        assert len(inputs) == n
        if not n:
            return Insertion(Work(), ids)
        keys = normalized(outputs.keys).clone()
        brightness = inputs.float().mean(dim=(1, 2, 3))
        kept = self.keys if self.n_entries else keys[:0]
        every = torch.cat([kept, keys]), torch.cat([self.labels, labels]), torch.cat([self.ids, ids])
        evicted = every[2][:n_evicted]
        self.keys, self.labels, self.ids = (each[n_evicted:] for each in every)
        self.brightness = torch.cat([self.brightness, brightness])[n_evicted:]
        if n_evicted:
            self.version = self.lineage.next()
        return Insertion(Work(nbytes=n * self.nbytes_each(keys.shape[1])), evicted)

    def recall(self, queries, settings, cache=None):
        n = len(queries)
        if not self.n_entries:
            uniform = torch.full((len(settings), n, self.n_classes), 1 / self.n_classes)
            return ReadOut(uniform, None), Nearest(0, torch.empty(n, 0), torch.empty(n, 0, dtype=torch.int64)), Work()
        check_keys(queries, self.keys.shape[1])
        known = cache or Nearest(0, torch.empty(n, 0), torch.empty(n, 0, dtype=torch.int64))
        similarity = torch.cat([known.similarity, normalized(queries) @ self.keys[known.n_entries :].T], dim=1)
        labels = torch.cat([known.labels, self.labels[known.n_entries :].expand(n, -1)], dim=1)
        top, at = similarity.topk(min(3, similarity.shape[1]), dim=1)
        labels = labels.gather(1, at)
        read = []
        for setting in settings:
            k = int(setting["k"])
            weights = (top[:, :k] / setting["temperature"]).softmax(dim=1)
            read.append(torch.zeros(n, self.n_classes).scatter_add_(1, labels[:, :k], weights))
        flops = 2 * n * (self.n_entries - known.n_entries) * self.keys.shape[1]
        return (
            ReadOut(torch.stack(read), (1 - top[:, 0]).clamp_min(0)),
            Nearest(self.n_entries, top, labels),
            Work(flops),
        )

    def recall_flops(self, n):
        return 2 * n * self.n_entries * self.keys.shape[1]

    def rekey(self, renew):
        self.keys = normalized(renew(self.ids).keys).clone()
        self.version = self.lineage.next()
        return self.estimate_rekey()

    def estimate_rekey(self):
        return Work(nbytes=self.keys.nbytes)

    def save_cache(self, cache):
        return cache._asdict()

    def load_cache(self, state):
        return Nearest(**state)

    def fork(self):
        fork = copy.copy(self)
        fork.lineage = Lineage()
        return fork

    def state(self):
        return {name: getattr(self, name).clone() for name in ("keys", "labels", "ids", "brightness")}

    def load_state(self, state):
        for name, values in state.items():
            setattr(self, name, values)
        self.version = self.lineage.next()
