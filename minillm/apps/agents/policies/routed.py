"""A policy without training: the tool whose description means most nearly what a part of the request means.

    "Find out the stock of the lamp | and send it to Tom."    cos(part, each description) -> look_up, send_message

A request is cut at commas and joining words, each part goes to its nearest tool, and arguments are taken by rules: a
file's name, what stands in quotes, numbers in order, the name before 에게 or with a capital letter. Nothing was learned
for this task; the sentence encoder brings what it knows.

Book: 15.1.4 에이전트의 행동. Source: routing by similarity as in semantic-router and LangChain's EmbeddingRouter.
Left out: a threshold (a part always goes to some tool), so nothing is ever declined for want of a tool.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm.apps.agents.policies.action import Action, Done, Tools, last_word
from minillm.apps.agents.policies.pointer import as_type, fits
from minillm.apps.agents.policies.spans import Piece, pieces, tokens

PARTS = re.compile(r"[.?!,:]\s+|\s+(?:and|then|그리고)\s+|(?<=[고서])\s+")
PEOPLE = ("에게", "한테", "께")


class RoutedPolicy:
    """`RoutedPolicy(encoder)`: a SentenceEncoder, or anything whose `encode(texts)` gives rows of length 1."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self.kept: dict[str, np.ndarray] = {}

    def vectors(self, texts: Sequence[str], kind: str) -> np.ndarray:
        """(N, D); each text is encoded once."""
        named = {"prompt_name": kind} if kind in getattr(self.encoder, "prompts", {}) else {}
        new = [text for text in dict.fromkeys(texts) if f"{kind} {text}" not in self.kept]
        if new:
            rows = self.encoder.encode(new, **named)
            self.kept.update(zip((f"{kind} {text}" for text in new), rows))
        return np.stack([self.kept[f"{kind} {text}"] for text in texts])

    def nearest(self, text: str, options: dict[str, str]) -> str:
        """The option whose description is nearest."""
        near = self.vectors(list(options.values()), "passage") @ self.vectors([text], "query")[0]
        return list(options)[int(near.argmax())]

    def plan(self, request: str, tools: Tools) -> list[tuple[str, str]]:
        """(tool, part) for each part of the request; the same tool twice in a row is once."""
        told = {name: tool["description"] for name, tool in tools.items()}
        plan: list[tuple[str, str]] = []
        for part in parts(request):
            tool = self.nearest(part, told)
            if not plan or plan[-1][0] != tool:
                plan.append((tool, part))
        return plan

    def decide(self, request: str, steps: Sequence[Done], tools: Tools) -> Action:
        """The tool of the next part, or the end."""
        plan = self.plan(request, tools)
        if len(steps) >= len(plan) or (steps and steps[-1].failed):
            return last_word(steps)
        tool, part = plan[len(steps)]
        arguments: dict[str, Any] = {}
        for name, schema in tools[tool]["parameters"]["properties"].items():
            if "enum" in schema:
                arguments[name] = self.nearest(part, {value: value for value in schema["enum"]})
                continue
            found = by_rule(name, schema, request, steps, list(arguments.values()))
            if found is None:
                return last_word(())
            arguments[name] = as_type(found, schema)
        return Action(tool, arguments)


def parts(request: str) -> list[str]:
    """The request cut where one piece of work ends; quoted texts are not cut."""
    shown = re.sub(r'"[^"]*"', '"..."', request)
    return [part for part in PARTS.split(shown) if len(part.split()) > 1 or not part.isascii()] or [request]


def by_rule(name: str, schema: Any, request: str, steps: Sequence[Done], before: Sequence[Any]) -> str | None:
    """The argument's value, None where no rule finds one."""
    observation = steps[-1].observation if steps else None
    found = [one for one in pieces(request, observation) if fits(one, schema)]
    if schema.get("type") == "number":
        observed = [one for one in found if one.start < 0]
        order = [*observed, *(one for one in found if one.start >= 0)]
        return next((one.value for one in order if float(one.value) not in before), None)
    wanted = {"path": "file", "text": "quoted"}.get(name)
    if wanted:
        kept = [one.value for one in found if one.kind == wanted]
        return observation if name == "text" and observation is not None else next(iter(kept), None)
    return next(iter(named(name, found, request)), None)


def named(name: str, found: Sequence[Piece], request: str) -> list[str]:
    """Single words that may be a person, or a thing: by particle or capital letter; after "the", or standing first."""
    words = tokens(request)
    if name == "to":
        return [one.value for one in found if one.particle in PEOPLE] + [
            one.value for one in found if one.start > 0 and one.kind == "words" and one.value[:1].isupper()
        ]
    after = [
        one.value
        for one in found
        if one.kind == "words"
        and one.start > 0
        and words[one.start - 1].seen in ("the", "about", "on", "for")
    ]
    return after[::-1] + [one.value for one in found if one.kind == "words" and one.particle]
