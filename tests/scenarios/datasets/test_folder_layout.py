"""Parts, classes and images of a folder, and the notes about skipped files."""

import unicodedata

import pytest

from agent.errors import DatasetError
from scenarios.datasets.folder_layout import list_folder, part_of
from tests.scenarios.pictures import write_image, write_tree

CLASSES = {"cat": 2, "dog": 2}


def refused(root, *parts):
    with pytest.raises(DatasetError) as caught:
        list_folder(root)
    message = str(caught.value)
    assert message.startswith("expected ")
    assert "; " in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize(
    "folders",
    [
        "seg_train/seg_train/cat seg_train/seg_train/dog seg_test/seg_test/cat seg_test/seg_test/dog seg_pred/seg_pred",
        "asl_alphabet_train/asl_alphabet_train/cat asl_alphabet_test/asl_alphabet_test",
        "trainA trainB testA testB",
        "train2017 val2017",
        "train1 test1 labels",
        "cat/images/train cat/images/test dog/images/train dog/images/test",
    ],
)
def test_folders_that_seem_to_be_parts_are_no_classes(tmp_path, folders):
    for number, folder in enumerate(folders.split()):
        write_image(tmp_path / folder / "0.png", (number, 0, 0))
    refused(tmp_path, str(tmp_path), "not clear which are parts and which are classes")


def test_classes_may_speak_of_trains_and_tests(tmp_path):
    names = ["bullet train", "cat", "dog", "eel", "test tube"]
    assert list_folder(write_tree(tmp_path, dict.fromkeys(names, 1))).class_names == tuple(names)


@pytest.mark.parametrize(
    ("part", "names"),
    [
        (
            "train",
            "train, Training, TRAIN, Training Set, train-images, images_train, trainset, Train_Data, TrainDataSet",
        ),
        ("test", "test, testing, TEST, Test Set, test_data, test-images, imagesTest, TestSet, image test"),
        ("validation", "val, valid, validation, dev, VALID, Validation Set, val_images, dev-set, validset, data.val"),
        (
            None,
            "cat, trains, tested, contest, evaluation, device, valley, data, set, images, train2, trainer, testtrain",
        ),
    ],
)
def test_names_of_parts(part, names):
    assert {name: part_of(name) for name in names.split(", ")} == dict.fromkeys(names.split(", "), part)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Training", "Test"),
        ("Train", "Test"),
        ("TRAIN", "TEST"),
        ("training", "testing"),
        ("train_images", "test_images"),
        ("Training Set", "test-data"),
    ],
)
@pytest.mark.parametrize("validation", [None, "val", "Valid", "validation_set", "dev"])
def test_parts_are_known_however_they_are_spelled(tmp_path, train, test, validation):
    write_tree(tmp_path / train, CLASSES)
    write_tree(tmp_path / test, {"cat": 1, "dog": 1})
    if validation:
        write_tree(tmp_path / validation, {"cat": 1, "dog": 3})
    listing = list_folder(tmp_path)
    assert listing.class_names == ("cat", "dog")
    sizes = {part: len(images) for part, images in listing.parts.items()}
    assert sizes == {"train": 4, "test": 2} | ({"validation": 4} if validation else {})
    assert listing.notes == ()


@pytest.mark.parametrize(
    ("one", "other"), [("train", "Training"), ("val", "valid"), ("val", "dev"), ("test", "test_set"), ("Test", "test")]
)
def test_two_folders_for_one_part(tmp_path, one, other):
    for name in {"train", "test", one, other}:
        write_tree(tmp_path / name, CLASSES)
    refused(
        tmp_path, "expected one folder for the", f"{min(one, other)} and {max(one, other)}; merge, rename or remove"
    )


@pytest.mark.parametrize("missing", ["train", "Test"])
def test_a_part_without_the_other(tmp_path, missing):
    for name in {"train", "Test", "val"} - {missing}:
        write_tree(tmp_path / name, CLASSES)
    refused(tmp_path, f"got no {tmp_path / missing.lower()} beside ", "; add it")


def test_a_validation_part_alone(tmp_path):
    write_tree(tmp_path / "val", CLASSES)
    refused(tmp_path, f"got no {tmp_path / 'train'} and no {tmp_path / 'test'} beside {tmp_path / 'val'}; add it")


@pytest.mark.parametrize("name", ["train", "valid", "Test"])
@pytest.mark.parametrize("within", [".", "more"])
def test_a_class_called_like_a_part(tmp_path, name, within):
    write_tree(tmp_path / name / within, {".": 2})
    write_tree(tmp_path, {"bus": 2})
    refused(
        tmp_path, f"a class that is itself called {name} has to be renamed or given inside a part", f"train/{name}/..."
    )


