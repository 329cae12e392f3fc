"""The nearest class mean: a memory that stores a sum of keys for each class."""

import copy
import time
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.errors import InvalidSetting
from agent.memory.entries import check_entries, check_keys, normalized
from agent.memory.entry_memory import CPU
from agent.memory.mixture import LinearMixing
from agent.memory.protocol import Insertion, InsertionEstimate, ReadOut
from agent.memory.recomputed import Recomputed
from agent.memory.settings import Setting, positive
from agent.networks.outputs import Outputs
from agent.version import Lineage

NBYTES = 8
"""Bytes of a float64, the type of the sums."""


class NcmMemory(Recomputed, LinearMixing):
    """The class whose mean key has the largest cosine with the query; it stores no keys.

    With μ_c the mean of the L2-normalized keys of class c: p(c | q) ∝ exp(cos(q, μ_c) / T), over the classes that have
    samples. The class with the largest probability does not depend on the temperature T, but the mixture does.

    With L numbers in a key and C classes it takes 8 C (L + 1) bytes, an insert of n samples or a recall of n queries
    2 n L C FLOPs, whatever the number of samples.

    Args:
        n_classes: number of classes.
        device: device of the sums.

    Raises:
        InvalidSetting: no class.

    References:
        Mensink et al. 2013, "Distance-based image classification: generalizing to new classes at near-zero cost",
        IEEE TPAMI 35(11), section 3; with normalized keys as iCaRL uses it, Rebuffi et al. 2017, arXiv:1611.07725.
    """

    settings: tuple[Setting, ...] = tuple({"temperature": 2.0**-i} for i in range(13))
    prior: Setting = {"temperature": 1 / 16}  # noqa: RUF012 (read-only)
    needs_inputs = False
    pools_keys = True

    def __init__(self, n_classes: int, *, device: torch.device = CPU) -> None:
        if n_classes < 1:
            raise InvalidSetting(f"expected at least 1 class, got {n_classes}")
        self.n_classes = n_classes
        self.device = CPU if device.type == "mps" else device  # MPS has no float64
        self.lineage = Lineage()
        self.version = self.lineage.next()
        self._sums: Float64[Tensor, "classes length"] | None = None
        self._counts = torch.zeros(n_classes, dtype=torch.int64, device=self.device)

    @property
    def n_entries(self) -> int:
        """Samples in the sums."""
        return int(self._counts.sum())

    @property
    def nbytes(self) -> int:
        """Bytes of sums and counts; 0 before the first insert."""
        return 0 if self._sums is None else self._nbytes_of(self._sums.shape[1])

    def _nbytes_of(self, key_length: int) -> int:
        return NBYTES * self.n_classes * (key_length + 1)

    def estimate_insert(self, n: int, key_length: int) -> InsertionEstimate:
        """The FLOPs and bytes of the sums: every insert writes all their bytes, and the first one allocates them."""
        if not n:
            return InsertionEstimate(Work(), 0)
        nbytes = self._nbytes_of(key_length)
        return InsertionEstimate(Work(2 * n * key_length * self.n_classes, nbytes), nbytes - self.nbytes)

    def insert(
        self,
        outputs: Outputs,
        labels: Int64[Tensor, " n_labels"],
        ids: Int64[Tensor, " n_ids"],
        inputs: Shaped[Tensor, "n ..."] | None = None,
    ) -> Insertion:
        """Add samples to the sums; see `Memory`. The ids are checked, but not stored."""
        keys = outputs.keys
        check_entries(keys, labels, ids, n_classes=self.n_classes, key_length=self._key_length)
        if not len(keys):
            return Insertion(Work())
        start = time.perf_counter()
        work = self.estimate_insert(len(keys), keys.shape[1]).work
        classes = F.one_hot(labels.to(self.device), self.n_classes)
        sums = classes.double().T @ normalized(keys.to(self.device)).double()
        self._sums = sums if self._sums is None else self._sums + sums  # new tensors, since forks share the old ones
        self._counts = self._counts + classes.sum(dim=0)
        self.version = self.lineage.next()
        return Insertion(Work(work.flops, work.nbytes, time.perf_counter() - start))

    @torch.inference_mode()
    def recall(
        self, queries: Float[Tensor, "n length"], settings: tuple[Setting, ...], cache: ReadOut | None = None
    ) -> tuple[ReadOut, ReadOut, Work]:
        """Class probabilities of queries at each setting `temperature` above 0; see `Memory`.

        Raises:
            InvalidSetting: non-finite queries, queries of another length than the keys, or a temperature that is not
                positive and finite.
        """
        if cache is not None:
            return self.again(queries, cache)
        temperatures = torch.tensor(positive(settings, "temperature"), device=self.device)
        check_keys(queries, self._key_length)
        if self._sums is None:
            read_out = ReadOut(self.uniform(len(settings), queries), None)
            return read_out, read_out, Work()
        start = time.perf_counter()
        means = normalized(self._sums.float())  # of unit length, as the cosine is meant; its sum has the direction
        cosines = normalized(queries.to(self.device)) @ means.T
        scores = (cosines / temperatures[:, None, None]).masked_fill(self._counts == 0, -torch.inf)
        read_out = ReadOut(scores.softmax(dim=2).to(queries.device), None)
        return read_out, read_out, Work(self.recall_flops(len(queries)), seconds=time.perf_counter() - start)

    def recall_flops(self, n: int) -> int:
        """FLOPs of comparing n queries with the mean of each class."""
        return 2 * n * self.n_classes * (self._key_length or 0)

    @property
    def _key_length(self) -> int | None:
        return None if self._sums is None else self._sums.shape[1]

    def fork(self) -> "NcmMemory":
        """An independent memory with the same sums, shared until one side inserts."""
        fork = copy.copy(self)
        fork.lineage = Lineage()
        return fork

    def state(self) -> dict[str, Any]:
        """The sums and counts."""
        return {} if self._sums is None else {"sums": self._sums.cpu(), "counts": self._counts.cpu()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._sums, self._counts = None, torch.zeros(self.n_classes, dtype=torch.int64, device=self.device)
        if state:
            self._sums, self._counts = state["sums"].to(self.device), state["counts"].to(self.device)
        self.version = self.lineage.next()
