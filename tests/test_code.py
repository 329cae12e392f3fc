"""The code itself: lint, format, types, and the direction of the import arrows."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "check", "."], id="lint"),
        pytest.param(["ruff", "format", "--check", "."], id="format"),
        pytest.param(["mypy"], id="types", marks=pytest.mark.slow),
        pytest.param(["lint-imports"], id="imports"),
    ],
)
def test_code_is_clean(command):
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_functions_are_short():
    paths = [path for package in ("agent", "scenarios") for path in (ROOT / package).rglob("*.py")]
    functions = [
        (node.end_lineno - node.lineno + 1, f"{path.relative_to(ROOT)}: {node.name}")
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(functions) > 1000
    assert [each for each in functions if each[0] > 60] == []


@pytest.mark.parametrize("module", ["torch", "avalanche", "matplotlib", "sklearn", "torchvision", "optuna"])
def test_help_imports_nothing_heavy(module):
    code = f"import sys; import scenarios.cli; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("package", ["agent", "scenarios"])
def test_importing_a_package_prints_nothing_and_seeds_nothing(package):
    modules = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / package).rglob("*.py")
    )
    code = (
        "import numpy, torch\n"  # rich draws from Python's own generator, which nothing here uses
        "before = numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()\n"
        f"import {', '.join(modules)}\n"
        "after = numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()\n"
        "assert before == after"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_experiments_leave_avalanche_alone():
    """Importing it takes longer than a short lifetime does; whoever asks for its stream waits for it."""
    code = (
        "import sys\n"
        "import scenarios.experiments.relative_value, scenarios.experiments.simulate, scenarios.experiments.compare\n"
        "from tests.scenarios.worlds import load_dataset\n"
        "from scenarios.streams.catalog import iid_stream\n"
        "iid_stream(load_dataset('textures', seed=0, n_train=8, n_validation=4, n_test=4), 2, seed=0)[0]\n"
        "sys.exit('avalanche' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
