"""Small data sets in the formats in which torchvision stores its own."""

import bz2
import csv
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.io
import torch
import torchvision.datasets
from PIL import Image

N_TRAIN, N_TEST = 24, 9
CLASSES = ("cat", "dog", "eel")


def pixels(n: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def picture(path: Path, seed: int, size: tuple[int, int] = (40, 36)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(1, *size, 3, seed=seed)[0]).save(path)
    return path


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def idx(path: Path, values: np.ndarray, kind: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(f">HBB{values.ndim}I", 0, kind, values.ndim, *values.shape)
    path.write_bytes(head + values.astype(">i4" if kind == 12 else np.uint8).tobytes())


def mnist(name: str = "MNIST", prefix: str = "{}", labels_from: int = 0) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        for part, n, seed in (("train", N_TRAIN, 0), (("test" if "emnist" in prefix else "t10k"), N_TEST, 1)):
            begun = root / name / "raw" / prefix.format(part)
            idx(Path(f"{begun}-images-idx3-ubyte"), pixels(n, 28, 28, seed=seed))
            idx(Path(f"{begun}-labels-idx1-ubyte"), np.arange(n) % 3 + labels_from)

    return write


def qmnist(root: Path) -> None:
    for part, n, seed in (("train", N_TRAIN, 0), ("test", N_TEST, 1)):
        idx(root / "QMNIST" / "raw" / f"qmnist-{part}-images-idx3-ubyte", pixels(n, 28, 28, seed=seed))
        labels = np.zeros((n, 8), int)
        labels[:, 0] = np.arange(n) % 3
        idx(root / "QMNIST" / "raw" / f"qmnist-{part}-labels-idx2-int", labels, 12)


def usps(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, n, seed in (("usps.bz2", N_TRAIN, 0), ("usps.t.bz2", N_TEST, 1)):
        rows = pixels(n, 256, seed=seed) / 127.5 - 1
        values = [" ".join(f"{j}:{v:.4f}" for j, v in enumerate(row, 1)) for row in rows]
        lines = [f"{i % 3 + 1} {row}" for i, row in enumerate(values)]
        with bz2.open(root / name, "wt") as stream:
            stream.write("\n".join(lines) + "\n")


def svhn(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for part, n, seed in (("train", N_TRAIN, 0), ("test", N_TEST, 1)):
        images = pixels(n, 32, 32, 3, seed=seed).transpose(1, 2, 3, 0)
        scipy.io.savemat(root / f"{part}_32x32.mat", {"X": images, "y": (np.arange(n) % 3)[:, None] + 8})


def stl10(root: Path) -> None:
    base = root / "stl10_binary"
    text(base / "class_names.txt", "bird", "cat", "ship")
    for part, n, seed in (("train", N_TRAIN, 0), ("test", N_TEST, 1)):
        (base / f"{part}_X.bin").write_bytes(pixels(n, 3, 96, 96, seed=seed).tobytes())
        (base / f"{part}_y.bin").write_bytes((np.arange(n) % 3 + 1).astype(np.uint8).tobytes())
    (base / "unlabeled_X.bin").write_bytes(b"")


def semeion(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    table = np.hstack([pixels(N_TRAIN, 256) % 2, np.eye(10)[np.arange(N_TRAIN) % 3]])
    np.savetxt(root / "semeion.data", table, fmt="%.4f")


def tree(*folders: str, suffix: str = "jpg", classes: tuple[str, ...] = CLASSES) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        for at, folder in enumerate(folders):
            for i in range(N_TRAIN if at == 0 else N_TEST):
                picture(root / folder / classes[i % len(classes)] / f"{i:04}.{suffix}", 1000 * at + i)

    return write


def caltech(root: Path, base: str, classes: tuple[str, ...], name: str) -> None:
    for label, folder in enumerate(classes):
        for i in range(1, 9):
            picture(root / base / folder / name.format(label=label + 1, i=i), 100 * label + i)


def caltech101(root: Path) -> None:
    caltech(root, "caltech101/101_ObjectCategories", ("ant", "bass", "chair"), "image_{i:04d}.jpg")
    (root / "caltech101" / "101_ObjectCategories" / "BACKGROUND_Google").mkdir()


def caltech256(root: Path) -> None:
    caltech(root, "caltech256/256_ObjectCategories", ("001.ak47", "002.flag", "003.bag"), "{label:03d}_{i:04d}.jpg")


def clevr(root: Path) -> None:
    base = root / "clevr" / "CLEVR_v1.0"
    for part, n, seed in (("train", N_TRAIN, 0), ("val", N_TEST, 1000)):
        names = [picture(base / "images" / part / f"{i:04}.png", seed + i).name for i in range(n)]
        scenes = [{"image_filename": name, "objects": [{}] * (i % 3 + 3)} for i, name in enumerate(names)]
        text(base / "scenes" / f"CLEVR_{part}_scenes.json", json.dumps({"scenes": scenes}))


def dtd(root: Path) -> None:
    for at, (part, n) in enumerate((("train", N_TRAIN), ("val", N_TEST), ("test", N_TEST))):
        names = [f"{'abc'[i % 3]}/{part}{i}.jpg" for i in range(n)]
        for i, name in enumerate(names):
            picture(root / "dtd" / "dtd" / "images" / name, 1000 * at + i)
        text(root / "dtd" / "dtd" / "labels" / f"{part}2.txt", *names)


def fer2013(root: Path) -> None:
    base = root / "fer2013"
    base.mkdir(parents=True)
    with (base / "fer2013.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["emotion", "Usage", "pixels"])
        for i, image in enumerate(pixels(N_TRAIN + N_TEST, 48 * 48)):
            usage = "Training" if i < N_TRAIN else "PublicTest"
            rows.writerow([i % 3, usage, " ".join(map(str, image))])


def aircraft(root: Path) -> None:
    data = root / "fgvc-aircraft-2013b" / "data"
    text(data / "families.txt", "A300", "B747", "C130")
    for at, (part, n) in enumerate((("train", N_TRAIN), ("val", N_TEST), ("test", N_TEST))):
        lines = [f"{part}{i} {('A300', 'B747', 'C130')[i % 3]}" for i in range(n)]
        text(data / f"images_family_{part}.txt", *lines)
        for i, line in enumerate(lines):
            picture(data / "images" / f"{line.split()[0]}.jpg", 1000 * at + i)


def flowers(root: Path) -> None:
    base = root / "flowers-102"
    n = N_TRAIN + 2 * N_TEST
    for i in range(1, n + 1):
        picture(base / "jpg" / f"image_{i:05d}.jpg", i)
    scipy.io.savemat(base / "imagelabels.mat", {"labels": np.arange(n) % 3 + 1})
    ids = np.arange(1, n + 1)
    parts = {"trnid": ids[:N_TRAIN], "valid": ids[N_TRAIN : N_TRAIN + N_TEST], "tstid": ids[N_TRAIN + N_TEST :]}
    scipy.io.savemat(base / "setid.mat", parts)


def food(root: Path) -> None:
    for at, (part, n) in enumerate((("train", N_TRAIN), ("test", N_TEST))):
        found: dict[str, list[str]] = {"apple_pie": [], "soup": [], "tacos": []}
        for i in range(n):
            name = f"{list(found)[i % 3]}/{part}{i}"
            found[name.split("/")[0]].append(name)
            picture(root / "food-101" / "images" / f"{name}.jpg", 1000 * at + i)
        text(root / "food-101" / "meta" / f"{part}.json", json.dumps(found))


def gtsrb(root: Path) -> None:
    tree("gtsrb/GTSRB/Training", suffix="ppm", classes=("00000", "00001", "00002"))(root)
    lines = [f"{i:05}.ppm;{i % 3}" for i in range(N_TEST)]
    text(root / "gtsrb" / "GT-final_test.csv", "Filename;ClassId", *lines)
    for i in range(N_TEST):
        picture(root / "gtsrb" / "GTSRB" / "Final_Test" / "Images" / f"{i:05}.ppm", 5000 + i)


def imagenet(root: Path) -> None:
    tree("train", "val", suffix="JPEG", classes=("n01", "n02", "n03"))(root)
    names = {"n01": ("crane", "bird"), "n02": ("crane",), "n03": ("crane",)}
    torch.save((names, None), root / "meta.bin")


def inaturalist(root: Path) -> None:
    classes = tuple(f"{i:05d}_a_b_c_d_e_f_{name}" for i, name in enumerate(("x", "y", "z")))
    tree("2021_train_mini", "2021_valid", classes=classes)(root)


def lfw(root: Path) -> None:
    base = root / "lfw-py"
    names = [("Ann", 8), ("Bob", 8), ("Cid", 8)]
    for at, (name, n) in enumerate(names):
        for i in range(1, n + 1):
            picture(base / "lfw_funneled" / name / f"{name}_{i:04d}.jpg", 100 * at + i)
    (base / "lfw-funneled.tgz").write_bytes(b"")
    text(base / "people.txt", "1", "3", *(f"{name}\t{n}" for name, n in names))
    text(base / "lfw-names.txt", *(f"{name}\t{n}" for name, n in names))


def omniglot(root: Path) -> None:
    tree(*(f"omniglot-py/images_evaluation/{name}" for name in ("Latin", "Greek")), suffix="png")(root)
    (root / "omniglot-py" / "images_evaluation.zip").write_bytes(b"")


def pets(root: Path) -> None:
    base = root / "oxford-iiit-pet"
    for at, (part, n) in enumerate((("trainval", N_TRAIN), ("test", N_TEST))):
        lines = [f"{('Abyssinian', 'beagle', 'pug')[i % 3]}_{1000 * at + i} {i % 3 + 1} 1 1" for i in range(n)]
        text(base / "annotations" / f"{part}.txt", *lines)
        for i, line in enumerate(lines):
            picture(base / "images" / f"{line.split()[0]}.jpg", 1000 * at + i)


def places(root: Path) -> None:
    text(root / "categories_places365.txt", "/a/abbey 0", "/b/bar 1", "/c/cave 2")
    parts = (("train_standard", "data_256_standard", N_TRAIN), ("val", "val_256", N_TEST))
    for at, (name, folder, n) in enumerate(parts):
        lines = [f"/x/{i}.jpg {i % 3}" if at == 0 else f"{i}.jpg {i % 3}" for i in range(n)]
        text(root / f"places365_{name}.txt", *lines)
        for i, line in enumerate(lines):
            picture(root / folder / line.split()[0].lstrip("/"), 1000 * at + i)


def cars(root: Path) -> None:
    base = root / "stanford_cars"
    kind = [("fname", "O"), ("class", "O")]
    (base / "devkit").mkdir(parents=True)
    for at, (part, n, file) in enumerate(
        (("train", N_TRAIN, "devkit/cars_train_annos.mat"), ("test", N_TEST, "cars_test_annos_withlabels.mat"))
    ):
        rows = [(f"{i:05}.jpg", i % 3 + 1) for i in range(n)]
        scipy.io.savemat(base / file, {"annotations": np.array(rows, dtype=kind)})
        for i in range(n):
            picture(base / f"cars_{part}" / f"{i:05}.jpg", 1000 * at + i)
    names = np.array(["Audi", "BMW", "Fiat"], dtype=object)
    scipy.io.savemat(base / "devkit" / "cars_meta.mat", {"class_names": names})


def sun397(root: Path) -> None:
    text(root / "SUN397" / "ClassName.txt", "/a/abbey", "/b/bar", "/c/cave/indoor")
    for i in range(N_TRAIN):
        folder = ("a/abbey", "b/bar", "c/cave/indoor")[i % 3]
        picture(root / "SUN397" / folder / f"sun_{i:03}.jpg", i)


WRITERS: dict[str, Callable[[Path], None]] = {
    "Caltech101": caltech101,
    "Caltech256": caltech256,
    "CLEVRClassification": clevr,
    "Country211": tree("country211/train", "country211/valid", "country211/test"),
    "DTD,split=2": dtd,
    "EMNIST,split=letters": mnist("EMNIST", "emnist-letters-{}", labels_from=1),
    "EuroSAT": tree("eurosat/2750"),
    "FakeData": lambda root: None,
    "FashionMNIST": mnist("FashionMNIST"),
    "FER2013": fer2013,
    "FGVCAircraft,split=family": aircraft,
    "Flowers102": flowers,
    "Food101": food,
    "GTSRB": gtsrb,
    "ImageNet": imagenet,
    "Imagenette": tree(
        "imagenette2-320/train", "imagenette2-320/val", suffix="jpeg", classes=("n01440764", "n02102040", "n02979186")
    ),
    "INaturalist": inaturalist,
    "KMNIST": mnist("KMNIST"),
    "LFWPeople": lfw,
    "MNIST": mnist(),
    "Omniglot,split=evaluation": omniglot,
    "OxfordIIITPet": pets,
    "Places365": places,
    "QMNIST": qmnist,
    "RenderedSST2": tree(
        *(f"rendered-sst2/{part}" for part in ("train", "valid", "test")),
        suffix="png",
        classes=("negative", "positive"),
    ),
    "SEMEION": semeion,
    "StanfordCars": cars,
    "STL10": stl10,
    "SUN397": sun397,
    "SVHN": svhn,
    "USPS": usps,
}
"""What writes each data set below a directory, by its spec."""


def trust_all(monkeypatch) -> None:
    """Skip torchvision's checksums, which only the real data sets have; a missing file stays missing."""
    for module in ("flowers102", "fer2013", "svhn", "stl10", "semeion", "places365", "lfw", "omniglot", "imagenet"):
        found = getattr(torchvision.datasets, module)
        monkeypatch.setattr(found, "check_integrity", lambda path, md5=None: Path(path).is_file())
