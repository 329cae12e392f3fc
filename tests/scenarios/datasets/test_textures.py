import pytest
import torch

from agent.errors import InvalidSetting
from scenarios.datasets.textures import TEXTURE_CLASSES, make_textures


def test_ten_classes_with_names_of_their_own():
    assert len(set(TEXTURE_CLASSES)) == 10


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others():
    first, again, other = (make_textures(50, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.inputs, other.inputs)
    assert not torch.equal(first.labels, other.labels)


def test_the_global_generator_neither_matters_nor_moves():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    first = make_textures(20, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(first.inputs, make_textures(20, seed=1).inputs)


@pytest.mark.parametrize("n", [0, 1, 9, 10, 1234])
@pytest.mark.parametrize("size", [1, 8, 33])
def test_shapes_and_balance(n, size):
    drawn = make_textures(n, seed=0, size=size)
    assert drawn.inputs.shape == (n, 3, size, size)
    assert drawn.inputs.dtype == torch.uint8
    assert drawn.labels.dtype == torch.int64
    counts = torch.bincount(drawn.labels, minlength=10)
    assert counts.max() - counts.min() <= 1


def test_classes_come_in_shuffled_order():
    labels = make_textures(1000, seed=0).labels
    assert not torch.equal(labels, torch.arange(1000) % 10)
    assert torch.bincount(labels[:500], minlength=10).min() > 20


def test_no_image_is_blank_or_drawn_twice():
    images = make_textures(1000, seed=0).inputs
    assert images.flatten(1).float().std(1).min() > 1
    assert len(images.flatten(1).unique(dim=0)) == 1000


def grey_energy(label: int) -> torch.Tensor:
    """Mean power over the spatial frequencies of a class's images without their mean: (32, 32), zero in the middle."""
    drawn = make_textures(2000, seed=0)
    grey = drawn.inputs[drawn.labels == label].double().mean(1)
    return torch.fft.fftshift(torch.fft.fft2(grey - grey.mean((1, 2), keepdim=True)).abs().square().mean(0))


@pytest.mark.parametrize(("name", "direction"), [("0", (0, 1)), ("45", (1, 1)), ("90", (1, 0)), ("135", (1, -1))])
def test_a_grating_has_its_energy_along_its_direction(name, direction):
    energy = grey_energy(TEXTURE_CLASSES.index(f"grating {name}"))

    def along(rows, columns):
        length = (rows**2 + columns**2) ** 0.5
        return sum(
            energy[16 + round(r * rows / length), 16 + round(r * columns / length)] for r in (2.0, 3.0, 4.0, 5.0, 6.0)
        )

    rows, columns = direction
    assert along(rows, columns) > 3 * along(-columns, rows)


def test_pixels_alone_do_not_give_the_class_away():
    drawn = make_textures(4000, seed=0, size=8)
    pixels = drawn.inputs.flatten(1).double() / 255 - 0.5
    one_hot = torch.nn.functional.one_hot(drawn.labels, 10).double() - 0.1
    train, test = slice(0, 3000), slice(3000, None)
    gram = pixels[train].T @ pixels[train] + 10 * torch.eye(pixels.shape[1])
    ridge = torch.linalg.solve(gram, pixels[train].T @ one_hot[train])
    assert ((pixels[test] @ ridge).argmax(1) == drawn.labels[test]).double().mean() < 0.16


@pytest.mark.parametrize(("arguments", "got"), [({"n": -1}, "got -1"), ({"n": 1, "size": 0}, "got 0")])
def test_impossible_requests(arguments, got):
    with pytest.raises(InvalidSetting, match=got):
        make_textures(**arguments, seed=0)
