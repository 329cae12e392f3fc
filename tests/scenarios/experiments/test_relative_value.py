import csv
import io
import json
import math
import shutil

import pytest

from agent.errors import InvalidSetting, RunError, TrainingDiverged
from agent.evaluation.plan import EvaluationPlan
from agent.learners.training import Training
from agent.lifetime.loop import run_lifetime
from agent.policies import StaticPolicy
from agent.storage.record import open_run
from scenarios.config.presets import resolve
from scenarios.config.settings import CurveConfig
from scenarios.experiments.relative_value import CURVE
from scenarios.experiments.relative_value_reading import LearnerAt
from scenarios.running import world
from scenarios.running.factory import build_agents
from scenarios.running.tasks import Run
from scenarios.streams.catalog import iid_stream
from tests.scenarios.worlds import colours

TINY = {
    "device": "cpu",
    "evaluate_every": 0,
    "chunks": 4,
    "k": (0, 25, 75, 100),
    "seeds": 2,
    "network": "resnet:width=2",
    "recipe": "sgd:lr=0.05,batch=5",
    "learner": "online:epochs=2",
}
COOLDOWN = {**TINY, "learner": "cooldown:share=0.5,epochs=2"}  # cool-downs of whole steps
AIRBENCH = {
    **COOLDOWN,
    "k": (25, 75),
    "network": "airbench:size=93",
    "recipe": "muon:lr=0.01,batch=5,views=mirror",
    "mixture": "calibrated",
    "with_mixtures": ("author",),
}
ORIGINAL = {**TINY, "learner": "refit:epochs=2"}


class Log:
    """A watcher that remembers."""

    def __init__(self):
        self.total = self.done = 0.0

    def expect(self, total):
        self.total = total

    def advance(self, done):
        self.done += done

    def reach(self, done, total):
        pass

    def say(self, what):
        pass

    def tell(self, what):
        pass

    def warn(self, what):
        raise AssertionError(what)

    stopping = False


@pytest.fixture(autouse=True)
def small_world(monkeypatch):
    monkeypatch.setattr(world, "load_dataset", lambda name, *, seed, **_: colours(seed=seed))


def live(path, settings, log=None):
    config = resolve(CurveConfig, "quick", settings)
    with open_run(path, {"settings": config.model_dump(mode="json")}) as run:
        return CURVE.run(config, Run(run, log or Log()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [TINY, ORIGINAL, {**ORIGINAL, "warm": True}, COOLDOWN, {**TINY, "evaluate_every": 1}]
)
def test_a_curve_is_what_its_lifetimes_say(tmp_path, settings):
    log = Log()
    curve = live(tmp_path / "run", settings, log)
    found = json.loads((tmp_path / "run/curve.json").read_text())
    assert [point["k"] for point in found["points"]] == [0, 25, 75, 100]
    assert found["seeds"] == [0, 1]
    for point in found["points"]:
        for seed in (0, 1):
            run = tmp_path / f"run/seed{seed}/k{point['k']:03g}"
            summary = json.loads((run / "summary.json").read_text())
            lines = [json.loads(line) for line in (run / "trajectory.jsonl").read_text().splitlines()]
            assert len(lines) == 4
            assert [line["action"] for line in lines].count("learn") == point["k"] / 25
            assert lines[-1]["accuracy"] == summary["accuracy"]
            assert point["by_seed"]["x"][seed] == summary["accuracy"]["learner"]
            assert point["by_seed"]["z"][seed] == summary["accuracy"]["agent"]
            assert point["by_seed"]["gflop"]["learn"][seed] == summary["work"]["learn"]["flops"] / 1e9
            assert summary["memory_entries"] == 40 * (1 - point["k"] / 100)
    last = found["points"][-1]
    assert last["by_seed"]["x"] == last["by_seed"]["z"] == last["by_seed"]["y"]
    assert last["R"]["estimate"] is None
    assert "cannot be told from 0" in last["R"]["reason"]
    assert ("warm" in last) == bool(settings.get("warm"))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "run/curve.csv").read_text())))
    assert [float(row["x"]) for row in rows] == pytest.approx([at.statistics.x.estimate for at in curve.learners])
    assert (tmp_path / "run/curve.png").read_bytes().startswith(b"\x89PNG")
    assert log.done == pytest.approx(log.total, rel=0.15 if settings["evaluate_every"] else 0.02)


