from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.data.sample_store import SampleStore

CPU = torch.device("cpu")
SIZE = 2


def rows(first: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows that can be told apart by their label as well as by their pixels."""
    labels = torch.arange(first, first + n)
    images = (labels % 256).to(torch.uint8)[:, None, None, None].expand(n, 3, SIZE, SIZE).contiguous()
    images[:, 0, 0, 0] = (labels // 256).to(torch.uint8)
    return images, labels


def check(store: SampleStore, expected: list[int]) -> None:
    assert len(store) == len(expected)
    assert store.nbytes == len(expected) * (3 * SIZE * SIZE + 8)
    if expected:
        images, labels = store.batch(torch.arange(len(expected)).flip(0))
        assert labels.tolist() == expected[::-1]
        for image, label in zip(images, expected[::-1], strict=True):
            assert torch.equal(image, rows(label, 1)[0][0])


operations = st.lists(
    st.tuples(st.sampled_from(["append", "append", "fork", "reload"]), st.integers(0, 5), st.integers(0, 5)),
    max_size=30,
)


@settings(deadline=None, max_examples=100)
@given(operations)
def test_forks_behave_like_lists_of_their_own(operations: list[tuple[str, int, int]]) -> None:
    stores, lists = [SampleStore(CPU)], [[]]
    written = 0
    for operation, which, n in operations:
        which %= len(stores)
        if operation == "append":
            stores[which].append(*rows(written, n))
            lists[which] = [*lists[which], *range(written, written + n)]
            written += n
        elif operation == "fork":
            stores.append(stores[which].fork())
            lists.append(lists[which])
        else:
            stores[which].load_state(stores[n % len(stores)].state())
            lists[which] = lists[n % len(stores)]
        for store, expected in zip(stores, lists, strict=True):
            check(store, expected)


def test_the_state_holds_the_rows_and_nothing_else() -> None:
    store = SampleStore(CPU)
    for first in range(0, 33, 3):
        store.append(*rows(first, 3))
    state: dict[str, Any] = store.state()
    for tensor in state.values():
        assert len(tensor) == 33
        assert tensor.untyped_storage().nbytes() == tensor.nbytes, "spare capacity would be saved with the rows"


def test_the_store_does_not_follow_changes_of_what_was_appended() -> None:
    store = SampleStore(CPU)
    images, labels = rows(0, 3)
    store.append(images, labels)
    images.zero_()
    labels.zero_()
    check(store, [0, 1, 2])


def test_an_empty_store_has_an_empty_state() -> None:
    store = SampleStore(CPU)
    store.append(*rows(0, 0))
    check(store, [])
    assert store.state() == {}
    filled = SampleStore(CPU)
    filled.append(*rows(0, 4))
    filled.load_state({})
    check(filled, [])
    filled.append(*rows(7, 2))
    check(filled, [7, 8])


def test_appending_is_not_quadratic() -> None:
    store, moves = SampleStore(CPU), 0
    storage = None
    for first in range(200):
        store.append(*rows(first, 1))
        moves += storage is not store._rows
        storage = store._rows
    assert moves <= 10
