import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from agent.data.herding import herding_flops
from agent.data.sample_store import SampleStore
from agent.errors import InvalidSetting, TrainingDiverged
from agent.evaluation.scores import accuracy_of
from agent.learners.replay import ReplayLearner
from agent.learners.training import Training, even_sizes, one_cycle, passes
from agent.networks.flops import flops_per_sample
from agent.randomness import named_generator, named_seed, priorities
from tests.agent.toys import ON_RESNETS, cooldown, online, refit, same, teach, toy_chunk, toy_images, toy_stream


@pytest.fixture(params=ON_RESNETS)
def make(request):
    return ON_RESNETS[request.param]


def live(learner, chunks):
    for chunk in chunks:
        teach(learner, chunk)
    learner.flush()
    return learner


# The contract of every learner


def test_the_same_seed_gives_the_same_learner(make):
    chunks = toy_stream([10, 6])
    first = live(make(3), chunks)
    torch.manual_seed(1)
    assert same(live(make(3), chunks).state(), first.state())
    assert not same(live(make(4), chunks).state(), first.state())


def test_state_goes_round_trip_through_a_file_and_life_goes_on_as_if_uninterrupted(make, tmp_path):
    chunks = toy_stream([10, 6, 9, 1])
    learner = live(make(0), chunks[:2])
    torch.save(learner.state(), tmp_path / "state.pt")
    restored = make(7)
    restored.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert same(restored.state(), learner.state())
    assert same(live(restored, chunks[2:]).state(), live(learner, chunks[2:]).state())


def test_state_is_a_copy(make):
    learner = live(make(0), toy_stream([10]))
    state = learner.state()
    before = copy.deepcopy(state)
    live(learner, toy_stream([10], seed=5))
    assert same(state, before)


def test_forks_go_their_own_ways_and_draw_the_same_numbers(make):
    chunks = toy_stream([10, 6, 9])
    learner = live(make(0), chunks[:1])
    fork = learner.fork()
    before = learner.state()
    live(fork, chunks[1:])
    assert same(learner.state(), before)
    live(learner, chunks[1:])
    assert same(learner.state(), fork.state())


@pytest.mark.parametrize("n", [0, 1, 3, 8, 13])
def test_chunks_of_any_size(make, n):
    learner = live(make(0), [toy_chunk(n), toy_chunk(5, seed=1)])
    outputs, _ = learner.forward(toy_images(4).inputs)
    assert torch.isfinite(outputs.probabilities).all()


@pytest.mark.parametrize("n", [0, 1, 5])
def test_forward_gives_distributions_and_keys(make, n):
    learner = make(0)
    images = toy_images(n).inputs
    outputs, work = learner.forward(images)
    assert (outputs.probabilities.shape, outputs.keys.shape) == ((n, 3), (n, 8))
    torch.testing.assert_close(outputs.probabilities.sum(dim=1), torch.ones(n))
    assert work.flops == n * flops_per_sample(learner.predictor, (3, 8, 8)).forward
    assert work.samples == n


def test_forward_does_not_depend_on_its_batches(make, monkeypatch):
    learner = live(make(0), [toy_chunk(20)])
    images = toy_images(11).inputs
    whole, _ = learner.forward(images)
    monkeypatch.setattr("agent.learners.training.FORWARD_BATCH", 4)
    torch.testing.assert_close(learner.forward(images)[0].probabilities, whole.probabilities)


@pytest.mark.slow
def test_learning_helps(make):
    test = toy_images(200, seed=9)
    learner = make(0)
    before = accuracy_of(learner.forward(test.inputs)[0].probabilities, test.labels)
    live(learner, [toy_chunk(200, seed=step, step=step) for step in range(3)])
    after = accuracy_of(learner.forward(test.inputs)[0].probabilities, test.labels)
    assert after > max(0.6, before + 0.15)


def test_a_diverging_loss_names_step_and_rate(make):
    learner = make(0, lr=1e20)
    with pytest.raises(TrainingDiverged, match=r"gradient step \d+ with learning rate [\d.e+]+; lower") as error:
        live(learner, toy_stream([40]))
    assert error.value.lr > 1e17


