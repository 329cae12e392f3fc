"""`lifetime policies`, `scenarios` and `costs`: what there is to choose from, with its parameters."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from scenarios.cli.show import print_json, results_console
from scenarios.config.specs import FILE, Described, describe

Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


def policies(as_json: Json = False) -> None:
    """List the policies, what they decide by, and their parameters."""
    from agent.policies.file import policy_from_file
    from agent.policies.registry import POLICIES

    _show({"--policy": {**POLICIES, FILE: policy_from_file}}, as_json)
    if not as_json:
        results_console().print(
            "As in --policy loss:threshold=1.2. A policy of your own: --policy package.module.Class:key=value, a "
            "subclass of agent.policies.Policy.",
            markup=False,
        )


def scenarios(as_json: Json = False) -> None:
    """List the scenarios and the tariffs, and their parameters."""
    from scenarios.streams.catalog import SCENARIOS
    from scenarios.streams.tariffs import TARIFFS

    _show({"--scenario": SCENARIOS, "--tariff": TARIFFS}, as_json)


def costs(as_json: Json = False) -> None:
    """List the cost models, their prices and where these come from."""
    from agent.accounting.costs import COST_MODELS

    _show({"--cost": COST_MODELS}, as_json)


def _show(families: Mapping[str, Mapping[str, Callable[..., Any]]], as_json: bool) -> None:
    described = {option: describe(family) for option, family in families.items()}
    if as_json:
        print_json({option: [_plain(each) for each in members] for option, members in described.items()})
        return
    console = results_console()
    for option, members in described.items():
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
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
            table.add_row(f"[bold]{each.name}[/]", "\n".join(lines), end_section=True)
        console.print(table)


def _plain(each: Described) -> dict[str, Any]:
    return {
        "name": each.name,
        "summary": each.summary,
        "source": each.source,
        "parameters": [vars(parameter) for parameter in each.parameters],
    }
