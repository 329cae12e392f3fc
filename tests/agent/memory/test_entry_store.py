import jaxtyping
import pytest
import torch

from agent.errors import InvalidSetting
from agent.memory.entry_store import EntryStore

CPU = torch.device("cpu")


def filled(storage, n_values=0, n=50, length=64):
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(n, length, generator=generator) * 10
    values = torch.rand(n, n_values, generator=generator) * 2 - 1 if n_values else None
    entries = EntryStore(CPU, storage, n_values)
    entries.append(keys, torch.arange(n) % 3, torch.arange(n), values)
    return entries, torch.nn.functional.normalize(keys), values


@pytest.mark.parametrize(
    ("storage", "bytes_a_number", "error"), [("float32", 4, 1e-6), ("float16", 2, 1e-3), ("int8", 1, 0.02)]
)
@pytest.mark.parametrize("n_values", [0, 5])
def test_each_type_takes_its_bytes_and_keeps_directions(storage, bytes_a_number, error, n_values):
    entries, keys, values = filled(storage, n_values)
    assert entries.nbytes == entries.nbytes_of(50, 64) == 50 * ((64 + n_values) * bytes_a_number + 8)
    tiles = list(entries.tiles_after(0, 20))
    read = torch.cat([tile.keys for tile in tiles])
    torch.testing.assert_close((read * keys).sum(dim=1), torch.ones(50), atol=error**2 + 1e-3, rtol=0)
    torch.testing.assert_close(read, keys, atol=error, rtol=0)
    if n_values:
        torch.testing.assert_close(torch.cat([tile.values for tile in tiles]), values, atol=1 / 127, rtol=0)
        torch.testing.assert_close(entries.values, values, atol=1 / 127, rtol=0)


def test_int8_keys_have_length_1_when_they_are_read():
    entries, _, _ = filled("int8")
    [tile] = entries.tiles_after(0, 50)
    torch.testing.assert_close(tile.keys.norm(dim=1), torch.ones(50))


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_a_key_of_zeros_stays_one(storage):
    entries = EntryStore(CPU, storage)
    entries.append(torch.zeros(1, 4), torch.tensor([0]), torch.tensor([0]))
    [tile] = entries.tiles_after(0, 1)
    assert torch.equal(tile.keys, torch.zeros(1, 4))


def test_other_types_are_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # its check of the type would come first
    with pytest.raises(InvalidSetting, match="expected storage of keys as float32, float16, int8, got float64"):
        EntryStore(CPU, "float64")


def test_the_default_is_float32_on_a_cpu():
    assert EntryStore(CPU).dtype == torch.float32
