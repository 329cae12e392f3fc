"""The accuracy of a published setting has not drifted since it was recorded; `pytest -m reproduction`."""

import statistics

import pytest

import scenarios

NAME = "er-cifar10-20"
"""The shortest of all with `--short`."""

RECORDED: dict[str, tuple[float, ...]] = {
    "er": (),
    "er-ace": (),
}
"""Accuracy of seeds 0, 1 and 2, shortened, on CIFAR-10 as JPEG files; the comment says on which machine.

Not lived yet: without them the test is skipped.
"""


def band(recorded):
    """From the lowest to the highest seed, and two standard deviations between seeds beyond each.

    The same seeds on the same kind of machine give the same digits as long as nothing has changed. On others rounding
    errors grow in training. If the lives of a seed were then as far apart as those of different seeds, the mean of
    three would leave the band in 7 of 100 cases (simulated, normal).
    """
    deviation = statistics.stdev(recorded)
    return min(recorded) - 2 * deviation, max(recorded) + 2 * deviation


def test_the_band_is_that_of_the_recorded_seeds():
    assert band((0.2, 0.25, 0.3)) == pytest.approx((0.1, 0.4))


@pytest.mark.cifar
@pytest.mark.reproduction
def test_accuracy_has_not_drifted(cifar_folder, tmp_path):
    if not all(RECORDED.values()):
        pytest.skip("no seeds are recorded yet: fill in RECORDED")
    found = scenarios.reproduce(
        reproduction=NAME, short=True, dataset=f"folder:{cifar_folder}", device="cpu", threads=1, runs=tmp_path
    )
    lived = {each["method"]: each["ours"] for each in found.content["methods"]}
    assert lived.keys() == RECORDED.keys()
    for label, recorded in RECORDED.items():
        low, high = band(recorded)
        assert low <= lived[label]["mean"] <= high, (
            f"expected a mean accuracy of {label} between {low:.3f} and {high:.3f} as recorded ({recorded}), got "
            f"{lived[label]['mean']:.3f} ({lived[label]['values']}); if results are meant to change, record them anew"
        )
