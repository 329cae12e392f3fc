"""Archives of arrays, and arrays from Python."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent.data.augmentation import Augmentation
from agent.errors import DatasetError, InvalidSetting
from scenarios.datasets import content
from scenarios.datasets.array_parts import source_of
from scenarios.datasets.arrays import from_arrays
from tests.scenarios.worlds import fingerprint, load_dataset

N = 40
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 16, 12, 3), np.uint8)
LABELS = np.arange(N) % 4


def archive(path: Path, **arrays) -> str:
    np.savez(path, **{"x_train": IMAGES, "y_train": LABELS} | arrays)
    return f"npz:{path}"


@pytest.fixture
def load(tmp_path):
    """load_dataset of an archive of these arrays; None leaves one out."""

    def load(image_size=None, **arrays):
        given = {"x_train": IMAGES, "y_train": LABELS} | arrays
        np.savez(tmp_path / "a.npz", **{name: value for name, value in given.items() if value is not None})
        return load_dataset(f"npz:{tmp_path / 'a.npz'}", seed=0, data_dir=tmp_path / "cache", image_size=image_size)

    return load


def source(**arrays):
    return source_of({"x_train": IMAGES, "y_train": LABELS} | arrays, "here")


# Images.


@pytest.mark.parametrize(
    "layout",
    [
        IMAGES,
        IMAGES.transpose(0, 3, 1, 2),
        IMAGES.astype(np.int64),
        IMAGES / 255,
        (IMAGES / 255).astype(np.float32),
        np.asfortranarray(IMAGES),
        IMAGES.astype(">u2"),
    ],
    ids=["last", "first", "int64", "float64", "float32", "fortran", "big-endian"],
)
def test_images_of_every_layout_are_the_same(layout):
    found = source(x_train=layout)
    assert found.train.inputs.dtype == torch.uint8
    assert np.array_equal(found.train.inputs.numpy(), IMAGES.transpose(0, 3, 1, 2))
    assert found.augmentation == Augmentation(shift=2, mirror=True)  # 4 of 32 pixels, of 12


@pytest.mark.parametrize("axis", [None, 1, 3])
def test_grey_images_become_rgb(axis):
    grey = IMAGES[..., 0]
    found = source(x_train=grey if axis is None else np.expand_dims(grey, axis)).train.inputs.numpy()
    assert found.shape == (N, 3, 16, 12)
    assert (found == grey[:, None]).all()


def test_the_size_is_that_of_the_images_or_the_one_that_is_asked_for(load):
    assert load().train.inputs.shape[1:] == (3, 16, 12)
    data = load(image_size=64)
    assert data.train.inputs.shape[1:] == (3, 64, 64)
    assert data.augmentation == Augmentation(shift=11, mirror=True)  # 2 of 12 pixels
    assert load(image_size=16).train.inputs.shape[1:] == (3, 16, 16)


def test_images_that_already_have_the_size_are_untouched(load):
    square = IMAGES[:, :12]
    data = load(image_size=12, x_train=square, x_test=square, y_test=LABELS)
    assert np.array_equal(data.test.inputs.numpy(), square.transpose(0, 3, 1, 2))


def test_an_archive_and_a_folder_of_the_same_images_are_the_same(load, tmp_path):
    from PIL import Image

    for i, image in enumerate(IMAGES):
        (tmp_path / "tree" / f"{LABELS[i]}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "tree" / f"{LABELS[i]}" / f"{i:03}.png")
    order = np.argsort(LABELS, kind="stable")
    one = load(image_size=64, x_train=IMAGES[order], y_train=LABELS[order])
    other = load_dataset(f"folder:{tmp_path / 'tree'}", seed=0, data_dir=tmp_path / "cache", image_size=64)
    assert torch.equal(one.train.inputs, other.train.inputs)
    assert torch.equal(one.test.labels, other.test.labels)


@given(hnp.arrays(np.uint8, (3, 4, 5)), st.sampled_from([np.float16, np.float32, np.float64]))
def test_floats_from_bytes_are_these_bytes_again(grey, kind):
    found = source_of({"x_train": (grey / 255).astype(kind), "y_train": np.array([0, 1, 1])}, "here")
    if kind is not np.float16:
        assert np.array_equal(found.train.inputs[:, 0].numpy(), grey)
    assert np.abs(found.train.inputs[:, 0].numpy().astype(int) - grey).max(initial=0) <= 1


@given(hnp.arrays(np.float64, (3, 4, 5), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_floats_outside_0_to_1_are_refused(pixels):
    arrays = {"x_train": pixels, "y_train": np.array([0, 1, 1])}
    if ((pixels >= 0) & (pixels <= 1)).all():
        levels = source_of(arrays, "here").train.inputs[:, 0].numpy() / 255
        assert np.abs(levels - pixels).max() <= 0.5 / 255 + 1e-6
    else:
        with pytest.raises(DatasetError, match=r"expected pixels .* floats from 0 to 1, got .*; scale them"):
            source_of(arrays, "here")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((N, 3, 8, 3), np.uint8), "channels first and channels last both fit"),
        (np.zeros((N, 1, 8, 3), np.uint8), "channels first and channels last both fit"),
        (np.zeros((N, 8, 8, 4), np.uint8), "neither is a number of channels"),
        (np.zeros((N, 8, 8, 8, 3), np.uint8), r"images \(3 or 4 dimensions\) or vectors \(2\), got uint8 of shape"),
        (np.zeros(N, np.uint8), "images .* or vectors"),
        (np.zeros((N, 0, 8), np.uint8), "images .* or vectors"),
        (np.zeros((N, 8, 8), bool), "of numbers .*, got bool"),
        (np.zeros((N, 8, 8), complex), "of numbers .*, got complex128"),
        (np.full((N, 8, 8), 256), "whole numbers from 0 to 255, got 256 to 256"),
        (np.full((N, 8, 8), -1), "whole numbers from 0 to 255, got -1 to -1"),
        (np.full((N, 8, 8), 2.0), "floats from 0 to 1, got 2 to 2"),
        (np.full((N, 8, 8), np.nan), "floats from 0 to 1, got nan to nan"),
        (np.full((N, 8), "a"), "of numbers .*, got <U1"),
    ],
)
def test_other_images_are_refused(images, message):
    with pytest.raises(DatasetError, match=message) as caught:
        source(x_train=images)
    assert "\n" not in str(caught.value)


# Vectors.


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int8, np.uint64])
def test_vectors_are_float32(kind):
    vectors = np.arange(N * 5).reshape(N, 5).astype(kind)
    found = source(x_train=vectors)
    assert found.train.inputs.dtype == torch.float32
    assert np.array_equal(found.train.inputs.numpy(), vectors.astype(np.float32))
    assert found.augmentation == Augmentation()


@settings(max_examples=50)
@given(hnp.arrays(np.float64, (4, 2), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_vectors_that_float32_cannot_hold_are_refused(vectors):
    arrays = {"x_train": vectors, "y_train": np.array([0, 1, 0, 1])}
    with np.errstate(over="ignore"):
        finite = np.isfinite(vectors.astype(np.float32)).all()
    if finite:
        assert np.array_equal(source_of(arrays, "here").train.inputs.numpy(), vectors.astype(np.float32))
    else:
        with pytest.raises(DatasetError, match="expected finite numbers in x_train"):
            source_of(arrays, "here")


def test_vectors_have_no_image_size(load):
    vectors = np.random.default_rng(0).normal(size=(N, 7))
    assert load(x_train=vectors).train.inputs.shape[1:] == (7,)
    with pytest.raises(InvalidSetting, match=r"expected a data set of images with --image-size, got npz:.* of 7 "):
        load(x_train=vectors, image_size=32)


# Labels.


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (LABELS, ("0", "1", "2", "3")),
        (LABELS[:, None].astype(np.uint8), ("0", "1", "2", "3")),
        (LABELS * 10 - 5, ("-5", "5", "15", "25")),
        (LABELS.astype(np.uint64) + 7, ("7", "8", "9", "10")),
        (LABELS % 2 == 0, ("0", "1")),
        (np.array(["d", "b", "c", "a"])[LABELS], ("a", "b", "c", "d")),
        (np.array([b"d", "\u00e9".encode()])[LABELS % 2], ("d", "\u00e9")),
    ],
)
def test_labels_of_any_kind(labels, names):
    found = source(y_train=labels)
    assert found.class_names == names
    expected = [str(each) if labels.dtype.kind != "S" else each.decode() for each in labels.reshape(-1).tolist()]
    expected = [{"True": "1", "False": "0"}.get(each, each) for each in expected]
    assert [names[label] for label in found.train.labels] == expected


def test_class_names_name_positions_or_are_the_labels():
    names = np.array(["zero", "one", "two", "three", "four"])
    found = source(class_names=names)
    assert found.class_names == ("zero", "one", "two", "three")
    assert found.train.labels.tolist() == LABELS.tolist()
    assert found.notes == ("left out 1 of 5 classes, without training samples: four",)
    found = source(y_train=names[LABELS], class_names=names)
    assert found.class_names == ("zero", "one", "two", "three")
    assert found.train.labels.tolist() == LABELS.tolist()
    found = source(y_train=LABELS + 1, class_names=names)
    assert found.class_names == ("one", "two", "three", "four")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y_train": LABELS.astype(float)}, "of whole numbers or texts .*, got float64; convert them"),
        ({"y_train": np.eye(4)[LABELS]}, r"of shape \(n,\) or \(n, 1\) .*, got \(40, 4\); give one label for each"),
        ({"y_train": LABELS[:-1]}, "as many samples as labels .*, got x_train of 40 and y_train of 39"),
        ({"y_train": np.array(3)}, r"of shape \(n,\)"),
        ({"x_train": IMAGES[:0], "y_train": LABELS[:0]}, "one or more, got x_train of 0|2 or more classes"),
        ({"y_train": LABELS * 0}, r"expected 2 or more classes in here, got 1 \(0\)"),
        ({"x_test": IMAGES, "y_test": LABELS + 3}, "class of the test part .* got 4, 5, 6 in test alone"),
        ({"x_test": IMAGES, "y_test": LABELS.astype(str)}, "labels of one kind .* texts in test"),
        ({"x_test": IMAGES}, "expected arrays x_test and y_test .*, got x_test alone; add y_test"),
        ({"y_val": LABELS}, "expected arrays x_val and y_val .*, got y_val alone; add x_val"),
        ({"x_test": IMAGES[:0], "y_test": LABELS[:0]}, "one or more, got x_test of 0"),
        (
            {"x_test": IMAGES[:, :9], "y_test": LABELS},
            r"of one shape .*\(3, 16, 12\) in x_train and \(3, 9, 12\)",
        ),
        (
            {f"{kind}_{end}": value for end in ("val", "validation") for kind, value in (("x", IMAGES), ("y", LABELS))},
            "one validation part .*, got x_validation and x_val",
        ),
        ({"class_names": np.array(["a", "b"])}, r"labels from 0 to 1 .*, got 0 to 3"),
        ({"class_names": np.array(["a", "b", "b", "c"])}, "each class name once .*, got b twice"),
        ({"class_names": np.arange(4)}, "class_names of texts"),
        (
            {"y_train": LABELS.astype(str), "class_names": np.array(["0", "x"])},
            "of the 2 class names .*, got 1, 2, 3",
        ),
        ({"y_train": np.full(N, 2**63, np.uint64)}, r"below 2\^63"),
    ],
)
def test_what_makes_no_data_set(arrays, message):
    with pytest.raises(DatasetError, match=message) as caught:
        source(**arrays)
    assert "\n" not in str(caught.value)


def test_a_part_of_its_own_is_kept(load):
    data = load(x_test=IMAGES[:8], y_test=LABELS[:8], x_val=IMAGES[8:12], y_val=LABELS[8:12, None])
    assert [len(part) for part in (data.train, data.validation, data.test)] == [40, 4, 8]
    assert np.array_equal(data.test.inputs.numpy(), IMAGES[:8].transpose(0, 3, 1, 2))


# Files.


def test_files_that_are_no_archive(load, tmp_path):
    def refused(path, message):
        for read in (lambda: load_dataset(f"npz:{path}", seed=0, data_dir=tmp_path / "cache"),):
            with pytest.raises(DatasetError, match=message) as caught:
                read()
            assert "\n" not in str(caught.value)

    refused(tmp_path / "no.npz", r"expected an archive of arrays \(.npz\), got nothing at .*no\.npz; check the path")
    refused(tmp_path, "got a folder at")
    (tmp_path / "text.npz").write_text("no archive")
    refused(tmp_path / "text.npz", r"expected a readable archive .*text\.npz \(another kind of file\); save it again")
    (tmp_path / "empty.npz").write_bytes(b"")
    refused(tmp_path / "empty.npz", "expected a readable archive")
    np.save(tmp_path / "one.npy", IMAGES)
    refused(tmp_path / "one.npy", "got a single array; use numpy.savez")
    np.savez(tmp_path / "other.npz", train_images=IMAGES, train_labels=LABELS)
    refused(tmp_path / "other.npz", "expected arrays x_train and y_train in .*, got train_images, train_labels; save")
    np.savez(tmp_path / "x.npz", x_train=IMAGES)
    refused(tmp_path / "x.npz", "got x_train alone; add y_train")
    np.savez(tmp_path / "pickled.npz", x_train=IMAGES, y_train=np.array([print] * N))
    refused(tmp_path / "pickled.npz", "got pickled objects, which are never loaded")
    archive(tmp_path / "cut.npz")
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.npz", "expected a readable archive")
    (tmp_path / "cut.npz").write_bytes(whole[:5000] + b"damage" + whole[5006:])
    refused(tmp_path / "cut.npz", r"expected a readable archive .*CRC")
    (tmp_path / "loop.npz").symlink_to(tmp_path / "loop.npz")
    refused(tmp_path / "loop.npz", "expected a")


def test_a_fingerprint_is_of_the_content_and_is_computed_once(tmp_path, monkeypatch):
    spec = archive(tmp_path / "a.npz")
    first = fingerprint(spec, tmp_path / "cache")
    with monkeypatch.context() as patched:
        patched.setattr(content, "hash_file", lambda path: pytest.fail("hashed again"))
        assert fingerprint(spec, tmp_path / "cache") == first
    shutil.move(tmp_path / "a.npz", tmp_path / "b, c=d.npz")
    assert fingerprint(f"npz:{tmp_path / 'b, c=d.npz'}", tmp_path / "cache") == first
    monkeypatch.chdir(tmp_path)
    assert fingerprint("npz:./b, c=d.npz", tmp_path / "cache") == first
    assert fingerprint(archive(tmp_path / "a.npz", y_train=LABELS[::-1]), tmp_path / "cache") != first
    with pytest.raises(DatasetError, match="got nothing at"):
        fingerprint(f"npz:{tmp_path / 'no.npz'}", tmp_path / "cache")


# Arrays from Python.


def test_arrays_from_python(tmp_path):
    spec = from_arrays(IMAGES, LABELS, IMAGES[:8], LABELS[:8], class_names=["a", "b", "c", "d"], folder=tmp_path)
    data = load_dataset(spec, seed=0, data_dir=tmp_path / "cache")
    assert data.class_names == ("a", "b", "c", "d")
    assert np.array_equal(data.test.inputs.numpy(), IMAGES[:8].transpose(0, 3, 1, 2))
    (file,) = tmp_path.glob("*.npz")
    before = file.stat().st_mtime_ns
    tensors = (torch.from_numpy(each) for each in (IMAGES, LABELS, IMAGES[:8], LABELS[:8]))
    assert from_arrays(*tensors, class_names=("a", "b", "c", "d"), folder=str(tmp_path)) == spec
    assert file.stat().st_mtime_ns == before
    other = from_arrays(IMAGES, LABELS, folder=tmp_path)
    assert other != spec
    assert len(load_dataset(other, seed=0, data_dir=tmp_path / "cache").test) == 8


def test_lists_and_texts_from_python(tmp_path):
    spec = from_arrays([[0.0, 1.0], [1.0, 2.0], [3.0, 4.0]], np.array(["x", "y", "x"], dtype=object), folder=tmp_path)
    assert load_dataset(spec, seed=0).class_names == ("x", "y")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([[1.0], [1.0, 2.0]], [0, 1], "expected x_train as an array, got"),
        (np.array([[1.0], [2.0]]), [print, print], "expected y_train of numbers or texts, got objects"),
        (IMAGES, LABELS[:3], "as many samples as labels in the arrays"),
        (torch.zeros(2, 3, dtype=torch.bfloat16), [0, 1], "expected x_train as an array"),
    ],
)
def test_arrays_that_make_no_data_set_are_not_written(tmp_path, x, y, message):
    with pytest.raises(DatasetError, match=message):
        from_arrays(x, y, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in its place")
    with pytest.raises(DatasetError, match="expected a folder to write the arrays to"):
        from_arrays(IMAGES, LABELS, folder=tmp_path / "file")
