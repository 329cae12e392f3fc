import io
import json
import logging
import os
import pickle
import shutil
import tarfile
import unicodedata
import urllib.error
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from agent.data.augmentation import Augmentation, Normalization
from agent.errors import DatasetError, InvalidSetting
from scenarios.datasets import content, image_folder
from scenarios.datasets.image_folder import read_image_folder
from scenarios.datasets.load import DATASETS, stratified_order
from tests.scenarios.pictures import write_image, write_tree
from tests.scenarios.worlds import colours, fingerprint, load_dataset


def rows(part) -> list[bytes]:
    return [image.numpy().tobytes() for image in part.inputs]


@pytest.fixture
def folder(tmp_path):
    write_tree(tmp_path / "photos" / "train", {"cat": 20, "dog": 20, "eel": 20})
    write_tree(tmp_path / "photos" / "test", {"cat": 5, "dog": 5, "eel": 5}, first=100)
    return tmp_path / "photos"


@pytest.fixture
def load(tmp_path):
    """load_dataset with a cache directory of its own."""

    def load(name, seed=0, **settings):
        return load_dataset(str(name), seed=seed, data_dir=tmp_path / "cache", **settings)

    return load


@pytest.fixture
def decoded(monkeypatch):
    """The paths that were decoded, in any order."""
    paths = []
    decode = image_folder.decode_image
    monkeypatch.setattr(image_folder, "decode_image", lambda path, *how: (paths.append(path), decode(path, *how))[1])
    return paths


@pytest.fixture
def small_cifar(tmp_path, monkeypatch):
    """A CIFAR-10 of 40 + 10 images in torchvision's own format: the directory it is unpacked in."""
    base = tmp_path / "cache" / "cifar-10-batches-py"
    base.mkdir(parents=True)
    generator = np.random.default_rng(0)

    def write(name, content):
        (base / name).write_bytes(pickle.dumps(content))
        return [name, md5((base / name).read_bytes()).hexdigest()]

    def batch(n):
        return {"data": generator.integers(0, 256, (n, 3072), np.uint8), "labels": [i % 10 for i in range(n)]}

    cifar = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar, "train_list", [write("data_batch_1", batch(40))])
    monkeypatch.setattr(cifar, "test_list", [write("test_batch", batch(10))])
    name, checksum = write("batches.meta", {"label_names": [f"class{i}" for i in range(10)]})
    monkeypatch.setattr(cifar, "meta", {"filename": name, "key": "label_names", "md5": checksum})
    archive = base.parent / cifar.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(base, base.name)
    monkeypatch.setattr(cifar, "tgz_md5", md5(archive.read_bytes()).hexdigest())
    archive.rename(tmp_path / "archive.tar.gz")
    return base


# What every data set promises.


@pytest.fixture(params=["textures", "digits", "folder", "tree", "cifar10"])
def named(request, tmp_path):
    """The name of each data set that needs no download."""
    if request.param == "cifar10":
        request.getfixturevalue("small_cifar")
    elif request.param == "folder":
        return f"folder:{request.getfixturevalue('folder')}"
    elif request.param == "tree":
        return f"folder:{write_tree(tmp_path / 'tree', {'cat': 30, 'dog': 7, 'eel': 1})}"
    return request.param


def test_contract(named, load):
    data, again, other = load(named), load(named), load(named, seed=1)
    assert data.name == named
    assert data.n_classes == len(data.class_names) >= 2
    parts = (data.train, data.validation, data.test)
    for part in parts:
        assert len(part) >= 1
        assert part.inputs.shape == (len(part), 3, 32, 32)
        assert part.inputs.dtype == torch.uint8
        assert part.labels.dtype == torch.int64
        assert set(part.labels.tolist()) <= set(range(data.n_classes))
    assert set(data.train.labels.tolist()) == set(range(data.n_classes))
    for one, same in zip(parts, (again.train, again.validation, again.test), strict=True):
        assert torch.equal(one.inputs, same.inputs)
        assert torch.equal(one.labels, same.labels)
    assert rows(other.train) != rows(data.train)
    assert data.normalization == Normalization.of(data.train.inputs)
    train, validation, test = (set(rows(part)) for part in parts)
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_contract_of_sizes(named, load):
    data = load(named, n_train=12, n_validation=2, n_test=5)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [12, 2, 5]
    assert set(data.train.labels.tolist()) == set(range(data.n_classes))
    assert data.normalization == Normalization.of(data.train.inputs)