@pytest.mark.usefixtures("undrawn")
def test_the_trunk_of_the_online_protocol_is_trained_once(tmp_path, monkeypatch):
    steps = []
    step = Training.step
    monkeypatch.setattr(Training, "step", lambda *args, **kwargs: steps.append(1) or step(*args, **kwargs))
    live(tmp_path / "run", {**TINY, "k": (25, 50, 75), "seeds": 1})
    alone = len(steps)
    steps.clear()
    live(tmp_path / "one", {**TINY, "k": (25,), "seeds": 1})
    assert alone == len(steps) > 0


@pytest.mark.slow
def test_one_trunk_and_a_cool_down_at_each_k_make_a_curve(tmp_path, monkeypatch):
    """Also where it is examined on the way, at those k and others."""
    steps = []
    step = Training.step
    monkeypatch.setattr(Training, "step", lambda *args, **kwargs: steps.append(1) or step(*args, **kwargs))
    of_k = {25: 4, 50: 8, 75: 12, 100: 16}  # of the trunk: 2 passes of 10 images in batches of 5
    for every, cooled in ((0, (25, 75, 100)), (1, (25, 50, 75, 100))):
        steps.clear()
        settings = {**COOLDOWN, "k": (25, 75), "seeds": 1, "evaluate_every": every}
        live(tmp_path / str(every), settings)
        assert len(steps) == 16 + sum(of_k[k] // 2 for k in cooled)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "settings", [pytest.param(TINY, id="online", marks=pytest.mark.slow), pytest.param(COOLDOWN, id="cooldown")]
)
def test_the_surface_is_what_shorter_streams_give(tmp_path, settings):
    curve = live(tmp_path / "run", {**settings, "k": (25, 50, 75), "seeds": 1})
    assert [(at.learned, at.passed) for at in curve.surface] == [
        (25, 50), (25, 75), (50, 75), (25, 100), (50, 100), (75, 100)
    ]  # fmt: skip
    dataset = colours()
    stream = iid_stream(dataset, 4, seed=0)
    plan = EvaluationPlan(dataset.validation, dataset.test)
    for at in curve.surface:
        agent = build_agents(curve.config, {"": curve.config}, dataset, seed=0)[""]
        n = int(at.passed / 25)
        end = run_lifetime(agent, stream[:n], StaticPolicy(at.point.k), plan).accuracy
        assert (end.learner, end.agent) == (at.point.x[0], at.point.z[0])
    for at in (each for each in curve.surface if each.passed == 100):
        same = next(each for each in curve.learners if each.point.k == at.learned)
        assert at.point == same.point


@pytest.mark.usefixtures("undrawn")
def test_the_surface_takes_neither_training_nor_forward_passes(tmp_path):
    parts = {}
    for surface in (False, True):
        live(tmp_path / str(surface), {**COOLDOWN, "k": (25, 50, 75), "seeds": 1, "surface": surface})
        parts[surface] = json.loads((tmp_path / f"{surface}/seed0/seconds.json").read_text())
    for part in ("training", "cool-downs", "forward"):
        assert parts[True][part]["flops"] == parts[False][part]["flops"] > 0
    summaries = [tmp_path / str(surface) / "seed0/k025/summary.json" for surface in (False, True)]
    plain, with_surface = (json.loads(path.read_text()) for path in summaries)
    assert plain["spent"] == with_surface["spent"]
    assert plain["accuracy"] == with_surface["accuracy"]
    assert plain["mixture"] == with_surface["mixture"]


