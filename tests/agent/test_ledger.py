from agent.ledger import Ledger
from agent.work import ACCOUNTS, Work


def test_work_adds_up_amount_by_amount() -> None:
    assert Work(1, 20, 0.5, 3) + Work(10, 200, 0.25, 30) == Work(flops=11, nbytes=220, seconds=0.75, samples=33)
    assert Work(1, 2, 3.0, 4) + Work() == Work(1, 2, 3.0, 4)


def test_accounts_are_charged_apart() -> None:
    ledger = Ledger()
    ledger.charge("learn", Work(flops=5, samples=1))
    ledger.charge("learn", Work(flops=7, seconds=1.5))
    ledger.charge("recall", Work(nbytes=3))
    nothing = {"flops": 0, "nbytes": 0, "samples": 0}
    assert ledger.amounts() == dict.fromkeys(ACCOUNTS, nothing) | {
        "learn": {"flops": 12, "nbytes": 0, "samples": 1},
        "recall": {"flops": 0, "nbytes": 3, "samples": 0},
    }
    assert ledger.seconds() == dict.fromkeys(ACCOUNTS, 0.0) | {"learn": 1.5}


def test_a_fork_keeps_its_own_books() -> None:
    ledger = Ledger()
    ledger.charge("learn", Work(flops=5))
    fork = ledger.fork()
    fork.charge("learn", Work(flops=1))
    ledger.charge("memorize", Work(flops=2))
    assert (fork.accounts["learn"].flops, fork.accounts["memorize"].flops) == (6, 0)
    assert (ledger.accounts["learn"].flops, ledger.accounts["memorize"].flops) == (5, 2)
