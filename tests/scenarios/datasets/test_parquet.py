"""Parquet files in the layouts of public data hubs."""

import io
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from agent.errors import DatasetError, InvalidSetting
from scenarios.config.specs import parse, spelled
from scenarios.datasets import content, parquet
from tests.scenarios.worlds import fingerprint, load_dataset

NAMES = ["cat", "dog", "eel"]
SHAPES = [(40, 36), (16, 24), (32, 32)]


def pixels(n, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, (*SHAPES[i % 3], 3), np.uint8) for i in range(n)]


def encoded(image, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def table(n, seed=0, labels=None, image="image", label="label", names=NAMES, **columns):
    """A table as `datasets` writes it."""
    labels = pa.array(np.arange(n) % 3) if labels is None else labels
    structs = [{"bytes": encoded(each), "path": f"{i}.png"} for i, each in enumerate(pixels(n, seed))]
    features = {image: {"_type": "Image"}}
    if names is not None:
        features[label] = {"names": names, "_type": "ClassLabel"}
    if "coarse_label" in columns:
        features["coarse_label"] = {"names": ["fish", "pet"], "_type": "ClassLabel"}
    made = pa.table({image: structs, label: labels, **columns})
    return made.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}}).encode()})


def write(path, made, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, path, **options)
    return path


@pytest.fixture
def hub(tmp_path):
    """The export of a data set with three parts; the train part is in two files."""
    root = tmp_path / "hub"
    whole = table(30)
    write(root / "data" / "train-00000-of-00002.parquet", whole.slice(0, 20), row_group_size=7)
    write(root / "data" / "train-00001-of-00002.parquet", whole.slice(20))
    write(root / "data" / "validation-00000-of-00001.parquet", table(6, seed=1))
    write(root / "data" / "test-00000-of-00001.parquet", table(9, seed=2))
    (root / "README.md").write_text("a card")
    (root / ".cache" / "huggingface").mkdir(parents=True)
    return root


@pytest.fixture
def load(tmp_path):
    """load_dataset with a cache directory of its own."""

    def load(path, seed=0, **settings):
        return load_dataset(f"parquet:{path}", seed=seed, data_dir=tmp_path / "cache", **settings)

    return load


@pytest.fixture
def decoded(monkeypatch):
    """The names of the images that were decoded."""
    names = []
    decode = parquet.decode_bytes

    def decode_and_note(data, name, *how):
        names.append(name)
        return decode(data, name, *how)

    monkeypatch.setattr(parquet, "decode_bytes", decode_and_note)
    return names


# Layouts.


def test_an_export_with_three_parts(load, hub):
    data = load(hub)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [30, 6, 9]
    assert data.class_names == tuple(NAMES)
    assert data.test.inputs.shape == (9, 3, 32, 32)
    assert data.test.labels.tolist() == [0, 1, 2] * 3
    assert np.array_equal(data.test.inputs[2].numpy(), pixels(9, 2)[2].transpose(2, 0, 1))  # of 32 x 32 pixels
    assert data.notes == ()


def test_files_that_are_missing_by_the_names_of_others(load, hub):
    (hub / "data" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(DatasetError, match=r"expected 2 files train-\*-of-00002 in .*, as their names say, got 1; add"):
        load(hub)


def test_the_images_are_those_of_a_folder(load, tmp_path):
    for i, image in enumerate(pixels(30)):
        path = tmp_path / "tree" / NAMES[i % 3] / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image))
    order = np.argsort(np.arange(30) % 3, kind="stable")
    file = write(tmp_path / "a.parquet", table(30).take(order))
    for size in (None, 64):
        one = load(file, image_size=size)
        other = load_dataset(f"folder:{tmp_path / 'tree'}", seed=0, data_dir=tmp_path / "cache", image_size=size)
        assert torch.equal(one.train.inputs, other.train.inputs)
        assert torch.equal(one.train.labels, other.train.labels)
        assert one.augmentation == other.augmentation


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (["all.parquet"], [22, 2, 6]),
        (["0000.parquet", "0001.parquet"], [43, 5, 12]),
        (["part-00000-of-00002.parquet", "part-00001-of-00002.parquet"], [43, 5, 12]),
        (["default/train/0000.parquet", "default/test/0000.parquet"], [27, 3, 30]),
        (["default/partial-train/0000.parquet", "default/partial-test/0000.parquet"], [27, 3, 30]),
        (["train.parquet", "validation.parquet"], [24, 30, 6]),
        (["train.parquet", "valid.parquet", "test.parquet"], [30, 30, 30]),
        (["data/train-00000-of-00001-1a2b3c.parquet", "data/test-00000-of-00001-4d5e6f.parquet"], [27, 3, 30]),
    ],
)
def test_layouts(load, tmp_path, names, sizes):
    for seed, name in enumerate(names):
        write(tmp_path / "hub" / name, table(30, seed=seed))
    data = load(tmp_path / "hub")
    assert [len(part) for part in (data.train, data.validation, data.test)] == sizes