@pytest.mark.usefixtures("undrawn")
def test_what_a_seed_computes_is_counted_once(tmp_path):
    curve = live(tmp_path / "run", {**COOLDOWN, "k": (25, 75), "seeds": 1})
    found = json.loads((tmp_path / "run/seed0/seconds.json").read_text())
    of_k = {k: json.loads((tmp_path / f"run/seed0/k{k:03g}/summary.json").read_text())["work"] for k in (25, 75, 100)}
    billed = {k: work["learn"]["flops"] for k, work in of_k.items()}
    trained = found["training"]["flops"]
    assert found["cool-downs"]["flops"] == sum(billed[k] - trained * k // 100 for k in billed)
    n = 30 + 10 + 2 * 12 + 3 * 16  # memorized by each, validation images with a memory, test images
    assert found["forward"]["samples"] == n
    assert all(part["seconds"] > 0 for part in found.values())
    assert found["recall"]["flops"] > 0
    assert curve.computed[0]["training"].flops == trained


@pytest.mark.usefixtures("undrawn")
def test_further_memories_share_the_learners(tmp_path):
    written = ["ridge = memory:ridge", "calibrated = mixture:calibrated", "wide = keys:stem+features | pool:true"]
    curve = live(tmp_path / "run", {**TINY, "k": (25, 75), "seeds": 1, "with_memories": written})
    assert list(curve.memories) == ["ridge", "calibrated", "wide"]
    own = [
        {"memory": "ridge"},
        {"mixture": "calibrated"},
        {"keys": ("stem", "features"), "pool": True},
    ]
    for (label, learners), settings in zip(curve.memories.items(), own, strict=True):
        alone = live(tmp_path / label, {**TINY, "k": (25, 75), "seeds": 1, "surface": False, **settings})
        assert learners == alone.learners
    rows = list(csv.DictReader(io.StringIO((tmp_path / "run/memories.csv").read_text())))
    labels = ["cache", "ridge", "calibrated", "wide"]
    assert [row["memory"] for row in rows] == [label for label in labels for _ in range(2)]


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_memories_by_name_leave_the_bytes_of_the_memory_alone(tmp_path):
    settings = {**TINY, "seeds": 2, "learner": "cooldown:share=0.5,epochs=2"}
    live(tmp_path / "alone", settings)
    curve = live(tmp_path / "run", {**settings, "memories": "cache knn ridge:dim=8; cache:storage=int8"})
    assert list(curve.memories) == ["knn", "ridge:dim=8", "cache:storage=int8"]
    names = ["curve.csv", "surface.json", "surface.csv", "seed0/k025/trajectory.jsonl", "seed1/k000/summary.json"]
    for name in names:
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    points = [json.loads((tmp_path / name / "curve.json").read_text())["points"] for name in ("alone", "run")]
    assert points[0] == points[1]
    steps = (tmp_path / "run/seed0/k025-knn/trajectory.jsonl").read_text().splitlines()
    assert ["accuracy" in json.loads(step) for step in steps] == [False] * 3 + [True], "the surface is of one memory"

    found = json.loads((tmp_path / "run/memories.json").read_text())
    assert list(found["memories"]) == ["cache", *curve.memories]
    assert [each["k"] for each in found["best"]] == [0, 25, 75]  # nothing is left to memorize after 100%
    for each in found["best"]:
        z = {
            label: next(point["z"]["estimate"] for point in points if point["k"] == each["k"])
            for label, points in found["memories"].items()
        }
        assert z[each["memory"]] == max(z.values())
        for label, behind in each["behind"].items():
            assert behind["estimate"] == pytest.approx(z[each["memory"]] - z[label])
    rows = list(csv.DictReader(io.StringIO((tmp_path / "run/memories.csv").read_text())))
    of_knn = next(row for row in rows if (row["memory"], row["k"]) == ("knn", "25.0"))
    summaries = [json.loads((tmp_path / f"run/seed{i}/k025-knn/summary.json").read_text()) for i in (0, 1)]
    for name, of in {
        "memory_nbytes": lambda end: end["memory_nbytes"],
        "memory_accuracy": lambda end: end["accuracy"]["memory"],
        "recall_mflop": lambda end: (end["recall_flops"] / 10_000 + end["query_flops"]) / 1e6,
    }.items():
        assert float(of_knn[name]) == pytest.approx(sum(map(of, summaries)) / 2)
    strength = list(csv.DictReader(io.StringIO((tmp_path / "run/strength.csv").read_text())))
    assert {row["limit_of"] for row in strength} == {"megabytes", "recall_mflop"}
    assert {row["k"] for row in strength} == {"0.0", "25.0", "75.0"}


def test_memories_by_name_are_those_of_methods():
    config = resolve(CurveConfig, "cifar10-small", {"memories": ["knn", {"name": "ridge", "dim": 8}, "cache"]})
    assert [(each.label, str(each.memory), each.pool) for each in config.with_memories] == [
        ("knn", "knn:vote=softmax", True),
        ("ridge:dim=8", "ridge:limit=4096,dim=8", True),
    ]
    assert config.memories is None
    assert config.pool is False
    assert resolve(CurveConfig, "quick", config.model_dump(mode="json")) == config
    own = {"memory": "cache:storage=int8", "memories": "cache knn", "pool": True}
    assert [str(each.memory) for each in resolve(CurveConfig, "quick", own).with_memories] == [
        "cache",
        "knn:vote=softmax",
    ]
    own = {"memory": "ridge:dim=64", "memories": "ridge ridge:limit=4096,dim=64 knn"}
    assert [each.label for each in resolve(CurveConfig, "quick", own).with_memories] == ["ridge", "knn"]
    both = resolve(CurveConfig, "quick", {"memories": "knn", "with_memories": ["few = memory:knn | capacity:9"]})
    assert [each.label for each in both.with_memories] == ["knn", "few"]
    for wrong, message in {
        "knn knn": "expected each memory once, got knn:vote=softmax 2 times",
        "": "expected names with their settings",
        "brain": "expected a memory out of cache, knn",
        "knn:k=3": "expected settings of knn out of storage, vote, got k",
    }.items():
        with pytest.raises(InvalidSetting, match=message):
            resolve(CurveConfig, "quick", {"memories": wrong})


@pytest.mark.usefixtures("undrawn")
def test_further_mixtures_are_those_of_lifetimes_that_fit_by_them(tmp_path):
    own = {**TINY, "k": (25, 100), "seeds": 1, "mixture": "calibrated"}
    curve = live(tmp_path / "run", {**own, "with_mixtures": ("author",)})
    alone = live(tmp_path / "author", {**own, "mixture": "author", "surface": False})
    assert curve.memories == {"author": alone.learners}
    assert curve.learners == live(tmp_path / "own", {**own, "surface": False}).learners
    rows = list(csv.DictReader(io.StringIO((tmp_path / "run/memories.csv").read_text())))
    assert [row["memory"] for row in rows] == ["calibrated"] * 2 + ["author"] * 2


@pytest.mark.usefixtures("undrawn")
def test_rules_beside_other_memories_name_the_memory(tmp_path):
    live(tmp_path / "run", {**TINY, "k": (25,), "seeds": 2, "memories": "ncm", "with_mixtures": ("calibrated",)})
    rows = list(csv.DictReader(io.StringIO((tmp_path / "run/memories.csv").read_text())))
    assert [row["memory"] for row in rows] == ["cache", "cache, calibrated", "ncm"]
    strength = csv.DictReader(io.StringIO((tmp_path / "run/strength.csv").read_text()))
    assert {row["memory"] for row in strength} <= {"cache", "ncm"}, "a rule is no memory of its own"


def test_a_memory_of_other_learners_is_refused():
    with pytest.raises(InvalidSetting, match=r"expected --with-memories to change .* or mixture, got learner in x"):
        resolve(CurveConfig, "quick", {"with_memories": ["x = learner:refit"]})
    with pytest.raises(InvalidSetting, match="expected another label than cache in --with-memories; it is taken"):
        resolve(CurveConfig, "quick", {"with_memories": ["cache = pool:true"]})
    with pytest.raises(InvalidSetting, match="expected another label than author in --with-memories; it is taken"):
        resolve(CurveConfig, "quick", {"with_memories": ["author = pool:true"]})
    beside = {"with_memories": ["cache, calibrated = pool:true"], "with_mixtures": "calibrated"}
    with pytest.raises(InvalidSetting, match="expected another label than cache, calibrated in --with-memories; it is"):
        resolve(CurveConfig, "quick", beside)
    with pytest.raises(InvalidSetting, match="expected --with-mixtures to name each further rule once, got author, a"):
        resolve(CurveConfig, "quick", {"with_mixtures": "author"})
    with pytest.raises(InvalidSetting, match="expected --no-surface with --with-policies"):
        resolve(CurveConfig, "quick", {"with_policies": "loss", "surface": True})
    assert resolve(CurveConfig, "quick", {"with_policies": "loss"}).surface is False
    assert resolve(CurveConfig, "quick", {}).surface is True


@pytest.mark.slow
def test_warm_starts_go_on_from_the_learner_they_follow(tmp_path):
    curve = live(tmp_path / "run", {**ORIGINAL, "warm": True})
    at: LearnerAt = curve.learners[-1]
    assert at.y_warm == at.point.y  # nothing is left to learn after 100%


@pytest.mark.slow
@pytest.mark.parametrize("settings", [TINY, AIRBENCH], ids=["online", "airbench"])
def test_the_same_settings_give_the_same_bytes(tmp_path, settings):
    live(tmp_path / "a", settings)
    live(tmp_path / "b", settings)
    names = ["curve.json", "curve.csv", "curve.png", "surface.json", "surface.csv", "surface.png"]
    names += ["memories.json", "memories.csv", "memories.png"] if "with_mixtures" in settings else []
    for name in (*names, "seed1/k025/trajectory.jsonl", "seed1/k025/summary.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("settings", [TINY, {**ORIGINAL, "warm": True}, COOLDOWN, AIRBENCH])
def test_a_continued_curve_ends_in_the_bytes_of_an_uninterrupted_one(tmp_path, settings):
    live(tmp_path / "whole", settings)
    live(tmp_path / "cut", settings)
    for lost in ("seed0/k075", "seed1/k025", "seed1/k100"):
        (tmp_path / "cut" / lost / "summary.json").unlink()
    (tmp_path / "cut/curve.json").unlink()
    log = Log()
    live(tmp_path / "cut", settings, log)
    assert (tmp_path / "cut/curve.json").read_bytes() == (tmp_path / "whole/curve.json").read_bytes()
    assert log.done == pytest.approx(log.total, rel=0.02)


@pytest.mark.usefixtures("undrawn")
def test_a_k_that_rounds_to_all_of_the_stream_shares_the_lifetime_of_y(tmp_path):
    at = live(tmp_path / "run", {**TINY, "k": (25, 99.99999)}).learners[-1]
    assert at.point.x == at.point.y


@pytest.mark.slow
def test_a_finished_curve_lives_nothing_again(tmp_path, monkeypatch):
    live(tmp_path / "run", TINY)
    monkeypatch.setattr(world, "load_dataset", None)
    log = Log()
    live(tmp_path / "run", TINY, log)
    assert log.done == 0


def test_a_diverging_loss_keeps_what_was_recorded(tmp_path):
    with pytest.raises(TrainingDiverged, match=r"gradient step .* with learning rate 1e\+30"):
        live(tmp_path / "run", {**TINY, "recipe": "sgd:lr=1e30,batch=5"})
    assert (tmp_path / "run/seed0/k000/summary.json").exists()  # learned nothing, so nothing went wrong
    assert not (tmp_path / "run/curve.json").exists()


def test_settings_reach_the_agent(tmp_path):
    dataset = colours()
    changed = {"shift": 2, "mirror": True, "recipe": "sgd:lr=0.3", "learner": "online:ema_decay=0.5"}
    config: CurveConfig = resolve(CurveConfig, "quick", TINY, changed)
    learner = build_agents(config, {"": config}, dataset, seed=0)[""].learner
    assert (learner.training.augmentation.shift, learner.training.augmentation.mirror) == (2, True)
    assert (learner.training.recipe.lr, learner.ema_decay, learner.network.width) == (0.3, 0.5, 2)
    assert (learner.training.recipe.batch_size, learner.epochs) == (5, 2)


@pytest.fixture(scope="module")
def lived_once(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "load_dataset", lambda name, *, seed, **_: colours(seed=seed))
        run = tmp_path_factory.mktemp("once") / "run"
        live(run, TINY)
    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        {"accuracy": {}},
        {"accuracy": 3},
        *({"accuracy": {"learner": wrong, "agent": 0, "memory": 0}} for wrong in (7, True, "0.5", math.nan)),
        {"spent_gflop": True},
        {"n_test": None},
        {"work": {"learn": {"flops": -1}}},
        {"mixture": {"w": 0.5, "setting": 7}},
    ],
)
def test_a_summary_that_lost_its_meaning_is_an_error(lived_once, tmp_path, damage):
    shutil.copytree(lived_once, tmp_path / "run")
    path = tmp_path / "run/seed0/k025/summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(RunError, match=r"expected (the end .* in .*/k025/summary\.json|whole records of .*/run), got"):
        live(tmp_path / "run", TINY)
