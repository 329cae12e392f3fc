"""Policies, one family a file."""

from agent.policies.protocol import Action as Action
from agent.policies.protocol import Observation as Observation
from agent.policies.protocol import Policy as Policy
from agent.policies.static import StaticPolicy as StaticPolicy
