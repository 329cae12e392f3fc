"""Lifetimes that are recorded, interrupted, resumed and measured, in a world of three colours."""

import contextlib
import io
import json
import random
import zipfile
from itertools import cycle

import numpy as np
import pytest
import torch

from agent.accounting.work import ACCOUNTS
from agent.errors import InvalidSetting, RunError
from agent.storage import checkpoint
from agent.storage.checkpoint import CHECKPOINT, PREVIOUS
from agent.storage.record import open_run
from scenarios.analysis.metrics import transfer_metrics
from scenarios.config.fields import read_policies
from scenarios.config.settings import SimulateConfig
from scenarios.datasets.source import Access
from scenarios.running import lifetimes, world
from scenarios.running.lifetimes import run_together
from scenarios.running.progress import Interrupted, SilentReporter
from scenarios.running.world import check_world, load_world
from scenarios.streams.catalog import SCENARIOS
from scenarios.streams.tariffs import TARIFFS
from tests.agent.storage.test_checkpoint import Trap
from tests.scenarios.commands import kept, points
from tests.scenarios.worlds import colours

POLICIES = ("static:k=50", "loss", "disagreement", "random")
SETTINGS = {
    "dataset": "textures",
    "chunks": 8,
    "network": "resnet:width=2",
    "recipe": "sgd:batch=8",
    "learner": "online:epochs=1",
    "device": "cpu",
    "evaluate_every": 2,
    "calibrate_every": 3,
    "checkpoint_every": 3,
}
EXPERIENCES = {
    "iid": "iid",
    "class-incremental": "class-incremental:experiences=3",
    "blurred": "blurred:experiences=3",
    "recurring": "recurring:experiences=3",
    "drift": "drift:experiences=3",
    "domains": "domains:experiences=3",
    "label-drift": "label-drift:experiences=2",
    "noisy-labels": "noisy-labels",
    "long-tailed": "long-tailed:imbalance=2",
    "zipf": "zipf:items=20",
}
"""Every scenario, as it fits three classes."""


@pytest.fixture(autouse=True)
def _world(monkeypatch):
    def load(name, *, seed, n_train, n_validation, n_test, **_):
        return colours(seed=seed)

    monkeypatch.setattr(world, "load_dataset", load)


def settings(**changed):
    return SimulateConfig.model_validate(SETTINGS | changed)


def methods(config, policies):
    return [config.model_copy(update={"policy": policy}).as_method for policy in read_policies(policies)]


class Patience(SilentReporter):
    """Waits for so many chunks, and takes down what it is told."""

    def __init__(self, chunks=10**9):
        self.left, self.warnings, self.done, self.expected = chunks, [], 0, 0

    def advance(self, done):
        self.left, self.done = self.left - 1, self.done + done

    def expect(self, total):
        self.expected = total

    def warn(self, what):
        self.warnings.append(what)

    @property
    def stopping(self):
        return self.left <= 0


