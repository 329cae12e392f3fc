import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.agent import Agent
from agent.errors import InvalidSetting
from agent.memory import CacheMemory, Memory, Rekeyable, RidgeMemory, entry_store
from agent.memory.bounded import BoundedMemory, Capacity, bounded
from agent.memory.entry_store import EntryStore
from agent.memory.eviction import ClassBalanced, Fifo, Reservoir
from agent.memory.herding import Herding
from agent.memory.packed import ids_of
from agent.memory.protocol import Evictable
from agent.memory.rekeying import Rekeying
from agent.memory.transform import Centre
from agent.memory.transformed import transformed
from agent.memory.usefulness import LeastUseful
from agent.networks.outputs import Outputs
from agent.testing import check_memory
from tests.agent.memory.nearest import NearestMemory
from tests.agent.toys import online, same, toy_chunk

N_CLASSES, LENGTH = 4, 5
CPU = torch.device("cpu")
EVICTIONS = {
    "fifo": Fifo,
    "reservoir": Reservoir,
    "class-balanced": ClassBalanced,
    "herding": Herding,
    "least useful": LeastUseful,
}
BY_KEY = (Herding, LeastUseful)
"""They choose by keys, so that a memory that is re-keyed holds other entries than one filled with the new keys."""

every_eviction = pytest.mark.parametrize("make", EVICTIONS.values(), ids=EVICTIONS.keys())


class FixedCache(CacheMemory):
    """A cache that cannot be re-keyed."""

    rekey = None


def entries(n, seed=0, first=0, length=LENGTH):
    generator = torch.Generator().manual_seed(seed)
    keys, labels = torch.randn(n, length, generator=generator), torch.randint(N_CLASSES, (n,), generator=generator)
    return Outputs(torch.full((n, N_CLASSES), 1 / N_CLASSES), keys), labels, torch.arange(first, first + n)


def filled(eviction, capacity, sizes):
    memory, first = bounded(CacheMemory(N_CLASSES), Capacity.parse(capacity), eviction), 0
    for seed, n in enumerate(sizes):
        memory.insert(*entries(n, seed, first))
        first += n
    return memory


@pytest.mark.parametrize(
    ("capacity", "storage"),
    [("3", "float32"), ("13", "float16"), ("100", "int8"), ("1000", "float32"), ("500B", "float32"), ("1MB", "int8")],
)
@every_eviction
def test_bounded_memories_keep_the_promises_of_memories(make, capacity, storage):
    cache = FixedCache if make in BY_KEY and capacity in ("3", "13", "500B") else CacheMemory
    check_memory(
        lambda: bounded(cache(N_CLASSES, storage=storage), Capacity.parse(capacity), make()), n_classes=N_CLASSES
    )


@given(
    st.sampled_from(list(EVICTIONS.values())),
    st.sampled_from(["1", "7", "40", "300B", "2kB"]),
    st.lists(st.integers(0, 30), max_size=6),
)
@settings(max_examples=100, deadline=None)
def test_inserts_take_what_is_announced_and_stay_within_the_capacity(make, text, sizes):
    capacity, first = Capacity.parse(text), 0
    memory = bounded(CacheMemory(N_CLASSES), capacity, make())
    for seed, n in enumerate(sizes):
        estimate, before, held = (
            memory.estimate_insert(n, LENGTH),
            memory.nbytes,
            set(memory.memory.entries.ids.tolist()),
        )
        insertion = memory.insert(*entries(n, seed, first))
        held |= set(range(first, first + n))
        first += n
        assert insertion.work == estimate.work
        assert len(insertion.evicted) == estimate.n_evicted
        assert memory.nbytes - before == estimate.held_nbytes
        assert set(memory.memory.entries.ids.tolist()) == held - set(insertion.evicted.tolist())
        if capacity.entries:
            assert memory.n_entries == min(capacity.entries, len(held))
        else:
            assert memory.nbytes <= capacity.nbytes
        kept = sum(each.nbytes for each in memory.state()["eviction"].values())
        assert memory.nbytes == memory.memory.nbytes + kept  # what is counted is what there is


