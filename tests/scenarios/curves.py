"""Finished curves without any training: their records hold numbers that a test chooses."""

import json

from agent.accounting.work import ACCOUNTS
from agent.storage.record import FinishedRun
from scenarios.config.presets import resolve
from scenarios.config.settings import CurveConfig
from scenarios.datasets.source import Access
from scenarios.experiments.relative_value import records_of
from scenarios.running.identity import describe

GIGA = 10**9


def outcome(accuracy, *, flops=0, calibrate=0, per_query=0, recall=0, written=0, held=0, learner=None):
    """The summary of a lifetime, in GFLOP and bytes; `held` are byte-chunks."""
    work = {account: {"flops": 0, "nbytes": 0, "samples": 0} for account in ACCOUNTS}
    work["learn"]["flops"], work["calibrate"]["flops"] = round(flops * GIGA), round(calibrate * GIGA)
    work["memorize"]["nbytes"] = written
    work["evaluate"] = {"flops": 7 * GIGA, "nbytes": 7, "samples": 7}  # which no agent pays
    return {
        "step": 3,
        "accuracy": {"agent": accuracy, "learner": accuracy if learner is None else learner, "memory": None},
        "work": work,
        "byte_chunks": held,
        "memory_entries": 1,
        "memory_nbytes": 100,
        "pending_flops": 0,
        "spent_gflop": flops + calibrate,
        "recall_flops": round(recall * GIGA),
        "answer_flops": round(per_query * GIGA),
        "query_flops": 0,
        "n_train": 80,
        "n_test": 30,
        "training": {"precision": "float32"},
    }


def planted_curve(folder, summaries, **settings):
    """A folder like a finished run of `lifetime curve`.

    Args:
        folder: to be made.
        summaries: a function of seed and name of a lifetime, such as `20`, `ridge 20` or `100`.
        settings: of the curve.
    """
    given = {"device": "cpu", "threads": 1, "chunks": 10, "k": (10, 50), "seeds": 3, "surface": False, **settings}
    config = resolve(CurveConfig, "quick", given)
    folder.mkdir(parents=True)
    access = Access(None, False)
    described = describe("curve", "quick", config, dataset=config.dataset, threads=1, access=access)
    (folder / "config.json").write_text(json.dumps(described))
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        for name, record in records_of(config, FinishedRun(folder), seed).items():
            record.path.mkdir(parents=True)
            (record.path / "summary.json").write_text(json.dumps(summaries(seed, name)))
    return folder
