"""Brains for an agent beside a language model: routing by meaning, a model of a few thousand weights, a script."""

from minillm.apps.agents.policies.action import Action, Done, Policy, last_word, no_tool
from minillm.apps.agents.policies.routed import RoutedPolicy
from minillm.apps.agents.policies.scripted import Declining, Obedient, Oracle
from minillm.apps.agents.policies.trained import TrainedPolicy

__all__ = [
    "Action",
    "Declining",
    "Done",
    "Obedient",
    "Oracle",
    "Policy",
    "RoutedPolicy",
    "TrainedPolicy",
    "last_word",
    "no_tool",
]