@pytest.mark.parametrize(
    ("setting", "option"),
    [("n_train", "--train-size"), ("n_validation", "--validation-size"), ("n_test", "--test-size")],
)
def test_contract_of_impossible_sizes(named, load, setting, option):
    with pytest.raises(InvalidSetting, match=f"expected {option} of at least 1 image, got 0; "):
        load(named, **{setting: 0})
    if named != "textures":
        with pytest.raises(DatasetError, match=rf"expected .*at most \d+.*{option}.*9999|{option}.*at most.*got 9999"):
            load(named, **{setting: 9999})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnist", f"expected a data set out of {', '.join(DATASETS)} or package.module.Class, got mnist"),
        ("", "expected a name, with settings as in static:k=20, got nothing"),
        ("folder", "expected the path of a folder of images, as in folder:photos, got folder"),
        ("folder:", "expected the path of a folder of images, as in folder:photos, got folder:"),
        ("textures:3", "expected no settings for textures, got 3"),
    ],
)
def test_names_that_are_no_data_set_are_refused(load, name, message):
    with pytest.raises(InvalidSetting, match=message):
        load(name)


# Single data sets.


def test_textures_and_digits_have_their_default_sizes_and_no_mirroring(load):
    textures, digits = load("textures"), load("digits")
    assert [len(part) for part in (textures.train, textures.validation, textures.test)] == [3000, 500, 1000]
    assert [len(part) for part in (digits.train, digits.validation, digits.test)] == [1197, 200, 400]
    assert not textures.augmentation.mirror
    assert not digits.augmentation.mirror
    assert digits.train.inputs.max() == 255
    assert torch.equal(digits.train.inputs[:, 0], digits.train.inputs[:, 2])


def test_cifar_keeps_the_official_test_part_and_prints_nothing(load, small_cifar, capsys):
    data = load("cifar10")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [36, 4, 10]
    assert data.class_names[3] == "class3"
    assert data.augmentation == Augmentation(shift=4, mirror=True)
    with (small_cifar / "test_batch").open("rb") as stream:
        official = pickle.load(stream)["data"]
    assert np.array_equal(data.test.inputs.flatten(1).numpy(), official)
    assert data.test.labels.tolist() == list(range(10))
    assert capsys.readouterr() == ("", "")


def test_a_sound_cifar_archive_is_unpacked_without_a_network(load, small_cifar, tmp_path, monkeypatch):
    for file in small_cifar.iterdir():
        file.unlink()
    small_cifar.rmdir()
    (tmp_path / "archive.tar.gz").rename(tmp_path / "cache" / "cifar-10-python.tar.gz")
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("asked the network"))
    assert len(load("cifar10").train) == 36


def test_missing_cifar_names_the_ways_out(load, tmp_path):
    with pytest.raises(DatasetError) as caught:
        load("cifar100")
    for part in ("--download", f"{tmp_path / 'cache'} (--data-dir)", "--dataset textures", "digits", "folder:PATH"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cifar_download_without_a_network(load, monkeypatch):
    def offline(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(DatasetError, match=r"got: .*no route to host.*--download.*digits or folder:PATH") as caught:
        load("cifar10", download=True)
    assert "\n" not in str(caught.value)


def test_damaged_cifar(load, small_cifar, tmp_path):
    (small_cifar / "test_batch").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"corrupted.*delete cifar-10-batches-py"):
        load("cifar10")
    small_cifar.rename(tmp_path / "away")
    (tmp_path / "cache" / "cifar-10-python.tar.gz").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"expected the CIFAR10 archive .* with md5 .*damaged one; delete it"):
        load("cifar10")


# Splits.