def lived(path, config, reporter=None, *, policies=POLICIES, seed=0):
    """Live, from where the run directory stands; returns the summaries by policy."""
    reporter = reporter or Patience()
    world = load_world(config, seed, Access(), reporter)
    with open_run(path, config.model_dump(mode="json")) as run:
        together = methods(config, policies)
        records = {method.label: run.lifetime(method.label.replace(":", "-")) for method in together}
        reporter.expect(len(world[1].stream) * sum(record.summary() is None for record in records.values()))
        run_together(config, seed, together, world, records, run.checkpoints(), reporter)
        return {policy: record.summary() for policy, record in records.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an uninterrupted run writes."""
    path = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world, "load_dataset", lambda _, *, seed, **__: colours(seed=seed))
        lived(path, settings())
    return kept(path), points(path)


def assert_same(path, whole):
    files, scalars = whole
    found = kept(path)
    assert found.keys() == files.keys()
    for name, content in files.items():
        assert found[name] == content, name
    assert points(path) == scalars


def interrupted(path, chunks=17, config=None, **how):
    with pytest.raises(Interrupted):
        lived(path, config or settings(), Patience(chunks), **how)


def test_a_finished_run_holds_everything_and_no_checkpoint(whole):
    files, scalars = whole
    names = {"trajectory.jsonl", "summary.json", "weights.pt"}
    folders = {policy.replace(":", "-") for policy in POLICIES}
    assert files.keys() == {"config.json", *(f"{folder}/{name}" for folder in folders for name in names)}
    for folder in folders:
        lines = [json.loads(line) for line in files[f"{folder}/trajectory.jsonl"].splitlines()]
        assert [line["step"] for line in lines] == list(range(8))
        assert len(scalars[f"{folder}:memory/entries"]) == 8


@pytest.mark.slow
@pytest.mark.parametrize("patience", [2, 7])
def test_a_run_interrupted_again_and_again_ends_in_the_same_bytes(tmp_path, whole, patience):
    for _ in range(100):
        try:
            lived(tmp_path / "run", settings(), Patience(patience))
            break
        except Interrupted:
            assert (tmp_path / "run" / CHECKPOINT).exists()
    assert_same(tmp_path / "run", whole)


def test_lifetimes_that_wait_for_their_turn_are_resumed_too(tmp_path):
    policies = ("static:k=100", "static:k=0")
    lived(tmp_path / "whole", settings(), policies=policies)
    interrupted(tmp_path / "run", 1, policies=policies)
    assert len(list((tmp_path / "run").rglob("trajectory.jsonl"))) == 1
    lived(tmp_path / "run", settings(), policies=policies)
    assert_same(tmp_path / "run", (kept(tmp_path / "whole"), points(tmp_path / "whole")))


def test_progress_counts_every_chunk_of_every_lifetime_once(tmp_path):
    reporter = Patience()
    interrupted(tmp_path / "run", 9)
    n_ended = len(list((tmp_path / "run").rglob("summary.json")))
    lived(tmp_path / "run", settings(), reporter)
    assert reporter.done == reporter.expected == 8 * (len(POLICIES) - n_ended)


class Died(BaseException):
    """Of a process: nothing catches it."""


def dying(n):
    """As `replacing`, but the process dies while the n-th file is being written."""
    replacing, left = checkpoint.replacing, iter([False] * n + [True])

    @contextlib.contextmanager
    def replace(path):
        if not next(left, False):
            with replacing(path) as file:
                yield file
            return
        content = io.BytesIO()
        yield content
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{path.name}.4711.part").write_bytes(content.getvalue()[: len(content.getvalue()) // 2])
        raise Died

    return replace


@pytest.mark.slow
def test_a_process_may_die_at_any_write(tmp_path, whole, monkeypatch):
    """In a chain: the first dies at its first write, the next at its second, and so on, until one comes through."""
    n_deaths = 0
    for n in range(200):
        with monkeypatch.context() as patched:
            patched.setattr("agent.storage.checkpoint.replacing", dying(n))
            try:
                lived(tmp_path / "run", settings())
                break
            except Died:
                n_deaths += 1
    assert n_deaths > 5
    assert_same(tmp_path / "run", whole)


@pytest.mark.slow
def test_a_process_may_die_at_any_step(tmp_path, whole, monkeypatch):
    """Between two checkpoints, a step written in part."""
    from agent.storage.record import LifetimeRecord

    generator, step = random.Random(0), LifetimeRecord.step
    for _ in range(6):
        left = iter([False] * generator.randrange(3, 14) + [True])

        def until_death(record, lived, left=left):
            step(record, lived)
            if next(left, False):
                with (record.path / "trajectory.jsonl").open("a") as lines:
                    lines.write('{"step": 5, "act')
                raise Died

        with monkeypatch.context() as patched, contextlib.suppress(Died):
            patched.setattr(LifetimeRecord, "step", until_death)
            lived(tmp_path / "run", settings())
    lived(tmp_path / "run", settings())
    assert_same(tmp_path / "run", whole)


def truncate(path, _):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path, _):
    path.write_bytes(b"")


def flip(path, _):
    """A bit in the data of the largest part; between the parts lies padding, which means nothing."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
    header = largest.header_offset
    n_name, n_extra = (int.from_bytes(content[header + at : header + at + 2], "little") for at in (26, 28))
    content[header + 30 + n_name + n_extra + largest.file_size // 2] ^= 1
    path.write_bytes(content)


def of_another_run(path, tmp_path):
    other = settings(recipe="sgd:batch=8,lr=0.01")
    interrupted(tmp_path / "other", 3, other)
    path.write_bytes((tmp_path / "other" / CHECKPOINT).read_bytes())


def of_another_format(path, _):
    torch.save({"format": "learn-or-memorize checkpoint 0", "state": {}}, path)


def with_code(path, tmp_path):
    torch.save({"format": "learn-or-memorize checkpoint 2", "state": {"x": Trap(tmp_path / "mark")}}, path)


def that_does_not_fit(path, _):
    saved = torch.load(path, weights_only=True)
    weights = saved["state"]["branches"][0]["learner"]
    weights.clear()
    torch.save(saved, path)


def altered(alter):
    def spoil(path, _):
        saved = torch.load(path, weights_only=True)
        alter(saved["state"])
        torch.save(saved, path)

    return spoil


without_memory = altered(lambda state: state["branches"][0]["cohorts"][0]["agent"].pop("memory"))
with_an_odd_step = altered(lambda state: state["branches"][0].update(step="2"))
with_odd_work = altered(
    lambda state: next(iter(state["branches"][0]["cohorts"][0]["lifetimes"].values()))["ledger"]["accounts"].update(
        learn=["x", 0, 0.0, 0]
    )
)
with_infinite_costs = altered(
    lambda state: next(iter(state["branches"][0]["cohorts"][0]["lifetimes"].values()))["ledger"]["costs"].update(
        learn=float("nan")
    )
)
of_another_age = altered(lambda state: state["branches"][0]["cohorts"][0]["agent"].update(n_chunks=99))
of_no_lifetimes = altered(lambda state: state["branches"].clear())


def of_other_policies(path, _):
    saved = torch.load(path, weights_only=True)
    for cohort in (cohort for branch in saved["state"]["branches"] for cohort in branch["cohorts"]):
        cohort["lifetimes"] = {f"{name},x=1": life for name, life in cohort["lifetimes"].items()}
    torch.save(saved, path)


SPOIL = {
    "truncated": (truncate, "expected a checkpoint at"),
    "empty": (empty, "expected a checkpoint at"),
    "flipped": (flip, "expected a "),
    "of another run": (of_another_run, "expected a checkpoint of this run at"),
    "of another format": (of_another_format, "expected a checkpoint of this program at"),
    "with code": (with_code, "expected a checkpoint at"),
    "that does not fit": (that_does_not_fit, "expected a checkpoint that fits at"),
    "without its memory": (without_memory, "expected memory in the checkpoint"),
    "with an odd step": (with_an_odd_step, "['step'] of type int, got str"),
    "with odd work": (with_odd_work, "['learn'][0] of type int or float, got str"),
    "with infinite costs": (with_infinite_costs, "expected a finite number for "),
    "of another age": (of_another_age, "chunks, got one of 99"),
    "of no lifetimes": (of_no_lifetimes, "expected a checkpoint of lifetimes at"),
    "of other policies": (of_other_policies, "expected a checkpoint of the lifetimes"),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", SPOIL)
def test_a_spoilt_checkpoint_is_told_and_the_one_before_it_used(tmp_path, whole, how):
    spoil, reason = SPOIL[how]
    interrupted(tmp_path / "run")
    spoil(tmp_path / "run" / CHECKPOINT, tmp_path)
    reporter = Patience()
    lived(tmp_path / "run", settings(), reporter)
    [warning] = reporter.warnings
    assert reason in warning
    assert str(tmp_path / "run" / CHECKPOINT) in warning
    assert warning.endswith("; going on from the checkpoint before it")
    assert "\n" not in warning
    assert not (tmp_path / "mark").exists()
    assert_same(tmp_path / "run", whole)


@pytest.mark.slow
@pytest.mark.parametrize("how", SPOIL)
def test_without_a_usable_checkpoint_nothing_is_harmed(tmp_path, how):
    spoil, reason = SPOIL[how]
    interrupted(tmp_path / "run")
    for name in (CHECKPOINT, PREVIOUS):
        spoil(tmp_path / "run" / name, tmp_path)
    before, scalars = kept(tmp_path / "run"), points(tmp_path / "run")
    with pytest.raises(RunError, match="no other is left: start anew, with --force") as error:
        lived(tmp_path / "run", settings())
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "mark").exists()
    assert (kept(tmp_path / "run"), points(tmp_path / "run")) == (before, scalars)


def test_a_trajectory_that_lost_steps_takes_the_checkpoint_before(tmp_path, whole):
    interrupted(tmp_path / "run", 7, policies=("loss",))
    trajectory = tmp_path / "run/loss/trajectory.jsonl"
    trajectory.write_text("".join(trajectory.read_text().splitlines(keepends=True)[:6]))
    reporter = Patience()
    lived(tmp_path / "run", settings(), reporter, policies=("loss",))
    [warning] = reporter.warnings
    assert "expected 7 steps in" in warning
    for name, content in kept(tmp_path / "run").items():
        assert content == whole[0][name], name


def test_lifetimes_that_ended_before_the_checkpoint_are_not_lived_again(tmp_path, whole):
    interrupted(tmp_path / "run", 17)
    ended = [path.parent.name for path in (tmp_path / "run").rglob("summary.json")]
    assert ended
    stamps = {name: (tmp_path / "run" / name / "summary.json").stat().st_mtime_ns for name in ended}
    lived(tmp_path / "run", settings())
    for name, stamp in stamps.items():
        assert (tmp_path / "run" / name / "summary.json").stat().st_mtime_ns == stamp
    assert_same(tmp_path / "run", whole)


def test_a_finished_run_is_not_lived_again(tmp_path, whole, monkeypatch):
    lived(tmp_path / "run", settings())
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.name != "lock"}
    (tmp_path / "run" / CHECKPOINT).write_bytes(b"left behind")
    monkeypatch.setattr(lifetimes, "make_lifetimes", None)
    assert lived(tmp_path / "run", settings())["loss"]["n_chunks"] == 8
    left = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.name != "lock"}
    assert left.keys() == stamps.keys()
    assert all(left[path] == stamps[path] for path in left if path.is_file())


