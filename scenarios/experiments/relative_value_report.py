"""The report of a curve."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from agent.accounting.meter import PARTS, Part
from agent.accounting.work import Work
from agent.storage.record import SUMMARY
from scenarios.analysis.formats import gflop, percent, spread
from scenarios.analysis.matched_share import MatchedShares
from scenarios.analysis.report import Column, Report, Table, numbers
from scenarios.analysis.sample_size import SampleSize, seeds_for_ratio
from scenarios.analysis.statistics import CurvePoint, paired_differences
from scenarios.experiments.relative_value_files import policies_json
from scenarios.experiments.relative_value_memories import fitted_text, memories_json, memories_tables, ratio_text
from scenarios.experiments.relative_value_reading import Curve
from scenarios.experiments.relative_value_values import curve_json, surface_json
from scenarios.experiments.wanted_width import WantedWidth, cost_of_seed, wanted_width_json, wanted_width_parts

_COSTS = {
    "learn\nGFLOP": "learn",
    "memorize\nGFLOP": "memorize",
    "total\nGFLOP": "total",
    "without\ncalibrating": "total_without_calibration",
    "10,000\nqueries": "answer_10000",
}
"""The cost of a k%-learner in each column, by heading."""


def report(curve: Curve, path: Path, *, more_seeds: str) -> Report:
    """The report of a curve that was written to a folder.

    Args:
        curve: the result.
        path: of the folder.
        more_seeds: how `{seeds}` seeds in all can be lived, of which `{more}` are new.
    """
    config = curve.config
    statistics = [at.statistics for at in curve.learners]
    ratios = [(name, ratio) for values in statistics for name, ratio in (("R", values.R), ("1/R", values.share))]
    reasons = dict.fromkeys((name, ratio.reason) for name, ratio in ratios if ratio.reason)
    parts: list[str | Table | list[Table]] = [[_table(curve, costs=True), _table(curve, costs=False)]]
    parts += [f"{name} undetermined: {reason}." for name, reason in reasons]
    content = curve_json(curve)
    files: list[tuple[str, list[Path | str]]] = [("precision", [curve.precision])] if curve.precision else []
    files += [("figure", [path / "curve.png"]), ("table", [path / "curve.csv", path / "curve.json"])]
    if curve.memories:
        of_memories = memories_json(curve)
        content |= {"memories": of_memories["memories"], "best_memories": of_memories["best"]}
        parts += memories_tables(curve)
        names = ["memories", "strength"] if config.with_memories else ["memories"]
        files += [(name, [path / f"{name}.{kind}" for kind in ("png", "csv", "json")]) for name in names]
    if curve.has_surface:
        content |= {"surface": surface_json(curve)["points"]}
        parts += [
            "",
            "R of shorter streams: rows say how many images they have, columns how many of these were learned.",
            _surface(curve),
            "-: undetermined. Intervals and accuracies are in surface.csv.",
        ]
        files.append(("surface", [path / f"surface.{kind}" for kind in ("png", "csv", "json")]))
    if config.show_costs and curve.computed:
        computed = _mean_computed(curve)
        costs = {part: {"flops": work.flops, "seconds": work.seconds} for part, work in computed.items()}
        content |= {"computed_for_a_seed": costs}
        missing = [seed for seed in curve.seeds if seed not in curve.computed]
        parts += [
            "",
            "Computed for a seed, each piece once, though every k%-learner is billed for all that it shares:",
            _computed(computed),
            *([f"The mean of {len(curve.computed)} of {len(curve.seeds)} seeds: no record of others."] * bool(missing)),
        ]
    if curve.matched:
        content |= {"policies": policies_json(curve, curve.matched)["policies"]}
        parts += _policies(curve, curve.matched)
        files.append(("policies", [path / f"policies.{kind}" for kind in ("png", "csv", "json")]))
    if config.want_width is not None:
        wanted = _wanted_width(curve, config.want_width)
        content |= {"wanted_width": wanted_width_json(wanted)}
        parts += wanted_width_parts(
            wanted,
            of="R",
            intervals=f"{100 * config.confidence:g}% Fieller intervals; expected: if means, variances and covariance "
            "over seeds stay as they are",
            how=more_seeds.format(seeds=config.seeds + (wanted.more or 0), more=wanted.more or 0),
        )
    return Report(content, parts, curve.notes, files)


def _surface(curve: Curve) -> Table:
    """R by the share of the stream that has passed (rows) and that was learned (columns)."""
    found = {(at.learned, at.passed): at.statistics.R.estimate for at in curve.surface}
    learned, passed = (sorted({pair[i] for pair in found}) for i in (0, 1))
    rows = tuple(
        (
            f"{round(curve.n_train * total / 100):,}",
            *("" if (k, total) not in found else _estimate(found[k, total]) for k in learned),
        )
        for total in passed
    )
    return Table(
        numbers("images", *(f"{round(curve.n_train * k / 100):,}" for k in learned)),
        rows,
    )


def _estimate(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f}"


def _mean_computed(curve: Curve) -> dict[Part, Work]:
    """What a seed has computed, by part, in the mean over the seeds that have a record of it."""
    n, by_seed = len(curve.computed), curve.computed.values()
    totals = {part: sum((work[part] for work in by_seed), Work()) for part in PARTS}
    return {part: Work(round(total.flops / n), seconds=total.seconds / n) for part, total in totals.items()}


def _computed(computed: Mapping[Part, Work]) -> Table:
    """What a seed has computed, by part."""
    seconds = sum(work.seconds for work in computed.values())
    rows = tuple(
        (
            "forward passes" if part == "forward" else part,
            f"{work.flops / 1e12:,.2f}",
            f"{work.seconds:,.1f}",
            percent(work.seconds / seconds if seconds else None),
        )
        for part, work in computed.items()
        if work.flops or work.seconds
    )
    return Table(
        (Column("part", is_text=True), *numbers("TFLOP", "seconds", "% of time")),
        rows,
    )


def _wanted_width(curve: Curve, width: float) -> WantedWidth:
    """The seeds for R at each k, and for R with a warm start where it was measured."""
    confidence = curve.config.confidence
    needs: dict[str, SampleSize] = {}
    for at in curve.learners:
        needs[f"R at k = {at.point.k:g}"] = _seeds_for_R(at.point, width, confidence)
        if at.y_warm:
            warm = replace(at.point, y=at.y_warm)
            needs[f"R warm at k = {at.point.k:g}"] = _seeds_for_R(warm, width, confidence)
    # All of a seed may share work: a trunk, or evaluations.
    folders = {
        seed: [[summary.parent for summary in sorted(folder.glob(f"*/{SUMMARY}"))]]
        for seed, folder in curve.folders.items()
    }
    return WantedWidth(width, "", needs, cost_of_seed(folders), "GFLOP")


def _seeds_for_R(point: CurvePoint, width: float, confidence: float) -> SampleSize:
    x, y, z = (np.array(values) for values in (point.x, point.y, point.z))
    return seeds_for_ratio(paired_differences(y, x), paired_differences(z, x), width, confidence)


def _policies(curve: Curve, matched: MatchedShares) -> list[str | Table | list[Table]]:
    config = curve.config
    rows = tuple(
        (
            placed.policy,
            percent(placed.learned.estimate),
            spread(placed.accuracy),
            percent(placed.static.estimate if placed.static else None),
            spread(placed.difference),
            gflop(placed.gflop.estimate),
        )
        for placed in matched.policies
    )
    columns = numbers("learned\n%", "final accuracy", "static", "ahead", "spent\nGFLOP")
    table = Table(
        (Column("policy", is_text=True, folds=True), *columns),
        rows,
        "policies on the same streams",
        f"accuracies in %, with {100 * config.confidence:g}% t intervals; static: z at the share that the policy "
        "learned, interpolated between the k%-learners; ahead: paired by seed, in points",
    )
    lines = []
    if any(placed.difference is None for placed in matched.policies):
        lines.append(f"static undetermined: less was learned than by any k%-learner ({min(matched.statics):g}%).")
    if not config.evaluate_every:
        lines.append("Only ends are drawn: nothing was evaluated earlier. --evaluate-every draws trajectories.")
    return ["", table, *lines]


def _table(curve: Curve, *, costs: bool) -> Table:
    """The curve as a table; without costs it fits in 80 columns."""
    config = curve.config
    settings = list(curve.learners[0].setting)
    averaged = f"{', '.join(settings)}: geometric mean; " if settings else ""
    more = (
        f"{averaged}10,000 queries: the work to answer that many"
        if costs
        else f"{', '.join(['w', *settings])} and costs in GFLOP: in a wider window and in curve.csv"
    )
    headings = ["k %", "x", "z", "y", "y - x", "z - x", "R", "1/R"]
    headings += ["y warm", "R warm"] if config.warm else []
    headings += ["w", *settings, *_COSTS] if costs else []
    rows = []
    for at in curve.learners:
        values = at.statistics
        means = [values.x, values.z, values.y, values.y_minus_x, values.z_minus_x]
        row = [f"{at.point.k:g}", *(percent(interval.estimate) for interval in means)]
        row += [ratio_text(values.R), ratio_text(values.share)]
        if warm := at.warm_statistics:
            row += [percent(warm.y.estimate), ratio_text(warm.R)]
        if costs:
            row += [fitted_text(value) for value in (at.mean_w, *at.typical_setting.values())]
            row += [gflop(sum(at.gflop[cost]) / len(at.gflop[cost])) for cost in _COSTS.values()]
        rows.append(tuple(row))
    return Table(
        numbers(*headings),
        tuple(rows),
        f"{config.dataset}, learner {config.learner.name}, {config.seeds} seed{'s' * (config.seeds > 1)}",
        f"accuracies in %; R = (y - x) / (z - x): ratio of means [{100 * config.confidence:g}% Fieller interval]; "
        f"{more}",
        gap=2 if costs else 1,
    )