def test_stratified_order_is_a_permutation_with_balanced_beginnings():
    labels = torch.tensor([0] * 100 + [1] * 50 + [2] * 1)[torch.randperm(151, generator=torch.Generator())]
    order = stratified_order(labels, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(151))
    for m in range(1, 151):
        counts = torch.bincount(labels[order[:m]], minlength=3)
        assert abs(counts[0] - m * 100 / 151) <= 1.5
    assert sorted(labels[order[-3:]].tolist()) == [0, 1, 2]


def test_stratified_order_draws_equal_classes_and_rows_at_random():
    labels = torch.arange(4).repeat_interleave(3)
    orders = [stratified_order(labels, torch.Generator().manual_seed(seed)) for seed in range(50)]
    assert len({int(order[0]) for order in orders}) > 8
    assert len(stratified_order(torch.empty(0, dtype=torch.int64), torch.Generator())) == 0


def test_a_tree_of_three_images_a_class(load, tmp_path):
    root = write_tree(tmp_path / "tree", {f"c{i:03}": 3 for i in range(200)})
    data = load(f"folder:{root}")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [432, 48, 120]
    assert torch.bincount(data.train.labels, minlength=200).min() >= 1
    assert torch.bincount(data.test.labels, minlength=200).max() == 1


def test_the_smallest_tree(load, tmp_path):
    data = load(f"folder:{write_tree(tmp_path / 'three', {'a': 2, 'b': 1})}")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [1, 1, 1]
    root = write_tree(tmp_path / "two", {"a": 1, "b": 1})
    with pytest.raises(
        DatasetError, match=r"at most 2 images together.*--train-size 1 \+ --validation-size 1 \+ --test"
    ):
        load(f"folder:{root}")


def test_a_validation_folder_is_kept_as_it_is(load, folder):
    write_tree(folder / "val", {"cat": 2, "dog": 2, "eel": 3}, first=200)
    data = load(f"folder:{folder}")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [60, 7, 15]
    assert data.validation.inputs[:, 0, 0, 0].tolist() == list(range(200, 207))


def test_images_come_in_the_order_of_their_names(folder, tmp_path):
    found = read_image_folder(folder, cache_dir=tmp_path)
    assert found.class_names == ("cat", "dog", "eel")
    assert found.train.inputs[:, 0, 0, 0].tolist() == list(range(60))
    assert found.train.labels.tolist() == [0] * 20 + [1] * 20 + [2] * 20


# Image folders: what goes wrong.