def test_a_class_called_train_inside_a_part(tmp_path):
    for part in ("train", "test"):
        write_tree(tmp_path / part, {"train": 1, "bus": 1})
    assert list_folder(tmp_path).class_names == ("bus", "train")


def test_images_beside_the_parts(tmp_path):
    for part in ("train", "test", "extra", "docs"):
        write_tree(tmp_path / part, CLASSES if part != "docs" else {"cat": 0})
    (tmp_path / "docs" / "readme.txt").write_text("no image")
    refused(tmp_path, "expected no images beside the parts", "got some in extra; move or remove them")
    (tmp_path / "extra").rename(tmp_path / ".extra")
    assert list_folder(tmp_path).class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("paths", "got"),
    [
        ("cat/train cat/test dog/train dog/test", "no images in {root}/cat but the folders of parts test, train"),
        ("cat/Training dog/Training", "no images in {root}/cat but the folders of parts Training"),
        (
            "cifar/train/cat cifar/test/cat digits/a digits/b",
            "no images in {root}/cifar but the folders of parts test, train",
        ),
        ("split1/cat split1/dog split2/cat split2/dog", "folders split1, split2 without images of their own"),
        ("split1/cat split1/dog split1/eel split2/cat split2/dog", "each with the folders cat, dog"),
        ("fold1/cat fold2/cat", "each with the folders cat"),
    ],
)
def test_layouts_that_are_not_clear(tmp_path, paths, got):
    for path in paths.split():
        write_tree(tmp_path / path, {".": 1})
    refused(
        tmp_path,
        "expected PATH/train/<class>/ and PATH/test/<class>/, or PATH/<class>/ alone",
        got.format(root=tmp_path),
        "not clear which are parts and which are classes; rename or move",
    )


def test_parts_one_folder_further_down(tmp_path):
    for part in ("Training", "Test"):
        write_tree(tmp_path / "fruits" / part, CLASSES)
    refused(tmp_path, "folders of parts Test, Training: it is not clear", f"or give {tmp_path / 'fruits'} as PATH")


@pytest.mark.parametrize(
    "paths",
    [
        "cat/images dog/images",  # as Tiny ImageNet has them
        "cat/a cat/b dog/c dog/d",
        "cat/a cat/b cat/other dog/c dog/d dog/other",
        "cat/train cat dog",  # class folders with images of their own
        "cat/a dog/a dog",
    ],
)
def test_folders_below_class_folders(tmp_path, paths):
    for path in paths.split():
        write_tree(tmp_path / path, {".": 1})
    listing = list_folder(tmp_path)
    assert listing.class_names == ("cat", "dog")
    assert len(listing.parts["train"]) == len(paths.split())


def test_names_that_look_the_same_are_the_same(tmp_path):
    composed, apart = (unicodedata.normalize(form, "\u00e9lan") for form in ("NFC", "NFD"))
    assert composed != apart
    write_tree(tmp_path / "train", {apart: 2, "zebra": 1, "fox": 1})
    write_tree(tmp_path / "test", {composed: 1, "zebra": 1, "fox": 1})
    listing = list_folder(tmp_path)
    assert listing.class_names == ("fox", "zebra", composed)  # by name: apart it stands before the fox
    assert [image.label for image in listing.parts["train"]] == [0, 1, 2, 2]
    write_tree(tmp_path / "test", {apart: 1})
    refused(tmp_path, "expected class folders of different names", r"'e\u0301lan' and '\xe9lan'; merge or rename")


def test_files_that_are_passed_over_are_counted(tmp_path):
    write_tree(tmp_path, CLASSES)
    assert list_folder(tmp_path).notes == ()
    for name in ("cat/a.txt", "cat/deep/b.TXT", "dog/c.txt", "readme.json", ".hidden", "dog/.DS_Store", ".git/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    note = "skipped 4 files that are not readable images: .txt (3), .json (1)"
    assert list_folder(tmp_path).notes == (note,)
    write_image(tmp_path / "loose.png")
    assert list_folder(tmp_path).notes == (note, "skipped 1 image outside the class folders")


def test_many_and_odd_suffixes(tmp_path):
    write_tree(tmp_path, CLASSES)
    for name in ("README", "a.\x1b[31m", "a.b1", "a.b2", "a.b3", "a.b4", "b.b4", "a." + "x" * 99):
        (tmp_path / "cat" / name).write_text("no image")
    (note,) = list_folder(tmp_path).notes
    assert note.endswith(": .b4 (2), no suffix (1), .?[31m (1), .b1 (1), .b2 (1), others (2)")


def test_an_empty_class_tells_what_it_has(tmp_path):
    write_tree(tmp_path, {"cat": 1, "dog": 0})
    (tmp_path / "dog" / "a.heic").write_text("no image")
    refused(tmp_path, "expected images (.bmp .gif .jpeg .jpg .png", "dog, got none but .heic (1); add some or remove")
