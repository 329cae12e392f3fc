"""The published kit: our own members pass, and for every promise a broken member is named."""

from types import SimpleNamespace

import pytest
import torch

from agent.accounting.work import Work
from agent.errors import InvalidSetting
from agent.memory import CacheMemory, KnnMemory, LogisticMemory, NcmMemory, ResidualMemory, RidgeMemory, SldaMemory
from agent.memory.entries import check_entries, normalized
from agent.memory.entry_store import EntryStore
from agent.memory.mixture import Mixture
from agent.memory.protocol import Insertion, InsertionEstimate, ReadOut
from agent.networks.outputs import Outputs
from agent.testing import BrokenPromise, check_memory
from agent.version import Version
from tests.agent.memory.nearest import NearestMemory

N_CLASSES = 4


class Strict(CacheMemory):
    """Refuses ids that it knows: they are unique in a lifetime."""

    known = frozenset()

    def insert(self, outputs, labels, ids, inputs=None):
        if self.known & set(ids.tolist()):
            raise InvalidSetting("expected new ids")
        done = super().insert(outputs, labels, ids)
        self.known |= set(ids.tolist())
        return done

    def state(self):
        return super().state() | {"known": sorted(self.known)}

    def load_state(self, state):
        super().load_state(state)
        self.known = frozenset(state["known"])


MEMORIES = {
    "cache": CacheMemory,
    "cache in float16": lambda n_classes: CacheMemory(n_classes, storage="float16"),
    "cache in int8": lambda n_classes: CacheMemory(n_classes, storage="int8"),
    "cache that refuses known ids": Strict,
    "knn": KnnMemory,
    "knn by majority": lambda n_classes: KnnMemory(n_classes, vote="majority", storage="int8"),
    "residual": ResidualMemory,
    "residual in int8": lambda n_classes: ResidualMemory(n_classes, storage="int8"),
    "logistic": lambda n_classes: LogisticMemory(n_classes, steps=10),
    "ridge": RidgeMemory,
    "ridge on random features": lambda n_classes: RidgeMemory(n_classes, dim=20),
    "slda": SldaMemory,
    "ncm": NcmMemory,
    "nearest": NearestMemory,
    "nearest, with room for all": lambda n_classes: NearestMemory(n_classes, capacity=1000),
}
"""Every memory, by a function of the number of classes: adding one means adding a line."""


@pytest.mark.parametrize("make", MEMORIES.values(), ids=MEMORIES.keys())
def test_our_memories_keep_their_promises(make):
    check_memory(lambda: make(N_CLASSES), n_classes=N_CLASSES)


class Unread(CacheMemory):
    prior = {"theta": 3.0}  # noqa: RUF012


class Full(CacheMemory):
    @property
    def n_entries(self):
        return super().n_entries + 1


class Opinionated(CacheMemory):
    def recall(self, queries, settings, cache=None):
        read_out, cache, work = super().recall(queries, settings, cache)
        probabilities = read_out.probabilities.clone()
        if not self.n_entries:
            probabilities[..., 0] += 0.1
        return ReadOut(probabilities, read_out.novelty), cache, work


class Unnormalized(CacheMemory):
    def recall(self, queries, settings, cache=None):
        read_out, cache, work = super().recall(queries, settings, cache)
        return ReadOut(read_out.probabilities * (2 if self.n_entries else 1), read_out.novelty), cache, work


class OneNovelty(CacheMemory):
    def recall(self, queries, settings, cache=None):
        read_out, cache, work = super().recall(queries, settings, cache)
        novelty = torch.zeros(1, 1) if self.n_entries else None
        return SimpleNamespace(probabilities=read_out.probabilities, novelty=novelty), cache, work


