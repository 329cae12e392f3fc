"""`lifetime list FAMILY`: the members of a family, with their parameters."""

from collections.abc import Callable
from dataclasses import asdict
from enum import Enum
from typing import Annotated

import typer
from rich.markup import escape

from agent.errors import InvalidSetting
from scenarios.cli.options import AsJson
from scenarios.cli.show import empty_table, print_json, results_console
from scenarios.config.described import describe
from scenarios.config.families import FAMILIES, POLICY
from scenarios.config.members import Member
from scenarios.config.specs import FILE

FamilyName = Enum("FamilyName", {name: name for name in FAMILIES}, type=str)  # type: ignore[misc]

FORMER_COMMANDS = {
    "policies": "`lifetime list policies`",
    "scenarios": "`lifetime list scenarios` or `lifetime list tariffs`",
    "costs": "`lifetime list costs`",
}
"""The commands that replace each former one."""


def list_family(
    family: Annotated[FamilyName, typer.Argument(help="What to list.")],
    as_json: AsJson = False,
) -> None:
    """List the members of a family: what each is, its parameters with types and defaults, and its sources."""
    found = FAMILIES[str(family.value)]
    files = {FILE: Member.read(f"{FILE}:PATH", POLICY).factory} if found is POLICY else {}
    members = describe({**found.members, **files})
    if as_json:
        print_json([asdict(each) for each in members])
        return
    console, option = results_console(), found.option
    table = empty_table()
    table.add_column(option, no_wrap=True)
    table.add_column("what it is", ratio=1)
    for each in members:
        lines = [escape(each.summary)]
        for parameter in each.parameters:
            default = "required" if parameter.default == "required" else f"default {parameter.default}"
            lines.append(f"[bold]{parameter.name}[/] ({escape(parameter.type)}, {escape(default)}): "
                         f"{escape(parameter.help)}")  # fmt: skip
        if each.source:
            lines.append(f"[dim]{escape(each.source)}[/]")
        table.add_row(f"[bold]{escape(each.name)}[/]", "\n".join(lines), end_section=True)
    console.print(table)
    console.print(f"With settings: {option} name:key=value,...", markup=False)
    console.print(f"Of your own: {option} package.module.Class:key=value,..., {found.own}.", markup=False)


def former_command(name: str) -> Callable[[], None]:
    """A command that only reports the new name of a former one."""

    def refuse() -> None:
        raise InvalidSetting(f"expected {FORMER_COMMANDS[name]}, got `lifetime {name}`, as it was called before")

    return refuse
