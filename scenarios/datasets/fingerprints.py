"""What identifies the data of a run: the content of the files that a data set reads, wherever they are."""

import contextlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from agent.errors import DatasetError, InvalidSetting, LifetimeError
from scenarios.config.families import DATASET, Family
from scenarios.config.members import find, make
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


def content_fingerprint(spec: str, loading: Loading) -> str | None:
    """The fingerprint of what a data set reads: what the attribute `fingerprint` of its callable returns.

    None for a data set without this attribute, such as one that is drawn from the seed.

    Raises:
        InvalidSetting: an unknown name or setting.
        DatasetError: the files cannot be read, or a user's own data set cannot be imported, or its fingerprint fails or
            is not a text.
    """
    name = parse(spec).name
    own = "." in name
    with contextlib.redirect_stdout(sys.stderr) if own else contextlib.nullcontext():  # the user's code may print
        try:
            factory = find(spec, DATASET)
        except InvalidSetting as error:
            if own:  # as files that are missing: a finished run is shown without its data
                raise DatasetError(str(error)) from error
            raise
        hook = getattr(factory, "fingerprint", None)
        if hook is None:
            return None
        members = {name: _with_signature_of(factory, hook)}
        hooks = _Hooks(**{each.name: getattr(DATASET, each.name) for each in fields(Family)}, hooks=members)
        try:
            found = make(spec, hooks, loading=loading)
        except LifetimeError:
            raise
        except Exception as error:
            if not own:
                raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise DatasetError(f"expected the fingerprint of {name} to work, got {reason}; correct it") from error
    if not isinstance(found, str | None):
        raise DatasetError(f"expected the fingerprint of {name} to be a text, got an object of type {_type_of(found)}")
    return found


def _with_signature_of(factory: Callable[..., Any], hook: Callable[..., Any]) -> Callable[..., Any]:
    """The fingerprint as a callable with the parameters of the data set, of which it is given those that it takes."""
    takes = inspect.signature(hook).parameters

    def called(**settings: Any) -> Any:
        return hook(**{name: value for name, value in settings.items() if name in takes})

    try:
        called.__signature__ = inspect.signature(factory, eval_str=True)  # type: ignore[attr-defined]
    except Exception:  # a user's annotation names something undefined: text cannot set that parameter
        called.__signature__ = inspect.signature(factory)  # type: ignore[attr-defined]
    return called


@dataclass(frozen=True)
class _Hooks(Family):
    """The family of the fingerprints of data sets, which take the settings of the data sets."""

    hooks: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    @property
    def members(self) -> Mapping[str, Callable[..., Any]]:
        """The fingerprint of each data set, by the data set's name."""
        return self.hooks


def _type_of(found: object) -> str:
    return "coroutine" if inspect.iscoroutine(found) else type(found).__name__


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


def path_of(spec: str) -> str | None:
    """The path of the files of a data set in its spec; None for a data set without one, or a malformed spec."""
    settings = _settings_with_path(spec)
    return None if settings is None else settings["path"]


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


def decodes_images(spec: str, image_size: int | None = None) -> bool:
    """Whether Pillow decodes or resizes images of the data set, so that its version decides their pixels.

    Args:
        spec: of the data set.
        image_size: side of the images; None for the default of the data set.
    """
    name = _name_of(spec)
    return name in _DECODED or (image_size is not None and name not in ("textures", "digits"))
