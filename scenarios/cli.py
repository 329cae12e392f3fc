"""The command line: `lifetime`. The only module that prints; torch and avalanche are imported when they are needed."""

import contextlib
import hashlib
import inspect
import io
import json
import os
import platform
import re
import shutil
import signal
import sys
import threading
import types
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from agent.errors import InvalidSetting, LifetimeError
from scenarios.config import PRESETS, CurveConfig, from_toml, resolve

if TYPE_CHECKING:
    from scenarios.analysis import Ratio
    from scenarios.relative_value import Curve

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Simulate agents that, for each chunk of a stream, learn (gradient updates) or memorize (a key-value cache).",
)
# The base class of all complaints about the command line; newer Typers carry a Click of their own.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

_VERSIONED = ("learn-or-memorize", "torch", "torchvision", "avalanche-lib", "numpy", "scikit-learn", "scipy")


class _Stopped(BaseException):
    """SIGINT or SIGTERM; not a KeyboardInterrupt, for which Typer has an end of its own."""


def main() -> None:
    """Run the command line: errors are one line and exit code 2."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without θ is no reason to fail
    # TensorBoard writes in a thread; when the disk is full, the main thread meets the same error and reports it.
    threading.excepthook = lambda failed: (
        None if issubclass(failed.exc_type, OSError) else threading.__excepthook__(failed)
    )
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except LifetimeError as error:
        _fail(str(error), 2)
    except _UsageError as error:
        if not error.format_message():  # type: ignore[attr-defined]
            sys.exit(0)  # nothing was asked for, and the help was shown
        _fail(error.format_message().replace("\n", " "), 2)  # type: ignore[attr-defined]
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        _fail(f"expected enough memory, got: {_last_line(error)}; a smaller --width, --batch or --test-size", 2)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered would fail again at exit
        if isinstance(error, BrokenPipeError):
            sys.exit(128 + signal.SIGPIPE)
        _fail(f"expected to read and write, got: {error}; what was lived is kept, the same command shows it", 2)
    except _Stopped as stopped:
        _fail("interrupted; the same command continues where finished lifetimes end", 128 + stopped.args[0])
    sys.exit(code)


def _stop(number: int, _: object) -> None:
    raise _Stopped(number)


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["out of memory"])[-1]


def _program() -> str:
    """How this program was called, so that what is advised can be typed."""
    called = Path(sys.argv[0])
    if shutil.which(called.name) == str(called):
        return called.name
    return str(called.relative_to(Path.cwd())) if called.is_relative_to(Path.cwd()) else str(called)


def _fail(message: str, code: int) -> None:
    print("error:", message.replace("\n", "\\n").replace("\r", "\\r"), file=sys.stderr)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if show_version:
        print(f"learn-or-memorize {_version('learn-or-memorize')}")
        raise typer.Exit


def curve(
    preset: str,
    config: Path | None,
    runs: Path,
    name: str | None,
    force: bool,
    data_dir: Path | None,
    download: bool,
    **overrides: Any,
) -> None:
    """Measure the relative value of learning over memorizing.

    k%-learners learn from the first k% of a stream and memorize the rest. With x the accuracy of the learner after
    k%, y after all of it, and z of learner and memory together, R(k) = (y - x) / (z - x): how many times as valuable
    it is to learn the rest as to memorize it.

    Settings come from a preset, then from a TOML file, then from the options below. The same command given again
    continues an interrupted run, and shows a finished one.
    """
    given = {setting: value for setting, value in overrides.items() if value is not None}
    settings = resolve(preset, from_toml(config) if config else {}, given)

    if name is not None and (not name or Path(name).name != name or name.startswith(".")):
        raise InvalidSetting(f"expected --name to be a plain folder name, got {name!r}; --runs says where it goes")

    from agent.record import open_run
    from scenarios.build import choose_device
    from scenarios.relative_value import live_curve, prepare

    settings = settings.model_copy(update={"device": choose_device(settings.device).type})
    described = _described("curve", preset, settings)
    if force:  # nothing is dropped for settings that cannot be lived
        prepare(settings, settings.first_seed, download=download, data_dir=data_dir)
    path = runs / "curve" / (name or _default_name(settings, described))
    with open_run(path, described, anew=force) as run, _Bar() as bar:
        found = live_curve(settings, run, bar, download=download, data_dir=data_dir)
    _show(found, path, runs)


def _curve_options() -> list[inspect.Parameter]:
    """The parameters of `curve`: its own, and one for each setting of the configuration."""
    presets = "; ".join(f"{name}: {preset.description}" for name, preset in PRESETS.items())
    own: list[tuple[str, Any, Any]] = [
        ("preset", str, typer.Option("quick", help=f"Where the settings start. {presets}.")),
        ("config", Path | None, typer.Option(None, help="TOML file of settings, laid over the preset.")),
        ("runs", Path, typer.Option(Path("runs"), help="Folder that runs are written to.")),
        ("name", str | None, typer.Option(None, help="Name of the run's folder (default: made from the settings).")),
        ("force", bool, typer.Option(False, "--force", help="Start anew, dropping what the run's folder holds.")),
        (
            "data_dir",
            Path | None,
            typer.Option(None, help="Folder of data sets and caches (default: the user's cache)."),
        ),
        ("download", bool, typer.Option(False, "--download", help="Fetch a missing data set.")),
    ]
    for name, field in CurveConfig.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        flag = "--" + name.replace("_", "-")
        options: dict[str, Any] = {"help": _help(name), "rich_help_panel": extra["panel"], "show_default": False}
        if bool in (field.annotation, *get_args(field.annotation)):
            option = typer.Option(None, f"{flag}/--no-{flag[2:]}", **options)
            own.append((name, bool | None, option))
        else:
            option = typer.Option(None, flag, metavar=_metavar(field.annotation), **options)
            own.append((name, str | None, option))
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation, default in own
    ]


def _help(name: str) -> str:
    field = CurveConfig.model_fields[name]
    text = field.description or ""
    if field.default is None:
        return text
    default = field.default
    shown = ",".join(f"{k:g}" for k in default) if isinstance(default, tuple) else str(default).lower()
    return f"{text} \\[quick: {shown}]"


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    inner = [part for part in get_args(annotation) if part is not types.NoneType] or [annotation]
    return {int: "INT", float: "FLOAT", str: "TEXT"}.get(inner[0], "LIST")


curve.__signature__ = inspect.Signature(_curve_options())  # type: ignore[attr-defined]
curve.__annotations__ = {option.name: option.annotation for option in _curve_options()}
app.command()(curve)


@app.command()
def view(
    runs: Annotated[Path, typer.Option(help="Folder of runs.")] = Path("runs"),
    port: Annotated[int, typer.Option(help="Port to serve on.", min=1, max=65535)] = 6006,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "localhost",
) -> None:
    """Open TensorBoard on the runs, until interrupted."""
    if not runs.is_dir():
        raise LifetimeError(
            f"expected a folder of runs at {runs}, found none; run `{_program()} curve`, or give --runs"
        )
    import logging

    logging.disable(logging.WARNING)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from tensorboard import program

    board = program.TensorBoard()
    board.configure(argv=[None, "--logdir", str(runs), "--port", str(port), "--host", host, "--load_fast", "false"])
    try:
        address = board.launch()
    except program.TensorBoardServerException as error:
        raise LifetimeError(f"expected to serve TensorBoard at {host}:{port}, got: {error}; give --port") from None
    print(f"TensorBoard on {runs}: {address} (Ctrl-C ends it)", flush=True)
    with contextlib.suppress(_Stopped):
        signal.pause()


class _Bar:
    """A progress bar with the time that remains, on the error stream, so that results alone are on the other."""

    def __enter__(self) -> "_Bar":
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            speed_estimate_period=60,
        )
        self._task = self._progress.add_task("starting", total=None)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def expect(self, total: float) -> None:
        """See Watcher."""
        self._progress.reset(self._task, total=total)

    def advance(self, done: float) -> None:
        """See Watcher."""
        self._progress.advance(self._task, done)

    def reach(self, done: int, total: int) -> None:
        """See Watcher."""
        self._progress.update(self._task, completed=done, total=total)

    def say(self, what: str) -> None:
        """See Watcher."""
        self._progress.update(self._task, description=what)


def _described(experiment: str, preset: str, settings: CurveConfig) -> dict[str, Any]:
    """All that decides the numbers of a run; one with another description is another run."""
    import torch

    from scenarios.datasets import fingerprint

    versions = {"python": platform.python_version()} | {name: _version(name) for name in _VERSIONED}
    return {
        "experiment": experiment,
        "preset": preset,
        "settings": settings.model_dump(mode="json"),
        "data": fingerprint(settings.dataset),
        "versions": versions | {"source": _source_digest()},
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
    }


def _source_digest() -> str:
    """Identifies the code at work, commit or no commit."""
    digest = hashlib.blake2b(digest_size=8)
    root = Path(__file__).parents[1]
    for path in sorted(path for package in ("agent", "scenarios") for path in (root / package).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _default_name(settings: CurveConfig, described: dict[str, Any]) -> str:
    digest = hashlib.blake2b(json.dumps(described).encode(), digest_size=4).hexdigest()
    dataset = re.sub(r"[^\w.-]+", "-", settings.dataset.removeprefix("folder:").rstrip("/").rpartition("/")[2])
    return f"{dataset or 'folder'}-{settings.protocol}-{digest}"


def _show(found: "Curve", path: Path, runs: Path) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 160
    table = _table(found, costs=True)
    if console.measure(table, options=console.options.update_width(1000)).maximum > console.width:
        table = _table(found, costs=False)
    console.print(table)
    ratios = [(name, ratio) for values in found.statistics for name, ratio in (("R", values.R), ("1/R", values.share))]
    for name, reason in dict.fromkeys((name, ratio.reason) for name, ratio in ratios if ratio.reason):
        console.print(f"{name} not told: {reason}.")
    print(f"\nfigure: {path / 'curve.png'}\ntable:  {path / 'curve.csv'}, {path / 'curve.json'}")
    print(f"trajectories: {_program()} view{'' if runs == Path('runs') else f' --runs {runs}'}")


def _table(found: "Curve", *, costs: bool) -> Table:
    """The curve as a table; without its costs it fits in 80 columns."""
    config = found.config
    table = Table(
        title=escape(f"{config.dataset}, {config.protocol} protocol, {config.seeds} seed{'s' * (config.seeds > 1)}"),
        caption="accuracies in %; R = (y - x) / (z - x): ratio of means "
        + f"[{100 * config.confidence:g}% Fieller interval]"
        + (
            f"; θ: geometric mean; recall: of {found.n_test:,} test images, once"
            if costs
            else "; w, θ and costs in GFLOP: in a wider window, and in curve.csv"
        ),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1) if costs else (0, 1, 0, 0),
    )
    columns = ["k %", "x", "z", "y", "y - x", "z - x", "R", "1/R"]
    columns += ["y warm", "R warm"] if found.warm_statistics else []
    columns += ["w", "θ", "learn\nGFLOP", "memorize\nGFLOP", "recall\nGFLOP"] if costs else []
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for i, (at, values) in enumerate(zip(found.learners, found.statistics, strict=True)):
        means = [values.x, values.z, values.y, values.y_minus_x, values.z_minus_x]
        row = [f"{at.point.k:g}", *(_percent(interval.estimate) for interval in means)]
        row += [_ratio(values.R), _ratio(values.share)]
        if found.warm_statistics:
            warm = found.warm_statistics[i]
            row += [_percent(warm.y.estimate), _ratio(warm.R)]
        if costs:
            row += [f"{sum(at.w) / len(at.w):.2f}", f"{at.typical_theta:.0f}" if at.typical_theta else "-"]
            row += [_gflop(sum(at.gflop[cost]) / len(at.gflop[cost])) for cost in ("learn", "memorize", "recall")]
        table.add_row(*row)
    return table


def _percent(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:.1f}"  # no "-0.0"


def _gflop(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 10 else f"{amount:.2g}"


def _ratio(ratio: "Ratio") -> str:
    if ratio.estimate is None:
        return "not told"
    return f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
