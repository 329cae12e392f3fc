import inspect
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.data.augmentation import Normalization
from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting
from scenarios.streams.chunking import Chunking
from scenarios.streams.corruptions import CORRUPTIONS, corrupted
from scenarios.streams.domains import domains, permuted, rotated
from tests.scenarios.worlds import colours

KINDS = ("corruptions", "rotations", "permutations")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(n, channels=3, height=32, width=32):
    return torch.randint(0, 256, (n, channels, height, width), generator=generator(n)).byte()


def with_inputs(dataset, make):
    """The data set with other inputs, made for a number of samples and a seed."""
    parts = {
        name: LabelledInputs(make(len(part := getattr(dataset, name)), seed), part.labels)
        for seed, name in enumerate(("train", "validation", "test"))
    }
    return replace(dataset, **parts, normalization=Normalization.of(parts["train"].inputs))


def changed_parts(scenario, dataset):
    """For the stream, the validation and the test part: the samples before and after, and the domain of each."""
    domain = torch.cat(
        [torch.full((len(chunk),), number) for chunk, number in zip(scenario.stream, scenario.experience, strict=True)]
    )
    ids = torch.cat([chunk.sample_ids for chunk in scenario.stream])
    yield dataset.train.inputs[ids], torch.cat([chunk.inputs for chunk in scenario.stream]), domain
    first = [scenario.experience.index(number) for number in range(scenario.n_experiences)]
    in_validation = torch.tensor([first.index(step) for step in scenario.shown.tolist()])
    yield dataset.validation.inputs, scenario.validation.inputs, in_validation
    yield dataset.test.inputs, scenario.test.inputs, scenario.group


# The scenario


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(12, 50),
    n_test=st.integers(6, 40),
    experiences=st.integers(1, 4),
    kind=st.sampled_from(KINDS),
    chunking=st.sampled_from([Chunking(5), Chunking(chunk_size=3), Chunking(4, 3)]),
    seed=st.integers(0, 9),
)
def test_all_classes_are_in_every_domain_from_the_first_chunk_of_which_its_validation_images_are_shown(
    n, n_test, experiences, kind, chunking, seed
):
    dataset = colours(n_train=n, n_validation=9, n_test=n_test)
    scenario = domains(dataset, chunking, seed=seed, experiences=experiences, kind=kind)
    assert list(scenario.experience) == sorted(scenario.experience)
    counts = np.bincount(scenario.experience)
    of_experience = [
        sum(len(chunk) for chunk, number in zip(scenario.stream, scenario.experience, strict=True) if number == e)
        for e in range(experiences)
    ]
    assert len(counts) == experiences
    assert max(of_experience) - min(of_experience) <= (3 if chunking == Chunking(4, 3) else 1)
    for part, domain in ((scenario.test, scenario.group), (scenario.validation, None)):
        if domain is None:
            first = [scenario.experience.index(number) for number in range(experiences)]
            domain = torch.tensor([first.index(step) for step in scenario.shown.tolist()])
        sizes = torch.bincount(domain, minlength=experiences)
        assert sizes.max() - sizes.min() <= 1
        for label in range(3):
            of_class = torch.bincount(domain[part.labels == label], minlength=experiences)
            assert of_class.max() - of_class.min() <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_domain_is_as_it_was_and_each_other_is_its_own(kind):
    dataset = with_inputs(colours(n_train=60, n_validation=30, n_test=30), lambda n, seed: random_images(n + seed)[:n])
    scenario = domains(dataset, Chunking(10), seed=0, kind=kind, experiences=5)
    found = list(changed_parts(scenario, dataset))
    assert [len(before) for before, _, _ in found] == [60, 30, 30]
    for before, after, domain in found:
        same = (before == after).flatten(1).all(dim=1)
        assert torch.equal(same, domain == 0)


def test_permutations_are_one_order_of_the_places_for_each_domain():
    """It is read off one image, whose pixels all differ."""

    def make(n, seed):
        places = torch.stack([torch.randperm(256, generator=generator(7 * seed + i)) for i in range(2 * n)])
        return places.view(n, 2, 16, 16).byte()

    dataset = with_inputs(colours(n_train=40, n_validation=12, n_test=16), make)
    scenario = domains(dataset, Chunking(8), seed=3, kind="permutations", experiences=4)
    orders = {0: list(range(256))}
    for befores, afters, domain in changed_parts(scenario, dataset):
        for before, after, number in zip(befores, afters, domain.tolist(), strict=True):
            if number not in orders:
                place = {value: place for place, value in enumerate(before[0].flatten().tolist())}
                orders[number] = [place[value] for value in after[0].flatten().tolist()]
            for channel in range(2):
                expected = [before[channel].flatten().tolist()[place] for place in orders[number]]
                assert after[channel].flatten().tolist() == expected
    assert len({tuple(order) for order in orders.values()}) == 4


