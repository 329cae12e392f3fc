"""Worlds without a data set."""

import pytest

from tests.scenarios.tables import planted, synthetic


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Four schedule tables of three chunks."""
    return planted(tmp_path_factory.mktemp("trees"), [synthetic(seed, 3, cost_weight=0.01) for seed in range(4)])
