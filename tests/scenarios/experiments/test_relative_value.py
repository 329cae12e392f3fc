import csv
import io
import json

import pytest

from agent.errors import RunError, TrainingDiverged
from agent.learners.training import Training
from agent.storage.record import open_run
from scenarios.config.presets import resolve
from scenarios.config.settings import CurveConfig
from scenarios.experiments.relative_value import CURVE
from scenarios.experiments.relative_value_report import LearnerAt
from scenarios.running import world
from scenarios.running.factory import build_agents
from scenarios.running.tasks import Run
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


@pytest.mark.slow
def test_warm_starts_go_on_from_the_learner_they_follow(tmp_path):
    curve = live(tmp_path / "run", {**ORIGINAL, "warm": True})
    at: LearnerAt = curve.learners[-1]
    assert at.y_warm == at.point.y  # nothing is left to learn after 100%


@pytest.mark.slow
def test_the_same_settings_give_the_same_bytes(tmp_path):
    live(tmp_path / "a", TINY)
    live(tmp_path / "b", TINY)
    for name in ("curve.json", "curve.csv", "curve.png", "seed1/k025/trajectory.jsonl", "seed1/k025/summary.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("settings", [TINY, {**ORIGINAL, "warm": True}, COOLDOWN])
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", ['{"accuracy": {}}', '{"accuracy": 3}', '{"accuracy": {"learner": 7, "agent": 0, "memory": 0}}']
)
def test_a_summary_that_lost_its_meaning_is_an_error(tmp_path, content):
    live(tmp_path / "run", TINY)
    (tmp_path / "run/seed0/k025/summary.json").write_text(content)
    with pytest.raises(RunError, match=r"expected (whole summaries of 8 lifetimes|the end of a lifetime) in .*--force"):
        live(tmp_path / "run", TINY)
