"""Logistic regression, trained on the stored keys when the memory is asked."""

import time
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.errors import InvalidSetting
from agent.memory.entries import check_keys, normalized
from agent.memory.entry_memory import CPU, EntryMemory
from agent.memory.entry_store import Storage
from agent.memory.mixture import LinearMixing
from agent.memory.protocol import Insertion, InsertionEstimate, ReadOut
from agent.memory.recomputed import Recomputed, check_limit
from agent.memory.settings import LEAST_PENALTY, Setting, positive
from agent.memory.softmax_regression import TILE, SoftmaxRegression, Tiles, solving_flops, training_flops
from agent.networks.outputs import Outputs
from agent.version import Version


class LogisticMemory(EntryMemory, Recomputed, LinearMixing):
    """Multinomial logistic regression on the stored keys: halfway between memorizing and learning.

    It stores entries as a cache does. Asked for the first time after a change, it trains a classifier on all of them,
    from weights of 0, and every recall is billed for that training (`SoftmaxRegression`). With x the L2-normalized key
    with a 1 appended and N entries it minimizes -(1/N) Σ log p(y | x) + (λ m / 2) ‖W‖², where p = softmax(xᵀ W) and m
    is the mean of x's squares.

    With D = key length + 1 and C classes, at one λ a recall of n queries takes 2 N D² + D³ / 3 + `steps`
    (4 N D C + 2 D² C) FLOPs for the training, and 2 n D C.

    Args:
        n_classes: number of classes.
        device: device of the entries.
        storage: type of the stored keys, by default float32 on the CPU and float16 on a GPU.
        steps: of the training.
        limit: largest length of a key, in numbers.

    Raises:
        InvalidSetting: no class, no step, a limit below 1, or another type.

    References:
        Böhning 1992, "Multinomial logistic regression algorithm", Annals of the Institute of Statistical Mathematics
        44(1), for the bound on the curvature. Beck and Teboulle 2009, "A fast iterative shrinkage-thresholding
        algorithm", SIAM J. Imaging Sci. 2(1), section 4, for the acceleration.
    """

    settings: tuple[Setting, ...] = tuple({"lambda": 10.0**exponent} for exponent in range(-6, 0))
    prior: Setting = {"lambda": 1e-4}  # noqa: RUF012 (read-only)
    pools_keys = True

    def __init__(
        self,
        n_classes: int,
        *,
        device: torch.device = CPU,
        storage: Storage | None = None,
        steps: int = 100,
        limit: int = 4096,
    ) -> None:
        super().__init__(n_classes, CPU if device.type == "mps" else device, storage)  # MPS has no float64
        if steps < 1 or limit < 1:
            raise InvalidSetting(f"expected at least 1 step and a limit of at least 1, got {steps} and {limit}")
        self.steps, self.limit = steps, limit
        self._trained = _Trained(self.version, {})

    def estimate_insert(self, n: int, key_length: int) -> InsertionEstimate:
        """The bytes of n entries: written once, and held.

        Raises:
            InvalidSetting: keys longer than the limit.
        """
        d = key_length + 1
        check_limit(
            key_length, self.limit, "logistic", 3 * 8 * d**2 / 1e9, solving_flops(d, self.n_classes, self.steps) / 1e9
        )
        return super().estimate_insert(n, key_length)

    def insert(
        self,
        outputs: Outputs,
        labels: Int64[Tensor, " n_labels"],
        ids: Int64[Tensor, " n_ids"],
        inputs: Shaped[Tensor, "n ..."] | None = None,
    ) -> Insertion:
        """Append entries; see `Memory`."""
        self.estimate_insert(len(labels), outputs.keys.shape[1])
        insertion = super().insert(outputs, labels, ids)
        if len(labels):
            self.version = self.lineage.next()
        return insertion

    @torch.inference_mode()
    def recall(
        self, queries: Float[Tensor, "n length"], settings: tuple[Setting, ...], cache: ReadOut | None = None
    ) -> tuple[ReadOut, ReadOut, Work]:
        """Class probabilities of queries at each setting `lambda` above 0, the relative penalty λ; see `Memory`.

        Raises:
            InvalidSetting: non-finite queries, queries of another length than the keys, or a λ that is not positive
                and finite.
        """
        if cache is not None:
            return self.again(queries, cache)
        penalties = positive(settings, "lambda", "λ", least=LEAST_PENALTY)
        check_keys(queries, self.entries.key_length)
        if not self.n_entries:
            read_out = ReadOut(self.uniform(len(settings), queries), None)
            return read_out, read_out, Work()
        start = time.perf_counter()
        weights = self._weights(penalties)
        x = F.pad(normalized(queries.to(self.device)), (0, 1), value=1.0)
        probabilities = torch.stack([(x @ weights[penalty]).softmax(dim=1) for penalty in penalties])
        read_out = ReadOut(probabilities.to(queries.device), None)
        flops = len(set(penalties)) * self.recall_flops(len(queries))
        return read_out, read_out, Work(flops, seconds=time.perf_counter() - start)

    def recall_flops(self, n: int) -> int:
        """FLOPs of training at one λ and answering n queries."""
        if not self.n_entries:
            return 0
        d = (self.entries.key_length or 0) + 1
        return training_flops(self.n_entries, d, self.n_classes, self.steps) + 2 * n * d * self.n_classes

    def _weights(self, penalties: list[float]) -> dict[float, Float[Tensor, "d classes"]]:
        """The weights at each λ, trained once until the entries change."""
        if self._trained.version != self.version:
            self._trained = _Trained(self.version, {})
        if missing := [penalty for penalty in dict.fromkeys(penalties) if penalty not in self._trained.weights]:
            regression = self._regression()
            gram = regression.gram()
            found = {penalty: regression.weights(gram, penalty * gram.diagonal().mean()) for penalty in missing}
            self._trained = _Trained(self.version, self._trained.weights | found)
        return self._trained.weights

    def _regression(self) -> SoftmaxRegression:
        def tiles() -> Tiles:
            return ((keys, labels) for keys, labels, _ in self.entries.tiles_after(0, TILE))

        length = self.entries.key_length or 0
        return SoftmaxRegression(tiles, self.n_entries, length, self.n_classes, self.steps, self.device)


class _Trained(NamedTuple):
    version: Version
    weights: dict[float, Float[Tensor, "d classes"]]
    """By λ."""