def no_room(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 1, 5, 6, 8, 20])
def test_after_a_full_disk_a_run_goes_on_to_the_same_bytes(tmp_path, whole, monkeypatch, room):
    """`room` for so many more calls of fsync; the last disk is large enough."""
    import os

    fsync, left = os.fsync, iter([True] * room)

    def until_full(descriptor):
        return fsync(descriptor) if next(left, False) else no_room()

    with monkeypatch.context() as patched, contextlib.suppress(RunError):
        patched.setattr("os.fsync", until_full)
        lived(tmp_path / "run", settings())
        assert room == 20
    lived(tmp_path / "run", settings())
    assert_same(tmp_path / "run", whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "rekey"), list(zip(SCENARIOS, cycle(["never", "on-learn", "every:3"]), strict=False))
)
def test_every_scenario_is_resumed_to_the_same_bytes(tmp_path, scenario, rekey):
    config = settings(scenario=EXPERIENCES[scenario], rekey=rekey, cost="energy", tariff="day-night")
    policies = ("interleaved:k=50", "novelty")
    lived(tmp_path / "whole", config, policies=policies)
    interrupted(tmp_path / "run", 5, config, policies=policies)
    interrupted(tmp_path / "run", 6, config, policies=policies)
    lived(tmp_path / "run", config, policies=policies)
    assert_same(tmp_path / "run", (kept(tmp_path / "whole"), points(tmp_path / "whole")))