def test_missing_and_misshapen_folders(load, tmp_path, folder):
    with pytest.raises(DatasetError, match=r"PATH/train/<class>/ and .*got nothing at .*nowhere; check"):
        load(f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(DatasetError, match="got a file at"):
        load(f"folder:{folder / 'train' / 'cat' / '0000.png'}")
    with pytest.raises(DatasetError, match=r"2 or more class folders in .*cat, got 0 \(none\)"):
        load(f"folder:{folder / 'train' / 'cat'}")
    with pytest.raises(DatasetError, match=r"2 or more class folders in .*, got 1 \(only\)"):
        load(f"folder:{write_tree(tmp_path / 'one', {'only': 5})}")


def test_an_empty_class_folder_is_named(load, folder):
    (folder / "test" / "dog").rename(folder.parent / "dog")
    (folder / "test" / "dog").mkdir()
    (folder / "test" / "dog" / "notes.txt").write_text("no image")
    with pytest.raises(DatasetError, match=r"expected images \(.*\.png.*\) in the class folder .*test/dog, got none"):
        load(f"folder:{folder}")


def test_parts_that_disagree_on_classes(load, folder):
    write_tree(folder / "test", {"fox": 1})
    (folder / "test" / "cat").rename(folder / "test" / "Cat")
    with pytest.raises(DatasetError, match=r"only in one of them: Cat, cat, fox; rename"):
        load(f"folder:{folder}")


@pytest.mark.parametrize(("there", "missing"), [("train", "test"), ("test", "train")])
def test_a_part_without_the_other(load, folder, there, missing):
    (folder / missing).rename(folder.parent / "away")
    with pytest.raises(DatasetError, match=rf"expected PATH/train.*, got no .*/{missing} beside .*/{there}; add it"):
        load(f"folder:{folder}")


@pytest.mark.parametrize("content", [b"", b"no image", b"truncated"])
def test_an_unreadable_file_is_named(load, folder, content):
    bad = folder / "train" / "dog" / "bad.jpg"
    if content == b"truncated":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        stream = io.BytesIO()
        Image.fromarray(noise).save(stream, "JPEG")
        content = stream.getvalue()[:1500]
    bad.write_bytes(content)
    with pytest.raises(DatasetError, match=r"expected a readable image, got .*dog/bad\.jpg .*; repair or remove"):
        load(f"folder:{folder}")


def test_loops_and_broken_links(load, folder):
    link = folder / "train" / "cat" / "up"
    link.symlink_to(folder / "train", target_is_directory=True)
    with pytest.raises(DatasetError, match=r"loop of symbolic links at .*cat/up/"):
        load(f"folder:{folder}")
    link.unlink()
    (folder / "train" / "cat" / "gone.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(DatasetError, match=r"expected a readable folder.*gone\.png"):
        load(f"folder:{folder}")
    (folder.parent / "self").symlink_to(folder.parent / "self")
    with pytest.raises(DatasetError, match=r"expected a (readable )?folder"):
        load(f"folder:{folder.parent / 'self'}")


def test_an_unreadable_directory(load, folder, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(DatasetError, match=r"Permission denied.*cat.*check its permissions"):
        load(f"folder:{folder}")


def test_nested_folders_are_read_and_hidden_files_passed_over(tmp_path):
    root = write_tree(tmp_path / "tree", {"a": 1, "b": 1})
    write_image(root / "a" / "deep" / "er" / "x.png", (9, 9, 9))
    (root / "a" / "._0000.png").write_bytes(b"resource fork")
    (root / ".cache").mkdir()
    (root / "b" / ".thumbnails").mkdir()
    (root / "b" / ".thumbnails" / "x.png").write_bytes(b"no image")
    found = read_image_folder(root, cache_dir=tmp_path)
    assert found.class_names == ("a", "b")
    assert found.train.labels.tolist() == [0, 0, 1]
    assert found.test is None


# Image folders: the cache.


def test_images_are_decoded_once(load, folder, decoded):
    calls = []
    first = load(f"folder:{folder}", progress=lambda done, total: calls.append((done, total)))
    assert len(decoded) == 75
    assert calls[-1] == (75, 75)
    again = load(f"folder:{folder}", progress=lambda *_: pytest.fail("decoded again"))
    assert len(decoded) == 75
    assert torch.equal(first.train.inputs, again.train.inputs)


def cache_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "folders").iterdir())


def test_a_change_decodes_again_and_replaces_the_cache(load, folder, decoded, tmp_path):
    load(f"folder:{folder}")
    (before,) = cache_files(tmp_path)
    write_image(folder / "train" / "cat" / "0000.png", (1, 2, 3))
    assert (1, 2, 3) in {
        tuple(image[:, 0, 0].tolist()) for image in load(f"folder:{folder}", n_validation=1).train.inputs
    }
    assert len(decoded) == 150
    (after,) = cache_files(tmp_path)
    assert after != before
    (folder / "train" / "cat" / "0001.png").rename(folder / "train" / "cat" / "9999.png")
    load(f"folder:{folder}")
    assert len(decoded) == 225
    (folder / "train" / "cat" / "9999.png").unlink()
    assert len(load(f"folder:{folder}", n_validation=1).train) == 58
    os.utime(folder / "test" / "cat" / "0000.png", ns=(1, 1))
    load(f"folder:{folder}")
    assert len(decoded) == 225 + 74
    assert len(cache_files(tmp_path)) == 1


def test_two_folders_keep_a_cache_each(load, folder, tmp_path):
    load(f"folder:{folder}")
    load(f"folder:{folder / 'train'}")
    assert len(cache_files(tmp_path)) == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "pickle", "shape", "name"])
