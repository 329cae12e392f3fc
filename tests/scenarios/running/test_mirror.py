"""A run's copy at a URL: whoever dies while sending leaves something to go on from."""

import random
import shutil
from importlib.util import find_spec

import pytest

from agent.errors import InvalidSetting, RunError
from agent.storage.checkpoint import CHECKPOINT
from scenarios.running.mirror import Mirror, check_url
from tests.scenarios.running.test_lifetimes import (  # noqa: F401 (fixtures)
    Patience,
    _world,
    assert_same,
    interrupted,
    lived,
    settings,
    whole,
)


class Killed(BaseException):
    """What a killed process raises: nothing."""


class Mortal:
    """A file system whose user dies before an operation, or in the middle of writing."""

    def __init__(self, files, operations):
        self.files, self.left = files, operations

    def __getattr__(self, name):
        return getattr(self.files, name)

    def _live(self):
        self.left -= 1
        if self.left < 0:
            raise Killed

    def pipe_file(self, path, content):
        if self.left <= 0:
            self.files.pipe_file(path, content[: len(content) // 2])
        self._live()
        self.files.pipe_file(path, content)

    def mv(self, source, target):
        self._live()
        self.files.mv(source, target)

    def rm_file(self, path):
        self._live()
        self.files.rm_file(path)


class Sending(Patience):
    """Sends the folder after every chunk."""

    def __init__(self, mirror, folder):
        super().__init__()
        self.mirror, self.folder = mirror, folder

    def advance(self, done):
        super().advance(done)
        self.mirror.send(self.folder)


def lived_until(path, url, operations):
    """Go on from what is at the URL, and die after so many operations there; returns how many would have been left."""
    mirror = Mirror(url)
    mirror._files = Mortal(mirror._files, operations)
    mirror.fetch(path, "")
    try:
        lived(path, settings(), Sending(mirror, path))
        mirror.send(path)
    except Killed:
        pass
    return mirror._files.left


def names(url):
    return set(Mirror(url)._sizes())


def held(mirror):
    return {name: mirror._files.cat_file(f"{mirror._root}/{name}") for name in mirror._sizes()}


def assert_goes_on(tmp_path, whole, deaths):  # noqa: F811
    """Die after each of so many operations, the next one going on from there; then live to the end."""
    url = f"file://{tmp_path}/there"
    for number, operations in enumerate(deaths):
        lived_until(tmp_path / f"worker{number}", url, operations)
    last = tmp_path / "last"
    Mirror(url).fetch(last, "")
    last.mkdir(exist_ok=True)
    lived(last, settings())
    assert_same(last, whole)


def test_whoever_is_killed_between_two_uploads_leaves_something_to_go_on_from(tmp_path, whole):  # noqa: F811
    assert_goes_on(tmp_path, whole, [40, 3])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_killed_between_any_two_uploads(tmp_path, whole, seed):  # noqa: F811
    generator = random.Random(seed)
    total = 10**6 - lived_until(tmp_path / "unharmed", f"file://{tmp_path}/all", 10**6)
    assert total > 50
    assert_same(tmp_path / "all", whole)
    assert_goes_on(tmp_path, whole, [generator.randint(0, total) for _ in range(generator.randint(1, 3))])


def test_only_what_changed_is_sent_and_only_what_was_removed_is_gone(tmp_path):
    here, url = tmp_path / "here", "memory://only-changed/run"
    (here / "seed0").mkdir(parents=True)
    (here / "config.json").write_text("{}")
    (here / "seed0/trajectory.jsonl").write_text("1\n")
    (here / "seed0" / CHECKPOINT).write_text("of 1")
    (here / "seed0/.summary.json.7.part").write_text("half")
    (here / "lock").write_text("")
    mirror = Mirror(url)
    mirror.send(here)
    assert names(url) == {"config.json", "seed0/trajectory.jsonl", f"seed0/{CHECKPOINT}"}
    sent = []
    put = mirror._put
    mirror._put = lambda path, name: (sent.append(name), put(path, name))
    other = Mirror(url)
    (tmp_path / "else").write_text("of another task")
    other._put(tmp_path / "else", "seed1/summary.json")
    (here / "seed0/summary.json").write_text("the end")
    (here / "seed0" / CHECKPOINT).unlink()
    mirror.send(here)
    assert sent == ["seed0/summary.json"]
    assert names(url) == {"config.json", "seed0/trajectory.jsonl", "seed0/summary.json", "seed1/summary.json"}
    written = mirror.written(here)
    assert written.gone == [f"seed0/{CHECKPOINT}"]
    caller = tmp_path / "caller"
    (caller / "seed0").mkdir(parents=True)
    (caller / "seed0" / CHECKPOINT).write_text("of 1")
    other.bring(caller, written)
    assert {path.name for path in (caller / "seed0").iterdir()} == {"trajectory.jsonl", "summary.json"}
    assert held(mirror)["seed0/summary.json"] == b"the end"


def test_a_part_is_fetched_alone(tmp_path):
    here, url = tmp_path / "here", "memory://parts/run"
    for name in ("seed1/a", "seed10/b", "c"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(name)
    Mirror(url).send(here)
    for part, found in {"seed1": {"a"}, "": {"a", "b", "c"}, None: set()}.items():
        there = tmp_path / f"part {part}"
        Mirror(url).fetch(there, part)
        assert {path.name for path in there.rglob("*") if path.is_file()} == found


@pytest.mark.parametrize("ahead", ["here", "there"])
def test_a_run_goes_on_from_the_longer_record_of_both(tmp_path, whole, ahead):  # noqa: F811
    here, there = tmp_path / "here", tmp_path / "there"
    interrupted(here, chunks=5)
    shutil.copytree(here, there)
    interrupted(here if ahead == "here" else there, chunks=20)
    mirror = Mirror(f"file://{there}")
    mirror.merge(here)
    length = max(len(path.read_bytes()) for path in here.rglob("trajectory.jsonl"))
    assert length == max(len(path.read_bytes()) for path in there.rglob("trajectory.jsonl"))
    reporter = Patience()
    lived(here, settings(), reporter)
    assert_same(here, whole)
    mirror.complete(here)
    assert_same(there, whole)


@pytest.mark.parametrize(
    ("url", "message"), [("foo://x", "Protocol not known: foo"), ("s3://bucket/x", "Install s3fs to access S3")]
)
def test_a_url_that_cannot_be_used_is_one_line(url, message):
    if url.startswith("s3") and find_spec("s3fs"):
        pytest.skip("the package is installed")
    with pytest.raises(InvalidSetting, match=message):
        check_url(url)


def test_a_url_that_cannot_be_reached_is_one_line(tmp_path):
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/config.json").write_text("{}")
    with pytest.raises(RunError, match=r"expected to .*write at file://.*, got: \w.*; what was saved"):
        Mirror(f"file://{tmp_path}/file/x").send(tmp_path / "here")
