"""Performing an action for the lifetimes of a branch, and billing it to each."""

from agent.accounting.work import Bill, Charge
from agent.data.chunk import Chunk
from agent.lifetime.branch import Branch
from agent.operations import Action


def perform(branch: Branch, action: Action, chunk: Chunk) -> None:
    """Perform an action, and charge each lifetime; those that observe outputs have paid for them already.

    The others pay for what the operation was spared: reading keys, which may take less than the outputs did.
    """
    account = action.operation.outputs_account
    for cohort in branch.in_turn():
        known = cohort.look if account else None
        bill = cohort.agent.perform(action, chunk, known.outputs if known else None)
        in_full = _with_forward_pass(bill, Charge(account, known.reading, chunk.price)) if account and known else bill
        for lifetime in cohort.lifetimes:
            lifetime.pay(bill if lifetime.observes else in_full)


def _with_forward_pass(bill: Bill, forward: Charge) -> Bill:
    """A bill with the forward pass that its operation was spared.

    It goes into the last charge of its account and price, as if the operation had done it: two charges would round
    differently.
    """
    for i, charge in reversed(list(enumerate(bill))):
        if (charge.account, charge.price) == (forward.account, forward.price):
            return [*bill[:i], charge._replace(work=forward.work + charge.work), *bill[i + 1 :]]
    return [*bill, forward]