def test_a_capacity_in_bytes_is_used_to_the_last_entry():
    memory = filled(Fifo(), "1kB", [60])
    assert memory.n_entries == 1000 // 28  # 5 numbers of 4 bytes, and 8 for label and id
    assert filled(LeastUseful(), "1kB", [60]).n_entries == 1000 // 32
    assert filled(Herding(), "1kB", [60]).n_entries == (1000 - 8 * N_CLASSES * 6) // 28


@every_eviction
def test_a_resumed_memory_goes_on_as_the_one_that_was_saved(make):
    through, first = filled(make(), "12", [9, 9]), filled(make(), "12", [9, 9])
    resumed = filled(make(), "12", [3])
    resumed.load_state(first.state())
    assert same(resumed.state(), through.state())
    for memory in (through, resumed):
        for seed, n in (5, 9), (6, 1), (7, 30):
            memory.insert(*entries(n, seed, 100 * seed))
    assert same(resumed.state(), through.state())


@every_eviction
def test_forks_are_independent(make):
    memory, alone = filled(make(), "12", [9, 9]), filled(make(), "12", [9, 9])
    before, fork = memory.state(), memory.fork()
    fork.insert(*entries(20, 5, 100))
    assert same(memory.state(), before)
    for each in (memory, alone):
        each.insert(*entries(20, 6, 200))
    assert same(memory.state(), alone.state())
    assert not same(fork.state(), memory.state())


@every_eviction
def test_two_memories_do_not_share_an_eviction(make):
    eviction = make()
    one, other = (filled(eviction, "12", [n]) for n in (20, 30))
    assert same(one.state(), filled(make(), "12", [20]).state())
    assert same(other.state(), filled(make(), "12", [30]).state())


def test_a_bounded_memory_is_rekeyable_exactly_if_the_memory_is():
    for memory, expected in ((CacheMemory(N_CLASSES), True), (FixedCache(N_CLASSES), False)):
        found = bounded(memory, Capacity(5), Fifo())
        assert isinstance(found, Rekeyable) == isinstance(found.fork(), Rekeyable) == expected
        assert isinstance(found, Memory)


def test_the_version_changes_exactly_if_entries_go():
    memory = bounded(CacheMemory(N_CLASSES), Capacity(5), Fifo())
    version = memory.version
    memory.insert(*entries(5))
    assert memory.version == version
    memory.insert(*entries(1, 1, 5))
    assert memory.version != version
    assert memory.version == memory.memory.version


@pytest.mark.parametrize("memory", [RidgeMemory(N_CLASSES), NearestMemory(N_CLASSES)])
def test_a_memory_without_entries_is_refused(memory):
    message = rf"expected a memory whose entries can be removed .*, got {type(memory).__name__}, which lacks"
    with pytest.raises(InvalidSetting, match=message):
        bounded(memory, Capacity(5), Fifo())


def test_a_memory_with_entries_is_refused():
    memory = CacheMemory(N_CLASSES)
    assert isinstance(memory, Evictable)
    memory.insert(*entries(3))
    with pytest.raises(InvalidSetting, match="expected an empty memory for a capacity, got one of 3 entries"):
        BoundedMemory(memory, Capacity(5), Fifo())


@every_eviction
def test_a_capacity_without_room_for_an_entry_is_refused(make):
    memory = bounded(CacheMemory(N_CLASSES), Capacity(nbytes=27), make())
    message = r"expected a capacity of at least \d+ bytes \(one entry of 5 numbers, .*\), got 27; raise it"
    with pytest.raises(InvalidSetting, match=message):
        memory.estimate_insert(1, LENGTH)
    with pytest.raises(InvalidSetting, match=message):
        memory.insert(*entries(1))
    assert not memory.n_entries
    assert not memory.nbytes


