"""The ids of test images: the same image has the same id with every seed and every size of the parts."""

import numpy as np
import pytest
import torch

from tests.scenarios.worlds import load_dataset


@pytest.fixture(scope="module")
def own_test(tmp_path_factory):
    """A data set whose images are all different, with a test part of its own."""
    path = tmp_path_factory.mktemp("own") / "own.npz"
    values = np.random.default_rng(0).normal(size=(160, 5)).astype(np.float32)
    labels = np.arange(160) % 3
    np.savez(path, x_train=values[:90], y_train=labels[:90], x_test=values[90:], y_test=labels[90:])
    return f"npz:{path}", torch.from_numpy(values[90:]), torch.from_numpy(labels[90:])


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("n_test", [None, 70, 20, 1])
def test_ids_name_the_rows_of_the_data_set_s_own_test_part(own_test, seed, n_test):
    spec, images, labels = own_test
    found = load_dataset(spec, seed=seed, n_test=n_test)
    assert len(found.test) == len(found.test_ids) == (n_test or 70)
    assert torch.equal(images[found.test_ids], found.test.inputs)
    assert torch.equal(labels[found.test_ids], found.test.labels)
    if n_test in (None, 70):
        assert torch.equal(found.test_ids, torch.arange(70))


def test_a_test_part_that_the_seed_draws_has_ids_among_all_images():
    by_id = {}
    for seed, n_test in ((0, 300), (1, 300), (1, 100)):
        found = load_dataset("digits:vectors=true", seed=seed, n_test=n_test)
        assert len(set(found.test_ids.tolist())) == n_test
        for number, image in zip(found.test_ids.tolist(), found.test.inputs, strict=True):
            assert torch.equal(by_id.setdefault(number, image), image)
    assert len(by_id) > 400  # seeds share some of them


def test_held_out_images_have_the_ids_of_the_training_part():
    whole = load_dataset("digits:vectors=true", seed=0)
    held = whole.holding_out(50, seed=0)
    assert torch.equal(whole.train.inputs[held.test_ids], held.test.inputs)