class Cheap(CacheMemory):
    def estimate_insert(self, n, key_length):
        told = super().estimate_insert(n, key_length)
        return told._replace(work=Work(nbytes=told.work.nbytes // 2))


class Light(CacheMemory):
    def estimate_insert(self, n, key_length):
        return super().estimate_insert(n, key_length)._replace(held_nbytes=0)


class Quadratic(CacheMemory):
    def recall_flops(self, n):
        return n * super().recall_flops(n)


class Secretive(CacheMemory):
    def recall_flops(self, n):
        return 2 * super().recall_flops(n)


class Forgetful(CacheMemory):
    @property
    def n_entries(self):
        return super().n_entries // 2


class EvictingStrangers(CacheMemory):
    def estimate_insert(self, n, key_length):
        return super().estimate_insert(n, key_length)._replace(n_evicted=1)

    def insert(self, *entry):
        return Insertion(super().insert(*entry).work, torch.tensor([10**6]))


class Moody(CacheMemory):
    def insert(self, outputs, *rest):
        return super().insert(outputs._replace(keys=outputs.keys + torch.randn(())), *rest)


class Toiling(CacheMemory):
    def recall(self, queries, settings, cache=None):
        return super().recall(queries, settings)


class Unversioned(RidgeMemory):
    def insert(self, *entry):
        version = self.version
        done = super().insert(*entry)
        self.version = version
        return done


class LosingCaches(CacheMemory):
    def load_cache(self, state):
        return super().load_cache({**state, "mass": state["mass"].flip(2)})


class LosingState(CacheMemory):
    def state(self):
        return {"blocks": super().state()["blocks"][:0]}


class Opaque(CacheMemory):
    def state(self):
        return {**super().state(), "extra": object()}


class Clinging(CacheMemory):
    def fork(self):
        return self


class Twins(CacheMemory):
    def rekey(self, renew):
        version = self.version
        done = super().rekey(renew)
        self.version = version
        return done


class SameVersions(RidgeMemory):
    def insert(self, *entry):
        done = super().insert(*entry)
        self.version = Version("all", self.n_entries)
        return done


class Lenient(CacheMemory):
    def insert(self, outputs, labels, ids, inputs=None):
        keep = min(len(outputs.keys), len(labels))
        return super().insert(outputs._replace(keys=outputs.keys[:keep]), labels[:keep], ids[:keep])


class Crashing(CacheMemory):
    def insert(self, outputs, labels, ids, inputs=None):
        assert len(outputs.keys) == len(labels)
        return super().insert(outputs, labels, ids)


class Untidy(RidgeMemory):
    def insert(self, outputs, labels, ids, inputs=None):
        self.n_entries += len(labels)
        done = super().insert(outputs, labels, ids)
        self.n_entries -= len(labels)
        return done


class Silent(NearestMemory):
    def insert(self, *entry):
        version = self.version
        done = super().insert(*entry)
        self.version = version
        return done


class Surprising(NearestMemory):
    def estimate_insert(self, n, key_length):
        return super().estimate_insert(n, key_length)._replace(n_evicted=0)


class Positional(CacheMemory):
    def rekey(self, renew):
        return super().rekey(lambda ids: renew(torch.arange(len(ids))))


class InPlace(NearestMemory):
    def rekey(self, renew):
        self.keys[:] = super().fork().keys * 0 + renew(self.ids).keys
        self.version = self.lineage.next()
        return self.estimate_rekey()


class Timeless(CacheMemory):
    def load_state(self, state):
        version = self.version
        super().load_state(state)
        self.version = version


class Deaf(CacheMemory):
    def recall(self, queries, settings, cache=None):
        if len(settings) == 1:
            settings = (self.prior,)
        return super().recall(queries, settings, cache)


class Dearer(CacheMemory):
    def recall(self, queries, settings, cache=None):
        read_out, cache, work = super().recall(queries, settings, cache)
        return read_out, cache, work if settings == (self.prior,) else work + Work(work.flops)


class Wasteful(NearestMemory):
    def __init__(self, n_classes):
        super().__init__(n_classes, capacity=1000)

    def recall(self, queries, settings, cache=None):
        read_out, new, work = super().recall(queries, settings, cache)
        return read_out, new, Work(self.recall_flops(len(queries))) if work.flops else work


class Hasty(CacheMemory):
    def combine(self, learner, memory, fitted):
        return learner * fitted.w + memory * (1 - fitted.w) if fitted.fitted else learner + memory


class Inventive(CacheMemory):
    def fit(self, learner, memory, labels, *, within=0.0):
        return Mixture(0.5, {"theta": 3.0})


class Adding(CacheMemory):
    def combine(self, learner, memory, fitted):
        return learner + memory


class Skipping(CacheMemory):
    def rekey(self, renew):
        return super().rekey(lambda ids: renew(ids.clamp_max(3)))


class Overcharging(CacheMemory):
    def rekey(self, renew):
        return super().rekey(renew) + Work(nbytes=1)


class Idle(CacheMemory):
    def rekey(self, renew):
        entries = self.entries.fork()
        work = super().rekey(renew)
        self.entries = entries
        return work


class Counting(CacheMemory):
    n_empty = 0

    @property
    def n_entries(self):
        return super().n_entries + self.n_empty

    def insert(self, outputs, labels, *rest):
        self.n_empty += not len(labels)
        return super().insert(outputs, labels, *rest)


class Overflowing(CacheMemory):
    def recall(self, queries, settings, cache=None):
        read_out, cache, work = super().recall(queries, settings, cache)
        return ReadOut(read_out.probabilities * (torch.nan if self.n_entries > 100 else 1), None), cache, work


class Far(CacheMemory):
    def recall(self, queries, settings, cache=None):
        read_out, cache, work = super().recall(queries, settings, cache)
        return ReadOut(read_out.probabilities, None if read_out.novelty is None else read_out.novelty / 0), cache, work


class Scaling(CacheMemory):
    def recall(self, queries, settings, cache=None):
        return super().recall(queries.mul_(2), settings, cache)


class Centering(CacheMemory):
    def insert(self, outputs, *rest):
        outputs.keys.sub_(1)
        return super().insert(outputs, *rest)


class Unbilled(CacheMemory):
    def insert(self, *entry):
        super().insert(*entry)
        return Insertion(None)


class Fractional(CacheMemory):
    def recall(self, queries, settings, cache=None):
        read_out, cache, work = super().recall(queries, settings, cache)
        return read_out, cache, SimpleNamespace(flops=work.flops / 2)


class Free(CacheMemory):
    def recall_flops(self, n):
        return 0

    def recall(self, queries, settings, cache=None):
        return *super().recall(queries, settings, cache)[:2], Work()


class Weightless(CacheMemory):
    nbytes = 0

    def estimate_insert(self, n, key_length):
        return InsertionEstimate(Work(), 0)

    def insert(self, *entry):
        super().insert(*entry)
        return Insertion(Work())


class OneByOne(CacheMemory):
    """Finds the invalid label after storing the samples before it."""

    def insert(self, outputs, labels, ids, inputs=None):
        check_entries(outputs.keys, labels.clamp_max(N_CLASSES - 1), ids, n_classes=N_CLASSES, key_length=None)
        work = Work()
        for i in range(len(ids)):
            each = slice(i, i + 1)
            work += super().insert(Outputs(*(values[each] for values in outputs)), labels[each], ids[each]).work
        return Insertion(work)


class Renamed(CacheMemory):
    def fork(self):
        fork = super().fork()
        fork.version = fork.lineage.next()
        return fork


class Branded(CacheMemory):
    """Mistakes labels once it was forked."""

    shift = 0

    def fork(self):
        fork = super().fork()
        self.shift = 1
        return fork

    def insert(self, outputs, labels, *rest):
        return super().insert(outputs, (labels + self.shift) % N_CLASSES, *rest)


class Confused(Branded):
    """Mistakes labels once it was restored."""

    fork = CacheMemory.fork

    def load_state(self, state):
        super().load_state(state)
        self.shift = 1


class Extrapolating(CacheMemory):
    def combine(self, learner, memory, fitted):
        return super().combine(learner, memory, fitted) if fitted.fitted else 2 * learner - memory


class Dropping(CacheMemory):
    """Has no keys left if new ones cannot be computed."""

    def rekey(self, renew):
        fresh = super().fork()
        self.entries = EntryStore(self.device)
        work = CacheMemory.rekey(fresh, renew)
        self.entries, self.version = fresh.entries, self.lineage.next()
        return work


class RowByRow(NearestMemory):
    """Has half of the keys renewed if the others cannot be computed."""

    def rekey(self, renew):
        self.keys = self.keys.clone()
        for row, entry in enumerate(self.ids.split(1)):
            self.keys[row] = normalized(renew(entry).keys)[0]
        self.version = self.lineage.next()
        return self.estimate_rekey()


BROKEN = {
    Unread: "the prior is one of the settings",
    Full: "a new memory is empty, and a recall from it takes no FLOPs",
    Opinionated: "an empty memory gives uniform probabilities",
    Unnormalized: "recall gives a distribution over classes",
    OneNovelty: "novelty is a number for each query",
    Cheap: "an insert takes what `estimate_insert` says",
    Light: "an insert adds the bytes held",
    Quadratic: "`recall_flops` is a constant",
    Secretive: "a recall from scratch takes what `recall_flops` says",
    Forgetful: "`n_entries` counts what was inserted",
    EvictingStrangers: "evicted ids are those of entries",
    Moody: "the same inserts give the same answers",
    Toiling: "a recall from an up-to-date cache computes nothing",
    Unversioned: "the version changes whenever an earlier answer no longer holds",
    LosingCaches: "a cache survives saving and loading",
    LosingState: "a memory is restored from its state",
    Opaque: "states are tensors and plain values",
    Clinging: "inserts into a fork do not change the memory",
    SameVersions: "a memory and its fork differ in version after inserts",
    Lenient: "what cannot be stored is refused with InvalidSetting",
    Crashing: "what cannot be stored is refused with InvalidSetting",
    Untidy: "a refused insert stores nothing",
    Silent: "the version changes whenever an earlier answer no longer holds",
    Surprising: "an insert evicts as many entries as `estimate_insert` says",
    Positional: "re-keying renews each entry once, by its id",
    InPlace: "re-keying leaves forks as they were",
    Timeless: "loading a state changes the version",
    Deaf: "a setting gives the same alone and among others",
    Dearer: "a recall from scratch takes what `recall_flops` says",
    Wasteful: "recalls that go on from a cache cost as much as one from scratch",
    Hasty: "`combine` works with a mixture that is not fitted yet",
    Inventive: "`fit` chooses one of the settings",
    Adding: "`combine` gives a distribution",
    Skipping: "re-keying renews each entry once, by its id",
    Twins: "re-keying changes the version",
    Overcharging: "re-keying takes what `estimate_rekey` says",
    Idle: "a re-keyed memory answers as one filled with the new keys",
    Counting: "an insert of no samples stores nothing",
    Overflowing: "recall gives a distribution over classes",
    Far: "novelty is a number for each query",
    Scaling: "tensors that it is given are left as they are",
    Centering: "tensors that it is given are left as they are",
    Unbilled: "bills are a Work of whole numbers",
    Fractional: "bills are a Work of whole numbers",
    Free: "a recall bills its matrix products",
    Weightless: "a memory with entries holds bytes",
    OneByOne: "a refused insert stores nothing",
    Renamed: "a fork has the same content",
    Branded: "a forked memory continues as one that was never forked",
    Confused: "a restored memory continues as the one that was saved",
    Extrapolating: "`combine` works with a mixture that is not fitted yet",
    Dropping: "a memory is the same as before if re-keying fails",
    RowByRow: "a memory is the same as before if re-keying fails",
}


FIRST = {promise: broken for broken, promise in reversed(BROKEN.items())}
"""One way to break each promise; the others take as long and are slow."""


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        pytest.param(broken, promise, id=broken.__name__, marks=[pytest.mark.slow] * (FIRST[promise] is not broken))
        for broken, promise in BROKEN.items()
    ],
)
def test_a_broken_memory_is_named(broken, promise):
    with pytest.raises(BrokenPromise, match=f"^{broken.__name__} breaks a promise: ") as raised:
        check_memory(lambda: broken(N_CLASSES), n_classes=N_CLASSES)
    assert raised.value.promise.startswith(promise)


def test_what_is_missing_is_named():
    class Half:
        settings = ()

    with pytest.raises(BrokenPromise, match=r"missing .*'insert'.*'recall'"):
        check_memory(Half)
