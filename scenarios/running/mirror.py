"""A copy of a run's folder at a URL, so that workers need no shared folder, and another one can go on after a death.

What is at the URL can be gone on with at any moment, also if the sender dies between two files: a checkpoint arrives
after trajectories that are at least as long, a summary after what it completes, and no file is there in part.
"""

import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from agent.errors import InvalidSetting, LifetimeError, RunError
from agent.storage.checkpoint import CHECKPOINT, PREVIOUS, replace_file
from agent.storage.predictions import PREDICTIONS
from agent.storage.record import CONFIG, SECONDS, SUMMARY, TRAJECTORY, WEIGHTS

PLACE = "storage.json"
"""The file of an unfinished run that names its folder at the URL."""

_OF_CALLER = ("journal.log",)
"""Files that no task writes, and that no copy may replace: the journal of a search."""
_PART = ".part"
_EVENTS = "events.out.tfevents."
_ARRIVE = (TRAJECTORY, WEIGHTS, PREDICTIONS, SECONDS, SUMMARY, PREVIOUS, CHECKPOINT)
"""The order in which files arrive, after all events; other files come last, since they complete a task."""

Stamp = tuple[int, int, int]
"""Size, time and inode of a file; another content has another stamp."""


class Written(NamedTuple):
    """The files of a task at its end, by their names in the run's folder."""

    digests: dict[str, str]
    gone: list[str]
    """Those that it removed."""


def check_url(url: str) -> None:
    """Check that a URL can be used, without reaching for it.

    Raises:
        InvalidSetting: it is no URL of fsspec, or needs a package that is not installed.
    """
    import fsspec

    try:
        fsspec.get_filesystem_class(fsspec.utils.get_protocol(url))
    except (ImportError, ValueError) as error:
        raise InvalidSetting(
            f"expected storage at a URL of fsspec, as in s3://bucket/runs, got {url}: {_one_line(error)}"
        ) from None