def test_a_refitting_learner_is_resumed_to_the_same_bytes(tmp_path):
    config = settings(learner="refit:epochs=1", prequential=True, chunks=5)
    policies = ("static:k=60", "uncertainty")
    lived(tmp_path / "whole", config, policies=policies)
    interrupted(tmp_path / "run", 3, config, policies=policies)
    interrupted(tmp_path / "run", 3, config, policies=policies)
    lived(tmp_path / "run", config, policies=policies)
    assert_same(tmp_path / "run", (kept(tmp_path / "whole"), points(tmp_path / "whole")))


# What summaries say


def steps_of(path, policy):
    return [json.loads(line) for line in (path / policy / "trajectory.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module", params=list(EXPERIENCES.values()))
def measured(request, tmp_path_factory):
    """Scenario, configuration, summary and steps of a lifetime in each."""
    path = tmp_path_factory.mktemp("measured")
    config = settings(scenario=request.param, cost="energy", tariff="random-walk", rekey="every:3")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world, "load_dataset", lambda _, *, seed, **__: colours(seed=seed))
        [summary] = lived(path / "run", config, policies=("disagreement",)).values()
        _, scenario = load_world(config, 0, Access(), SilentReporter())
    return scenario, summary, steps_of(path / "run", "disagreement")


def test_prequential_accuracy_is_the_share_of_all_samples(measured):
    _, summary, steps = measured
    sizes = np.diff([0, *(step["samples"] for step in steps)])
    names = {"agent": "prequential_accuracy", "learner": "prequential_learner_accuracy"}
    names["memory"] = "prequential_memory_accuracy"
    for part, name in names.items():
        shares = [step["prequential"][part] for step in steps]
        told = [share is not None for share in shares]
        filled = [False, *(step["memory_entries"] > 0 for step in steps[:-1])]
        assert told == (filled if part == "memory" else [True] * len(steps))
        right = sum(round(share * size) for share, size in zip(shares, sizes, strict=True) if share is not None)
        assert summary["metrics"][name] == pytest.approx(right / sizes[told].sum())
    assert summary["metrics"]["prequential_memory_samples"] == sizes[told].sum()


