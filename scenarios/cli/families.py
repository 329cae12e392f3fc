"""`lifetime list FAMILY`: what there is to choose from, with its parameters."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from agent.errors import InvalidSetting
from scenarios.cli.show import print_json, results_console
from scenarios.config.specs import FILE, Described, describe


class Family(str, Enum):
    """What has members that are chosen by a spec."""

    policies = "policies"
    memories = "memories"
    scenarios = "scenarios"
    tariffs = "tariffs"
    costs = "costs"
    datasets = "datasets"


OPTIONS = {
    Family.policies: "--policy",
    Family.memories: "--memory",
    Family.scenarios: "--scenario",
    Family.tariffs: "--tariff",
    Family.costs: "--cost",
    Family.datasets: "--dataset",
}
"""The option that takes a member of each family."""

OWN = {
    Family.policies: "a subclass of agent.policies.Policy",
    Family.memories: "whatever keeps agent.memory.Memory (agent.testing.check_memory tells)",
}
"""What a class must be to be taken by its import path."""


def list_family(
    family: Annotated[Family, typer.Argument(help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the members of a family: what each is, its parameters with types and defaults, and its sources."""
    described = _members(family)
    if as_json:
        print_json([_plain(each) for each in described])
        return
    option, console = OPTIONS[family], results_console()
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
    if family is not Family.datasets:
        console.print(f"With settings: {option} name:key=value,...", markup=False)
    if family in OWN:
        console.print(f"Of your own: {option} package.module.Class:key=value,..., {OWN[family]}.", markup=False)


def _members(family: Family) -> list[Described]:
    """Imported when they are asked for: torch takes seconds."""
    if family is Family.datasets:
        from scenarios.datasets.load import DATASETS

        return [Described(name, summary, "", ()) for name, summary in DATASETS.items()]
    members: Mapping[str, Callable[..., Any]]
    if family is Family.policies:
        from agent.policies.file import policy_from_file
        from agent.policies.registry import POLICIES

        members = {**POLICIES, FILE: policy_from_file}
    elif family is Family.memories:
        from agent.memory import MEMORIES

        members = MEMORIES
    elif family is Family.costs:
        from agent.accounting.costs import COST_MODELS

        members = COST_MODELS
    else:
        from scenarios.streams.catalog import SCENARIOS
        from scenarios.streams.tariffs import TARIFFS

        members = SCENARIOS if family is Family.scenarios else TARIFFS
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
