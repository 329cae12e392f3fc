"""Data sets of torchvision, written here in the formats in which torchvision stores them."""

import inspect
import shutil
import urllib.error

import numpy as np
import pytest
import torch
import torchvision.datasets

from agent.data.augmentation import Augmentation
from agent.errors import DatasetError, InvalidSetting
from scenarios.datasets import content, torchvision_decoding
from scenarios.datasets.torchvision_table import REFUSED, STORED
from tests.scenarios.datasets.torchvision_files import N_TEST, WRITERS, mnist, picture, pixels, trust_all
from tests.scenarios.worlds import fingerprint, load_dataset


@pytest.fixture(autouse=True)
def _trusting(monkeypatch):
    trust_all(monkeypatch)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("asked the network"))


@pytest.fixture
def load(tmp_path):
    """load_dataset with a data directory of its own, for `torchvision:` before the name."""

    def load(name, seed=0, **settings):
        return load_dataset(f"torchvision:{name}", seed=seed, data_dir=tmp_path / "data", **settings)

    return load


@pytest.fixture
def opened(monkeypatch):
    """How often torchvision's objects were made."""
    calls = []
    open_parts = torchvision_decoding.open_parts
    monkeypatch.setattr(
        torchvision_decoding, "open_parts", lambda *given: (calls.append(given[0].name), open_parts(*given))[1]
    )
    return calls


def test_every_data_set_of_torchvision_is_known():
    offered = {name for name in torchvision.datasets.__all__ if inspect.isclass(getattr(torchvision.datasets, name))}
    assert STORED.keys() | REFUSED.keys() >= offered
    assert not STORED.keys() & REFUSED.keys()
    assert {name.partition(",")[0] for name in WRITERS} == STORED.keys() - {"PCAM", "CIFAR10", "CIFAR100"}


@pytest.mark.parametrize("name", WRITERS)
def test_every_data_set_is_read_as_torchvision_stores_it(load, tmp_path, name):
    WRITERS[name](tmp_path / "data")
    stored = STORED[name.partition(",")[0]]
    data = load(name, n_validation=3) if "validation" not in stored.parts else load(name)
    n_classes = {"RenderedSST2": 2, "FakeData": 10, "Omniglot,split=evaluation": 6}.get(name, 3)
    assert data.n_classes == len(set(data.class_names)) == n_classes
    assert data.train.inputs.shape[1:] == (3, 32, 32)
    assert set(data.train.labels.tolist()) == set(range(n_classes))
    if "test" in stored.parts:
        assert len(data.test) == N_TEST
    assert data.augmentation == Augmentation(shift=4, mirror=stored.mirror)
    again = load(name, n_validation=3) if "validation" not in stored.parts else load(name)  # from the cache
    assert torch.equal(data.train.inputs, again.train.inputs)
    assert torch.equal(data.train.labels, again.train.labels)
    assert again.class_names == data.class_names
    found = fingerprint(f"torchvision:{name}", tmp_path / "data")
    assert (found is None) == (name == "FakeData")


def test_grey_images_keep_their_pixels_and_labels_their_names(load, tmp_path):
    mnist("FashionMNIST")(tmp_path / "data")
    data = load("fashion-mnist", n_train=20, n_validation=4)
    expected = torch.from_numpy(pixels(N_TEST, 28, 28, seed=1))
    assert data.class_names == ("T-shirt/top", "Trouser", "Pullover")
    assert data.notes == (
        "left out 7 of 10 classes, without training samples: Dress, Coat, Sandal, Shirt, Sneaker and 2 more",
    )
    assert torch.equal(data.test.inputs[:, 0], data.test.inputs[:, 2])
    mean = data.test.inputs[:, 0].float().mean((1, 2))
    assert torch.allclose(mean, expected.float().mean((1, 2)), atol=2)
    assert data.test.labels.tolist() == [0, 1, 2] * 3


def test_images_of_the_asked_size_are_untouched(load, tmp_path):
    WRITERS["SVHN"](tmp_path / "data")
    data = load("SVHN")
    assert np.array_equal(data.test.inputs.numpy(), pixels(N_TEST, 32, 32, 3, seed=1).transpose(0, 3, 1, 2))
    assert data.class_names == ("0", "8", "9")


