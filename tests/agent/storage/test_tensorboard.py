"""What TensorBoard is given, as TensorBoard reads it."""

from dataclasses import replace

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agent.accounting.work import ACCOUNTS, Work
from agent.evaluation.scores import Accuracy, Scores
from agent.evaluation.trajectory import Step
from agent.lifetime.loop import run_lifetime
from agent.memory.mixture import Mixture
from agent.storage.tensorboard import LAYOUT, Events, drop_events, scalars
from tests.agent.lifetime.test_loop import PLAN, POLICIES, STREAM
from tests.agent.toys import toy_agent


def a_step(step=0, **changed):
    settings = {
        "step": step,
        "action": "learn",
        "samples": 8 * (step + 1),
        "learned": 8,
        "price": 2.0,
        "memory_entries": 3,
        "memory_nbytes": 5_000_000,
        "held_nbytes": 6_000_000,
        "query_flops": 7_000_000,
        "answer_flops": 8_000_000,
        "recall_flops": 0,
        "work": {account: Work(flops=(i + 1) * 10**9) for i, account in enumerate(ACCOUNTS)},
        "costs": {**dict.fromkeys(ACCOUNTS, 1.0), "storage": 0.5},
        "byte_chunks": 9,
        "pending_cost": 0.0,
        "pending_flops": step,
        "spent": 6.5,
        "spent_gflop": 12.4 + step,
    }
    return Step(**settings | changed)


def written(path):
    return EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def points(board, tag):
    return [(event.step, event.value) for event in board.Scalars(tag)]


def test_a_plain_step_has_decision_memory_costs_and_price():
    found = scalars(a_step(1))
    assert found == {
        "decision/learn": 1,
        "decision/learned_fraction": 0.5,
        "memory/entries": 3,
        "memory/megabytes": 5,
        "cost/total": 6.5,
        "cost/total_gflop": 13.4,
        "cost/storage": 0.5,
        "cost/recall_mflop_per_query": 7,
        "cost/answer_mflop_per_query": 8,
        "price/compute": 2,
        **{f"cost/{account}_gflop": i + 1 for i, account in enumerate(ACCOUNTS)},
    }


def test_a_refused_action_has_a_point_and_passing_is_no_learning():
    found = scalars(a_step(action="pass", wanted="learn"))
    assert (found["decision/learn"], found["decision/refused"]) == (0, 1)


def test_an_examined_step_has_accuracies_experiences_signals_and_the_mixture():
    scores = Scores(Accuracy(0.5, 0.4, 0.3), (0.5,), (Accuracy(0.6, 0, None), None, Accuracy(0.0, 0, 0)))
    step = a_step(
        prequential=Accuracy(0.1, 0.2, 0.3),
        scores=scores,
        mixture=Mixture(0.25, {"theta": 8.0}),
        observed={"learner_loss": 1.5},
    )
    found = scalars(step)
    assert found.items() >= {
        "accuracy/agent": 0.5,
        "accuracy/learner": 0.4,
        "accuracy/memory": 0.3,
        "prequential/agent": 0.1,
        "experience/0": 0.6,
        "experience/2": 0.0,
        "observed/learner_loss": 1.5,
        "mixture/w": 0.25,
        "mixture/theta": 8.0,
    }.items()  # fmt: skip
    assert "experience/1" not in found
    assert not any(tag.startswith("mixture") for tag in scalars(a_step(scores=scores)))


def test_what_was_not_measured_has_no_point():
    found = scalars(a_step(prequential=Accuracy(0.1, 0.2, None), scores=Scores(Accuracy(0.5, 0.5, None), (), None)))
    assert {tag for tag in found if tag.startswith(("accuracy", "prequential"))} == {
        "accuracy/agent",
        "accuracy/learner",
        "prequential/agent",
        "prequential/learner",
    }


def test_points_lie_over_samples_and_accuracies_over_flops_too(tmp_path):
    events = Events(tmp_path)
    for step in range(3):
        events.step(a_step(step, prequential=Accuracy(0.25 * step, 0.2, 0.3)))
    events.close()
    board = written(tmp_path)
    assert [step for step, _ in points(board, "decision/learn")] == [8, 16, 24]
    assert points(board, "prequential/agent") == [(8, 0.0), (16, 0.25), (24, 0.5)]
    paid = sum(range(1, len(ACCOUNTS))) * 10**9  # all but the last, which the experimenter pays
    assert points(board, "by_flop/prequential_agent") == [(paid, 0.0), (paid + 1, 0.25), (paid + 2, 0.5)]
    assert not any(tag.startswith("by_flop/accuracy") for tag in board.Tags()["scalars"])


def test_events_replace_those_that_were_there_and_nothing_else(tmp_path):
    (tmp_path / "notes.txt").write_text("kept")
    for upto in (4, 2):
        events = Events(tmp_path)
        for step in range(upto):
            events.step(a_step(step))
        events.close()
    assert len(points(written(tmp_path), "memory/entries")) == 2
    drop_events(tmp_path)
    drop_events(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_settings_and_final_metrics_make_a_row_of_hyper_parameters(tmp_path):
    events = Events(tmp_path)
    events.hparams({"policy": "loss", "lr": 0.05, "k": (1, 2), "budget": None}, {"final": 0.75, "forgetting": None})
    events.close()
    board = written(tmp_path)
    assert points(board, "final/final") == [(0, 0.75)]
    assert "final/forgetting" not in board.Tags()["scalars"]
    [session] = [data for tag, data in board.summary_metadata.items() if tag == "_hparams_/session_start_info"]
    content = session.plugin_data.content
    for expected in (b"policy", b"loss", b"lr", b"(1, 2)"):
        assert expected in content
    assert b"budget" not in content


def test_every_chart_of_the_layout_has_its_curves(tmp_path):
    plan = replace(PLAN, every=1, groups=torch.arange(15) % 3, prequential=True)
    events = Events(tmp_path)
    asked = [replace(chunk, queries=4) for chunk in STREAM]
    for step in run_lifetime(toy_agent(), asked, POLICIES["disagreement"](), plan).steps:
        events.step(step)
    events.close()
    board = written(tmp_path)
    drawn = {tag for charts in LAYOUT.values() for _, tags in charts.values() for tag in tags}
    assert drawn <= set(board.Tags()["scalars"])
    assert "custom_scalars__config__" in board.Tags()["tensors"]
    for tag in board.Tags()["scalars"]:
        steps = [step for step, _ in points(board, tag)]
        assert steps == sorted(steps), tag
        assert len(set(steps)) == len(steps), tag
