"""Policies, one family a file."""

from agent.operations import Action as Action
from agent.policies.bandits import LinUCBPolicy as LinUCBPolicy
from agent.policies.bandits import ThompsonPolicy as ThompsonPolicy
from agent.policies.budget import BudgetPolicy as BudgetPolicy
from agent.policies.coin import RandomPolicy as RandomPolicy
from agent.policies.file import PolicyFile as PolicyFile
from agent.policies.file import policy_file_text as policy_file_text
from agent.policies.file import read_policy_file as read_policy_file
from agent.policies.forecast import ForecastPolicy as ForecastPolicy
from agent.policies.observation import Observation as Observation
from agent.policies.periodic import PeriodicPolicy as PeriodicPolicy
from agent.policies.protocol import Policy as Policy
from agent.policies.registry import POLICIES as POLICIES
from agent.policies.scoring import LinearPolicy as LinearPolicy
from agent.policies.scoring import NetworkPolicy as NetworkPolicy
from agent.policies.scoring import ScoringPolicy as ScoringPolicy
from agent.policies.static import InterleavedPolicy as InterleavedPolicy
from agent.policies.static import StaticPolicy as StaticPolicy
from agent.policies.thresholds import DisagreementPolicy as DisagreementPolicy
from agent.policies.thresholds import LossPolicy as LossPolicy
from agent.policies.thresholds import NoveltyPolicy as NoveltyPolicy
from agent.policies.thresholds import TariffPolicy as TariffPolicy
from agent.policies.thresholds import UncertaintyPolicy as UncertaintyPolicy
