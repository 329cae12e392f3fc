"""The policies, by their names on the command line."""

from agent.policies.bandits import LinUCBPolicy, ThompsonPolicy
from agent.policies.budget import BudgetPolicy
from agent.policies.coin import RandomPolicy
from agent.policies.forecast import ForecastPolicy
from agent.policies.periodic import PeriodicPolicy
from agent.policies.protocol import Policy
from agent.policies.static import InterleavedPolicy, StaticPolicy
from agent.policies.thresholds import (
    DisagreementPolicy,
    LossPolicy,
    NoveltyPolicy,
    SleepPolicy,
    TariffPolicy,
    UncertaintyPolicy,
)

POLICIES: dict[str, type[Policy]] = {
    "static": StaticPolicy,
    "interleaved": InterleavedPolicy,
    "periodic": PeriodicPolicy,
    "random": RandomPolicy,
    "loss": LossPolicy,
    "uncertainty": UncertaintyPolicy,
    "disagreement": DisagreementPolicy,
    "novelty": NoveltyPolicy,
    "tariff": TariffPolicy,
    "sleep": SleepPolicy,
    "budget": BudgetPolicy,
    "linucb": LinUCBPolicy,
    "thompson": ThompsonPolicy,
    "forecast": ForecastPolicy,
}
"""To add a policy, add a line."""