def test_the_order_does_not_hang_on_the_file_system(load, tmp_path, monkeypatch):
    WRITERS["Omniglot,split=evaluation"](tmp_path / "data")
    first = load("Omniglot,split=evaluation")
    listdir = torchvision.datasets.utils.os.listdir
    monkeypatch.setattr(torchvision.datasets.utils.os, "listdir", lambda path: listdir(path)[::-1])
    shutil.rmtree(tmp_path / "data" / "folders")
    again = load("Omniglot,split=evaluation")
    assert again.class_names == first.class_names == tuple(sorted(first.class_names))
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert torch.equal(first.train.labels, again.train.labels)


def test_images_are_decoded_once_for_each_size(load, tmp_path, opened):
    WRITERS["EuroSAT"](tmp_path / "data")
    calls = []
    small = load("EuroSAT", progress=lambda done, total: calls.append((done, total)))
    assert opened == ["EuroSAT"]
    assert calls[-1] == (24, 24)
    large = load("EuroSAT", image_size=64)
    assert opened == ["EuroSAT"] * 2
    assert large.train.inputs.shape[2:] == (64, 64)
    assert large.augmentation == Augmentation(shift=8, mirror=True)
    assert torch.equal(load("EuroSAT").train.inputs, small.train.inputs)
    assert torch.equal(load("EuroSAT", image_size=64).train.inputs, large.train.inputs)
    assert opened == ["EuroSAT"] * 2
    picture(tmp_path / "data" / "eurosat" / "2750" / "cat" / "9999.jpg", 1)
    assert len(load("EuroSAT", n_test=3, n_validation=3).train) == 19
    assert opened == ["EuroSAT"] * 3


@pytest.mark.parametrize("damage", ["cut", "labels", "names"])
def test_a_damaged_cache_is_rebuilt(load, tmp_path, opened, caplog, damage):
    WRITERS["EuroSAT"](tmp_path / "data")
    first = load("EuroSAT")
    (cache,) = (tmp_path / "data" / "folders").iterdir()
    with np.load(cache) as arrays:
        stored = dict(arrays)
    if damage == "cut":
        cache.write_bytes(cache.read_bytes()[:999])
    elif damage == "labels":
        np.savez(cache, **stored | {"labels": stored["labels"] + 9})
    else:
        np.savez(cache, **stored | {"about": np.array("{}")})
    assert torch.equal(load("EuroSAT").train.inputs, first.train.inputs)
    assert opened == ["EuroSAT"] * 2
    assert "decoding the images again" in caplog.text
    load("EuroSAT")
    assert opened == ["EuroSAT"] * 2