def test_a_damaged_cache_is_rebuilt(load, folder, decoded, tmp_path, caplog, damage):
    first = load(f"folder:{folder}")
    (cache,) = cache_files(tmp_path)
    content = bytearray(cache.read_bytes())
    if damage == "empty":
        cache.write_bytes(b"")
    elif damage == "cut":
        cache.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        cache.write_bytes(content)
    elif damage == "pickle":
        np.savez(cache, images=np.array([object()]))
    elif damage == "shape":
        np.savez(cache, images=np.zeros((3, 3, 32, 32), np.uint8))
    else:
        np.savez(cache, other=np.zeros(3))
    again = load(f"folder:{folder}")
    assert len(decoded) == 150
    assert "decoding the images again" in caplog.text
    assert torch.equal(first.train.inputs, again.train.inputs)
    load(f"folder:{folder}")
    assert len(decoded) == 150


def test_an_unwritable_cache_directory_only_warns(load, folder, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file in its place")
    with caplog.at_level(logging.WARNING):
        assert len(load(f"folder:{folder}").test) == 15
    assert "expected a writable cache directory (--data-dir)" in caplog.text


def test_a_write_that_fails_leaves_nothing_behind(load, folder, tmp_path, monkeypatch):
    def full(stream, **_):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    load(f"folder:{folder}")
    assert cache_files(tmp_path) == []


def test_a_moved_or_copied_folder_shares_the_decoded_images(load, folder, decoded, tmp_path):
    first = load(f"folder:{folder}")
    copy = shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    (copy / "train").rename(copy / "Training Set")
    again = load(f"folder:{copy}")
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert len(decoded) == 75
    (before,) = cache_files(tmp_path)
    write_image(copy / "test" / "cat" / "0000.png", (1, 2, 3))
    load(f"folder:{copy}")
    assert len(cache_files(tmp_path)) == 2  # the first folder still has its own
    write_image(folder / "test" / "cat" / "0000.png", (1, 2, 3))
    load(f"folder:{folder}")
    assert len(decoded) == 150
    (after,) = cache_files(tmp_path)
    assert after != before


def test_decoded_images_of_a_folder_that_is_gone_do_not_stay(load, folder, tmp_path):
    load(f"folder:{folder}")
    moved = folder.rename(tmp_path / "moved")
    load(f"folder:{moved}")
    write_image(moved / "test" / "cat" / "0000.png", (1, 2, 3))
    load(f"folder:{moved}")
    assert len(cache_files(tmp_path)) == 1


def test_other_decoders_decode_again(load, folder, decoded, monkeypatch, tmp_path):
    load(f"folder:{folder}")
    versions = content.decoder_versions() | {"pillow": "1.0"}
    monkeypatch.setattr(content, "decoder_versions", lambda: versions)
    load(f"folder:{folder}")
    assert len(decoded) == 150
    load(f"folder:{folder}")
    assert len(decoded) == 150
    assert len(cache_files(tmp_path)) == 1


def test_an_image_that_changes_while_it_is_read(load, folder, monkeypatch, tmp_path):
    decode = image_folder.decode_image

    def decode_and_write(path, *how):
        pixels = decode(path, *how)
        if path.endswith("train/dog/0003.png"):
            write_image(Path(path), (1, 2, 3), size=(99, 9))
        return pixels

    monkeypatch.setattr(image_folder, "decode_image", decode_and_write)
    with pytest.raises(DatasetError, match=r"got a change of .*train/dog/0003\.png; try again"):
        load(f"folder:{folder}")
    assert not (tmp_path / "cache" / "folders").exists()


def test_the_cache_is_on_the_disk_before_it_has_its_name(load, folder, tmp_path, monkeypatch):
    synced, replace = [], Path.replace
    sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_size), sync(descriptor))[1]
    )
    monkeypatch.setattr(Path, "replace", lambda path, to: (synced.append(to.suffix), replace(path, to))[1])
    load(f"folder:{folder}")
    (cache,) = cache_files(tmp_path)
    at = synced.index(".npz")
    assert synced[at - 1] == cache.stat().st_size
    assert len(synced) > at + 1  # and then its folder