def test_files_of_other_parts_are_left_out_with_a_note(load, hub):
    write(hub / "data" / "extra-00000-of-00001.parquet", table(3, seed=5))
    assert load(hub).notes == ("left out 1 Parquet file of another part: data/extra-00000-of-00001.parquet",)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "got a folder without one at"),
        (["test-0.parquet"], "expected a train part in .*, got test alone"),
        (
            ["a/train/0.parquet", "b/train/0.parquet"],
            "one set of files for the train part .*, got a/train, b/train",
        ),
        (["train-0.parquet", "val-0.parquet", "dev-0.parquet"], "one set of files for the validation part .* dev, val"),
        (["cats.parquet", "dogs.parquet"], "got files called cats, dogs at .*: it is not clear"),
    ],
)
def test_layouts_that_are_not_clear(load, tmp_path, names, message):
    (tmp_path / "hub").mkdir()
    for name in names:
        write(tmp_path / "hub" / name, table(6))
    with pytest.raises(DatasetError, match=message) as caught:
        load(tmp_path / "hub")
    assert "\n" not in str(caught.value)


# Columns.


def test_binary_images_and_texts_as_labels(load, tmp_path):
    images = [encoded(each, "JPEG") for each in pixels(12)]
    made = pa.table({"jpg": images, "kind": pa.array(["b", "a", "c"] * 4).dictionary_encode()})
    data = load(write(tmp_path / "a.parquet", made))
    assert data.class_names == ("a", "b", "c")
    assert len(data.train) + len(data.validation) + len(data.test) == 12


def test_whole_numbers_without_names(load, tmp_path):
    data = load(write(tmp_path / "a.parquet", table(12, labels=pa.array([7, 3, 5] * 4), names=None)))
    assert data.class_names == ("3", "5", "7")


def test_names_without_images_are_left_out(load, tmp_path):
    data = load(write(tmp_path / "a.parquet", table(12, names=["ant", *NAMES], labels=pa.array([1, 2, 3] * 4))))
    assert data.class_names == tuple(NAMES)
    assert data.notes == ("left out 1 of 4 classes, without training samples: ant",)


