"""Decision trees without any training: random ones that could have been grown, and one whose best policy is known."""

import numpy as np

from agent.accounting.work import ACCOUNTS
from agent.operations import OPERATIONS
from agent.policies.forecast import counts_before_each, terms_of
from agent.policies.signals import LEARNER_SIGNALS, SIGNALS
from scenarios.config.settings import TreeConfig
from scenarios.oracle.table import ScheduleTable, learned_by_chunk, schedule_of

LEARN, MEMORIZE = ACCOUNTS.index("learn"), ACCOUNTS.index("memorize")
CALIBRATE = ACCOUNTS.index("calibrate")
GAIN = 0.1
"""Accuracy that a chunk is worth to who learns it in a `paying` tree, more than to who memorizes it."""
GFLOP = 2
"""That learning a chunk takes there."""
PAYING = {"tariff": "day-night:period=2", "cost": "flops", "cost_weight": GAIN / GFLOP}
"""Prices at which a chunk is worth learning there by night, at half of what it brings, and not by day."""
BETA = np.array([0.1, 0.12, 0.05, 0.0])
"""Weights of the terms (`agent.policies.forecast`) that make up the accuracy seen there."""


def synthetic(seed=0, n=4, **settings):
    """A random tree: looks, work and entries are those of some lifetime, accuracies and signals are anything."""
    draw = np.random.default_rng([seed, n])
    nodes, decisions = 2 << n, 1 << n
    n_samples = draw.integers(3, 9, n)
    learner_look = draw.integers(1, 10**9, decisions)
    memory_look = np.zeros(decisions, dtype=np.int64)
    flops, nbytes = (np.zeros((nodes, len(ACCOUNTS)), dtype=np.int64) for _ in range(2))
    entries = np.zeros(nodes, dtype=np.int64)
    for node in range(2, nodes):
        parent, depth = node >> 1, node.bit_length() - 2
        entries[node] = entries[parent] + (0 if node & 1 else n_samples[depth])
        if node & 1:
            flops[node, LEARN] = draw.integers(10**9, 10**10)
        else:
            flops[node, MEMORIZE] = learner_look[parent] + draw.integers(0, 10**8)
            nbytes[node, MEMORIZE] = 100 * n_samples[depth]
        flops[node, CALIBRATE] = draw.integers(0, 10**8, 2).sum()
        if node < decisions and entries[node]:
            memory_look[node] = draw.integers(1, 10**8)
    signals = draw.random((decisions, len(SIGNALS)))
    for column, name in enumerate(SIGNALS):
        if name not in LEARNER_SIGNALS:
            signals[entries[:decisions] == 0, column] = np.nan
    signals[0] = np.nan
    learner_look[0] = 0
    accuracy = draw.random((nodes, 3))
    accuracy[entries == 0, 2] = np.nan
    accuracy[:2] = np.nan
    given = TreeConfig.model_validate({"chunks": n, "device": "cpu", **settings})
    facts = {
        "settings": given.model_dump(mode="json"),
        "seed": seed,
        "actions": ["memorize", "learn"],
        "prices": [1.0] * n,
    }
    held = 100 * entries
    learned = learned_by_chunk(n_samples, [OPERATIONS[name] for name in facts["actions"]])
    return ScheduleTable(
        facts,
        n_samples,
        accuracy,
        flops,
        nbytes,
        learned,
        entries,
        held.copy(),
        held,
        signals,
        learner_look,
        memory_look,
    )


def paying(seed=0, n=4, **settings):
    """A tree in which every chunk learned is worth `GAIN`, whenever it is; what is seen tells nothing of that."""
    tree = synthetic(seed, n, **{**PAYING, **settings})
    flops = np.zeros_like(tree.flops)
    flops[3::2, LEARN] = GFLOP * 10**9
    accuracy, signals = tree.accuracy.copy(), tree.signals.copy()
    for node in range(1, 2 << n):
        learns = np.array([action == "L" for action in schedule_of(node)], dtype=bool)
        accuracy[node] = 0.1 + GAIN * learns.sum() if node > 1 else np.nan
        if node < 1 << n:
            counts = counts_before_each(np.append(learns, False))[-1:]
            signals[node, SIGNALS.index("learner_accuracy")] = (terms_of(counts, n) @ BETA)[0]
    nothing = np.zeros_like(tree.learner_look)
    return ScheduleTable(
        tree.facts,
        tree.n_samples,
        accuracy,
        flops,
        np.zeros_like(tree.nbytes),
        tree.learned,
        tree.memory_entries,
        tree.memory_nbytes,
        tree.held_nbytes,
        signals,
        nothing,
        nothing,
    )


def planted(folder, trees):
    """A folder like a run of `lifetime tree`."""
    for tree in trees:
        path = folder / f"seed{tree.facts['seed']}" / "table.npz"
        path.parent.mkdir(parents=True)
        path.write_bytes(tree.as_npz())
    return folder
