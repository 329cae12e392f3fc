"""A curve whose seeds were lived in several runs, for example on several machines."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.errors import InvalidSetting, RunError
from agent.storage.record import FinishedRun, LifetimeRecord
from scenarios.config.presets import validate
from scenarios.config.settings import CurveConfig, JoinCurvesConfig, settings_of
from scenarios.experiments.finished_runs import read_run, runs_digest
from scenarios.experiments.relative_value import curve_of, records_of
from scenarios.experiments.relative_value_files import write_curve
from scenarios.experiments.relative_value_reading import Curve, precision_in
from scenarios.experiments.relative_value_report import report
from scenarios.experiments.rescues import with_rescues
from scenarios.running.agreement import check_agreement
from scenarios.running.experiment import Experiment, nothing
from scenarios.running.tasks import Run

_SHARED = settings_of(CurveConfig, "world") | settings_of(CurveConfig, "method")


def join(config: JoinCurvesConfig, *, whole: bool = True, advice: str = "join those apart") -> Curve:
    """The curve of all seeds of finished runs of `curve`, which differ in their seeds alone.

    Args:
        config: the runs.
        whole: also read shorter streams, policies and what the memories rescue, where they were measured.
        advice: what an error says to do with runs that differ in a setting.

    Raises:
        RunError: a folder is not such a run, or the run is not finished.
        InvalidSetting: the runs differ in a setting, the data or the user's own code, or share a seed.
    """
    found = [read_run(path, {"curve": CurveConfig}, _SHARED, of="curve") for path in config.paths]
    notes = check_agreement(
        [described for _, described in found],
        "runs of curve that differ in their seeds alone",
        lambda name, value: advice,
    )
    records: dict[int, dict[str, LifetimeRecord]] = {}
    precisions: dict[str, Path] = {}
    origins: dict[int, Path] = {}
    for of_run, described in found:
        for seed in range(of_run.first_seed, of_run.first_seed + of_run.seeds):
            if seed in origins:
                raise InvalidSetting(
                    f"expected each seed in one run, got seed {seed} in {origins[seed]} and {described.path}; leave "
                    "one of them out"
                )
            origins[seed] = described.path
            records[seed] = _finished(of_run, described.path, seed)
            precisions.setdefault(precision_in(records[seed]["100"].summary() or {}), described.path)
    if len(precisions) > 1:
        (one, here), (other, there), *_ = precisions.items()
        raise InvalidSetting(
            f"expected runs of curve of one precision, got {one} in {here} and {other} in {there}, as auto chose on "
            "other machines; give --recipe a precision"
        )
    first, _ = found[0]
    joined = first.model_copy(
        update={
            "seeds": len(records),
            "first_seed": min(records),
            "confidence": config.confidence,
            "want_width": config.want_width,
            "show_costs": config.show_costs,
            "keep_predictions": whole and all(of_run.keep_predictions for of_run, _ in found),
            **({} if whole else {"surface": False, "with_policies": None}),
        }
    )
    return replace(curve_of(joined, {seed: records[seed] for seed in sorted(records)}), of_runs=tuple(notes))


def runs_of_joined(content: Mapping[str, Any], path: Path) -> list[Path]:
    """The runs that a joined curve was made of.

    Args:
        content: of its config.json.
        path: its folder.

    Raises:
        RunError: one of them is gone.
        InvalidSetting: its settings are invalid.
    """
    return [_named(each, path) for each in validate(JoinCurvesConfig, content.get("settings")).paths]


def check_folder(path: Path) -> None:
    """Check that a path is not a file.

    Raises:
        RunError: it is one.
    """
    if path.exists() and not path.is_dir():
        raise RunError(f"expected the folder of a run, got the file {path}; give the folder of the run")


def check_each_once(paths: Sequence[Path]) -> None:
    """Check that no two paths lead to one run.

    Raises:
        InvalidSetting: two do.
    """
    resolved = [path.resolve() for path in paths]
    if twice := [path for path in paths if resolved.count(path.resolve()) > 1]:
        raise InvalidSetting(f"expected each run once, got {twice[0]} twice; leave one of them out")


def _named(path: Path, by: Path) -> Path:
    """The run that a joined curve names.

    A relative path is named from the folder that the curves were joined in, usually that with `runs`: it is looked for
    from the folders around the joined curve, and then from the current one.

    Raises:
        RunError: there is no such folder.
    """
    places = [*(folder / path for folder in by.resolve().parents), path]  # an absolute path stays as it is
    if not (there := [place for place in places if place.is_dir()]):
        raise RunError(
            f"expected a run at {path}, found no such folder (named by the joined curve at {by}); give the folders of "
            "the runs themselves"
        )
    return there[0]


def _finished(config: CurveConfig, path: Path, seed: int) -> dict[str, LifetimeRecord]:
    records = records_of(config, FinishedRun(path), seed)
    for record in records.values():
        if record.summary() is None:
            raise RunError(f"expected a finished lifetime at {record.path}, got none; `lifetime resume {path}`")
    return records


def _run(config: JoinCurvesConfig, run: Run) -> Curve:
    curve = join(config)
    write_curve(curve, run.directory)
    return curve


JOIN_CURVES = Experiment(
    "join-curves",
    JoinCurvesConfig,
    words=lambda config: ["joined"],
    run=_run,
    report=lambda curve, _, path: with_rescues(
        report(curve, path, more_seeds="Live {more} more apart (curve --first-seed, --seeds), and join all runs."),
        curve.rescues,
        path,
    ),
    prepare=lambda config, _: nothing(join(config)),
    folder="curve",
    reads=lambda config: config.paths,
    facts=lambda config: {"digest": runs_digest(sorted(config.paths, key=lambda path: runs_digest([path])))},
)
