"""How torchvision splits and stores each of its data sets with one label for each image.

Checked against torchvision 0.20 to 0.29; https://pytorch.org/vision/stable/datasets.html describes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Stored:
    """A data set of torchvision, as its class is called."""

    parts: Mapping[str, Mapping[str, Any]]
    """The arguments for each part: "train", and "validation" and "test" where they have labels."""
    files: tuple[str, ...]
    """Patterns, below the data directory, of the files that decide its content; `{}` stands for the variant."""
    mirror: bool = True
    """Whether a mirrored image keeps its class."""
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further arguments by the name of a variant, which the user chooses with split=."""
    default: str | None = None
    """The variant if the user chooses none; None if there is none, or if the user must choose one."""
    ordered: bool = True
    """Whether its images come in an order that does not depend on the file system."""
    parallel: bool = True
    """Whether threads may read its images side by side."""
    label_names: tuple[str, ...] = ()
    """The names of its classes, where torchvision has none."""


def _split(train: str = "train", validation: str | None = None, test: str | None = "test") -> dict[str, dict[str, Any]]:
    """Parts that the argument `split` chooses."""
    names = {"train": train, "validation": validation, "test": test}
    return {part: {"split": name} for part, name in names.items() if name is not None}


def _by_flag() -> dict[str, dict[str, Any]]:
    """Parts that the argument `train` chooses."""
    return {"train": {"train": True}, "test": {"train": False}}


def _whole() -> dict[str, dict[str, Any]]:
    """A data set without parts."""
    return {"train": {}}


def _idx(name: str) -> tuple[str, ...]:
    """The files of a data set in the format of MNIST, and those of former releases."""
    return (f"{name}/raw/*-ubyte", f"{name}/processed/*.pt")


_EMNIST = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
_EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

STORED: dict[str, Stored] = {
    "Caltech101": Stored(_whole(), ("caltech101/101_ObjectCategories/**/*.jpg",)),
    "Caltech256": Stored(_whole(), ("caltech256/256_ObjectCategories/**/*.jpg",)),
    "CIFAR10": Stored(_by_flag(), ("cifar-10-batches-py/*_batch*", "cifar-10-batches-py/batches.meta")),
    "CIFAR100": Stored(_by_flag(), ("cifar-100-python/*",)),
    "CLEVRClassification": Stored(
        _split(test="val"),
        ("clevr/CLEVR_v1.0/images/train/*", "clevr/CLEVR_v1.0/images/val/*", "clevr/CLEVR_v1.0/scenes/*.json"),
    ),
    "Country211": Stored(_split(validation="valid"), ("country211/**/*",)),
    "DTD": Stored(
        _split(validation="val"),
        ("dtd/dtd/images/**/*.jpg", *(f"dtd/dtd/labels/{part}{{}}.txt" for part in ("train", "val", "test"))),
        variants={str(number): {"partition": number} for number in range(1, 11)},
        default="1",
    ),
    "EMNIST": Stored(
        _by_flag(),
        ("EMNIST/raw/emnist-{}-*-ubyte",),
        mirror=False,
        variants={name: {"split": name} for name in _EMNIST},
    ),
    "EuroSAT": Stored(_whole(), ("eurosat/2750/**/*",)),
    "FakeData": Stored({"train": {"image_size": (3, 32, 32)}}, (), parallel=False),
    "FashionMNIST": Stored(_by_flag(), _idx("FashionMNIST")),
    "FER2013": Stored(_split(), ("fer2013/*.csv",), label_names=_EMOTIONS),
    "FGVCAircraft": Stored(
        _split(validation="val"),
        ("fgvc-aircraft-2013b/data/images/*.jpg", "fgvc-aircraft-2013b/data/*.txt"),
        variants={level: {"annotation_level": level} for level in ("variant", "family", "manufacturer")},
        default="variant",
    ),
    "Flowers102": Stored(_split(validation="val"), ("flowers-102/jpg/*.jpg", "flowers-102/*.mat")),
    "Food101": Stored(_split(), ("food-101/images/**/*.jpg", "food-101/meta/*.json")),
    "GTSRB": Stored(
        _split(),
        ("gtsrb/GTSRB/Training/**/*.ppm", "gtsrb/GTSRB/Final_Test/Images/*.ppm", "gtsrb/GT-final_test.csv"),
        mirror=False,
    ),
    "ImageNet": Stored(_split(test="val"), ("train/**/*", "val/**/*", "meta.bin")),
    "Imagenette": Stored(
        {part: {"split": name, "size": "320px"} for part, name in (("train", "train"), ("test", "val"))},
        ("imagenette2-320/train/**/*", "imagenette2-320/val/**/*"),
    ),
    "INaturalist": Stored(
        {"train": {"version": "2021_train_mini"}, "test": {"version": "2021_valid"}},
        ("2021_train_mini/**/*", "2021_valid/**/*"),
        ordered=False,
    ),
    "KMNIST": Stored(_by_flag(), _idx("KMNIST"), mirror=False),
    "LFWPeople": Stored({"train": {"split": "10fold"}}, ("lfw-py/lfw_funneled/**/*.jpg", "lfw-py/people.txt")),
    "MNIST": Stored(_by_flag(), _idx("MNIST"), mirror=False),
    "Omniglot": Stored(
        _whole(),
        ("omniglot-py/images_{}/**/*.png",),
        mirror=False,
        variants={"background": {"background": True}, "evaluation": {"background": False}},
        default="background",
        ordered=False,
    ),
    "OxfordIIITPet": Stored(
        _split(train="trainval"),
        ("oxford-iiit-pet/images/*.jpg", "oxford-iiit-pet/annotations/*.txt"),
    ),
    "PCAM": Stored(_split(validation="val"), ("pcam/*.h5",), label_names=("normal", "tumor")),
    "Places365": Stored(
        {part: {"split": name, "small": True} for part, name in (("train", "train-standard"), ("test", "val"))},
        (
            "data_256_standard/**/*.jpg",
            "val_256/*.jpg",
            "categories_places365.txt",
            "places365_train_standard.txt",
            "places365_val.txt",
        ),
    ),
    "QMNIST": Stored(_by_flag(), ("QMNIST/raw/qmnist-*-ubyte", "QMNIST/raw/qmnist-*-int"), mirror=False),
    "RenderedSST2": Stored(_split(validation="val"), ("rendered-sst2/**/*.png",), mirror=False),
    "SEMEION": Stored(_whole(), ("semeion.data",), mirror=False),
    "StanfordCars": Stored(
        _split(),
        ("stanford_cars/cars_train/*", "stanford_cars/cars_test/*", "stanford_cars/**/*.mat"),
    ),
    "STL10": Stored(_split(), ("stl10_binary/train_*", "stl10_binary/test_*", "stl10_binary/class_names.txt")),
    "SUN397": Stored(_whole(), ("SUN397/**/*.jpg", "SUN397/ClassName.txt"), ordered=False),
    "SVHN": Stored(_split(), ("train_32x32.mat", "test_32x32.mat"), mirror=False),
    "USPS": Stored(_by_flag(), ("usps.bz2", "usps.t.bz2"), mirror=False),
}
"""Data sets of torchvision with one label for each image, by the name of their class."""

