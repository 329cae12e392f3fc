"""What identifies the data of a run: the content of the files that a data set reads, wherever they are."""

import contextlib
import inspect
from collections.abc import Callable
from typing import TypeVar

from agent.errors import DatasetError, InvalidSetting, LifetimeError
from scenarios.config.members import Member
from scenarios.config.specs import PATHS, parse
from scenarios.datasets.source import Loading, Source

Factory = TypeVar("Factory", bound=Callable[..., Source])

_DECODED = frozenset({"folder", "parquet", "torchvision"})
"""Data sets whose images Pillow always decodes or resizes."""


def identified_by(fingerprint: Callable[..., str | None]) -> Callable[[Factory], Factory]:
    """Decorate a data set that reads files with the function that says what is in them.

    Args:
        fingerprint: called with the settings of the data set, those that it takes (and a `Loading`, if it has a
            parameter `loading`). It returns a digest of what the files hold, or None if there is nothing to identify.
    """

    def mark(factory: Factory) -> Factory:
        factory.fingerprint = fingerprint  # type: ignore[attr-defined]
        return factory

    return mark


def content_fingerprint(dataset: Member, loading: Loading) -> str | None:
    """The fingerprint of what a data set reads: what the attribute `fingerprint` of its callable returns.

    None for a data set without this attribute, such as one that is drawn from the seed.

    Raises:
        InvalidSetting: a setting of the data set is missing.
        DatasetError: the files cannot be read, or the fingerprint of a user's own data set fails or is not a text.
    """
    hook = getattr(dataset.factory, "fingerprint", None)
    if hook is None:
        return None
    takes = inspect.signature(hook).parameters
    given = {"loading": loading, **dataset.arguments(loading=loading)}
    try:
        found = hook(**{name: value for name, value in given.items() if name in takes})
    except LifetimeError:
        raise
    except Exception as error:
        if not dataset.is_own:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DatasetError(f"expected the fingerprint of {dataset.name} to work, got {reason}; correct it") from error
    if not isinstance(found, str | None):
        kind = "coroutine" if inspect.iscoroutine(found) else type(found).__name__
        raise DatasetError(f"expected the fingerprint of {dataset.name} to be a text, got an object of type {kind}")
    return found


def without_path(spec: str) -> str:
    """The spec of a data set without the path of its files, whose content identifies them.

    `folder:/photos` becomes `folder`, and `parquet:/photos,label=fine` becomes `parquet:label=fine`. Any other text,
    such as a malformed spec in a file, stays as it is.
    """
    settings = _settings_with_path(spec)
    if settings is None:
        return spec
    name = _name_of(spec)
    pairs = ",".join(f"{key}={value}" for key, value in settings.items() if key != "path")
    return f"{name}:{pairs}" if pairs else name


def reads_files(spec: str) -> bool:
    """Whether a data set may have a fingerprint, so that a missing one says that its files are missing."""
    name = _name_of(spec)
    return name in PATHS or name == "torchvision" or "." in name


def _name_of(spec: str) -> str:
    return spec.partition(":")[0].strip()


def _settings_with_path(spec: str) -> dict[str, str] | None:
    if _name_of(spec) in PATHS:
        with contextlib.suppress(InvalidSetting):
            return parse(spec).settings
    return None


def decodes_images(dataset: Member, image_size: int | None = None) -> bool:
    """Whether Pillow decodes or resizes images of the data set, so that its version decides their pixels.

    Args:
        dataset: the data set.
        image_size: side of the images; None for the default of the data set.
    """
    return dataset.name in _DECODED or (image_size is not None and dataset.name not in ("textures", "digits"))
