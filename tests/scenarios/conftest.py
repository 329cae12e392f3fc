"""The command line within the process of the tests."""

import pytest

from tests.scenarios import commands
from tests.scenarios.tables import planted, synthetic


@pytest.fixture
def within():
    """Runs a command."""
    return commands.within


@pytest.fixture
def lifetime(within):
    """The same, under the name of the program."""
    return within


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Four schedule tables of three chunks."""
    return planted(tmp_path_factory.mktemp("trees"), [synthetic(seed, 3, cost_weight=0.01) for seed in range(4)])
