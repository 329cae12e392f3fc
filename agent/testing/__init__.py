"""Check that a component keeps its contract: one call names the first promise that it breaks, with a small example.

from agent.testing import check_memory

def test_my_memory():
    check_memory(lambda: MyMemory(n_classes=4), n_classes=4)
"""

from agent.testing.learner import check_learner as check_learner
from agent.testing.memory import check_memory as check_memory
from agent.testing.network import check_network as check_network
from agent.testing.policy import check_policy as check_policy
from agent.testing.promises import BrokenPromise as BrokenPromise
from agent.testing.recipe import check_recipe as check_recipe