def test_final_accuracies_and_shares_are_those_of_the_last_step(measured):
    scenario, summary, steps = measured
    metrics, last = summary["metrics"], steps[-1]
    assert summary["n_chunks"] == len(steps) == len(scenario.stream)
    assert summary["n_test"] == len(scenario.test)
    for part, name in {"agent": "final_accuracy", "learner": "learner_accuracy", "memory": "memory_accuracy"}.items():
        assert metrics[name] == summary["accuracy"][part] == last["accuracy"][part]
    learned = sum(size for size, step in zip(np.diff([0, *(s["samples"] for s in steps)]), steps, strict=True)
                  if step["action"] == "learn")  # fmt: skip
    n = sum(map(len, scenario.stream))
    assert metrics["learned_fraction"] == pytest.approx(learned / n)
    assert metrics["memory_entries"] == n - learned
    counts = np.bincount(scenario.test.labels.numpy(), minlength=3)
    right = sum(share * n for share, n in zip(last["per_class"], counts, strict=True))
    assert metrics["final_accuracy"] == pytest.approx(right / counts.sum())


def test_costs_add_up_and_measuring_is_not_among_them(measured):
    _, summary, steps = measured
    metrics = summary["metrics"]
    paid = [account for account in ACCOUNTS if account != "evaluate"]
    assert metrics["total_cost"] == pytest.approx(sum(metrics[f"{a}_cost"] for a in (*paid, "storage")), rel=1e-12)
    assert metrics["total_gflop"] == pytest.approx(sum(metrics[f"{account}_gflop"] for account in paid), rel=1e-12)
    assert metrics["total_cost"] == steps[-1]["spent"]
    assert metrics["evaluate_gflop"] > 0
    assert metrics["total_cost_without_calibration"] == pytest.approx(metrics["total_cost"] - metrics["calibrate_cost"])
    assert metrics["answer_10000_gflop"] == pytest.approx(10 * metrics["answer_mflop_per_query"])
    assert summary["cost_unit"] == "J"
    for before, after in zip([None, *steps], steps, strict=False):
        for account in ACCOUNTS:
            flops = after["work"][account]["flops"] - (before["work"][account]["flops"] if before else 0)
            nbytes = after["work"][account]["nbytes"] - (before["work"][account]["nbytes"] if before else 0)
            cost = after["costs"][account] - (before["costs"][account] if before else 0)
            last = after is steps[-1]
            if last and account == "evaluate":
                continue  # looked at the chunk at its price, and at the test set at that of the end
            price = 1 if last and account == "calibrate" else after["price"]
            assert cost == pytest.approx(flops * 2.3e-12 * price + nbytes * 160e-12, rel=1e-6, abs=1e-15)
        held = after["costs"]["storage"] - (before["costs"]["storage"] if before else 0)
        assert held == pytest.approx(after["held_nbytes"] * 0.1e-9, rel=1e-6)


def test_the_matrix_has_a_row_at_birth_and_after_each_visit(measured):
    scenario, summary, steps = measured
    matrix, visited = summary["accuracy_matrix"], summary["visited"]
    if scenario.n_experiences == 1:
        assert (matrix, visited) == ([], [])
        assert summary["metrics"]["forgetting"] is None
        return
    assert visited == [scenario.experience[end] for end in scenario.ends]
    assert [len(row) for row in matrix] == [scenario.n_experiences] * (1 + len(visited))
    assert matrix[1:] == [steps[end]["per_experience"] for end in scenario.ends]
    counts = np.bincount(scenario.group.numpy(), minlength=scenario.n_experiences)
    of_agent = np.array([[cell["agent"] for cell in row] for row in matrix])
    assert of_agent[-1] @ counts / counts.sum() == pytest.approx(summary["metrics"]["final_accuracy"])


def test_forgetting_and_transfer_follow_from_the_matrix(measured):
    scenario, summary, _ = measured
    if scenario.n_experiences == 1:
        pytest.skip("there is nothing else to learn meanwhile")
    matrix = [[cell["agent"] for cell in row] for row in summary["accuracy_matrix"]]
    visited, metrics = summary["visited"], summary["metrics"]
    lost, gained = [], []
    for experience in set(visited):
        last = max(row for row, visit in enumerate(visited, start=1) if visit == experience)
        if visited[-1] != experience:
            lost.append(matrix[last][experience] - matrix[-1][experience])
        first = visited.index(experience)
        if first:
            gained.append(matrix[first][experience] - matrix[0][experience])
    assert metrics["forgetting"] == pytest.approx(np.mean(lost))
    assert metrics["backward_transfer"] == pytest.approx(-np.mean(lost))
    if scenario.new_classes:  # the same for every policy, by its definition
        assert metrics["forward_transfer"] is None
    else:
        assert metrics["forward_transfer"] == pytest.approx(np.mean(gained))
    assert transfer_metrics(np.array(matrix), visited)["forgetting"] == pytest.approx(metrics["forgetting"])


