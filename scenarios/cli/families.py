"""`lifetime list FAMILY`: what there is to choose from, with its parameters."""

from enum import Enum
from typing import Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from agent.errors import InvalidSetting
from scenarios.cli.show import print_json, results_console
from scenarios.config.described import Described, describe
from scenarios.config.families import FAMILIES, POLICY
from scenarios.config.specs import FILE

DATASETS = "datasets"
FamilyName = Enum("FamilyName", {name: name for name in (*FAMILIES, DATASETS)}, type=str)  # type: ignore[misc]


def list_family(
    family: Annotated[FamilyName, typer.Argument(help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the members of a family: what each is, its parameters with types and defaults, and its sources."""
    name = str(family.value)
    described = _members(name)
    if as_json:
        print_json([_plain(each) for each in described])
        return
    found, console = FAMILIES.get(name), results_console()
    option = found.option if found else "--dataset"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(option, no_wrap=True)
    table.add_column("what it is", ratio=1)
    for each in described:
        lines = [escape(each.summary)]
        for parameter in each.parameters:
            default = "required" if parameter.default == "required" else f"default {parameter.default}"
            lines.append(f"[bold]{parameter.name}[/] ({escape(parameter.type)}, {escape(default)}): "
                         f"{escape(parameter.help)}")  # fmt: skip
        if each.source:
            lines.append(f"[dim]{escape(each.source)}[/]")
        table.add_row(f"[bold]{escape(each.name)}[/]", "\n".join(lines), end_section=True)
    console.print(table)
    if found:
        console.print(f"With settings: {option} name:key=value,...", markup=False)
    if found and found.own:
        console.print(f"Of your own: {option} package.module.Class:key=value,..., {found.own}.", markup=False)


def _members(name: str) -> list[Described]:
    if name == DATASETS:
        from scenarios.datasets.load import DATASETS as DESCRIBED

        return [Described(each, summary, "", ()) for each, summary in DESCRIBED.items()]
    members = dict(FAMILIES[name].members)
    if FAMILIES[name] is POLICY:
        from agent.policies.file import policy_from_file

        members[FILE] = policy_from_file
    return describe(members)


def _plain(each: Described) -> dict[str, Any]:
    return {
        "name": each.name,
        "summary": each.summary,
        "source": each.source,
        "parameters": [vars(parameter) for parameter in each.parameters],
    }


def policies() -> None:
    """Refused: the command has another name now."""
    raise InvalidSetting("expected `lifetime list policies`, got `lifetime policies`, as it was called before")


def scenarios() -> None:
    """Refused: the command has another name now."""
    raise InvalidSetting(
        "expected `lifetime list scenarios` or `lifetime list tariffs`, got `lifetime scenarios`, as both were called "
        "before"
    )


def costs() -> None:
    """Refused: the command has another name now."""
    raise InvalidSetting("expected `lifetime list costs`, got `lifetime costs`, as it was called before")
