import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from agent.memory import CacheMemory
from agent.networks.flops import flops_per_sample
from agent.networks.outputs import Outputs
from tests.agent.toys import N_CLASSES, toy_network


@pytest.mark.parametrize(
    ("depth", "width", "n_classes", "height", "breadth"), [(8, 4, 3, 8, 8), (14, 2, 100, 32, 32), (8, 3, 5, 9, 14)]
)
def test_a_sample_costs_its_share_of_a_directly_counted_batch(
    depth: int, width: int, n_classes: int, height: int, breadth: int
) -> None:
    network = toy_network(depth=depth, width=width, n_classes=n_classes)
    batch = 5
    with FlopCounterMode(display=False) as counter:
        logits = network(torch.randn(batch, 3, height, breadth))
        forward = counter.get_total_flops()
        logits.sum().backward()
    found = flops_per_sample(network, (3, height, breadth))
    assert forward > 0
    assert found.forward * batch == forward
    assert found.training * batch == counter.get_total_flops()


def test_resnet32_costs_what_the_paper_says() -> None:
    found = flops_per_sample(toy_network(depth=32, width=16, n_classes=10), (3, 32, 32))
    assert found.forward / 1e9 == pytest.approx(0.138, abs=0.001)
    assert found.training / 1e9 == pytest.approx(0.414, abs=0.003)


@pytest.mark.parametrize("size", [1, 4])
def test_images_of_a_few_pixels_can_be_counted(size: int) -> None:
    network = toy_network().eval()
    batch = torch.randn(2, 3, size, size)
    with FlopCounterMode(display=False) as counter:
        network(batch)
    assert flops_per_sample(network, (3, size, size)).forward * 2 == counter.get_total_flops()


@pytest.mark.parametrize(("n_entries", "n_queries", "n_thetas"), [(7, 5, 1), (2500, 600, 3), (0, 5, 2), (7, 0, 2)])
def test_recall_reports_the_flops_that_it_does(n_entries: int, n_queries: int, n_thetas: int) -> None:
    memory = CacheMemory(N_CLASSES)

    def entries(n: int) -> tuple[Outputs, torch.Tensor, torch.Tensor]:
        outputs = Outputs(torch.full((n, N_CLASSES), 1 / N_CLASSES), torch.randn(n, 6))
        return outputs, torch.randint(N_CLASSES, (n,)), torch.arange(n)

    memory.insert(*entries(n_entries))
    queries, settings = torch.randn(n_queries, 6), tuple({"theta": i + 1.0} for i in range(n_thetas))
    with FlopCounterMode(display=False) as counter:
        _, cache, work = memory.recall(queries, settings)
    assert work.flops == counter.get_total_flops()
    assert (work.flops > 0) == (n_entries > 0 and n_queries > 0)
    memory.insert(*entries(4))
    with FlopCounterMode(display=False) as counter:
        _, _, work = memory.recall(queries, settings, cache)
    assert work.flops == counter.get_total_flops() == 2 * n_queries * 4 * (6 + N_CLASSES * n_thetas)
