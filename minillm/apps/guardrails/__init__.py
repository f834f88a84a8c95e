"""Guardrails: what goes into a model and what comes out is checked, rail by rail."""

from minillm.apps.guardrails.classifier import ClassifierRail, TextClassifier
from minillm.apps.guardrails.flows import Flow, Flows
from minillm.apps.guardrails.guard import Guard
from minillm.apps.guardrails.guarded_chat import GuardedChat
from minillm.apps.guardrails.hidden import hidden_texts
from minillm.apps.guardrails.model_rails import AskRail, PerplexityRail
from minillm.apps.guardrails.ngram_encoder import NgramEncoder
from minillm.apps.guardrails.personal import PersonalDataRail, find_personal, masked
from minillm.apps.guardrails.rules import LengthRail, PhraseRail
from minillm.apps.guardrails.sentence_stream import checked_stream, sentences_of
from minillm.apps.guardrails.topics import TopicRail
from minillm.apps.guardrails.verdict import GuardError, ModelError, RailError, RefusedError, Verdict
from minillm.apps.guardrails.views import joined_view, letters_view, plain_view

__all__ = [
    "AskRail",
    "ClassifierRail",
    "Flow",
    "Flows",
    "Guard",
    "GuardError",
    "GuardedChat",
    "LengthRail",
    "ModelError",
    "NgramEncoder",
    "PerplexityRail",
    "PersonalDataRail",
    "PhraseRail",
    "RailError",
    "RefusedError",
    "TextClassifier",
    "TopicRail",
    "Verdict",
    "checked_stream",
    "find_personal",
    "hidden_texts",
    "joined_view",
    "letters_view",
    "masked",
    "plain_view",
    "sentences_of",
]