SAMPLE = 3 * 8 * 8 + 8
"""Bytes of an image of 8 x 8 pixels and its label."""
KEY = 4 * 8 + 8
"""Bytes of an entry with a key of 8 numbers."""


def sharing(nbytes, *, stored=5, eviction=Reservoir, mapped=False):
    memory = bounded(CacheMemory(3), Capacity(nbytes=nbytes, shared=True), eviction())
    if mapped:
        memory = transformed(memory, Centre())
    return Agent(online(stored=stored, epochs=0.1), memory)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=1, max_size=8),
    st.integers(5 * SAMPLE, 5 * SAMPLE + 40 * KEY),
    st.sampled_from([Fifo, Reservoir, ClassBalanced]),
    st.booleans(),
)
def test_learner_and_memory_share_a_capacity_in_bytes(chunks, nbytes, eviction, mapped):
    agent = sharing(nbytes, eviction=eviction, mapped=mapped)
    map_nbytes, most = 4 * 8 if mapped else 0, 0
    for step, (learns, n) in enumerate(chunks):
        chunk = toy_chunk(n, seed=step, step=step)
        before = agent.nbytes
        estimate = agent.estimate_learning(chunk) if learns else agent.estimate_memorizing(chunk, looked=False)
        bill = (agent.learn if learns else agent.memorize)(chunk)
        if learns:
            most = min(5, most + n)
        else:
            assert sum(each.work.flops for each in bill) == sum(each.work.flops for each in estimate.bill)
            assert agent.nbytes - before == estimate.held_nbytes
        assert agent.learner.nbytes == most * SAMPLE
        held = agent.memory.n_entries * KEY + agent.learner.nbytes
        assert held <= nbytes
        if not learns:
            assert agent.memory.n_entries == n or held + KEY > nbytes or agent.n_memorized == agent.memory.n_entries
        assert agent.memory.nbytes == agent.memory.n_entries * KEY + (map_nbytes if agent.memory.n_entries else 0)
        other = sharing(nbytes, eviction=eviction, mapped=mapped)
        other.load_state(agent.state())
        assert same(other.state(), agent.state())
        assert other.memory.estimate_insert(3, 8) == agent.memory.estimate_insert(3, 8)


def test_what_the_learner_stores_comes_first():
    agent = sharing(5 * SAMPLE + 3 * KEY)
    agent.memorize(toy_chunk(40, seed=1))
    assert agent.memory.n_entries == (5 * SAMPLE + 3 * KEY) // KEY
    agent.learn(toy_chunk(8))
    assert agent.memory.n_entries == 3
    fork = agent.fork()
    agent.memorize(toy_chunk(4, seed=2))
    assert fork.memory.n_entries == agent.memory.n_entries == 3


def test_raw_images_would_come_on_top_of_a_shared_capacity():
    memory = bounded(CacheMemory(3), Capacity(nbytes=2000, shared=True), Reservoir())
    with pytest.raises(
        InvalidSetting,
        match=r"expected neither re-keying nor consolidation with a capacity of 2,000 bytes that is shared",
    ):
        Agent(online(stored=5), memory, rekeying=Rekeying.parse("on-learn"))


@pytest.mark.parametrize("stored", [None, 5])
def test_a_learner_that_may_store_more_than_is_shared_is_refused(stored):
    with pytest.raises(InvalidSetting, match=r"expected a learner that stores less than the 1,000 bytes"):
        sharing(5 * 200, stored=stored).check_stores(toy_chunk(4))
    sharing(5 * 200, stored=4).check_stores(toy_chunk(4))


@pytest.mark.parametrize("eviction", [Herding, LeastUseful])
def test_evictions_that_compute_share_nothing(eviction):
    with pytest.raises(InvalidSetting, match=r"expected an eviction without FLOPs .* with a shared capacity, got"):
        bounded(CacheMemory(3), Capacity(nbytes=1000, shared=True), eviction())