def test_learning_is_paid_for(make):
    learner = make(0)
    learned = [teach(learner, chunk) for chunk in toy_stream([16, 8])]
    flushed = learner.flush()
    n_trained = sum(work.samples for work in [*learned, flushed])
    flops = sum(work.flops for work in [*learned, flushed])
    n_cooling = round(0.5 * 6) * 8 if learner.n_steps > 6 else 0
    of_sample, choosing = flops_per_sample(learner.predictor, (3, 8, 8)), 0
    if isinstance(learner, ReplayLearner) and learner.sampling == "herding":
        # 32 of 16 samples are each of them twice; for 16 of the 15 in store herding looks at all and picks one.
        n_trained -= 15
        choosing = 15 * of_sample.forward + herding_flops(15, 1, learner.key_length((3, 8, 8)))
    if isinstance(learner, ReplayLearner) and not learner.from_store:
        assert n_trained == 2 * (2 * 24 - 4)  # two passes; the first minibatch has nothing to rehearse
    else:
        assert n_trained == 2 * 24 + n_cooling
    assert flops == n_trained * of_sample.training + choosing
    assert sum(work.nbytes for work in learned) == 24 * (3 * 8 * 8 + 8)


# The online learner


class Rows:
    """Remembers the rows that batches are made of."""

    def __init__(self, monkeypatch):
        self.batches = []
        batch = SampleStore.batch
        monkeypatch.setattr(SampleStore, "batch", lambda s, rows: self.batches.append(rows.tolist()) or batch(s, rows))


def test_steps_are_passes_times_chunk_over_batch_and_half_of_a_batch_is_rehearsed(monkeypatch):
    learner = online(epochs=3, rehearsal=0.25)  # batches of 8
    teach(learner, toy_chunk(16))
    rows = Rows(monkeypatch)
    teach(learner, toy_chunk(32, seed=1))
    assert len(rows.batches) == 3 * 32 / 8
    fresh = [[row for row in batch if row >= 16] for batch in rows.batches]
    assert all(len(batch) == 8 and len(new) == 6 for batch, new in zip(rows.batches, fresh, strict=True))
    counts = torch.bincount(torch.tensor([row for new in fresh for row in new]) - 16, minlength=32)
    assert counts.max() - counts.min() <= 1
    assert max(max(batch) for batch in rows.batches) < 48


def test_the_first_chunk_has_nothing_to_rehearse(monkeypatch):
    rows = Rows(monkeypatch)
    teach(online(epochs=1), toy_chunk(16))
    assert sorted(row for batch in rows.batches for row in batch) == list(range(16))


def test_rehearsal_is_uniform_over_all_that_was_learned(monkeypatch):
    learner = online(epochs=1)
    teach(learner, toy_chunk(4))
    teach(learner, toy_chunk(12, seed=1))
    rows = Rows(monkeypatch)
    for seed in range(2, 60):
        learner.samples = learner.samples.fork()
        fork = learner.fork()
        fork.order.manual_seed(seed)
        teach(fork, toy_chunk(16, seed=seed))
    rehearsed = torch.tensor([row for batch in rows.batches for row in batch if row < 16])
    counts = torch.bincount(rehearsed, minlength=16).float()
    assert len(rehearsed) == 58 * 2 * 4
    expected = len(rehearsed) / 16
    assert ((counts - expected) ** 2 / expected).sum() < 37.7  # chi-squared, 15 degrees of freedom, 0.1%


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 12), st.integers(0, 3))
def test_what_stays_in_store_is_a_uniform_sample_whatever_the_chunks(sizes, stored, seed):
    learner, n = online(seed, stored=stored, epochs=0.1), sum(sizes)
    images = toy_images(max(n, 1))
    first = 0
    for size in sizes:
        rows = slice(first, first + size)
        assert learner.n_stored_with(size) == min(first + size, stored)
        learner.learn(images.inputs[rows], images.labels[rows])
        first += size
        assert len(learner.samples) == min(first, stored)
    ids = torch.arange(n)
    lowest = np.argsort(priorities(ids, named_seed(seed, "stored")))[:stored]
    assert learner.ids.tolist() == sorted(lowest.tolist())
    if n:
        assert torch.equal(learner.samples.rows, images.inputs[learner.ids])
        assert torch.equal(learner.samples.labels, images.labels[learner.ids])
    assert learner.nbytes == min(n, stored) * (3 * 8 * 8 + 8)


