"""What the benchmarks stand on; the benchmarks themselves are run by hand."""

import pytest
import torch

from agent.networks.resnet import ResNet
from tests.benchmarks import learning
from tests.benchmarks.__main__ import table
from tests.benchmarks.ratios import Ratio, alternately, ratios
from tests.benchmarks.recalling import AT, THETA, drawn, filled, numpy_cache


def test_functions_take_turns():
    calls = []
    seconds = alternately(lambda: calls.append("a"), lambda: calls.append("b"), rounds=2)
    assert calls == ["a", "b"] * 3
    assert [len(rounds) for rounds in seconds] == [2, 2]


def test_a_ratio_is_the_median_of_its_rounds():
    ratio = Ratio("ours", "theirs", ratios((1.0, 4.0, 9.0), (1.0, 2.0, 3.0)), "≥ 1")
    assert ratio.value == 2
    assert "2.00 [1.00, 3.00]" in str(ratio)
    assert table([("suite", ratio)]).splitlines()[-1] == "| suite | ours / theirs | 2.00 | 1.00 to 3.00 | ≥ 1 |"


def test_the_numpy_cache_does_the_same_job():
    memory, queries = filled(300, 16), drawn(20, 16, seed=5)
    recalled = memory.recall(queries, AT)[0].probabilities[0]
    expected = torch.from_numpy(numpy_cache(memory).recall(queries.numpy(), THETA))
    torch.testing.assert_close(recalled, expected, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("buffer", "n_samples"), [(None, [10] * 6), ("default", [10, *[20] * 5]), ("reservoir", [10, *[20] * 5])]
)
def test_avalanche_and_the_learner_train_on_as_many_samples(monkeypatch, buffer, n_samples):
    chunks, experiences = learning.avalanche_stream(60, 10)
    trained: list[int] = []
    tapped = ResNet.tapped

    def counted(self, images, places):
        if self.training:
            trained.append(len(images))
        return tapped(self, images, places)

    monkeypatch.setattr(ResNet, "tapped", counted)
    learning.avalanche_strategy(experiences, buffer)
    theirs, trained[:] = list(trained), []
    learning.of_a_stream(chunks, rehearsal=bool(buffer))
    assert theirs[1:] == n_samples[1:]
    first = 2 if buffer else 1  # where there is nothing to rehearse yet, twice as many samples are two batches
    assert trained == [*[10] * first, *n_samples[1:]]