class Mirror:
    """The copy of one run.

    Args:
        url: of the run's own folder, for any file system of fsspec.

    Raises:
        InvalidSetting: see `check_url`.
        RunError: from every method, if the URL cannot be read or written.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        check_url(url)
        self.url = url
        with self._using("reach"):
            self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        self._root = self._root.rstrip("/")
        self._sent: dict[str, Stamp] = {}
        self._gone: set[str] = set()

    def fetch(self, folder: Path, part: str | None) -> None:
        """Fill a new folder with what is here of a part of the run.

        Args:
            folder: receives the files.
            part: a folder in that of the run; empty for all of it, None for nothing.
        """
        if part is None:
            return
        with self._using("read"):
            self._get(folder, [name for name in self._sizes() if name.startswith(f"{part}/" if part else "")])
            self._sent = _stamps(folder)

    def send(self, folder: Path) -> None:
        """Bring the copy up to date with a folder in which nobody writes now, but remove only what was here before."""
        with self._using("write"):
            now = _stamps(folder)
            gone = [name for name in self._sent if name not in now]
            for name in _ordered(gone, checkpoints=False):
                self._remove(name)
            for name in _ordered(now):
                if self._sent.get(name) != now[name]:
                    self._put(folder / name, name)
                    self._sent[name] = now[name]
            for name in _ordered(gone, checkpoints=True):
                self._remove(name)
            self._gone = (self._gone | set(gone)) - now.keys()

    def written(self, folder: Path) -> Written:
        """What a task that worked in a folder has written there, after `send`."""
        return Written({name: _digest(folder / name) for name in _stamps(folder) if name != CONFIG}, sorted(self._gone))

    def bring(self, folder: Path, written: Written) -> None:
        """Bring what a task has written to the run's folder."""
        with self._using("read"):
            for name in _ordered(written.gone, checkpoints=False):
                _unlink(folder / name)
            self._get(folder, [name for name, digest in written.digests.items() if _digest(folder / name) != digest])
            for name in _ordered(written.gone, checkpoints=True):
                _unlink(folder / name)
            self._sent |= {name: stamp for name in written.digests if (stamp := _stamp(folder / name))}

    def merge(self, folder: Path, *, send: bool = True) -> None:
        """Give the run's folder and the copy what the other has in addition.

        Of a file that both have, the one beside or above longer trajectories stays: every process writes the same
        steps, so that the longer record contains the shorter one.

        Args:
            folder: of the run.
            send: whether the copy changes, too.
        """
        with self._using("read and write"):
            here = {name: stamp[0] for name, stamp in _stamps(folder).items()}
            there = self._sizes()
            wanted = [name for name in there if name != CONFIG and _is_ahead(name, there, here)]
            events = {Path(name).parent for name in wanted if _is_events(name)}
            self._get(folder, wanted)
            for name in here:
                if _is_events(name) and Path(name).parent in events and name not in there:
                    _unlink(folder / name)
            if send:
                now = _stamps(folder)
                same = {name for name in here if not _is_ahead(name, here, there, or_equal=True)}
                self._sent = {name: stamp for name, stamp in now.items() if name in wanted or name in same}
                self.send(folder)

    def complete(self, folder: Path) -> None:
        """Make the copy equal to the folder of a finished run; call after `merge`."""
        self.send(folder)
        with self._using("write"):
            for name in self._sizes().keys() - _stamps(folder).keys():
                self._remove(name)

    def _sizes(self) -> dict[str, int]:
        """The sizes of the files here, by name."""
        try:
            found = self._files.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        sizes = {path.removeprefix(self._root).lstrip("/"): info["size"] for path, info in found.items()}
        return {name: size for name, size in sizes.items() if _is_mirrored(name)}

    def _get(self, folder: Path, names: Iterable[str]) -> None:
        """Copy files to a folder; checkpoints are read first, while records only become longer, and written last."""
        ordered = _ordered(names)
        held = {name: self._read(name) for name in ordered if _is_checkpoint(name)}
        for name in ordered:
            content = held[name] if name in held else self._read(name)
            if content is not None:
                try:
                    replace_file(folder / name, content)
                except OSError as error:
                    raise RunError(f"expected to write in {folder}, got: {error.strerror or error}") from error

    def _read(self, name: str) -> bytes | None:
        """The content of a file here; None if its task has removed it since."""
        try:
            return bytes(self._files.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None

    def _put(self, path: Path, name: str) -> None:
        target = f"{self._root}/{name}"
        parent = target.rpartition("/")[0]
        temporary = f"{parent}/.{path.name}.{uuid.uuid4().hex}{_PART}"
        try:
            self._files.makedirs(parent, exist_ok=True)
            self._files.pipe_file(temporary, path.read_bytes())
            self._files.mv(temporary, target)
        except BaseException:
            with suppress(Exception):
                self._files.rm_file(temporary)
            raise

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{name}")
        self._sent.pop(name, None)

    @contextmanager
    def _using(self, how: str) -> Iterator[None]:
        try:
            yield
        except LifetimeError:
            raise
        except Exception as error:  # a file system may raise anything
            raise RunError(
                f"expected to {how} at {self.url}, got: {_one_line(error)}; what was saved before is kept, and the "
                "same command continues the run"
            ) from error


def _is_ahead(name: str, ours: Mapping[str, int], theirs: Mapping[str, int], *, or_equal: bool = False) -> bool:
    """Whether our file is to replace theirs, given the sizes of the files of both."""
    if name not in theirs and not _is_events(name):
        return True
    folder = Path(name).parent
    beside = (folder / TRAJECTORY).as_posix()
    if beside in ours or beside in theirs:
        mine, other = ours.get(beside, 0), theirs.get(beside, 0)
    else:
        mine, other = (
            sum(size for each, size in sizes.items() if each.endswith(TRAJECTORY) and Path(each).is_relative_to(folder))
            for sizes in (ours, theirs)
        )
    if mine != other:
        return mine > other
    return or_equal and (name not in theirs or _is_checkpoint(name) or ours[name] != theirs[name])


def _ordered(names: Iterable[str], *, checkpoints: bool | None = None) -> list[str]:
    """Names in the order in which files arrive; only checkpoints, or only others, if asked."""
    chosen = [name for name in names if checkpoints is None or _is_checkpoint(name) is checkpoints]

    def rank(name: str) -> int:
        last = name.rpartition("/")[2]
        return -1 if _is_events(name) or last == CONFIG else (*_ARRIVE, last).index(last)

    return sorted(chosen, key=lambda name: (rank(name), name))


def _is_checkpoint(name: str) -> bool:
    return name.rpartition("/")[2] in (CHECKPOINT, PREVIOUS)


def _is_events(name: str) -> bool:
    return name.rpartition("/")[2].startswith(_EVENTS)


def _is_mirrored(name: str) -> bool:
    last = name.rpartition("/")[2]
    kept = "lock", PLACE, *_OF_CALLER
    return not last.endswith(_PART) and name not in kept and last != f"new.{CHECKPOINT}"


def _stamps(folder: Path) -> dict[str, Stamp]:
    """The files of a run's folder."""
    found = {}
    for root, _, names in os.walk(folder):
        for path in (Path(root, name) for name in names):
            name = path.relative_to(folder).as_posix()
            if _is_mirrored(name):
                stamp = _stamp(path)
                if stamp is not None:
                    found[name] = stamp
    return found


def _stamp(path: Path) -> Stamp | None:
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    return about.st_size, about.st_mtime_ns, about.st_ino


def _digest(path: Path) -> str:
    """The digest of a file; empty if there is none."""
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except FileNotFoundError:
        return ""


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()


def _one_line(error: Exception) -> str:
    strerror: Any = getattr(error, "strerror", None)
    return " ".join(str(strerror or error or type(error).__name__).split())