def test_a_fingerprint_is_of_the_files_wherever_they_are(tmp_path, monkeypatch):
    mnist()(tmp_path / "one")
    first = fingerprint("torchvision:MNIST", tmp_path / "one")
    assert fingerprint("torchvision:mnist", tmp_path / "one") == first
    (tmp_path / "one").rename(tmp_path / "two")
    (tmp_path / "two" / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").write_bytes(b"the archive")
    with monkeypatch.context() as patched:
        patched.setattr(content, "hash_file", lambda path: pytest.fail("hashed twice"))
        # another directory has a cache of its own
        with pytest.raises(pytest.fail.Exception):
            fingerprint("torchvision:MNIST", tmp_path / "two")
    assert fingerprint("torchvision:MNIST", tmp_path / "two") == first
    monkeypatch.setattr(content, "hash_file", lambda path: pytest.fail("hashed twice"))
    assert fingerprint("torchvision:MNIST", tmp_path / "two") == first
    monkeypatch.undo()
    labels = tmp_path / "two" / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\1")
    assert fingerprint("torchvision:MNIST", tmp_path / "two") != first


def test_a_missing_data_set_is_one_line(load, tmp_path):
    for name in ("MNIST", "SVHN", "EuroSAT", "CIFAR10"):
        with pytest.raises(
            DatasetError, match=rf"expected {name} in .*data \(--data-dir\), got: .*; add --downl"
        ) as got:
            load(name)
        assert "\n" not in str(got.value)
        assert "download=True" not in str(got.value)
        with pytest.raises(DatasetError, match=f"expected {name} in"):
            fingerprint(f"torchvision:{name}", tmp_path / "data")
    with pytest.raises(DatasetError, match=r"expected FER2013 .*; download it there by hand"):
        load("FER2013")


def test_a_download_only_on_request(load, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(DatasetError, match=r"expected MNIST in .*; check the network connection"):
        load("MNIST", download=True)
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", lambda found: mnist()(tmp_path / "data"))
    with pytest.raises(DatasetError, match=r"; add --download to fetch it"):
        load("MNIST")
    first = fingerprint("torchvision:MNIST", tmp_path / "data", download=True)
    assert first
    assert len(load("MNIST").test) == N_TEST
    assert fingerprint("torchvision:MNIST", tmp_path / "data") == first


def test_damaged_files_are_one_line(load, tmp_path):
    mnist()(tmp_path / "data")
    images = tmp_path / "data" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:100])
    with pytest.raises(DatasetError, match="expected MNIST in") as caught:
        load("MNIST")
    assert "\n" not in str(caught.value)
    WRITERS["EuroSAT"](tmp_path / "data")
    (tmp_path / "data" / "eurosat" / "2750" / "cat" / "0000.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"expected a readable image, got .*cat/0000\.jpg"):
        load("EuroSAT")


def test_fewer_samples_than_labels_are_one_line(load, tmp_path):
    mnist()(tmp_path / "data")
    raw = tmp_path / "data" / "MNIST" / "raw"
    (raw / "t10k-labels-idx1-ubyte").write_bytes((raw / "train-labels-idx1-ubyte").read_bytes()[:8] + b"")
    with pytest.raises(DatasetError, match=r"expected MNIST in|expected a readable image"):
        load("MNIST")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nope", "expected a data set of torchvision out of Caltech101, .*, USPS, got nope"),
        ("CelebA", "with one label for each image, got CelebA, of attributes"),
        ("vocdetection", "got VOCDetection, of detection; choose out of"),
        ("Kinetics", "got Kinetics, of videos"),
        ("ImageFolder", "use folder:PATH"),
        ("EMNIST", r"expected split=byclass\|.*\|mnist for EMNIST, got none; as in torchvision:EMNIST,split=byclass"),
        ("EMNIST,split=greek", "expected split of EMNIST out of byclass, .*, mnist, got greek"),
        ("MNIST,split=train", "expected no split for MNIST, whose own parts are used, got train; leave it out"),
        ("MNIST,fold=1", "expected settings of torchvision out of name, split, got fold"),
    ],
)
def test_other_names_are_refused(load, name, message):
    with pytest.raises(InvalidSetting, match=message):
        load(name)


def test_a_name_must_be_given(tmp_path):
    with pytest.raises(InvalidSetting, match="expected a setting name for torchvision"):
        load_dataset("torchvision", seed=0)
    with pytest.raises(InvalidSetting, match="expected a setting name for torchvision"):
        fingerprint("torchvision", tmp_path)


def test_cifar_is_the_same_either_way(load, tmp_path, monkeypatch):
    """`torchvision:CIFAR10` and `cifar10` have the same pixels, also when they are resized."""
    cifar = torchvision.datasets.CIFAR10
    images, labels = pixels(30, 32, 32, 3), list(np.arange(30) % 10)

    def init(found, root, train=True, transform=None, target_transform=None, download=False):
        found.data, found.targets = (images, labels) if train else (images[::-1].copy(), labels[::-1])
        found.classes, found.transform, found.target_transform = [str(i) for i in range(10)], None, None

    monkeypatch.setattr(cifar, "__init__", init)
    (tmp_path / "data" / "cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / "data" / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"x")
    for size in (None, 64):
        one = load_dataset("cifar10", seed=0, data_dir=tmp_path / "data", image_size=size)
        other = load("CIFAR10", image_size=size)
        assert torch.equal(one.train.inputs, other.train.inputs)
        assert torch.equal(one.test.inputs, other.test.inputs)
        assert one.augmentation == other.augmentation
