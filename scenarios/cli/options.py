"""From the settings of an experiment to the options of its command."""

import inspect
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from agent.errors import InvalidSetting
from scenarios.config.presets import PLACES_OF_BEFORE, PRESETS, Config, from_toml, resolve
from scenarios.config.settings import AgentConfig


def with_options(kind: type[AgentConfig], command: Callable[..., None], *more: tuple[str, Any, Any]) -> None:
    """Give a command the options that every experiment has, `more` of its own, and one for each setting of `kind`."""
    presets = "; ".join(f"{name}: {preset.description}" for name, preset in PRESETS[kind].items())
    own: list[tuple[str, Any, Any]] = [
        *more,
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
        ("quiet", bool, typer.Option(False, "--quiet", help="Print nothing but errors.")),
        ("as_json", bool, typer.Option(False, "--json", help="Print the results as JSON, and nothing else.")),
    ]
    for name, field in kind.model_fields.items():
        if name in kind.unused:
            continue
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        flag = "--" + name.replace("_", "-")
        options: dict[str, Any] = {
            "help": _help(kind, name),
            "rich_help_panel": extra["panel"],
            "show_default": False,
        }
        if bool in (field.annotation, *get_args(field.annotation)):
            own.append((name, bool | None, typer.Option(None, f"{flag}/--no-{flag[2:]}", **options)))
        else:
            own.append((name, str | None, typer.Option(None, flag, metavar=_metavar(field.annotation), **options)))
    for name in PLACES_OF_BEFORE:  # refused with their new place
        own.append((name, str | None, typer.Option(None, "--" + name.replace("_", "-"), hidden=True)))
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation, default in own
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def settings_from(
    kind: type[Config], preset: str, config: Path | None, overrides: Mapping[str, Any], name: str | None
) -> Config:
    """The settings as given: a preset, a TOML file over it, and options over both.

    Raises:
        InvalidSetting: a setting that cannot be, or a name of the run that is no plain folder name.
    """
    given = {setting: value for setting, value in overrides.items() if value is not None}
    settings = resolve(kind, preset, from_toml(config) if config else {}, given)
    check_name(name)
    return settings


def check_name(name: str | None) -> None:
    """Refuse a name of a run that is no plain folder name.

    Raises:
        InvalidSetting: such a name.
    """
    if name is not None and (not name or Path(name).name != name or name.startswith(".") or "\0" in name):
        raise InvalidSetting(f"expected --name to be a plain folder name, got {name!r}; --runs says where it goes")


def _help(kind: type[AgentConfig], name: str) -> str:
    field = kind.model_fields[name]
    text = field.description or ""
    if field.default is None:
        return text
    default = field.default
    shown = ",".join(f"{k:g}" for k in default) if isinstance(default, tuple) else str(default)
    return f"{text} \\[quick: {shown.lower() if isinstance(default, bool) else shown}]"


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    inner = [part for part in get_args(annotation) if part is not types.NoneType]
    if types.NoneType in get_args(annotation):
        return _metavar(inner[0])
    return {int: "INT", float: "FLOAT", str: "TEXT"}.get(annotation, "LIST")
