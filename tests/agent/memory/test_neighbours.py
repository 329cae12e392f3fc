import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.memory import neighbours
from agent.memory.entry_store import EntryStore
from agent.memory.neighbours import nearest
from tests.agent.memory.samples import Largest

CPU = torch.device("cpu")


def store(keys, n_inserts=1, entries=None):
    entries = entries or EntryStore(CPU)
    for rows in torch.arange(len(keys)).tensor_split(n_inserts):
        entries.append(keys[rows], rows % 3, rows)
    return entries


def plain_nearest(keys, queries, k):
    """By sorting all similarities; of equal ones the first comes first."""
    similarity = queries.double() @ keys.double().T
    order = np.argsort(-similarity.numpy(), axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(similarity.numpy(), order, axis=1)


@settings(max_examples=80, deadline=None)
@given(
    n_entries=st.integers(1, 120),
    n_queries=st.integers(0, 9),
    k=st.integers(1, 30),
    tile=st.tuples(st.integers(1, 5), st.integers(1, 64)),
    group=st.integers(1, 8),
    n_steps=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_they_are_those_of_a_sort_in_one_step_or_several(n_entries, n_queries, k, tile, group, n_steps, seed):
    generator = torch.Generator().manual_seed(seed)
    # Signs of equal number: cosines are exact multiples of 1/4, and many are equal.
    keys = torch.randint(0, 2, (n_entries, 4), generator=generator).float() * 2 - 1
    queries = torch.randint(0, 2, (n_queries, 4), generator=generator).float() * 2 - 1
    entries, found = EntryStore(CPU), None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "TILE", tile)
        patch.setattr(neighbours, "GROUP", group)
        for part in torch.arange(n_entries).tensor_split(n_steps):
            entries.append(keys[part], part % 3, part)
            found = nearest(queries, entries, k, found)
    order, similarity = plain_nearest(keys / 2, queries / 2, k)
    assert found.n_entries == n_entries
    np.testing.assert_array_equal(found.positions, order)
    np.testing.assert_allclose(found.similarity, similarity, atol=1e-6)


def test_among_thousands_of_entries():
    generator = torch.Generator().manual_seed(0)
    keys, queries = (torch.randn(n, 16, generator=generator) for n in (9_000, 40))
    keys, queries = (torch.nn.functional.normalize(each) for each in (keys, queries))
    for k in (1, 100, 700):
        found = nearest(queries, store(keys, 3), k)
        order, similarity = plain_nearest(keys, queries, k)
        assert (found.positions.numpy() == order).mean() > 0.999  # rounding may swap neighbours
        np.testing.assert_allclose(found.similarity, similarity, atol=1e-6)


def test_entries_that_come_ever_nearer_are_found_in_bounded_memory():
    """The worst order: each entry is nearer to all queries than those before."""
    angles = torch.linspace(1.5, 0.01, 30_000)
    keys = torch.stack([angles.cos(), angles.sin()], dim=1)
    queries = torch.tensor([[1.0, 0.0]]).repeat(200, 1)
    entries = store(keys, 15)
    with Largest() as largest:
        found = nearest(queries, entries, 10)
    assert (found.positions == torch.arange(29_999, 29_989, -1)).all()
    assert largest.numel <= 2 * neighbours.TILE[1] * len(queries) < len(keys) * len(queries) / 5


def test_the_matrix_of_similarities_never_exists():
    entries = store(torch.randn(20_000, 8, generator=torch.Generator().manual_seed(0)))
    with Largest() as largest:
        nearest(torch.randn(3_000, 8), entries, 10)
    assert 0 < largest.numel <= neighbours.TILE[0] * neighbours.TILE[1]