def test_only_what_is_stored_is_rehearsed(monkeypatch):
    learner = online(epochs=4, stored=5)
    for seed in range(3):
        teach(learner, toy_chunk(16, seed=seed))
    rows = Rows(monkeypatch)
    teach(learner, toy_chunk(8, seed=9))
    *batches, kept = rows.batches  # the last gather is of what stays
    assert {row for batch in batches for row in batch} <= set(range(5 + 8))
    assert len([row for batch in batches for row in batch if row < 5]) == 16
    assert len(kept) == 5


@pytest.mark.parametrize("make", [online, cooldown])
def test_a_store_that_holds_all_changes_nothing(make):
    chunks = toy_stream([10, 6, 9])
    whole, bounded = live(make(), chunks), live(make(stored=25), chunks)
    assert same(whole.weights(), bounded.weights())
    assert whole.nbytes == bounded.nbytes


def test_the_average_follows_the_weights():
    learner = online(epochs=1, ema_decay=0.6)
    expected = {name: value.clone() for name, value in learner.network.state_dict().items()}
    for t, chunk in enumerate(toy_stream([8] * 12)):
        teach(learner, chunk)  # one step each
        decay = min(0.6, (1 + t) / (10 + t))
        for name, value in learner.network.state_dict().items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
    for name, value in learner.predictor.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name])


def test_without_decay_the_weights_themselves_predict():
    learner = online(ema_decay=0.0)
    teach(learner, toy_chunk(16))
    images = toy_images(5).inputs
    logits = learner.network.eval()(learner.training.normalization(images))
    torch.testing.assert_close(learner.forward(images)[0].probabilities, logits.softmax(dim=1))


def test_settling_is_nothing_to_an_online_learner():
    learner = live(online(), [toy_chunk(8)])
    before = learner.state()
    assert learner.flush().flops == 0
    assert same(learner.state(), before)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 0.0}, "expected a number of epochs above 0, at most 100000, got 0"),
        ({"rehearsal": 1.0}, "expected a rehearsed share from 0 to below 1, got 1"),
        ({"ema_decay": -0.1}, "expected an EMA decay from 0 to below 1, got -0.1"),
        ({"timescale": 0.0}, "expected a timescale above 0, got 0"),
        ({"timescale": math.nan}, "expected a timescale above 0, got nan"),
    ],
)
def test_bad_settings_of_an_online_learner(setting, message):
    with pytest.raises(InvalidSetting, match=message):
        online(**setting)


# The refitting learner


def count_steps(monkeypatch):
    steps = []
    step = Training.step
    monkeypatch.setattr(Training, "step", lambda *a, **k: steps.append(1) or step(*a, **k))
    return steps


def test_consecutive_chunks_are_one_training(monkeypatch):
    steps = count_steps(monkeypatch)
    learner = refit(epochs=3)
    for chunk in toy_stream([8, 8, 16]):
        teach(learner, chunk)
    assert steps == []
    assert learner.flush().samples == 3 * 32
    assert len(steps) == 3 * 32 / 8
    assert learner.flush().samples == 0
    assert len(steps) == 3 * 32 / 8


def test_what_was_admitted_matters_and_not_in_what_chunks():
    data = toy_chunk(24)
    parts = [
        type(data)(step, data.sample_ids[rows], data.inputs[rows], data.labels[rows])
        for step, rows in enumerate(torch.arange(24).split([5, 1, 18]))
    ]
    assert same(live(refit(), parts).predictor.state_dict(), live(refit(), [data]).predictor.state_dict())