@pytest.mark.parametrize("text", ["1", "1000", "1B", "1500B", "500kB", "10MB", "1GB", "shared:10MB"])
def test_capacities_are_read_as_they_are_shown(text):
    assert str(Capacity.parse(text)) == text


@given(st.integers(1, 10**18 - 1), st.booleans(), st.booleans())
def test_every_capacity_is_read_back(number, in_bytes, shared):
    capacity = Capacity(nbytes=number, shared=shared) if in_bytes else Capacity(number)
    assert Capacity.parse(str(capacity)) == capacity


@pytest.mark.parametrize(
    "text", ["", "0", "0MB", "-1", "1.5GB", "10mb", "10 MB", "MB", "1e3", "²", "٣", "shared:", "10MB:shared"]
)
def test_other_capacities_are_refused(text):
    with pytest.raises(InvalidSetting, match=r"expected a capacity of 1 or more in entries .*, got"):
        Capacity.parse(text)


@pytest.mark.parametrize("wrong", [{}, {"entries": 1, "nbytes": 1}, {"entries": 0}, {"nbytes": -1}])
def test_a_capacity_is_one_number_of_1_or_more(wrong):
    with pytest.raises(InvalidSetting, match="expected a capacity of at least 1 entry or 1 byte, not both, got"):
        Capacity(**wrong)


def test_entries_are_not_shared():
    with pytest.raises(InvalidSetting, match="expected bytes to be shared, as in shared:10MB, got 1000 entries"):
        Capacity.parse("shared:1000")


def content(store):
    tiles = list(store.tiles_after(0, 1000))
    parts = [torch.cat([each[i] for each in tiles]) if tiles else torch.empty(0) for i in (0, 1)]
    return store.ids.tolist(), *(part.tolist() for part in parts)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(100, 400), st.data())
@settings(max_examples=60, deadline=None)
def test_a_store_removes_entries_and_keeps_the_order_of_the_rest(sizes, block_bytes, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entry_store, "BLOCK_BYTES", block_bytes)
        store, plain, first = EntryStore(CPU), [], 0
        for seed, n in enumerate(sizes):
            outputs, labels, ids = entries(n, seed, first)
            store.append(outputs.keys, labels, ids)
            plain += list(zip(*content(store), strict=True))[-n:]
            gone = data.draw(st.sets(st.sampled_from([each[0] for each in plain])))
            fork, before, blocks = store.fork(), content(store), list(store._blocks)
            untouched = [block for block in blocks if not gone & set(ids_of(block.labels).tolist())]
            store.evict(torch.tensor(sorted(gone, key=hash), dtype=torch.int64))
            plain = [each for each in plain if each[0] not in gone]
            assert list(zip(*content(store), strict=True)) == plain
            assert store.labels.tolist() == [label for _, _, label in plain]
            assert len(store) == len(plain)
            assert content(fork) == before
            assert all(len(block) for block in store._blocks)
            needed = -(-store.nbytes // block_bytes)
            assert len(store._blocks) <= max(2 * needed + 2, 1)
            if len(blocks) <= 2 * needed + 2:  # nothing to join
                assert all(any(each is block for each in store._blocks) for block in untouched)
            first += n
        assert store.nbytes == store.nbytes_of(len(plain), LENGTH)


def test_ids_that_are_not_stored_are_refused():
    store = EntryStore(CPU)
    outputs, labels, ids = entries(5)
    store.append(outputs.keys, labels, ids)
    for wrong in ([7], [0, 9, 7], [-1]):
        with pytest.raises(
            InvalidSetting, match=rf"expected ids of entries that are in memory, got {min(set(wrong) - {0})}"
        ):
            store.evict(torch.tensor(wrong))
    assert store.ids.tolist() == list(range(5))
    with pytest.raises(InvalidSetting, match="in memory, got 0"):
        EntryStore(CPU).evict(torch.tensor([0]))