# Image folders: fingerprints.


@pytest.fixture
def hashed(monkeypatch):
    """The paths that were hashed, in any order."""
    paths = []
    read = content.hash_file
    monkeypatch.setattr(content, "hash_file", lambda path: (paths.append(path), read(path))[1])
    return paths


@pytest.fixture
def print_of(tmp_path):
    """fingerprint with a cache directory of its own."""
    return lambda path: fingerprint(f"folder:{path}", tmp_path / "cache")


def test_only_folders_have_a_fingerprint(tmp_path):
    assert fingerprint("textures") is None
    assert fingerprint("cifar10", tmp_path) is None
    with pytest.raises(DatasetError, match="got nothing at"):
        fingerprint(f"folder:{tmp_path / 'nowhere'}", tmp_path)


def test_a_fingerprint_is_of_the_content_wherever_it_lies(folder, print_of, tmp_path, monkeypatch):
    first = print_of(folder)
    copy = shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert print_of(copy) == first
    (copy / "train").rename(copy / "Training Images")
    (copy / "test").rename(copy / "TEST")
    assert print_of(copy) == first
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    assert print_of(tmp_path / "link") == first
    monkeypatch.chdir(tmp_path)
    assert print_of("photos") == print_of("./copy/../photos/") == first
    assert print_of(folder.rename(tmp_path / "moved")) == first


def test_a_fingerprint_does_not_hang_on_how_a_name_is_composed(print_of, tmp_path):
    for form in ("NFC", "NFD"):
        write_tree(tmp_path / form, {unicodedata.normalize(form, "\u00e9lan"): 2, "zebra": 1})
    assert print_of(tmp_path / "NFC") == print_of(tmp_path / "NFD")