def test_anytime_accuracy_is_the_mean_over_evaluations_of_what_was_seen(measured):
    scenario, summary, steps = measured
    means = []
    for step in steps:
        if "accuracy" not in step or ((step["step"] + 1) % settings().evaluate_every and step is not steps[-1]):
            continue  # evaluations at the ends of experiences do not lie evenly
        if scenario.n_experiences == 1:
            means.append(step["accuracy"]["agent"])
            continue
        seen = set(scenario.experience[: step["step"] + 1])
        means.append(np.mean([step["per_experience"][experience]["agent"] for experience in seen]))
    assert summary["metrics"]["average_anytime_accuracy"] == pytest.approx(np.mean(means))


def test_whether_and_how_often_one_looks_changes_nothing_but_evaluate(tmp_path):
    """Neither the weights nor what is decided and paid."""
    found = []
    for number, looking in enumerate([(1, True), (0, False), (3, True)]):
        every, prequential = looking
        config = settings(evaluate_every=every, prequential=prequential, rekey="on-learn")
        [summary] = lived(tmp_path / str(number), config, policies=("loss",)).values()
        costs = {name: cost for name, cost in summary["costs"].items() if name != "evaluate"}
        actions = [step["action"] for step in steps_of(tmp_path / str(number), "loss")]
        found.append((costs, actions, (tmp_path / str(number) / "loss/weights.pt").read_bytes(), summary["accuracy"]))
    assert found[0] == found[1] == found[2]


def test_chunks_of_a_size_leave_a_short_one_at_the_end(tmp_path):
    [summary] = lived(tmp_path / "run", settings(chunks=None, chunk_size=7), policies=("loss",)).values()
    sizes = np.diff([0, *(step["samples"] for step in steps_of(tmp_path / "run", "loss"))]).tolist()
    assert sizes == [7, 7, 7, 7, 7, 5]
    assert summary["n_chunks"] == 6


@pytest.mark.parametrize("tariff", TARIFFS)
def test_prices_are_those_of_the_tariff(tmp_path, tariff):
    examples = {"series": f"series:path={tmp_path / 'prices.csv'}"}
    (tmp_path / "prices.csv").write_text("1\n2\n0.5\n4\n1\n1\n3\n1\n")
    config = settings(tariff=examples.get(tariff, tariff))
    lived(tmp_path / "run", config, policies=("tariff",))
    _, scenario = load_world(config, 0, Access(), SilentReporter())
    steps = steps_of(tmp_path / "run", "tariff")
    assert [step["price"] for step in steps] == list(scenario.stream.prices)
    assert [step["action"] == "learn" for step in steps] == [price <= 1 for price in scenario.stream.prices]


def test_a_budget_is_shown_to_the_policy_and_not_overdrawn(tmp_path):
    whole = lived(tmp_path / "a", settings(), policies=("static:k=100",))["static:k=100"]["metrics"]
    budget = whole["learn_cost"] / 2
    for how in ("evenly", "greedily"):
        policy = f"budget:cost={budget:.6f},how={how}"
        [summary] = lived(tmp_path / how, settings(), policies=(policy,)).values()
        assert 0 < summary["metrics"]["learn_cost"] <= budget * (1 + 1e-6)


def test_trying_tells_what_living_would(tmp_path):
    check_world(config := settings(), 0, methods(config, POLICIES), Access())
    with pytest.raises(InvalidSetting, match="expected 1 to 40 chunks for 40 training images, got 41"):
        check_world(config := settings(chunks=41), 0, methods(config, POLICIES), Access())
    with pytest.raises(InvalidSetting, match="expected 1 to 3 experiences for 3 classes, got 5"):
        check_world(config := settings(scenario="recurring"), 0, methods(config, POLICIES), Access())
    with pytest.raises(InvalidSetting, match=r"expected keys from places of ResNet\(depth=8"):
        check_world(config := settings(keys="stage9"), 0, methods(config, POLICIES), Access())
