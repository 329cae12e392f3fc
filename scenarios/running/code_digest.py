"""A digest of the code that decides numbers, without its comments and texts."""

import ast
import hashlib
import sys
import sysconfig
from functools import cache
from modulefinder import ModuleFinder
from pathlib import Path

READING = frozenset(
    f"{path}.py"
    for path in (
        "agent/errors",
        "agent/storage/checkpoint",
        "agent/storage/npz",
        "agent/storage/predictions",
        "agent/storage/record",
        "agent/storage/tensorboard",
        "scenarios/analysis/comparison",
        "scenarios/analysis/csv_table",
        "scenarios/analysis/formats",
        "scenarios/analysis/frontier",
        "scenarios/analysis/held_out",
        "scenarios/analysis/lifetime_table",
        "scenarios/analysis/matched_share",
        "scenarios/analysis/ranking",
        "scenarios/analysis/options",
        "scenarios/analysis/price_map",
        "scenarios/analysis/published",
        "scenarios/analysis/report",
        "scenarios/analysis/rescues",
        "scenarios/analysis/sample_size",
        "scenarios/analysis/statistics",
        "scenarios/calls",
        "scenarios/config/fields",
        "scenarios/config/method",
        "scenarios/config/presets",
        "scenarios/config/reproduce",
        "scenarios/config/reproductions/__init__",
        "scenarios/config/reproductions/budgetcl",
        "scenarios/config/reproductions/gdumb",
        "scenarios/config/reproductions/ocl_survey",
        "scenarios/config/reproductions/online_split",
        "scenarios/config/reproductions/orhan",
        "scenarios/config/reproductions/published",
        "scenarios/config/reproductions/ranpac",
        "scenarios/config/reproductions/resmem",
        "scenarios/config/settings",
        "scenarios/config/sweep",
        "scenarios/config/tune",
        "scenarios/config/tuned",
        "scenarios/datasets/folder_cache",
        "scenarios/experiments/beside_curves",
        "scenarios/experiments/beside_report",
        "scenarios/experiments/comparison_report",
        "scenarios/experiments/finished_runs",
        "scenarios/experiments/joined_curves",
        "scenarios/experiments/relative_value_files",
        "scenarios/experiments/relative_value_memories",
        "scenarios/experiments/relative_value_reading",
        "scenarios/experiments/relative_value_report",
        "scenarios/experiments/relative_value_values",
        "scenarios/experiments/reproduce",
        "scenarios/experiments/reproduction_report",
        "scenarios/experiments/rescues",
        "scenarios/experiments/simulation_report",
        "scenarios/experiments/sweep_plan",
        "scenarios/experiments/sweep_report",
        "scenarios/experiments/tune_report",
        "scenarios/experiments/wanted_width",
        "scenarios/figures/beside",
        "scenarios/figures/consolidation",
        "scenarios/figures/curve",
        "scenarios/figures/frontier",
        "scenarios/figures/matched_share",
        "scenarios/figures/memories",
        "scenarios/figures/pareto",
        "scenarios/figures/price_lines",
        "scenarios/figures/price_map",
        "scenarios/figures/price_units",
        "scenarios/figures/ratio_axis",
        "scenarios/figures/reproduction",
        "scenarios/figures/rescues",
        "scenarios/figures/style",
        "scenarios/figures/surface",
        "scenarios/figures/sweep",
        "scenarios/figures/tune",
        "scenarios/frontiers/__init__",
        "scenarios/frontiers/consolidation",
        "scenarios/frontiers/curves",
        "scenarios/frontiers/experiment",
        "scenarios/frontiers/files",
        "scenarios/frontiers/findings",
        "scenarios/frontiers/labels",
        "scenarios/frontiers/reading",
        "scenarios/frontiers/report",
        "scenarios/frontiers/trees",
        "scenarios/oracle/evaluation_report",
        "scenarios/results",
        "scenarios/running/agreement",
        "scenarios/running/code_digest",
        "scenarios/running/executors",
        "scenarios/running/experiment",
        "scenarios/running/forecast",
        "scenarios/running/identity",
        "scenarios/running/interval_notes",
        "scenarios/running/kept_predictions",
        "scenarios/running/machine",
        "scenarios/running/mirror",
        "scenarios/running/own_code",
        "scenarios/running/process",
        "scenarios/running/progress",
        "scenarios/running/provenance",
        "scenarios/running/ray_board",
        "scenarios/running/ray_connection",
        "scenarios/running/ray_executor",
        "scenarios/running/ray_worker",
        "scenarios/running/resumable",
        "scenarios/running/tasks",
        "scenarios/running/workers",
        "scenarios/running/workload",
    )
)
"""Modules that only write, read, show or pass on results; like the command line, they are not part of a run's identity.

Neither are the defaults of settings: the resolved settings are.
"""


@cache
def digest_of() -> str:
    """The digest of the program's files as they are, without the command line, `agent.testing` and `READING`."""
    digest = hashlib.blake2b(digest_size=8)
    root = Path(__file__).parents[2]
    for path in sorted(path for package in ("agent", "scenarios") for path in (root / package).rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name not in READING and not name.startswith(("scenarios/cli/", "agent/testing/")):
            digest.update(name.encode("utf-8") + b"\0" + what_it_does(path.read_bytes()))
    return digest.hexdigest()


def digest_of_module(name: str) -> str | None:
    """The digest of a user's own module and of all modules that it imports, without installed packages.

    None if nothing of it is Python code.
    """
    installed = [Path(sysconfig.get_path(each)).resolve() for each in ("stdlib", "platstdlib")]
    folders = [
        folder
        for folder in dict.fromkeys(("", *sys.path))
        if not {"site-packages", "dist-packages"} & {*Path(folder).parts}
        and not any(Path(folder).resolve().is_relative_to(each) for each in installed)
    ]
    finder = ModuleFinder(path=folders, excludes=["agent", "scenarios"])
    try:
        finder.import_hook(name)
        files = {module: getattr(each, "__file__", None) for module, each in finder.modules.items()}
    except (ImportError, SyntaxError):  # not in a folder of its own, as with some editable installations
        files = {name: getattr(sys.modules.get(name), "__file__", None)}
    digest = hashlib.blake2b(digest_size=8)
    paths = {module: Path(file) for module, file in sorted(files.items()) if file and file.endswith(".py")}
    for module, path in paths.items():
        digest.update(module.encode() + b"\0" + what_it_does(path.read_bytes()))
    return digest.hexdigest() if paths else None


def what_it_does(source: bytes) -> bytes:
    """The syntax of a module without comments, docstrings, layout and arguments of errors.

    Raises:
        SyntaxError, ValueError: it is not Python.
    """
    return ast.dump(_Silenced().visit(ast.parse(source))).encode("utf-8", errors="surrogatepass")


class _Silenced(ast.NodeTransformer):
    def _undocumented(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [each for each in node.body if not _is_text(each)]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _undocumented

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Keep only the type of an error."""
        error = node.exc
        return ast.Raise(exc=error.func if isinstance(error, ast.Call) else error, cause=None)


def _is_text(node: ast.stmt) -> bool:
    """Whether a statement is a docstring, also that of an attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
