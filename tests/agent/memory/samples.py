"""Samples to insert, and slow helpers that memories are compared with."""

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from agent.networks.outputs import Outputs


def stored(keys, labels, first_id=0, probabilities=None, n_classes=4):
    """Arguments of an insert, from arrays."""
    if probabilities is None:
        probabilities = np.full((len(keys), n_classes), 1 / n_classes, dtype=np.float32)
    outputs = Outputs(torch.from_numpy(probabilities), torch.from_numpy(keys))
    return outputs, torch.from_numpy(labels), torch.arange(first_id, first_id + len(labels))


def drawn(rng, n, length, n_classes=4):
    """Keys and labels."""
    return rng.standard_normal((n, length)).astype(np.float32), rng.integers(0, n_classes, n)


def fill(memory, keys, labels, n_inserts=1, probabilities=None):
    """Insert samples in parts."""
    for rows in np.array_split(np.arange(len(keys)), n_inserts):
        if len(rows):
            given = None if probabilities is None else probabilities[rows]
            memory.insert(*stored(keys[rows], labels[rows], int(rows[0]), given, memory.n_classes))
    return memory


def recalled(memory, queries, *settings):
    """Probabilities at each setting, as an array."""
    return memory.recall(torch.from_numpy(queries), settings)[0].probabilities.numpy()


def unit(rows):
    """Rows of length 1, in double precision."""
    rows = rows.astype(float)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


class Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor made."""

    numel = 0

    def __torch_dispatch__(self, function, kinds, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numel = max(self.numel, result.numel())
        return result
