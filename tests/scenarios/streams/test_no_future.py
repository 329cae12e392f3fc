"""What an agent does and is measured on follows from what its stream has shown so far."""

from dataclasses import replace

import pytest
import torch

from agent.lifetime.loop import Lifetimes
from scenarios.config.families import POLICY
from scenarios.config.members import make
from scenarios.config.settings import SimulateConfig
from scenarios.datasets.source import Access
from scenarios.running.progress import SilentReporter
from scenarios.running.world import cost_model, load_world, make_alike
from scenarios.streams.catalog import SCENARIOS
from scenarios.streams.scenario import ChunkStream

EXAMPLES = {"recurring": "recurring:experiences=3"}
"""Of scenarios that do not fit into so few chunks by default."""
POLICIES = ("interleaved:k=50", "disagreement", "forecast", "random")
LEARNERS = {
    "online": {"learner": "online:epochs=1", "calibrate_every": 2},
    "online, no rehearsal": {"learner": "online:epochs=1,rehearsal=0", "calibrate_every": 1},
    "cooldown": {"learner": "cooldown:epochs=1", "calibrate_every": 2, "prequential": True},
    "refit": {"learner": "refit:epochs=1", "calibrate_every": 3, "queries": 5},
}
FIRST, *OTHERS = LEARNERS
HALF = 4
SETTINGS = {
    "device": "cpu",
    "dataset": "textures",
    "train_size": 80,
    "validation_size": 60,
    "test_size": 50,
    "chunks": 2 * HALF,
    "recipe": "sgd:batch=16",
    "network": "resnet:width=2",
    "evaluate_every": 1,
    "tariff": "day-night:period=4",
}


def permuted(stream: ChunkStream) -> ChunkStream:
    """The same first half, and the samples of the second in other chunks."""
    ids = [chunk.sample_ids for chunk in stream]
    later = torch.cat(ids[HALF:]).flip(0)
    parts = later.split([len(each) for each in ids[HALF:]])
    visits = [[*ids[:HALF], *parts]]
    return ChunkStream(stream.data, visits, stream.normalization, stream.prices, stream.queries, stream.label_delay)


def made(policies):
    return {policy: make(policy, POLICY, seed=0) for policy in policies}


def halves_of(config):
    """The steps of lifetimes in a world, and in one whose second half is another, by policy."""
    dataset, as_it_is = load_world(config, 0, Access(), SilentReporter())
    found = []
    for stream in (as_it_is.stream, permuted(as_it_is.stream)):
        lifetimes = make_alike(config, 0, (dataset, replace(as_it_is, stream=stream)), made(POLICIES))
        steps: dict = {}
        while lifetimes:
            for name, step in lifetimes.advance().items():
                steps.setdefault(name, []).append(step)
        found.append(steps)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_first_half_does_not_depend_on_the_second(scenario, learner):
    one, other = halves_of(
        SimulateConfig.model_validate(SETTINGS | LEARNERS[learner] | {"scenario": EXAMPLES.get(scenario, scenario)})
    )
    for policy in POLICIES:
        assert one[policy][:HALF] == other[policy][:HALF]
        assert one[policy][HALF:] != other[policy][HALF:], "a second half that is no other proves nothing"


@pytest.mark.parametrize(
    "learner", ["online", *(pytest.param(each, marks=pytest.mark.slow) for each in [*LEARNERS][1:])]
)
@pytest.mark.parametrize("scenario", ["class-incremental", "drift"])
def test_labels_that_have_not_come_only_score(scenario, learner):
    """Chunks whose images have come before the first half of the labels ends are answered, and nothing else."""
    delay = 2
    config = SETTINGS | LEARNERS[learner] | {"scenario": scenario, "label_delay": delay}
    one, other = halves_of(SimulateConfig.model_validate(config))
    for policy in POLICIES:
        asked = HALF - delay
        assert one[policy][:asked] == other[policy][:asked]
        first, second = ([replace(step, prequential=None) for step in of[policy][:HALF]] for of in (one, other))
        assert first == second
        assert one[policy][HALF:] != other[policy][HALF:]


@pytest.mark.parametrize("kind", ["contrast", "hue", "corruption"])
def test_validation_images_wait_for_the_drift_to_come_to_them(kind):
    config = SimulateConfig.model_validate(SETTINGS | {"scenario": f"drift:kind={kind}"})
    _, scenario = load_world(config, 0, Access(), SilentReporter())
    lifetimes = make_alike(config, 0, (_, scenario), made(("interleaved:k=50",)))
    assert isinstance(lifetimes, Lifetimes)
    assert cost_model(config).name == "flops"
    usable = [int(lifetimes.plan.usable(step).sum()) for step in range(len(scenario.stream))]
    assert usable == sorted(usable)
    n = len(scenario.validation)
    for step, count in enumerate(usable):  # as many as of the drift has been shown
        assert count == pytest.approx(n * (step + 1) / len(usable), abs=1.5)
    assert usable[-1] == n


@pytest.mark.parametrize("scenario", ["domains", "domains:kind=rotations", "domains:kind=permutations", "label-drift"])
def test_validation_images_wait_for_their_experience(scenario):
    config = SimulateConfig.model_validate(SETTINGS | {"scenario": scenario})
    world = load_world(config, 0, Access(), SilentReporter())
    plan = make_alike(config, 0, world, made(("interleaved:k=50",))).plan
    of_chunks = world[1].experience
    assert set(of_chunks) == set(range(5))
    first = [of_chunks.index(number) for number in range(5)]
    for step, number in enumerate(of_chunks):
        usable = plan.usable(step)
        assert usable.any()
        assert plan.shown[usable].tolist() == [at for at in plan.shown.tolist() if at in first[: number + 1]]
    assert usable.all()


@pytest.mark.parametrize("scenario", [*SCENARIOS, "drift:kind=corruption", "domains:kind=permutations"])
def test_a_data_seed_holds_the_data_and_nothing_else(scenario):
    def world(seed, **data):
        config = SimulateConfig.model_validate(SETTINGS | {"scenario": EXAMPLES.get(scenario, scenario), **data})
        return load_world(config, seed, Access(), SilentReporter())

    (one, stream), (other, later) = world(1, data_seed=5), world(2, data_seed=5)
    for name in ("train", "validation", "test"):
        assert torch.equal(getattr(one, name).inputs, getattr(other, name).inputs)
    assert torch.equal(stream.test.inputs, later.test.inputs)
    assert torch.equal(stream.validation.inputs, later.validation.inputs)
    assert torch.equal(stream.test.labels, later.test.labels)
    assert torch.equal(stream.validation.labels, later.validation.labels)
    if scenario not in ("class-incremental", "blurred", "recurring"):  # the seed draws the order of their classes
        assert torch.equal(stream.group, later.group)
    assert not torch.equal(stream.stream[0].sample_ids, later.stream[0].sample_ids)
    alone, _ = world(1)
    assert torch.equal(world(1, data_seed=1)[0].train.inputs, alone.train.inputs)
    assert not torch.equal(one.train.inputs, alone.train.inputs)
