"""Rails that ask a language model: yes or no by likelihood, and how surprising a text is.

    AskRail          p(yes) of "does this text ...?", softmax over the log probabilities of yes and no
    PerplexityRail   the highest perplexity of a window of the text: random letters surprise, polite words do not

A small model prefers one of the two words whatever the text is, so p(yes) > 1/2 means little; the threshold is taken
from data (`evaluation.threshold_at`). The text stands in the prompt: it may speak to the judge ("answer No"), and rails
that ask nobody stand before this one. A polite attack is ordinary language: perplexity cannot find it, and the lesson
shows by how much it fails.

Papers: Alon and Kamfonas 2023, "Detecting Language Model Attacks with Perplexity"; Jain et al. 2023. Book: 9.3.1 데이터
검증 방식 (LLM 기반). Peers: NeMo Guardrails' self check rails, Llama Guard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minillm._checks import check_int, check_number, check_text, describe
from minillm.apps.guardrails.verdict import PASSED, RailError, Verdict
from minillm.apps.guardrails.views import without_surrogates
from minillm.evaluation import perplexity
from minillm.inference.chat import ChatModel

PROMPT = "{question}\n\nText: {text}\n\nAnswer with {yes} or {no}."


class AskRail:
    """Refuses a text for which the model's probability of the first option is `threshold` or more.

    question: one that a text is refused for if the answer is yes. options: (yes, no) in the model's language.
    most: characters a prompt; a longer text is asked about in pieces, each half over the one before.
    """

    name = "ask"

    def __init__(
        self,
        model: ChatModel,
        question: str,
        threshold: float,
        options: Sequence[str] = ("Yes", "No"),
        most: int = 1500,
    ):
        if not isinstance(model, ChatModel):
            raise ValueError(f"model must be a ChatModel, got {describe(model)}")
        if len(options) != 2 or options[0] == options[1]:
            raise ValueError(f"options must be two texts, yes and no, got {describe(options)}")
        self.model, self.options = model, [check_text("option", one) for one in options]
        self.question = check_text("question", question)
        self.threshold = check_number("threshold", threshold, 0, 1)
        self.most = check_int("most", most, 1)

    def probability(self, text: str) -> float:
        """p(yes), the highest of the pieces. RailError where the model fails."""
        step, yes = max(1, self.most // 2), 0.0
        text = without_surrogates(text)
        for start in range(0, max(1, len(text) - self.most + step), step):
            piece = text[start : start + self.most]
            asked = PROMPT.format(question=self.question, text=piece, yes=self.options[0], no=self.options[1])
            try:
                _, shares = self.model.choose([{"role": "user", "content": asked}], self.options)
                yes = max(yes, float(shares[0]))
            except Exception as error:
                raise RailError(
                    f"{self.name}: the model gave no probabilities ({type(error).__name__}: {error})"
                ) from error
        return yes

    def __call__(self, text: str) -> Verdict:
        p = self.probability(text)
        return PASSED if p < self.threshold else Verdict(False, f"{self.name}: probability {p:.2f}")


class PerplexityRail:
    """Refuses a text with a window whose perplexity is `threshold` or more. Any causal model with its tokenizer.

    window: tokens that are judged together; each window is half over the one before. A text of one token passes.
    """

    name = "perplexity"

    def __init__(self, model: Any, tokenizer: Any, threshold: float, window: int = 64):
        if not callable(model) or not callable(getattr(tokenizer, "encode", None)):
            raise ValueError(
                f"expected a model and its tokenizer, got {describe(model)} and {describe(tokenizer)}"
            )
        self.model, self.tokenizer = model, tokenizer
        self.threshold = check_number("threshold", threshold, 1)
        self.window = check_int("window", window, 2)

    def highest(self, text: str) -> float:
        """The highest perplexity of a window; 1.0 for a text of fewer than two tokens."""
        ids = self.tokenizer.encode(without_surrogates(text), allowed_special=set())
        step, found = self.window // 2, 1.0
        for start in range(0, max(1, len(ids) - self.window + step), step):
            part = ids[start : start + self.window]
            if len(part) >= 2:
                try:
                    found = max(found, perplexity(self.model, part, self.window))
                except ValueError as error:
                    raise RailError(f"{self.name}: {error}") from error
        return found

    def __call__(self, text: str) -> Verdict:
        found = self.highest(text)
        return PASSED if found < self.threshold else Verdict(False, f"{self.name}: {found:,.0f}")
