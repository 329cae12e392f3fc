import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from agent.data.augmentation import Augmentation, Normalization, Turns


def slow(image: np.ndarray, down: int, right: int, mirror: bool, padding: str = "edge") -> np.ndarray:
    """One image, pixel by pixel: a place takes what lies (down, right) of it, or the nearest edge, or what the edge
    reflects; then mirrored."""
    channels, height, width = image.shape
    moved = np.empty_like(image)
    for channel, row, column in itertools.product(range(channels), range(height), range(width)):
        from_row, from_column = row + down, column + right
        if padding == "reflect":
            from_row, from_column = reflected(from_row, height), reflected(from_column, width)
        from_row = min(max(from_row, 0), height - 1)
        from_column = min(max(from_column, 0), width - 1)
        moved[channel, row, column] = image[channel, from_row, from_column]
    return moved[:, :, ::-1] if mirror else moved


def reflected(place: int, n: int) -> int:
    return -place if place < 0 else 2 * (n - 1) - place if place >= n else place


def distinct(n: int, height: int, width: int) -> Tensor:
    """Images in which no two pixels are alike, and neither are two images."""
    generator = torch.Generator().manual_seed(3)
    return (
        torch.stack(
            [
                torch.stack([torch.randperm(256, generator=generator)[: height * width] for _ in range(3)])
                for _ in range(n)
            ]
        )
        .reshape(n, 3, height, width)
        .to(torch.uint8)
    )


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    return augmentation(images, augmentation.draw(1, len(images), generator)[0])


def drawn(images: Tensor, augmentation: Augmentation, seed: int) -> list[tuple[int, int, bool]]:
    """Which shift and mirroring turned each image into its augmented copy, found by trying all that are allowed."""
    augmented = augment(images, augmentation, torch.Generator().manual_seed(seed)).numpy()
    shifts = range(-augmentation.shift, augmentation.shift + 1)
    allowed = list(itertools.product(shifts, shifts, (False, True) if augmentation.mirror else (False,)))
    found = []
    for image, after in zip(images.numpy(), augmented, strict=True):
        matching = [move for move in allowed if np.array_equal(slow(image, *move, augmentation.padding), after)]
        assert matching, "no allowed shift and mirroring gives this image"
        found.append(matching[0])
    return found


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    shift=st.integers(0, 3),
    mirror=st.booleans(),
    padding=st.sampled_from(["edge", "reflect"]),
    seed=st.integers(0, 2**31),
)
def test_each_image_is_shifted_and_mirrored_as_allowed(
    n: int, height: int, width: int, shift: int, mirror: bool, padding: str, seed: int
) -> None:
    images = distinct(n, height, width)
    before = images.clone()
    assert len(drawn(images, Augmentation(shift, mirror, padding), seed)) == n
    assert torch.equal(images, before)


def test_all_moves_are_equally_likely_and_drawn_for_each_image() -> None:
    counts = Counter(drawn(distinct(1800, 4, 4), Augmentation(shift=1, mirror=True), seed=0))
    assert len(counts) == 3 * 3 * 2
    assert all(60 < count < 140 for count in counts.values())  # 100 expected, standard deviation 10


def test_shifts_do_not_depend_on_mirroring_nor_draws_on_layout() -> None:
    images = distinct(20, 6, 6)
    plain = drawn(images, Augmentation(shift=2), seed=4)
    mirrored = drawn(images, Augmentation(shift=2, mirror=True), seed=4)
    unmirrored = [move if not move[2] else None for move in mirrored]
    assert any(move is None for move in unmirrored)
    assert all(move in (None, expected) for move, expected in zip(unmirrored, plain, strict=True))
    augmentation = Augmentation(shift=2, mirror=True)
    moves = augmentation.draw(1, len(images), torch.Generator().manual_seed(4))[0]
    there = augmentation(images.contiguous(memory_format=torch.channels_last), moves)
    assert torch.equal(there, augmentation(images, moves))