def test_cold_trainings_start_from_the_same_weights_and_warm_ones_go_on(monkeypatch):
    starts = []
    optimizers = Training.optimizers
    monkeypatch.setattr(
        Training,
        "optimizers",
        lambda self, network: starts.append(copy.deepcopy(network.state_dict())) or optimizers(self, network),
    )
    for warm in (False, True):
        learner = refit(warm=warm)
        initial = copy.deepcopy(learner.network.state_dict())
        starts.clear()
        live(learner, [toy_chunk(8)])
        trained = copy.deepcopy(learner.predictor.state_dict())
        live(learner, [toy_chunk(8, seed=1)])
        assert same(starts[0], initial)
        assert same(starts[1], trained if warm else initial)


def test_predicting_before_settling_is_a_mistake():
    learner = refit()
    teach(learner, toy_chunk(8))
    with pytest.raises(AssertionError, match="flush before forward"):
        learner.forward(toy_images(1).inputs)


def test_bad_settings_of_a_refitting_learner():
    with pytest.raises(InvalidSetting, match="expected a number of epochs above 0, at most 100000, got 0"):
        refit(epochs=0.0)


# Fast code beside slow, obvious code, to the bit


def slow_step(training, network, optimizer, images, labels, generator, lr, largest=0):
    """A gradient step that draws and moves its own batch; moves are drawn for the largest of several."""
    moves = training.augmentation.draw(1, max(largest, len(images)), generator)[0][:, : len(images)]
    inputs = training.normalization(training.augmentation(images, moves))
    optimizer.param_groups[0]["lr"] = lr
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(network(inputs), labels).backward()
    optimizer.step()


def test_learning_online_is_a_loop_over_batches_new_and_rehearsed():
    learner, slow = online(2), online(2)
    training, network, average = slow.training, slow.network, dict(slow.predictor.state_dict())
    images, labels, step = torch.empty(0, 3, 8, 8, dtype=torch.uint8), torch.empty(0, dtype=torch.int64), 0
    # By hand: twice as many samples as are new, in batches of 8 or less, of equal size to one.
    for chunk, sizes in zip(toy_stream([10, 16, 9]), ([7, 7, 6], [8, 8, 8, 8], [6, 6, 6]), strict=True):
        teach(learner, chunk)
        n_before = len(labels)
        n_old = [round(size / 2) if n_before else 0 for size in sizes]
        images, labels = torch.cat([images, chunk.inputs]), torch.cat([labels, chunk.labels])
        new = passes(len(chunk), sum(sizes) - sum(n_old), slow.order).tolist()
        old = torch.randint(max(1, n_before), (sum(n_old),), generator=slow.order).tolist()
        for size, n in zip(sizes, n_old, strict=True):
            fresh = [n_before + new.pop(0) for _ in range(size - n)]
            rows = torch.tensor([*fresh, *(old.pop(0) for _ in range(n))])
            drawn = slow.augmentation, training.recipe.lr, max(sizes)
            slow_step(training, network, slow.optimizers[0], images[rows], labels[rows], *drawn)
            step += 1
            for name, value in network.state_dict().items():
                if value.is_floating_point():
                    average[name].lerp_(value, 1 - min(0.995, step / (9 + step)))
        assert same(dict(learner.network.state_dict()), dict(network.state_dict()))
        assert same(dict(learner.weights()), average)


@pytest.mark.parametrize("passes_", [6, 0.3, 2.5])
@pytest.mark.parametrize("rehearsal", [0, 0.3, 0.5])
@pytest.mark.parametrize("sizes", [[10] * 30, [20] * 9, [40] * 3, [48], [1] * 40, [100, 7, 3, 64, 65]])
def test_epochs_hold_at_every_size_of_chunks(sizes, rehearsal, passes_, monkeypatch):
    monkeypatch.setattr(Training, "step", lambda *_, **__: torch.zeros(()))
    learner = online(epochs=passes_, rehearsal=rehearsal, batch=64)
    trained = 0
    for i, chunk in enumerate(toy_stream(sizes)):
        expected = learner.estimate(chunk.inputs).at_once
        work = teach(learner, chunk)
        assert work == expected
        trained += work.samples
        assert trained == pytest.approx(passes_ * sum(sizes[: i + 1]), abs=1)  # the first chunk included


