"""What every member of the family of data sets promises, whatever the size of its images."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import scenarios
from agent.data.augmentation import Augmentation, Normalization
from agent.data.chunk import LabelledInputs
from agent.errors import DatasetError, InvalidSetting
from scenarios.config.described import describe
from scenarios.datasets.load import DATASETS
from scenarios.datasets.resizing import resized
from scenarios.datasets.source import Loading, Source
from tests.scenarios.datasets.torchvision_files import mnist, pixels, tree
from tests.scenarios.pictures import write_tree
from tests.scenarios.worlds import fingerprint, load_dataset

N = 48


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def write_npz(path: Path, *shape: int) -> str:
    half = pixels(N, *shape)
    np.savez(path, x_train=half, y_train=np.arange(N) % 3, x_test=pixels(12, *shape, seed=1), y_test=np.arange(12) % 3)
    return f"npz:{path}"


def write_parquet(path: Path) -> str:
    images = [{"bytes": png(image), "path": None} for image in pixels(N, 20, 24, 3)]
    pq.write_table(pa.table({"image": images, "label": ["a", "b", "c"] * (N // 3)}), path)
    return f"parquet:{path}"


def write_folder(root: Path) -> str:
    write_tree(root / "train", {"cat": 20, "dog": 20, "eel": 20})
    write_tree(root / "test", {"cat": 5, "dog": 5, "eel": 5}, first=100)
    return f"folder:{root}"


def stored(writer, name: str):
    """The spec of a data set of torchvision that is written to the data directory."""

    def write(root: Path) -> str:
        writer(root.parent / "data")
        return f"torchvision:{name}"

    return write


MEMBERS = {
    "textures": lambda root: "textures",
    "digits": lambda root: "digits",
    "vectors": lambda root: "digits:vectors=true",
    "folder": write_folder,
    "tree": lambda root: f"folder:{write_tree(root, {'cat': 30, 'dog': 12, 'eel': 6})}",
    "FashionMNIST": stored(mnist("FashionMNIST"), "FashionMNIST"),
    "EMNIST": stored(mnist("EMNIST", "emnist-letters-{}", 1), "EMNIST,split=letters"),
    "EuroSAT": stored(tree("eurosat/2750"), "EuroSAT"),
    "npz": lambda root: write_npz(root.with_suffix(".npz"), 20, 24, 3),
    "npz of vectors": lambda root: write_npz(root.with_suffix(".npz"), 7),
    "parquet": lambda root: write_parquet(root.with_suffix(".parquet")),
}
"""What makes each kind of data set at a path, and returns its spec."""

NO_IMAGES = ("vectors", "npz of vectors")


@pytest.fixture(params=MEMBERS)
def member(request):
    return request.param


@pytest.fixture
def load(member, tmp_path):
    """load_dataset of the member."""
    spec = MEMBERS[member](tmp_path / "made")

    def load(seed=0, **settings):
        return load_dataset(spec, seed=seed, data_dir=tmp_path / "data", **settings)

    load.spec = spec
    return load


def parts_of(data):
    return data.train, data.validation, data.test


def rows(part) -> set[bytes]:
    return {each.numpy().tobytes() for each in part.inputs}


def test_contract(load, member):
    data, again, other = load(), load(), load(seed=1)
    assert data.n_classes == len(set(data.class_names)) >= 2
    for part in parts_of(data):
        assert len(part) >= 1
        assert part.labels.dtype == torch.int64
        assert set(part.labels.tolist()) <= set(range(data.n_classes))
        if member in NO_IMAGES:
            assert part.inputs.dtype == torch.float32
            assert part.inputs.ndim == 2
        else:
            side = (20, 24) if member == "npz" else (32, 32)
            assert part.inputs.shape == (len(part), 3, *side)
            assert part.inputs.dtype == torch.uint8
    assert set(data.train.labels.tolist()) == set(range(data.n_classes))
    for one, same in zip(parts_of(data), parts_of(again), strict=True):
        assert torch.equal(one.inputs, same.inputs)
        assert torch.equal(one.labels, same.labels)
    assert not torch.equal(other.train.inputs[:9], data.train.inputs[:9])
    assert data.normalization == Normalization.of(data.train.inputs)
    train, validation, test = map(rows, parts_of(data))
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_sizes(load):
    data = load(n_train=12, n_validation=3, n_test=6)
    assert [len(part) for part in parts_of(data)] == [12, 3, 6]
    for option in ("n_train", "n_validation", "n_test"):
        with pytest.raises(InvalidSetting, match="of at least 1 image, got 0"):
            load(**{option: 0})
        if load.spec != "textures":
            with pytest.raises(DatasetError, match=r"at most \d+"):
                load(**{option: 99999})


def test_the_size_of_the_images(load, member):
    for odd in (7, 513, 0, -1):
        with pytest.raises(InvalidSetting, match=f"expected --image-size from 8 to 512 pixels, got {odd}; change it"):
            load(image_size=odd)
    if member in NO_IMAGES:
        with pytest.raises(InvalidSetting, match=r"expected a data set of images with --image-size, .*; leave --image"):
            load(image_size=32)
        return
    data = load()
    shift = {"npz": 2, "digits": 2}.get(member, 4)
    assert data.augmentation.shift == shift
    for size in (64, 17):
        scaled = load(image_size=size)
        assert scaled.train.inputs.shape[1:] == (3, size, size)
        assert scaled.train.inputs.dtype == torch.uint8
        of = 20 if member == "npz" else 32
        assert scaled.augmentation == Augmentation(round(shift * size / of), data.augmentation.mirror)
        assert torch.equal(scaled.train.labels, data.train.labels)
        assert scaled.normalization == Normalization.of(scaled.train.inputs)
        assert torch.equal(scaled.test.inputs, load(image_size=size).test.inputs)
    if member != "npz":
        assert torch.equal(load(image_size=32).train.inputs, data.train.inputs)


def test_the_fingerprint(load, member, tmp_path):
    found = fingerprint(load.spec, tmp_path / "data")
    assert (found is None) == (member in ("textures", "digits", "vectors"))
    load(image_size=None if member in NO_IMAGES else 16)
    assert fingerprint(load.spec, tmp_path / "data") == found


def test_a_lifetime(load, member, tmp_path):
    settings = {} if member in NO_IMAGES else {"image_size": 16}
    for sized in ({}, settings):
        trajectory = scenarios.run_lifetime(
            "interleaved:k=50",
            dataset=load.spec,
            data_dir=tmp_path / "data",
            network="mlp:hidden=8" if member in NO_IMAGES else "convnet",
            learner="online:epochs=1",
            train_size=12,
            validation_size=4,
            test_size=6,
            chunks=4,
            device="cpu",
            **sized,
        )
        assert len(trajectory.steps) == 4
        assert 0 <= trajectory.accuracy.agent <= 1


@pytest.mark.parametrize("network", ["resnet:depth=8,width=4", "convnet", "mlp:hidden=16"])
def test_every_network_takes_larger_images(network):
    trajectory = scenarios.run_lifetime(
        "interleaved:k=50",
        dataset="textures",
        image_size=64,
        network=network,
        learner="online:epochs=1",
        train_size=24,
        validation_size=10,
        test_size=10,
        chunks=3,
        device="cpu",
    )
    assert len(trajectory.steps) == 3


def test_every_member_has_a_description():
    described = {each.name: each for each in describe(DATASETS)}
    assert described.keys() == DATASETS.keys()
    for each in described.values():
        assert each.summary.endswith(".")
        assert all(parameter.help for parameter in each.parameters)
    assert [parameter.name for parameter in described["torchvision"].parameters] == ["name", "split"]
    assert [parameter.name for parameter in described["parquet"].parameters] == ["path", "image", "label"]
    assert [parameter.name for parameter in described["npz"].parameters] == ["path"]


# Data sets of the user.


def own(loading: Loading, channels: int = 3) -> Source:
    """Images of 10 x 12 pixels, whatever is asked for."""
    inputs = torch.from_numpy(pixels(30, channels, 10, 12))
    return Source(("a", "b"), LabelledInputs(inputs, torch.arange(30) % 2), Augmentation(shift=1, mirror=True))


def floats() -> Source:
    return Source(("a", "b"), LabelledInputs(torch.rand(30, 3, 8, 8), torch.arange(30) % 2), Augmentation())


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_images_of_the_user_are_resized(channels):
    data = load_dataset(f"{__name__}.own:channels={channels}", seed=0, image_size=20)
    assert data.train.inputs.shape[1:] == (channels, 20, 20)
    assert data.augmentation == Augmentation(shift=2, mirror=True)
    assert load_dataset(f"{__name__}.own", seed=0).train.inputs.shape[1:] == (3, 10, 12)


def test_floats_of_the_user_are_not_resized():
    with pytest.raises(InvalidSetting, match=r"expected a data set of images with --image-size, got .*floats with"):
        load_dataset(f"{__name__}.floats", seed=0, image_size=20)


def test_resizing_crops_the_middle_and_averages():
    wide = torch.zeros(2, 3, 8, 24, dtype=torch.uint8)
    wide[..., 8:16] = 200
    assert (resized(wide, 8) == 200).all()
    board = ((torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255).to(torch.uint8).expand(1, 3, 64, 64)
    assert (resized(board, 8).int() - 127).abs().max() <= 6
    assert resized(wide[:0], 8).shape == (0, 3, 8, 8)
