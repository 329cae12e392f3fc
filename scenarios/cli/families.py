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
from scenarios.config.reproductions import REPRODUCTIONS
from scenarios.config.specs import FILE

LISTED_REPRODUCTIONS = "reproductions"
FamilyName = Enum("FamilyName", {name: name for name in (*FAMILIES, LISTED_REPRODUCTIONS)}, type=str)  # type: ignore[misc]

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
    """List the members of a family: what each is, its parameters with types and defaults, and its sources.

    Reproductions: the published settings that `lifetime reproduce` lives, with their figures, hours and sources.
    """
    if family.value == LISTED_REPRODUCTIONS:
        _list_reproductions(as_json)
        return
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


def _list_reproductions(as_json: bool) -> None:
    if as_json:
        print_json([{"name": name, **asdict(each)} for name, each in REPRODUCTIONS.items()])
        return
    console, table = results_console(), empty_table()
    for heading in ("NAME", "published, in %", "hours"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it is", ratio=1)
    for name, each in REPRODUCTIONS.items():
        figures = [
            f"{name_of} {found.mean:.1f}" + ("" if found.deviation is None else f" ± {found.deviation:.1f}")
            for name_of, found in each.figures
        ]
        figures += map(str, each.gains)
        texts = [each.summary, *(f"[dim]{escape(source.title)}[/]" for source in each.sources)]
        hours = f"{each.hours:g}\n{each.short_hours:g} --short"
        table.add_row(f"[bold]{name}[/]", "\n".join(figures), hours, "\n".join(texts), end_section=True)
    console.print(table)
    console.print(
        "Published: mean ± standard deviation between runs; gains of one method over another in points. Hours: on two "
        "cores.",
        markup=False,
    )


def former_command(name: str) -> Callable[[], None]:
    """A command that only reports the new name of a former one."""

    def refuse() -> None:
        raise InvalidSetting(f"expected {FORMER_COMMANDS[name]}, got `lifetime {name}`, as it was called before")

    return refuse