def test_permutations_take_vectors_too():
    dataset = with_inputs(colours(), lambda n, seed: torch.randn(n, 7, generator=generator(seed)))
    scenario = domains(dataset, Chunking(8), seed=0, kind="permutations", experiences=4)
    for before, after, domain in changed_parts(scenario, dataset):
        assert after.dtype == torch.float32
        assert torch.equal(before.sort(dim=1).values, after.sort(dim=1).values)
        assert torch.equal((before == after).all(dim=1), domain == 0)
    for kind in ("corruptions", "rotations"):
        with pytest.raises(
            InvalidSetting, match=rf"expected images of 8 bits for domains of {kind}, got samples of sh"
        ):
            domains(dataset, Chunking(8), seed=0, kind=kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 1, 1), (4, 2, 3)])
def test_images_of_any_shape_have_domains(kind, shape):
    dataset = with_inputs(colours(n_train=20, n_test=20), lambda n, seed: random_images(n, *shape))
    scenario = domains(dataset, Chunking(10), seed=0, kind=kind, experiences=7)
    assert scenario.stream.data.inputs.shape == (20, *shape)
    assert scenario.test.inputs.dtype == torch.uint8


def test_rotations_divide_half_a_turn():
    dataset = with_inputs(colours(n_train=20, n_test=20), lambda n, seed: random_images(n, 1, 8, 8))
    scenario = domains(dataset, Chunking(4), seed=0, kind="rotations", experiences=2)
    for before, after, domain in changed_parts(scenario, dataset):
        assert torch.equal(after[domain == 1], before[domain == 1].rot90(1, (2, 3)))
    scenario = domains(dataset, Chunking(5), seed=0, kind="rotations", experiences=5)
    for before, after, domain in changed_parts(scenario, dataset):
        for number in range(1, 5):
            assert torch.equal(after[domain == number], rotated(before[domain == number], 36 * number))


def test_corruptions_come_in_their_order_and_leave_images_alone_without_strength():
    dataset = colours(n_train=42, n_validation=14, n_test=14)
    still = domains(dataset, Chunking(7), seed=0, experiences=7, strength=0.0)
    for before, after, _ in changed_parts(still, dataset):
        assert torch.equal(before, after)
    scenario = domains(dataset, Chunking(7), seed=0, experiences=7, strength=0.5)
    for before, after, domain in changed_parts(scenario, dataset):
        for number, kind in enumerate(CORRUPTIONS, start=1):
            if kind not in ("noise", "impulse"):
                expected = corrupted(before[domain == number], kind, 0.5, generator())
                assert torch.equal(after[domain == number], expected)


def test_noise_belongs_to_the_data_and_order_to_the_seed():
    dataset = colours()
    one, other = (domains(dataset, Chunking(10), seed=seed, data_seed=4) for seed in (1, 2))
    assert torch.equal(one.test.inputs, other.test.inputs)
    assert torch.equal(one.group, other.group)
    assert not torch.equal(one.test.inputs, domains(dataset, Chunking(10), seed=1, data_seed=5).test.inputs)
    assert torch.equal(one.test.inputs, domains(dataset, Chunking(10), seed=4).test.inputs)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"kind": "smells"}, "expected a kind of corruptions, rotations or permutations, got 'smells'; change"),
        ({"experiences": 8}, "expected 1 to 7 experiences with corruptions, got 8; change the scenario's exp"),
        ({"experiences": 0}, "expected 1 to 7 experiences with corruptions, got 0"),
        ({"experiences": 0, "kind": "rotations"}, "expected at least 1 experience, got 0; change the scenario's exp"),
        ({"kind": "rotations", "experiences": 10**11}, "expected at most as many experiences as the "),
        ({"strength": -1.0}, "expected a strength from 0 to 1,000,000, got -1; change the scenario's strength"),
        ({"strength": math.nan}, "expected a strength from 0 to 1,000,000, got nan"),
        ({"experiences": 11, "kind": "rotations"}, "expected 11 to 40 chunks for 40 training images and 11 visits"),
    ],
)
def test_settings_outside_their_range(own, message):
    with pytest.raises(InvalidSetting, match=message):
        inspect.unwrap(domains)(colours(), Chunking(10), seed=0, **own)


def test_every_domain_needs_a_test_image():
    dataset = colours(n_test=3)
    with pytest.raises(InvalidSetting, match="expected a test image of each of 5 experiences, got none of experience"):
        domains(dataset, Chunking(10), seed=0)


# Images that change


@pytest.mark.parametrize(("height", "width"), [(9, 9), (6, 11)])
@pytest.mark.parametrize("degrees", [36.0, 90.0, 120.0])
def test_rotation_looks_each_pixel_up_where_it_came_from(degrees, height, width):
    images = random_images(2, 2, height, width)
    turned = rotated(images, degrees).numpy()
    angle, middle = math.radians(degrees), ((height - 1) / 2, (width - 1) / 2)
    padded = np.pad(images.numpy().astype(float), ((0, 0), (0, 0), (30, 30), (30, 30)))
    for row in range(height):
        for column in range(width):
            up, right = middle[0] - row, column - middle[1]
            # Counterclockwise: what is here was clockwise of it.
            was_right = right * math.cos(angle) + up * math.sin(angle)
            was_up = up * math.cos(angle) - right * math.sin(angle)
            y, x = middle[0] - was_up + 30, middle[1] + was_right + 30
            top, left = math.floor(y), math.floor(x)
            dy, dx = y - top, x - left
            patch = padded[:, :, top : top + 2, left : left + 2]
            weights = np.outer([1 - dy, dy], [1 - dx, dx])
            np.testing.assert_allclose(turned[:, :, row, column], (patch * weights).sum((2, 3)), atol=0.6)