@pytest.mark.parametrize(("n", "batch", "epochs"), [(96, 64, 1), (100, 64, 1), (200, 64, 0.5), (40, 32, 1), (7, 64, 3)])
def test_epochs_of_a_refit_hold_to_one_percent(n, batch, epochs, monkeypatch):
    monkeypatch.setattr(Training, "step", lambda *_, **__: torch.zeros(()))
    learner = refit(epochs=epochs, batch=batch)
    teach(learner, toy_chunk(n))
    expected = learner.estimate(toy_chunk(0).inputs).later
    work = learner.flush()
    assert work == expected
    assert work.samples == pytest.approx(epochs * n, rel=0.01)


def test_batches_are_whole_where_epochs_allow():
    assert even_sizes(12, 4) == (4, 4, 4)
    assert even_sizes(13, 4) == (4, 3, 3, 3)
    assert even_sizes(0, 4) == ()
    assert refit(epochs=6, batch=64)._plan(1500) == (64,) * 141  # 9,024 of 9,000 samples


def test_what_is_never_read_again_is_not_stored():
    learner = online(rehearsal=0)
    assert teach(learner, toy_chunk(8)).nbytes == learner.nbytes == 0
    assert teach(online(), toy_chunk(8)).nbytes > 0
    cooling = cooldown(rehearsal=0)
    assert teach(cooling, toy_chunk(8)).nbytes == cooling.nbytes > 0


@pytest.mark.parametrize("warm", [False, True])
def test_refitting_is_a_loop_over_epochs(warm):
    learner, slow = refit(2, warm=warm), refit(2, warm=warm)
    network, images, labels = slow.network, [], []
    for chunk in toy_stream([10, 16]):
        teach(learner, chunk)
        learner.flush()
        images.append(chunk.inputs)
        labels.append(chunk.labels)
        every, of = torch.cat(images), torch.cat(labels)
        sizes = {10: [7, 7, 6], 26: [8, 8, 8, 7, 7, 7, 7]}[len(of)]  # two passes, by hand
        network = copy.deepcopy(network if warm else slow.network).train()
        optimizer = slow.training.optimizers(network)[0]
        rows = passes(len(of), 2 * len(of), slow.order).split(sizes)
        for i, batch in enumerate(rows):
            lr = slow.training.recipe.lr * one_cycle(i / len(sizes))
            drawn = slow.augmentation, lr, max(sizes)
            slow_step(slow.training, network, optimizer, every[batch], of[batch], *drawn)
        assert same(dict(learner.weights()), dict(network.state_dict()))