_FLOW, _STEREO = "of optical flow", "of stereo images"

REFUSED: dict[str, str] = {
    "CarlaStereo": _STEREO,
    "CelebA": "of attributes, several for each image",
    "Cityscapes": "of segmentation",
    "CocoCaptions": "of captions",
    "CocoDetection": "of detection",
    "CREStereo": _STEREO,
    "DatasetFolder": "a way to read folders; use folder:PATH",
    "ETH3DStereo": _STEREO,
    "FallingThingsStereo": _STEREO,
    "Flickr8k": "of captions",
    "Flickr30k": "of captions",
    "FlyingChairs": _FLOW,
    "FlyingThings3D": _FLOW,
    "HD1K": _FLOW,
    "HMDB51": "of videos",
    "ImageFolder": "a way to read folders; use folder:PATH",
    "InStereo2k": _STEREO,
    "Kinetics": "of videos",
    "Kitti": "of detection",
    "Kitti2012Stereo": _STEREO,
    "Kitti2015Stereo": _STEREO,
    "KittiFlow": _FLOW,
    "LFWPairs": "of pairs of images",
    "LSUN": "in a database (LMDB), which is not read; export it as an image folder",
    "LSUNClass": "in a database (LMDB), which is not read; export it as an image folder",
    "Middlebury2014Stereo": _STEREO,
    "MovingMNIST": "of videos",
    "PhotoTour": "of matching patches",
    "SBDataset": "of segmentation",
    "SBU": "of captions",
    "SceneFlowStereo": _STEREO,
    "Sintel": _FLOW,
    "SintelStereo": _STEREO,
    "UCF101": "of videos",
    "VisionDataset": "a base class",
    "VOCDetection": "of detection",
    "VOCSegmentation": "of segmentation",
    "WIDERFace": "of detection",
}
"""Why the others cannot be used, by the name of their class."""
