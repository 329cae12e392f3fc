import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from scenarios.streams import iid_stream
from tests.scenarios.worlds import colours


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 40), data=st.data(), seed=st.integers(0, 5))
def test_a_stream_holds_every_training_image_once_in_chunks_of_equal_size(n, data, seed):
    n_chunks = data.draw(st.integers(1, n))
    dataset = colours(n_train=n)
    stream = iid_stream(dataset, n_chunks, seed=seed)
    chunks = list(stream)
    assert len(stream) == len(chunks) == n_chunks
    assert [chunk.step for chunk in chunks] == list(range(n_chunks))
    assert max(map(len, chunks)) - min(map(len, chunks)) <= 1
    ids = torch.cat([chunk.sample_ids for chunk in chunks])
    assert sorted(ids.tolist()) == list(range(n))
    assert torch.equal(torch.cat([chunk.images for chunk in chunks]), dataset.train.images[ids])
    assert torch.equal(torch.cat([chunk.labels for chunk in chunks]), dataset.train.labels[ids])


def test_chunks_agree_with_what_avalanche_serves_sample_by_sample():
    dataset = colours()
    stream = iid_stream(dataset, 5, seed=0)
    for chunk, experience in zip(stream, stream.experiences, strict=True):
        images, labels = zip(*experience.dataset, strict=True)
        assert torch.equal(torch.tensor(labels), chunk.labels)
        torch.testing.assert_close(torch.stack(images), dataset.normalization(chunk.images))


def test_the_order_comes_from_the_seed_alone():
    dataset = colours()

    def order(seed):
        return torch.cat([chunk.sample_ids for chunk in iid_stream(dataset, 4, seed=seed)]).tolist()

    first = order(1)
    torch.manual_seed(99)
    assert order(1) == first
    assert order(2) != first


def test_a_stream_can_be_read_again_and_sliced():
    stream = iid_stream(colours(), 4, seed=0)
    assert torch.equal(stream[1].sample_ids, list(stream)[1].sample_ids)
    assert [chunk.step for chunk in stream[2:]] == [2, 3]
    assert stream[-1].step == 3
    with pytest.raises(IndexError):
        stream[4]


@pytest.mark.parametrize("n_chunks", [0, -1, 41])
def test_more_chunks_than_samples_is_an_error(n_chunks):
    with pytest.raises(InvalidSetting, match=rf"expected 1 to 40 chunks for 40 training images, got {n_chunks}"):
        iid_stream(colours(), n_chunks, seed=0)


@pytest.mark.filterwarnings("ignore")
def test_avalanche_trains_naive_on_the_same_stream():
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.supervised import Naive

    from agent.networks import ResNet

    dataset = colours(n_train=60)
    stream = iid_stream(dataset, 6, seed=0)
    network = ResNet(8, 4, dataset.n_classes, generator=torch.Generator().manual_seed(0))
    strategy = Naive(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=10,
        train_epochs=4,
        evaluator=EvaluationPlugin(),
    )
    strategy.train(stream.experiences)
    network.eval()
    predicted = network(dataset.normalization(dataset.test.images)).argmax(dim=1)
    assert (predicted == dataset.test.labels).float().mean() > 0.6