def test_the_generator_decides() -> None:
    images = distinct(30, 5, 5)
    generator = torch.Generator().manual_seed(1)
    augmentation = Augmentation(shift=1, mirror=True)
    first, second = augment(images, augmentation, generator), augment(images, augmentation, generator)
    again = augment(images, augmentation, torch.Generator().manual_seed(1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("mirror", [False, True])
def test_moves_drawn_at_once_are_those_drawn_batch_by_batch(mirror: bool) -> None:
    augmentation = Augmentation(shift=3, mirror=mirror)
    at_once, one_by_one = (torch.Generator().manual_seed(6) for _ in range(2))
    expected = torch.cat([augmentation.draw(1, 20, one_by_one) for _ in range(5)])
    assert torch.equal(augmentation.draw(5, 20, at_once), expected)
    assert torch.equal(at_once.get_state(), one_by_one.get_state())


def test_nothing_to_do_is_the_identity() -> None:
    images, generator = distinct(4, 5, 6), torch.Generator().manual_seed(1)
    before = generator.get_state()
    assert torch.equal(augment(images, Augmentation(), generator), images)
    assert torch.equal(generator.get_state(), before)


def test_no_image_at_all() -> None:
    empty = torch.empty(0, 3, 5, 6, dtype=torch.uint8)
    assert augment(empty, Augmentation(shift=1, mirror=True), torch.Generator()).shape == (0, 3, 5, 6)


def test_output_is_channels_last() -> None:
    images = distinct(4, 5, 6)
    augmented = augment(images, Augmentation(shift=1, mirror=True), torch.Generator())
    assert augmented.is_contiguous(memory_format=torch.channels_last)
    normalized = Normalization((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))(images)
    assert normalized.is_contiguous(memory_format=torch.channels_last)
    assert normalized.dtype == torch.float32


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(1, 20),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    seed=st.integers(0, 999),
    top=st.integers(2, 256),
)
def test_statistics_are_those_of_numpy(n: int, height: int, width: int, seed: int, top: int) -> None:
    values = np.random.default_rng(seed).integers(0, top, (n, 3, height, width)).astype(np.uint8)
    scaled = values.astype(np.float64) / 255
    mean, std = scaled.mean((0, 2, 3)), scaled.std((0, 2, 3))
    found = Normalization.of(torch.from_numpy(values))
    np.testing.assert_allclose(found.mean, mean, atol=1e-12)
    constant = values.max((0, 2, 3)) == values.min((0, 2, 3))
    expected = np.where(constant, 1, std)
    np.testing.assert_allclose(found.std, expected, rtol=1e-7, atol=1e-12)
    normalized = found(torch.from_numpy(values)).double().numpy()
    by_hand = (scaled - mean[:, None, None]) / expected[:, None, None]
    np.testing.assert_allclose(normalized, by_hand, atol=1e-4)


@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_constant_channel_is_centred_and_not_divided_by_zero(value: int) -> None:
    images = distinct(4, 5, 5)
    images[:, 1] = value
    found = Normalization.of(images)
    assert found.std[1] == 1.0
    assert found(images)[:, 1].abs().max() < 1e-6


@settings(deadline=None, max_examples=60)
@given(calls=st.lists(st.lists(st.integers(0, 6), max_size=12), max_size=4), seed=st.integers(0, 99))
def test_each_image_is_turned_around_each_time_that_it_is_drawn(calls: list[list[int]], seed: int) -> None:
    turns = Turns()
    turns.append(4, torch.Generator().manual_seed(seed))
    turns.append(3, torch.Generator().manual_seed(seed + 1))
    expected = turns.state().tolist()
    for rows in calls:
        other = turns.fork()
        found = turns.next(torch.tensor(rows, dtype=torch.int64)).tolist()
        assert other.next(torch.tensor(rows, dtype=torch.int64)).tolist() == found
        for row, mirrored in zip(rows, found, strict=True):
            assert mirrored == expected[row]
            expected[row] = not expected[row]
    assert Turns(turns.state()).next(torch.arange(7)).tolist() == expected


def test_alternating_moves_mirror_every_image_each_second_time() -> None:
    augmentation, generator, turns = Augmentation(2, True, alternating=True), torch.Generator().manual_seed(0), Turns()
    turns.append(50, generator)
    rows = [torch.randperm(50, generator=generator).split([20, 20, 10]) for _ in range(4)]
    batches = [batch for epoch in rows for batch in epoch]
    moves = augmentation.draw_for(batches, 20, generator, turns, torch.device("cpu"))
    assert [move.shape for move in moves] == [(3, len(batch)) for batch in batches]
    mirrored = torch.zeros(4, 50, dtype=torch.int32)
    for number, (batch, move) in enumerate(zip(batches, moves, strict=True)):
        mirrored[number // 3, batch] = move[2]
    assert torch.equal(mirrored[0], mirrored[2])
    assert torch.equal(mirrored[0], 1 - mirrored[1])
    assert 10 < int(mirrored[0].sum()) < 40


def test_without_alternation_moves_are_those_of_draw() -> None:
    augmentation, turns = Augmentation(2, True), Turns()
    one, other = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    batches = list(torch.arange(9).split([5, 4]))
    moves = augmentation.draw_for(batches, 5, one, turns, torch.device("cpu"))
    expected = augmentation.draw(2, 5, other)
    assert all(torch.equal(move, each[:, : move.shape[1]]) for move, each in zip(moves, expected, strict=True))
