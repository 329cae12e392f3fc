"""The figures of the best options as prices move, in odd cases, without text that covers another."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from scenarios.analysis.frontier import envelope
from scenarios.analysis.options import Options, joined
from scenarios.analysis.price_map import price_map, price_ranges
from scenarios.figures.frontier import CostPanel, frontier_figure
from scenarios.figures.price_map import MapPanel, price_map_figure
from scenarios.figures.price_units import counted, prefixed
from scenarios.figures.style import COLORS, figure_png, item_colors
from tests.scenarios.figures.legible import assert_legible, each_of

LONG = "a memory with a long label, of three places of the network"


def learners(memory, *, gain=0.05, n_seeds=3, ks=(0.1, 0.2, 0.4, 0.6, 0.8), per_query=1e8, seed=0):
    """k%-learners whose costs and accuracies are those of a small curve."""
    draw = np.random.default_rng(seed)
    k = np.array(ks)
    noise = 0.01 * draw.standard_normal((n_seeds, len(k)))
    accuracy = np.clip(0.3 + 0.5 * np.sqrt(k) + gain * (1 - k) + noise, 0, 1)
    whole = np.ones((n_seeds, 1))
    return Options(
        tuple(f"{100 * each:g}%" for each in k),
        (memory if ks != (1.0,) else "",) * len(k),
        k,
        accuracy,
        whole * (2e11 * k + 1e10),
        whole * (1e6 + per_query * (1 - k)),
        np.zeros_like(accuracy),
        whole * 1e6 * (1 - k),
        whole * 1e7 * (1 - 0.8 * k),
    )


def curves(*memories, **given):
    every = [learners(memory, seed=i, **given) for i, memory in enumerate(memories)]
    return joined([*every, learners("", **{**given, "gain": 0.0, "ks": (1.0,)})])


def schedules(n, n_seeds=2):
    draw = np.random.default_rng(n)
    names = tuple(f"{i:0{n}b}".replace("0", "M").replace("1", "L") for i in range(2**n))
    learned = np.array([name.count("L") / n for name in names])
    accuracy = 0.3 + 0.4 * learned + 0.2 * draw.random((n_seeds, len(names)))
    zeros = np.zeros_like(accuracy)
    flops = 1e9 * (0.2 + learned) * np.ones((n_seeds, 1))
    return Options(
        names, ("cache",) * len(names), learned, accuracy, flops, zeros, zeros, zeros, 1e6 * (1.1 - learned) + zeros
    )


CASES = {
    "two memories": (curves("cache", "ridge"), (0, 1_000_000)),
    "schedules": (schedules(7), (0,)),
    "one seed": (curves("cache", n_seeds=1), (0,)),
    "one memory": (curves("cache"), (0, 10_000, 1_000_000)),
    "three memories": (curves("cache", "knn", "ridge"), (0, 10_000, 1_000_000)),
    "many memories": (curves(*(f"{LONG}, number {i}" for i in range(6))), (0, 1, 10_000, 10**9)),
    "memory of no use": (curves("cache", gain=-0.3), (0, 1000)),
    "one option": (learners("", ks=(1.0,)), (0,)),
    "nearly all": (curves("cache", ks=(0.98, 0.99)), (0,)),
    "many k's": (curves("cache", ks=tuple(np.linspace(0.05, 0.95, 19))), (0, 10_000, 1_000_000)),
}


def memories_of(options):
    return list(dict.fromkeys(memory for memory in options.memories if memory))


def map_panels(options, queries):
    memories = memories_of(options) or [""]
    of_memory = {
        label: options.at(np.array([i for i, each in enumerate(options.memories) if each in ("", label)]))
        for label in memories
    }
    choices = {"all memories": options, **of_memory} if len(memories) > 1 else of_memory
    prices = price_ranges([(each, n) for each in choices.values() for n in queries])
    equal = {"10%": 2e4, "20%": 2.1e4, "80%": 1e5}
    return [
        MapPanel(
            among,
            n,
            each,
            price_map(each, n, *prices),
            {} if among == "all memories" else equal,
            by_memory=among == "all memories",
        )
        for among, each in choices.items()
        for n in queries
    ]


def cost_panels(options, queries):
    costs = {n: 1e-9 * options.computing(n) for n in queries}
    values = options.accuracy.mean(0)
    return [CostPanel(n, each, tuple(envelope(each.mean(0), values).tolist())) for n, each in costs.items()]


@pytest.mark.parametrize("case", each_of(CASES))
def test_the_map_is_legible(case):
    options, queries = case
    models = {"flops": 0.0, "cloud": 1e2, "energy": 5e4, "prices:megabyte_chunk=1e9": 1e30}
    figure = price_map_figure(
        map_panels(options, queries), models, memories=memories_of(options), n_chunks=10, title="CIFAR-10, cooldown"
    )
    assert_legible(figure)
    assert figure_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("case", each_of(CASES))
def test_the_frontier_is_legible(case):
    options, queries = case
    figure = frontier_figure(
        options,
        cost_panels(options, queries),
        memories=memories_of(options),
        cost="flops",
        unit="GFLOP",
        title="CIFAR-10, cooldown",
    )
    assert_legible(figure)
    assert figure_png(figure).startswith(b"\x89PNG")


def test_cells_lines_and_units_of_a_map_are_those_of_the_prices():
    options = curves("cache")
    [panel] = map_panels(options, (0,))
    ratio = 3e4
    shown = MapPanel(panel.among, 0, options, panel.prices, {"20%": ratio})
    axes = price_map_figure([shown], {"cloud": ratio / 10}, memories=["cache"], n_chunks=10, title="x").axes[0]
    x_unit, x_size = prefixed(panel.prices.compute[[0, -1]].tolist(), "FLOP")
    assert x_unit in axes.get_xlabel()
    np.testing.assert_allclose(axes.get_xlim(), panel.prices.compute[[0, -1]] * x_size)
    # A price for holding a byte for a chunk is a tenth of that for all ten chunks.
    _, y_size = prefixed((10 * panel.prices.storage[[0, -1]]).tolist(), "B")
    np.testing.assert_allclose(axes.get_ylim(), 10 * panel.prices.storage[[0, -1]] * y_size)
    lines = {tuple(line.get_ydata() / line.get_xdata()) for line in axes.get_lines()}
    slopes = sorted({round(slope / (10 * y_size / x_size)) for pair in lines for slope in pair})
    assert slopes == [ratio / 10, ratio]
    assert {text.get_text() for text in axes.texts} >= {"20%", "cloud"}
    image = axes.collections[0].get_array()
    assert len({tuple(color) for color in image.reshape(-1, 3)}) == len(panel.prices.shares())
    same = panel.prices.best == panel.prices.best[0, 0]
    assert (np.all(image == image[0, 0], axis=2) == same).all()


def test_a_map_of_memories_tells_them_apart_by_their_colours():
    options = curves("cache", "ridge")
    [mixed] = [panel for panel in map_panels(options, (0,)) if panel.by_memory]
    figure = price_map_figure([mixed], {}, memories=["cache", "ridge"], n_chunks=10, title="x")
    legend = {text.get_text() for text in figure.legends[0].get_texts()}
    best = {options.memories[i] for i in mixed.prices.shares()}
    assert {memory for memory in best if memory} <= legend
    assert len(figure.axes) == 1  # no bar of shares
    assert to_rgb("white") not in {tuple(color) for color in figure.axes[0].collections[0].get_array().reshape(-1, 3)}


def test_a_memory_has_one_colour_in_both_figures():
    n = 12
    names = [f"memory {chr(ord('z') - i)}" for i in range(n)]  # not in the order of the alphabet
    cost = np.linspace(1, n, n)[None].repeat(2, axis=0)
    zeros = np.zeros_like(cost)
    accuracy = 0.5 + 0.1 * np.sqrt(cost)
    every = Options(("50%",) * n, tuple(names), np.full(n, 0.5), accuracy, 1e9 * cost, zeros, zeros, zeros, cost)
    prices = price_map(every, 0, np.logspace(-9.3, -7.7, 61), np.logspace(-9, -8, 61))
    assert len(prices.shares()) == n
    panel = MapPanel("all memories", 0, every, prices, {}, by_memory=True)
    of_map = price_map_figure([panel], {}, memories=names, n_chunks=10, title="x")
    patches = {
        text.get_text(): to_rgb(patch.get_facecolor())
        for text, patch in zip(of_map.legends[0].get_texts(), of_map.legends[0].get_patches(), strict=True)
        if text.get_text() in names
    }
    assert list(patches) == names
    assert len(set(patches.values())) == n
    image = of_map.axes[0].collections[0].get_array().reshape(-1, 3)
    assert len({tuple(color) for color in image.tolist()}) == n
    given = {"memories": names, "cost": "flops", "unit": "GFLOP", "title": "x"}
    lines = frontier_figure(every, cost_panels(every, (0,)), **given).legends[0].get_lines()
    colors = {line.get_label(): to_rgb(line.get_color()) for line in lines if line.get_label() in names}
    assert colors == patches
    assert [patches[name] for name in names[:7]] == [to_rgb(color) for color in COLORS]
    # A memory without an option of its own in a panel takes no colour from another.
    part = every.at(np.arange(1, n))
    lines = frontier_figure(part, cost_panels(part, (0,)), **given).legends[0].get_lines()
    assert {line.get_label(): to_rgb(line.get_color()) for line in lines}[names[1]] == patches[names[1]]
    assert len(set(item_colors([str(i) for i in range(21)]).values())) == 21


def test_units_have_the_prefix_of_the_prices():
    assert prefixed([1e-15, 1e-13], "FLOP") == ("TFLOP", 1e12) or prefixed([1e-16, 1e-14], "FLOP") == ("PFLOP", 1e15)
    assert prefixed([1e-10, 1e-8], "FLOP") == ("GFLOP", 1e9)
    assert prefixed([1.0, 10.0], "B") == ("B", 1.0)
    assert [counted(n) for n in (0, 1, 10_000)] == ["no queries", "1 query", "10,000 queries"]
