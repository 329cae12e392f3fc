"""What identifies the data of a run."""

import json
import sys
from pathlib import Path

import pytest
import torch

from agent.data.augmentation import Augmentation
from agent.data.chunk import LabelledInputs
from agent.errors import DatasetError, InvalidSetting
from scenarios.config.families import DATASET
from scenarios.config.members import Member
from scenarios.datasets.fingerprints import decodes_images, identified_by, reads_files, without_path
from scenarios.datasets.folder_cache import FolderRecord
from scenarios.datasets.source import Loading, Source
from tests.scenarios.pictures import write_image, write_tree
from tests.scenarios.worlds import fingerprint, load_dataset


@pytest.mark.parametrize(
    ("spec", "without"),
    [
        ("folder:/a/b", "folder"),
        ("folder:a,b=c", "folder"),
        ("npz:/a/b.npz", "npz"),
        ("parquet:/a", "parquet"),
        ("parquet:/a,label=x,image=y", "parquet:image=y,label=x"),
        ("textures", "textures"),
        ("digits:vectors=true", "digits:vectors=true"),
        ("torchvision:EMNIST,split=letters", "torchvision:EMNIST,split=letters"),
        ("own.module.photos:path=/a", "own.module.photos:path=/a"),
        ("folder:", "folder:"),
        ("", ""),
    ],
)
def test_specs_without_paths(spec, without):
    assert without_path(spec) == without


def test_what_reads_files():
    assert all(reads_files(spec) for spec in ("folder:/a", "npz:/a", "parquet:/a", "torchvision:MNIST", "own.photos"))
    assert not any(reads_files(spec) for spec in ("textures", "digits:vectors=true", "cifar10"))


def named(spec):
    return Member(DATASET, spec.partition(":")[0], {})


def test_what_pillow_decides():
    assert all(decodes_images(named(spec)) for spec in ("folder:/a", "parquet:/a", "torchvision:MNIST"))
    assert not any(decodes_images(named(spec)) for spec in ("textures", "digits", "cifar10", "npz:/a", "own.photos"))
    assert all(decodes_images(named(spec), 64) for spec in ("folder:/a", "cifar10", "npz:/a", "own.photos"))
    assert not any(decodes_images(named(spec), 64) for spec in ("textures", "digits"))


# Data sets of the user that read files.


def content_of(path, scale=1.0):
    if path.name == "number":
        return 3
    if path.name == "broken":
        raise KeyError("no\nsuch thing")
    sys.stdout.write("reading")
    return f"{path.read_text()} {scale:g}"


@identified_by(content_of)
def photos(path: Path, loading: Loading, scale: float = 1.0) -> Source:
    inputs = torch.full((30, 2), float(path.read_text())) * scale
    return Source(("a", "b"), LabelledInputs(inputs, torch.arange(30) % 2), Augmentation())


def plain(path: Path) -> Source:
    return photos(path, Loading(0, 0, path))


def test_files_of_a_data_set_of_the_user_count(tmp_path):
    name = f"{__name__}.photos"
    (tmp_path / "a").write_text("7")
    assert load_dataset(f"{name}:path={tmp_path / 'a'}", seed=0).train.inputs.max() == 7
    assert fingerprint(f"{name}:{tmp_path / 'a'}") == "7 1"
    assert fingerprint(f"{name}:path={tmp_path / 'a'},scale=2.5") == "7 2.5"
    assert fingerprint(f"{__name__}.plain:{tmp_path / 'a'}") is None
    with pytest.raises(DatasetError, match=r"expected the fingerprint of .*photos to be a text, got .* int"):
        fingerprint(f"{name}:{tmp_path / 'number'}")
    with pytest.raises(DatasetError, match=r"the fingerprint of .*photos to work, got KeyError: .*; correct it") as got:
        fingerprint(f"{name}:{tmp_path / 'broken'}")
    assert "\n" not in str(got.value)
    with pytest.raises(InvalidSetting, match="expected a setting path for"):
        fingerprint(name)
    with pytest.raises(InvalidSetting, match=r"expected settings of .* out of path, scale, got other"):
        fingerprint(f"{name}:other=1")


# The cache of decoded images, for each size.


@pytest.fixture
def folder(tmp_path):
    return write_tree(tmp_path / "photos", {"cat": 6, "dog": 6})


def decoded(tmp_path) -> set[str]:
    return {file.name for file in (tmp_path / "cache" / "folders").iterdir()}


def test_a_folder_has_a_cache_for_each_size(folder, tmp_path):
    def load(size=None):
        calls = []
        load_dataset(
            f"folder:{folder}",
            seed=0,
            data_dir=tmp_path / "cache",
            image_size=size,
            progress=lambda done, total: calls.append(done),
        )
        return bool(calls)

    assert [load(), load(64), load(48)] == [True] * 3
    assert [load(), load(32), load(64), load(48)] == [False] * 4
    names = decoded(tmp_path)
    assert sorted(name.removesuffix(".npz").split("-")[2:] for name in names) == [[], ["48"], ["64"]]
    write_image(folder / "cat" / "0000.png", (1, 2, 3))
    assert load(64)
    assert len(decoded(tmp_path)) == 1
    assert not decoded(tmp_path) & names
    assert [load(), load(64)] == [True, False]


def test_a_record_of_an_earlier_version_stays_valid(folder, tmp_path):
    load_dataset(f"folder:{folder}", seed=0, data_dir=tmp_path / "cache")
    (file,) = (tmp_path / "cache" / "folder-fingerprints").iterdir()
    record = json.loads(file.read_text())
    assert record.pop("what") == ""
    file.write_text(json.dumps(record))  # as it was before there were sizes
    assert FolderRecord(**record).decoded in decoded(tmp_path)

    def again(*_):
        pytest.fail("decoded again")

    load_dataset(f"folder:{folder}", seed=0, data_dir=tmp_path / "cache", progress=again)
    load_dataset(f"folder:{folder}", seed=0, data_dir=tmp_path / "cache", image_size=64)
    load_dataset(f"folder:{folder}", seed=0, data_dir=tmp_path / "cache", progress=again)