def test_columns_that_the_user_chooses(load, tmp_path):
    both = table(12, label="fine_label", coarse_label=pa.array([0, 1] * 6), photo=[b""] * 12)
    file = write(tmp_path / "a, b=c.parquet", both)
    with pytest.raises(DatasetError, match=r"one column of labels .*, got fine_label, coarse_label; .*=fine_label"):
        load(f"{file},image=image")
    assert load(f"{file},label=fine_label").class_names == tuple(NAMES)
    assert load(f"{file}, label = coarse_label ,image=image").class_names == ("fish", "pet")
    for choice, message in (
        (
            "label=nope",
            r"expected nope to be a column of whole numbers or texts.*, got no nope among image",
        ),
        ("label=image", "expected image to be a column of whole numbers or texts.*, got image of struct"),
        (
            "image=fine_label,label=fine_label",
            "fine_label to be a column of encoded images .*, got fine_label of int",
        ),
        ("label=fine_label,image=photo", r"got no bytes in row 0 of .*; remove the row"),
    ):
        with pytest.raises(DatasetError, match=message):
            load(f"{file},{choice}")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (pa.table({"image": [b"x"], "score": [0.5]}), "a column of labels .*, got columns image, score; name it with"),
        (
            pa.table({"text": ["x"], "label": [1]}),
            r"a column of images \(encoded images \(bytes\)\) .*, got",
        ),
        (pa.table({"a": [b"x"], "b": [b"x"], "label": [1]}), "one column of images .*, got a, b; choose one, as in"),
        (pa.table({"image": [b"x"], "label": [[1, 2]]}), "a column of labels .*, got columns image, label"),
        (
            pa.table({"image": [b"x"], "label": [1], "labels": [1]}),
            "one column of labels .*, got label, labels",
        ),
        (pa.table({"image": [b"x"] * 2, "label": [1, None]}), "a label for each sample, got 1 of 2 without one"),
        (pa.table({"image": [b"x"] * 2, "label": pa.array([None, None], "int64")}), "expected labelled images .* none"),
        (pa.table({"image": [b"x"] * 2, "label": [1, 1]}), r"2 or more classes in .*, got 1 \(1\)"),
        (table(6).slice(0, 0), "expected labelled images in the train part .*, got no sample"),
        (table(6, labels=pa.array([0, 1, 9] * 2)), "labels from 0 to 2 .*, got 0 to 9"),
    ],
)
def test_columns_that_make_no_data_set(load, tmp_path, made, message):
    with pytest.raises(DatasetError, match=message) as caught:
        load(write(tmp_path / "a.parquet", made))
    assert "\n" not in str(caught.value)


def test_a_part_without_labels_is_left_out(load, hub):
    write(hub / "data" / "test-00000-of-00001.parquet", table(9, seed=2, labels=pa.array([-1] * 9)))
    data = load(hub)
    assert data.notes == ("left out the test part, which has no labels",)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [24, 6, 6]


def test_files_with_other_columns_or_names(load, hub):
    write(hub / "data" / "test-00000-of-00001.parquet", table(9, names=NAMES[::-1]))
    with pytest.raises(DatasetError, match=r"the same columns and class names in all files, got others in .*test-0"):
        load(hub)


# Damage.


def test_damaged_files(load, hub, tmp_path):
    for path, message in (
        (tmp_path / "no", "got nothing at .*no; check"),
        (hub / "README.md", "readable Parquet file"),
    ):
        with pytest.raises(DatasetError, match=message):
            load(path)
    file = hub / "data" / "train-00000-of-00002.parquet"
    whole = file.read_bytes()
    for damaged in (b"", whole[:-9], whole[: len(whole) // 2] + whole[len(whole) // 2 + 9 :]):
        file.write_bytes(damaged)
        with pytest.raises(DatasetError) as caught:
            load(hub)
        assert "\n" not in str(caught.value)
        assert "train-00000" in str(caught.value)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (b"", r"expected an encoded image, got no bytes in row 4 of .*a\.parquet; remove the row"),
        (None, "got no bytes in row 4"),
        (b"no image", r"expected a readable image, got row 4 of .*a\.parquet \(cannot identify image file\); repair"),
        (encoded(pixels(3)[0])[:200], "expected a readable image, got row 4"),
    ],
)
def test_damaged_images(load, tmp_path, broken, message):
    for plain in (True, False):
        images = [encoded(each) for each in pixels(9)]
        images[4] = broken
        column = images if plain else [{"bytes": each, "path": None} for each in images]
        file = write(tmp_path / "a.parquet", pa.table({"image": column, "label": [0, 1, 2] * 3}))
        with pytest.raises(DatasetError, match=message) as caught:
            load(file)
        assert "0x" not in str(caught.value)
    assert not (tmp_path / "cache" / "folders").exists()


def test_a_missing_struct(load, tmp_path):
    column = [{"bytes": encoded(each), "path": None} for each in pixels(9)]
    column[2] = None
    with pytest.raises(DatasetError, match="got no bytes in row 2"):
        load(write(tmp_path / "a.parquet", pa.table({"image": column, "label": [0, 1, 2] * 3})))