@pytest.mark.parametrize("change", ["byte", "name", "class", "part", "more", "less", "order"])
def test_a_fingerprint_changes_with_the_content(folder, print_of, change):
    first = print_of(folder)
    cats = folder / "train" / "cat"
    if change == "byte":
        damaged = bytearray((cats / "0000.png").read_bytes())
        damaged[-1] ^= 1
        status = (cats / "0000.png").stat()
        (cats / "0000.png").write_bytes(damaged)
        os.utime(cats / "0000.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "name":
        (cats / "0000.png").rename(cats / "0000.PNG")
    elif change == "class":
        (cats / "0000.png").rename(folder / "train" / "dog" / "9999.png")
    elif change == "part":
        (cats / "0000.png").rename(folder / "test" / "cat" / "9999.png")
    elif change == "more":
        write_image(cats / "9999.png")
    elif change == "less":
        (cats / "0000.png").unlink()
    else:
        (cats / "0000.png").rename(cats / "x.png")
        (cats / "0001.png").rename(cats / "0000.png")
        (cats / "x.png").rename(cats / "0001.png")
    assert print_of(folder) != first


def test_a_fingerprint_of_a_class_tree_differs_from_one_of_parts(print_of, folder):
    assert print_of(folder / "train") != print_of(folder)


def test_files_are_hashed_once(folder, print_of, hashed, load, tmp_path):
    first = print_of(folder)
    assert len(hashed) == 75
    assert print_of(folder) == first
    load(f"folder:{folder}")
    assert print_of(folder) == first
    assert len(hashed) == 75
    os.utime(folder / "test" / "cat" / "0000.png", ns=(1, 1))
    assert print_of(folder) == first
    assert len(hashed) == 150


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\xff", b"null", "fingerprint", "root", "decoded"])
def test_a_damaged_fingerprint_file_is_made_anew(folder, print_of, hashed, load, tmp_path, damage):
    load(f"folder:{folder}")
    first = print_of(folder)
    (file,) = (tmp_path / "cache" / "folder-fingerprints").iterdir()
    odd = {"fingerprint": "x", "root": "/", "decoded": "../../photos/x.npz"}
    if isinstance(damage, str):
        damage = json.dumps(json.loads(file.read_bytes()) | {damage: odd[damage]}).encode()
    file.write_bytes(damage)
    assert print_of(folder) == first
    assert len(hashed) == 150


def test_a_cache_that_cannot_be_written_only_costs_time(folder, print_of, hashed, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file in its place")
    assert print_of(folder) == print_of(folder)
    assert len(hashed) == 150
    assert not caplog.records


def test_a_file_that_cannot_be_hashed_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"expected a readable file, got .*gone\.png \(.*No such file.*; repair or"):
        content.hash_file(str(tmp_path / "gone.png"))


# What a user is told.


def test_notes_and_the_overview(load, folder):
    (folder / "train" / "cat" / "a.txt").write_text("no image")
    for _ in range(2):  # decoded, and from the cache
        data = load(f"folder:{folder}", n_validation=10)
        assert data.notes == ("skipped 1 file that is not a readable image: .txt (1)",)
        assert data.overview() == "3 classes (cat, dog, eel), 50 training, 10 validation and 15 test images"
    assert load("textures").notes == ()
    assert (
        load("digits").overview().startswith("10 classes (0, 1, 2, ...), 1,197 training, 200 validation and 400 test")
    )


def test_an_overview_of_odd_names(load, tmp_path):
    root = write_tree(tmp_path / "odd", {"a\x1b[31m\nb": 3, "c" * 99: 3, "d": 3, "e": 3})
    data = load(f"folder:{root}", n_test=1)
    assert data.overview() == f"4 classes (a?[31m?b, {'c' * 21}..., d, e), 10 training, 1 validation and 1 test image"


def test_megapixels_are_limited(load, tmp_path):
    root = write_tree(tmp_path / "large", {"a": 3, "b": 3})
    write_image(root / "a" / "0000.png", size=(100, 100))
    with pytest.raises(
        DatasetError, match=r"at most 0\.009 megapixels .*\(--max-megapixels\), got 0\.01 in .*0000\.png"
    ):
        load(f"folder:{root}", max_megapixels=0.009)
    assert len(load(f"folder:{root}", max_megapixels=0.01).train) == 4
    assert len(load(f"folder:{root}", max_megapixels=0.009).train) == 4  # decoded before
    for odd in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidSetting, match="expected --max-megapixels above 0"):
            load("textures", max_megapixels=odd)


@pytest.mark.cifar
def test_real_photographs(tmp_path):
    folder = os.environ.get("LIFETIME_CIFAR_FOLDER")
    if not folder:
        pytest.skip("LIFETIME_CIFAR_FOLDER does not name the CIFAR-10 (JPEG) folder")
    data, again = (load_dataset(f"folder:{folder}", seed=0, data_dir=tmp_path) for _ in range(2))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [45000, 5000, 10000]
    assert data.class_names[:2] == ("airplane", "automobile")
    assert torch.bincount(data.validation.labels).tolist() == [500] * 10
    assert data.normalization.mean == pytest.approx((0.491, 0.482, 0.447), abs=0.005)
    assert torch.equal(data.train.inputs, again.train.inputs)


@pytest.mark.parametrize("n", [1, 12, 39])
def test_images_that_are_held_out_take_the_place_of_the_test_images(n):
    whole = colours(n_train=40, n_classes=3)
    held = whole.holding_out(n, seed=1)
    assert (len(held.train), len(held.test)) == (40 - n, n)
    rows = sorted(each.sum().item() for part in (held.train, held.test) for each in part.inputs)
    assert rows == sorted(each.sum().item() for each in whole.train.inputs), "each image is in one of the parts"
    if n == 12:
        assert held.test.labels.bincount().tolist() == [4, 4, 4]
    assert torch.equal(held.validation.inputs, whole.validation.inputs)
    assert held.normalization == Normalization.of(held.train.inputs)
    assert torch.equal(held.test.inputs, whole.holding_out(n, seed=1).test.inputs)
    if n == 12:
        assert not torch.equal(held.test.inputs, whole.holding_out(n, seed=2).test.inputs)