def test_blur_is_a_gaussian_of_a_pixel_at_32():
    images = random_images(2, 3, 32, 32)
    from scipy.ndimage import gaussian_filter1d

    expected = images.numpy().astype(float)
    for axis in (2, 3):
        expected = gaussian_filter1d(expected, 2.0, axis=axis, mode="mirror", radius=6)
    np.testing.assert_allclose(corrupted(images, "blur", 2.0, generator()).numpy(), expected, atol=0.6)
    larger = random_images(1, 3, 64, 64)
    expected = larger.numpy().astype(float)
    for axis in (2, 3):
        expected = gaussian_filter1d(expected, 2.0, axis=axis, mode="mirror", radius=6)
    np.testing.assert_allclose(corrupted(larger, "blur", 1.0, generator()).numpy(), expected, atol=0.6)


def test_contrast_and_brightness_are_those_of_cifar10_c():
    import colorsys

    images = random_images(2, 3, 6, 6)
    images[0, :, 0, 0] = 0  # black, which becomes grey
    for image, paler, brighter in zip(
        images.numpy().astype(float),
        corrupted(images, "contrast", 1.0, generator()).numpy(),
        corrupted(images, "brightness", 1.0, generator()).numpy(),
        strict=True,
    ):
        for channel, got in zip(image, paler, strict=True):
            np.testing.assert_allclose(got, channel.mean() + 0.15 * (channel - channel.mean()), atol=0.501)
        for pixel, got in zip(image.reshape(3, -1).T, brighter.reshape(3, -1).T, strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
            expected = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, min(1, value + 0.3)))
            np.testing.assert_allclose(got, expected, atol=0.501)


def test_pixelation_averages_and_repeats():
    images = random_images(2, 3, 8, 12)
    coarse = corrupted(images, "pixelation", 1.0, generator())  # 5 × 7 pixels
    for image, got in zip(images.numpy().astype(float), coarse.numpy(), strict=True):
        small = np.zeros((3, 5, 7))
        for row in range(5):
            for column in range(7):
                top, bottom = math.floor(row * 8 / 5), math.ceil((row + 1) * 8 / 5)
                left, right = math.floor(column * 12 / 7), math.ceil((column + 1) * 12 / 7)
                small[:, row, column] = image[:, top:bottom, left:right].mean(axis=(1, 2))
        for row in range(8):
            for column in range(12):
                expected = small[:, int((row + 0.5) * 5 / 8), int((column + 0.5) * 7 / 12)]
                np.testing.assert_allclose(got[:, row, column], expected, atol=0.501)


def test_noise_and_impulses_are_as_strong_as_they_say():
    images = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    noise = corrupted(images, "noise", 0.5, generator()).double() - 128
    assert float(noise.mean()) == pytest.approx(0, abs=0.3)
    assert float(noise.std()) == pytest.approx(12.75, rel=0.02)
    hit = corrupted(images, "impulse", 2.0, generator())
    assert set(hit.unique().tolist()) == {0, 128, 255}
    assert float((hit == 0).double().mean()) == pytest.approx(0.07, abs=0.005)
    assert float((hit == 255).double().mean()) == pytest.approx(0.07, abs=0.005)
    assert not (corrupted(images, "impulse", 20.0, generator()) == 128).any()


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_images_are_corrupted_alike_in_any_number(kind):
    images = random_images(1030, 3, 4, 4)
    before = images.clone()
    whole = corrupted(images, kind, 1.0, generator())
    assert torch.equal(images, before)
    assert torch.equal(whole[:1024], corrupted(images[:1024], kind, 1.0, generator()))
    assert torch.equal(corrupted(images, kind, 0.0, generator()), images)
    assert corrupted(images[:0], kind, 1.0, generator()).shape == (0, 3, 4, 4)
    assert corrupted(images[:2, :1, :1, :1], kind, 3.0, generator()).shape == (2, 1, 1, 1)


def test_permuted_numbers_are_the_same_ones():
    vectors = torch.arange(12.0).view(2, 6)
    found = permuted(vectors, generator())
    assert found[0].sort().values.tolist() == list(range(6))
    assert torch.equal(found[1], found[0] + 6)


def test_corruptions_of_any_strength_are_images():
    scenario = domains(colours(), Chunking(7), seed=0, experiences=7, strength=1e6)
    assert scenario.stream.data.inputs.dtype == torch.uint8