class Asked(TorchDispatchMode):
    """Remembers the operations that would make a host wait for its device: those whose values it reads."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.name()
        if name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::item"):
            self.waits.append(name)
        return operation(*args, **(kwargs or {}))


def test_nobody_waits_for_a_device_within_a_step():
    training, network, data = online(0).training, online(0).network, toy_images(8)
    moves = training.augmentation.draw(1, 8, torch.Generator())[0]
    optimizers = training.optimizers(network)
    for _ in range(2):  # a first step makes what later ones find
        with Asked() as asked:
            loss = training.step(network, optimizers, data.inputs, data.labels, moves)
    assert asked.waits == []
    with Asked() as asked:
        loss.item()
    assert asked.waits == ["aten::_local_scalar_dense"]


# The learner that cools down


def cooled_slowly(learner):
    """The network that a cool-down gives, by a loop over its definition."""
    trunk = learner.trunk
    network, optimizer = copy.deepcopy((trunk.network, trunk.optimizers[0]))
    n, n_steps = len(trunk.samples), max(1, round(learner.share * trunk.n_steps))
    generator = named_generator(learner.seed, f"cool-down at step {trunk.n_steps}")
    rows = passes(n, n_steps * trunk.training.recipe.batch_size, generator).tolist()
    for step in range(n_steps):
        drawn = torch.tensor(rows[step * trunk.training.recipe.batch_size :][: trunk.training.recipe.batch_size])
        images, labels = trunk.samples.batch(drawn)
        lr = trunk.training.recipe.lr * (1 - (step / n_steps) ** 0.5)
        slow_step(trunk.training, network, optimizer, images, labels, generator, lr)
    return network


@pytest.mark.parametrize("share", [0.1, 0.5, 3.0])
def test_a_cool_down_is_a_short_training_from_the_trunk(share):
    learner = cooldown(2, share=share)
    for chunk in toy_stream([10, 16]):
        teach(learner, chunk)
    expected = cooled_slowly(learner).state_dict()
    learner.flush()
    assert same(dict(learner.weights()), dict(expected))


def test_a_rate_falls_with_the_steps_and_a_cool_down_begins_where_it_is(monkeypatch):
    factors = []
    step = Training.step

    def noted(*args, factor=1.0, **how):
        factors.append(factor)
        return step(*args, factor=factor, **how)

    monkeypatch.setattr(Training, "step", noted)
    learner = cooldown(timescale=5.0)
    for chunk in toy_stream([8, 9, 10]):
        learner.learn(chunk.inputs, chunk.labels)
    n = learner.trunk.n_steps
    assert n > 3
    assert factors == pytest.approx([(1 + s / 5) ** -0.5 for s in range(n)])
    learner.flush()
    cooled = factors[n:]
    assert cooled[0] == pytest.approx((1 + n / 5) ** -0.5)
    assert cooled == pytest.approx([cooled[0] * (1 - (s / len(cooled)) ** 0.5) for s in range(len(cooled))])
    factors.clear()
    live(online(), toy_stream([10, 6]))
    assert set(factors) == {1.0}


def test_the_trunk_never_cools():
    chunks = toy_stream([10, 16, 9])
    asked, trunk = cooldown(3), online(3, ema_decay=0.0)
    for chunk in chunks:
        teach(asked, chunk)
        asked.flush()
        teach(trunk, chunk)
    assert same(asked.trunk.state(), trunk.state())


def test_a_cool_down_does_not_depend_on_those_before():
    chunks = toy_stream([10, 16, 9])
    often, once = cooldown(3), cooldown(3)
    for chunk in chunks:
        teach(often, chunk)
        often.flush()
        teach(once, chunk)
    once.flush()
    assert same(often.weights(), once.weights())
    assert often.n_steps > once.n_steps


def test_forks_share_a_cool_down_and_pay_for_it_each(monkeypatch):
    learner = cooldown(0)
    teach(learner, toy_chunk(12))
    fork = learner.fork()
    first = learner.flush()
    monkeypatch.setattr(Training, "step", None)
    second = fork.flush()
    assert (second.flops, second.samples) == (first.flops, first.samples) != (0, 0)
    assert same(fork.state(), learner.state())


def test_a_fork_that_went_on_cools_down_anew():
    learner = cooldown(0)
    teach(learner, toy_chunk(12))
    fork = learner.fork()
    learner.flush()
    teach(fork, toy_chunk(9, seed=1))
    fork.flush()
    alone = live(cooldown(0), [toy_chunk(12), toy_chunk(9, seed=1)])
    assert same(fork.state(), alone.state())


@pytest.mark.parametrize("share", [0.0, -1.0, 1e12])
def test_a_cool_down_has_a_length(share):
    with pytest.raises(
        InvalidSetting, match=f"expected a cool-down of more than 0 times the steps so far, at most 100, got {share}"
    ):
        cooldown(share=share)


def test_without_averaging_the_weights_themselves_predict():
    learner = live(online(0, ema_decay=0.0), toy_stream([10, 6]))
    assert same(dict(learner.predictor.state_dict()), dict(learner.network.state_dict()))
