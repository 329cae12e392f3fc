"""The classification data sets of torchvision, which are decoded once and cached."""

import re

import torch

from agent.data.augmentation import Augmentation
from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting
from scenarios.datasets.fingerprints import identified_by
from scenarios.datasets.source import PHOTOGRAPHS, Loading, Source, scaled
from scenarios.datasets.torchvision_decoding import Chosen, decode_once, fingerprint_of
from scenarios.datasets.torchvision_table import REFUSED, STORED


def torchvision_fingerprint(name: str, loading: Loading, split: str | None = None) -> str | None:
    """A digest of the files of the data set, wherever they are; None for one that is drawn (FakeData)."""
    return fingerprint_of(_choose(name, split), loading)


@identified_by(torchvision_fingerprint)
def torchvision(name: str, loading: Loading, split: str | None = None) -> Source:
    """The data sets of torchvision with one label for each image, such as FashionMNIST; --download fetches them.

    Args:
        name: the class in torchvision.datasets, in any case; an unknown one shows them all.
        loading: says where it is, and whether it may be downloaded.
        split: the variant, for data sets that have several: EMNIST byclass, bymerge, balanced, letters, digits or mnist
            (one must be chosen); DTD 1 to 10; FGVCAircraft variant, family or manufacturer; Omniglot background or
            evaluation.

    References:
        https://pytorch.org/vision/stable/datasets.html
    """
    return read_torchvision(_choose(name, split), loading)


def read_torchvision(chosen: Chosen, loading: Loading) -> Source:
    """Read a data set of torchvision, which is stored and unpacked in the data directory.

    Images are decoded as those of a folder are (see `read_image_folder`): in RGB, the shorter side resized, the middle
    cropped. Train, validation and test parts are those of torchvision, as far as they have labels. The decoded images
    are cached, and read again while the files stay the same.

    Raises:
        DatasetError: the data set is missing or damaged, or the download fails.
    """
    decoded = decode_once(chosen, loading)
    sizes = decoded.about.sizes
    rows, labels = (torch.from_numpy(each).split(list(sizes.values())) for each in (decoded.images, decoded.labels))
    parts = dict(zip(sizes, map(LabelledInputs, rows, labels), strict=True))
    suits = PHOTOGRAPHS if chosen.stored.mirror else Augmentation(shift=PHOTOGRAPHS.shift)
    return Source(
        decoded.about.class_names,
        parts["train"],
        scaled(suits, loading.side),
        parts.get("validation"),
        parts.get("test"),
        decoded.about.notes,
    )


def _choose(name: str, split: str | None) -> Chosen:
    """The data set of this name; raises InvalidSetting for an unknown one."""
    import torchvision.datasets

    def plain(text: str) -> str:
        return re.sub(r"[^a-z0-9]", "", text.casefold())

    known = {plain(each): each for each in (*STORED, *REFUSED)}
    found = known.get(plain(name), name)
    if found in REFUSED:
        raise InvalidSetting(
            f"expected a data set of torchvision with one label for each image, got {found}, {REFUSED[found]}; choose "
            f"out of {', '.join(STORED)}"
        )
    if found not in STORED:
        raise InvalidSetting(f"expected a data set of torchvision out of {', '.join(STORED)}, got {name}")
    if not hasattr(torchvision.datasets, found):
        raise InvalidSetting(f"expected a torchvision that has {found}, got {torchvision.__version__}; upgrade it")
    stored = STORED[found]
    if split is not None and split not in stored.variants:
        if not stored.variants:
            raise InvalidSetting(f"expected no split for {found}, whose own parts are used, got {split}; leave it out")
        raise InvalidSetting(f"expected split of {found} out of {', '.join(stored.variants)}, got {split}; change it")
    if split is None and stored.variants and stored.default is None:
        raise InvalidSetting(
            f"expected split={'|'.join(stored.variants)} for {found}, got none; as in "
            f"torchvision:{found},split={next(iter(stored.variants))}"
        )
    return Chosen(found, stored, split or stored.default or "")