def test_megapixels_are_limited(load, hub):
    with pytest.raises(DatasetError, match=r"at most 0\.001 megapixels .*\(--max-megapixels\), got .* in row"):
        load(hub, max_megapixels=0.001)


# The cache and the fingerprint.


def test_images_are_decoded_once_for_each_size(load, hub, decoded):
    calls = []
    first = load(hub, progress=lambda done, total: calls.append((done, total)))
    assert len(decoded) == 45
    assert calls[-1] == (45, 45)
    assert len(calls) > 3
    large = load(hub, image_size=64)
    assert len(decoded) == 90
    assert torch.equal(load(hub).train.inputs, first.train.inputs)
    assert torch.equal(load(hub, image_size=64).train.inputs, large.train.inputs)
    load(hub.rename(hub.with_name("moved")))
    assert len(decoded) == 90


def test_a_damaged_cache_is_decoded_again(load, hub, decoded, tmp_path, caplog):
    first = load(hub)
    (cache,) = (tmp_path / "cache" / "folders").iterdir()
    cache.write_bytes(cache.read_bytes()[:-5000])
    assert torch.equal(load(hub).test.inputs, first.test.inputs)
    assert len(decoded) == 90
    assert "decoding the images again" in caplog.text


def test_a_fingerprint_is_of_the_content(hub, tmp_path, monkeypatch):
    first = fingerprint(f"parquet:{hub}", tmp_path / "cache")
    assert fingerprint(f"parquet:{hub},label=label", tmp_path / "cache") == first
    copy = tmp_path / "copy" / "config"
    shutil.copytree(hub / "data", copy)
    (copy / "train-00000-of-00002.parquet").rename(copy / "train-0.parquet")
    (copy / "train-00001-of-00002.parquet").rename(copy / "train-1.parquet")
    assert fingerprint(f"parquet:{copy}", tmp_path / "cache") == first
    with monkeypatch.context() as patched:
        patched.setattr(content, "hash_file", lambda path: pytest.fail("hashed again"))
        assert fingerprint(f"parquet:{copy}", tmp_path / "cache") == first
    write(copy / "train-1.parquet", table(10, seed=9))
    assert fingerprint(f"parquet:{copy}", tmp_path / "cache") != first
    with pytest.raises(DatasetError, match="got nothing at"):
        fingerprint(f"parquet:{tmp_path / 'no'}", tmp_path / "cache")


# Specs.


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("parquet:a/b", {"path": "a/b"}),
        ("parquet:./a//b/ , label=x", {"path": "a/b", "label": "x"}),
        ("parquet:a,image=i,label=l", {"path": "a", "image": "i", "label": "l"}),
        ("parquet:a,label=l,image=i j", {"path": "a", "image": "i j", "label": "l"}),
        ("parquet:a,b=c,label=l", {"path": "a,b=c", "label": "l"}),
        ("npz:a,label=l.npz", {"path": "a,label=l.npz"}),
    ],
)
def test_specs(text, settings):
    spec = parse(text)
    assert spec.settings == settings
    assert list(spec.settings) == list(settings)
    assert parse(str(spec)) == spec
    assert spelled({"name": spec.name} | settings) == str(spec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parquet", "expected the path of a Parquet file or a folder of them, as in parquet:data, got parquet"),
        ("parquet:,label=x", "expected the path of a Parquet file"),
        ("parquet:a,label=x,label=y", "each setting of parquet once, got label twice"),
        ("npz:", r"expected the path of an archive of arrays, as in npz:data\.npz, got npz:"),
    ],
)
def test_specs_that_are_refused(text, message):
    with pytest.raises(InvalidSetting, match=message):
        parse(text)


def test_tables_that_no_spec_can_hold():
    with pytest.raises(InvalidSetting, match="expected a table with a name"):
        spelled({"name": "parquet", "path": "a", "label": "b,c"})
    with pytest.raises(InvalidSetting, match="expected a table with a name"):
        spelled({"name": "npz", "path": "a b", "label": "c"})
