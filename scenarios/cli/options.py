"""The options of the commands: those that all experiments share, and one for each setting."""

import functools
import inspect
import types
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic_core import PydanticUndefined

from scenarios.config.fields import PANELS, Percents, panel_of
from scenarios.config.method import Method, Settings
from scenarios.config.presets import FORMER_OPTIONS, PRESETS

Runs = Annotated[Path, typer.Option(help="Folder that runs are written to.")]
Name = Annotated[str | None, typer.Option(help="Name of the run's folder (default: made from the settings).")]
Force = Annotated[bool, typer.Option("--force", help="Start anew and delete what the run's folder holds.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder of data sets and caches (default: the user's cache).")]
Download = Annotated[bool, typer.Option("--download", help="Download a missing data set.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the results as JSON and nothing else.")]

Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=256,
        help="Processes, which work side by side, also on one GPU. On a CPU their number changes no result, but they "
        "have one thread each unless --threads is given. (Default: this process; trees, sweeps, searches and "
        "reproductions: a process for each core.)",
    ),
]
ExecutorSpec = Annotated[
    str | None,
    typer.Option(
        "--executor", help="What does the tasks of a run; `lifetime list executors`. (Default: as --workers.)"
    ),
]


@dataclass(frozen=True)
class Options:
    """The options that all experiments share, besides their settings."""

    preset: str = "quick"
    config: Annotated[Path | None, typer.Option(help="TOML file of settings, which override the preset.")] = None
    runs: Runs = Path("runs")
    name: Name = None
    force: Force = False
    data_dir: DataDir = None
    download: Download = False
    workers: Workers = None
    executor: ExecutorSpec = None
    quiet: Quiet = False
    as_json: AsJson = False


def experiment_command(
    kind: type[Settings], *, without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command with its own options, those of `Options`, and one for each setting of `kind`.

    Settings in `without` have none.

    The function takes `Options`, the given settings by name (None where not given), and its own options.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command).parameters.values())[2:]

        @functools.wraps(command)
        def parsed(**given: Any) -> None:
            shared = Options(**{field.name: given.pop(field.name) for field in fields(Options) if field.name in given})
            of_command = {parameter.name: given.pop(parameter.name) for parameter in own}
            command(shared, given, **of_command)

        parameters = [
            *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own),
            *_shared_parameters(kind),
            *(each for each in _setting_parameters(kind) if each.name not in without),
        ]
        parsed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        parsed.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return parsed

    return decorate


def _shared_parameters(kind: type[Settings]) -> list[inspect.Parameter]:
    presets = "; ".join(f"{name}: {preset.description}" for name, preset in PRESETS[kind].items())
    preset = Annotated[str, typer.Option(help=f"Where the settings start. {presets}.")]
    names = [field.name for field in fields(Options) if field.name not in kind.unused]
    return [
        _parameter(field.name, preset if field.name == "preset" else field.type, field.default)
        for field in fields(Options)
        if field.name in names
    ]


def _setting_parameters(kind: type[Settings]) -> list[inspect.Parameter]:
    parameters = []
    shown_fields = {name: field for name, field in kind.model_fields.items() if name not in kind.unused}
    for name, field in sorted(shown_fields.items(), key=lambda each: PANELS.index(panel_of(each[1]))):
        flag = _flag(name)
        shown: dict[str, Any] = {
            "help": _help(kind, name),
            "rich_help_panel": panel_of(field),
            "show_default": False,
        }
        option: Any
        if field.annotation == tuple[Method, ...]:
            option = Annotated[list[str] | None, typer.Option(flag, metavar="METHOD", **shown)]
        elif bool in (field.annotation, *get_args(field.annotation)):
            option = Annotated[bool | None, typer.Option(f"{flag}/--no-{flag[2:]}", **shown)]
        else:
            option = Annotated[str | None, typer.Option(flag, metavar=_metavar(field.annotation), **shown)]
        parameters.append(_parameter(name, option, None))
    for name in FORMER_OPTIONS:  # rejected with a message that names the new place
        parameters.append(_parameter(name, Annotated[str | None, typer.Option(_flag(name), hidden=True)], None))
    return parameters


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _help(kind: type[Settings], name: str) -> str:
    field = kind.model_fields[name]
    text = field.description or ""
    if field.default is None:
        return text
    default = field.default
    if default in ((), PydanticUndefined):
        return text
    shown = ",".join(f"{k:g}" for k in default) if isinstance(default, tuple) else str(default)
    return f"{text} \\[quick: {shown.lower() if isinstance(default, bool) else shown}]"


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    inner = [part for part in get_args(annotation) if part is not types.NoneType]
    if types.NoneType in get_args(annotation):
        return _metavar(inner[0])
    return {int: "INT", float: "FLOAT"}.get(annotation, "LIST" if annotation == get_args(Percents)[0] else "TEXT")
