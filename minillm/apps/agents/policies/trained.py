"""A policy that learned from dialogues: which tools does the request call for, in what order, with which arguments?

    called for   sigmoid(w x + b) > 1/2, with x the request's vector: hashed n-grams, or a sentence encoder's
    order        tools that only look before tools that change something; then as in the dialogues, on average
    argument     the likeliest value of a list, in the same way; else the piece of the request that a ranker points at

Each tool is asked for by itself, so orders that no dialogue has can come out. The plan is made of the request alone,
before any tool has said a word; a tool's result can only become the next tool's argument. Where a tool of the plan is not
offered, nothing is begun.

Book: 15.1.2 에이전트의 두뇌, 15.1.4 에이전트의 행동. Trained on `data.tool_dialogues`, examined on `data.tool_tasks`.
Left out: conditions ("if fewer than 5"), doing one thing twice, and requests that need a second look.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from minillm._checks import describe
from minillm.apps.agents.policies.action import Action, Done, last_word, no_tool
from minillm.apps.agents.policies.spans import Piece, Token, features, masked, pieces, tokens
from minillm.apps.guardrails.classifier import logistic_regression
from minillm.apps.guardrails.ngram_encoder import NgramEncoder
from minillm.data.tool_tasks import ToolTask
from minillm.data.tool_world import Workplace, tool_schemas
from minillm.evaluation.ranker import Ranker

DROPOUT, L2, STEPS = 0.3, 1e-4, 100  # chosen on wordings of the dialogues that were left out


class TrainedPolicy:
    """`TrainedPolicy().fit(tool_dialogues(1000))`; then `decide` as every policy."""

    def __init__(self, encoder: Any = None) -> None:
        self.encoder = NgramEncoder(dim=1024) if encoder is None else encoder
        self.detectors: dict[str, tuple[np.ndarray, float]] = {}  # "tool" or "tool.argument=value": (w, b)
        self.pointer = Ranker()
        self.vectors: dict[str, np.ndarray] = {}  # of the last requests
        self.tools: list[str] = []
        self.known: frozenset[str] = frozenset()

    def fit(self, dialogues: Iterable[ToolTask], epochs: int = 6, seed: int = 0) -> TrainedPolicy:
        """Learn both rankers from the calls of the dialogues. ValueError where there are none."""
        dialogues = list(dialogues)
        for one in dialogues:
            if not isinstance(one, ToolTask):
                raise ValueError(f"dialogues must hold ToolTask, got {describe(one)}")
        if not dialogues:
            raise ValueError("dialogues must hold at least one task, got none")
        self.tools = sorted({call.name for one in dialogues for call in one.calls})
        self.known = common_words(dialogues)
        self.places = mean_places(dialogues)
        self._learn_choices(dialogues)
        points = []
        for one in dialogues:
            steps: list[Done] = []
            place = Workplace(one.world)
            for call in one.calls:
                points += self._points(one.request, steps, call.name, call.arguments)
                steps = [*steps, played(place, call.name, call.arguments)]
        self.pointer.fit(points, epochs, seed, DROPOUT)
        return self

    def _learn_choices(self, dialogues: Sequence[ToolTask]) -> None:
        """A detector for each tool, on all requests; one for each listed value, on the requests that use its tool."""
        x = self.encoder.encode([hidden(one.request) for one in dialogues])  # (N, D)
        for name in self.tools:
            y = np.array([name in full_chain(one) for one in dialogues], float)
            self.detectors[name] = logistic_regression(x, y, L2, STEPS)
            for argument, schema in tool_schemas()[name]["parameters"]["properties"].items():
                told = [
                    next((c.arguments[argument] for c in one.calls if c.name == name), None)
                    for one in dialogues
                ]
                rows = [row for row, value in enumerate(told) if value is not None]
                for value in schema.get("enum", ()):
                    y = np.array([told[row] == value for row in rows], float)
                    self.detectors[f"{name}.{argument}={value}"] = logistic_regression(x[rows], y, L2, STEPS)

    def _score(self, request: str, detector: str) -> float:
        """w x + b."""
        if request not in self.vectors:
            self.vectors = {request: self.encoder.encode([hidden(request)])[0]}
        w, b = self.detectors[detector]
        return float(self.vectors[request] @ w + b)

    def plan(self, request: str) -> list[str]:
        """The tools that the request calls for, in order; [] for none."""
        called = [name for name in self.tools if self._score(request, name) > 0]
        return sorted(called, key=lambda name: (name in Workplace.CHANGES, self.places[name], name))

    def decide(self, request: str, steps: Sequence[Done], tools: Mapping[str, Mapping[str, Any]]) -> Action:
        """The next call, or the end."""
        if not self.tools:
            raise ValueError("fit(dialogues) comes before decisions")
        plan = self.plan(request)
        missing = [name for name in plan if name not in tools]
        if missing:
            return no_tool(missing[0])
        if len(steps) >= len(plan) or steps[-1:] and steps[-1].failed:
            return last_word(steps)
        name, arguments = plan[len(steps)], {}
        for argument, schema in tools[name]["parameters"]["properties"].items():
            if "enum" in schema:
                scores = {
                    value: self._score(request, f"{name}.{argument}={value}") for value in schema["enum"]
                }
                arguments[argument] = max(scores, key=scores.__getitem__)
                continue
            values, rows = self._candidates(request, steps, name, argument, arguments, schema)
            if not values:
                return Action(None, answer=f"I cannot do this: I found no {argument} in the request.")
            arguments[argument] = values[self.pointer.best(rows)]
        return Action(name, arguments)

    # --- features ---

    def _candidates(
        self,
        request: str,
        steps: Sequence[Done],
        name: str,
        argument: str,
        before: Mapping[str, Any],
        schema: Mapping[str, Any],
    ) -> tuple[list[Any], list[list[str]]]:
        """(values, features of each) that an argument may take."""
        place, every = f"{name}.{argument}", tokens(request)
        found = pieces(request, steps[-1].observation if steps else None)
        if schema.get("type") in ("number", "integer"):
            found = [piece for piece in found if piece.kind == "number"]
        if "pattern" in schema:
            found = [piece for piece in found if re.search(schema["pattern"], piece.value)]
        values = [as_type(piece.value, schema) for piece in found]
        rows = [self._row(place, piece, value, every, before) for piece, value in zip(found, values)]
        return values, rows

    def _row(
        self, place: str, piece: Piece, value: Any, every: Sequence[Token], before: Mapping[str, Any]
    ) -> list[str]:
        own = [f"{place}|{one}" for one in features(piece, every, self.known)]
        return own + ([f"{place}|taken"] if value in before.values() else [])

    def _points(
        self, request: str, steps: Sequence[Done], name: str, gold: Mapping[str, Any]
    ) -> list[tuple[list[list[str]], int]]:
        """The examples that one call gives; none for an argument that stands nowhere."""
        examples, before = [], {}
        for argument, schema in tool_schemas()[name]["parameters"]["properties"].items():
            values, rows = (
                ((), ()) if "enum" in schema
                else self._candidates(request, steps, name, argument, before, schema)
            )  # fmt: skip
            if gold[argument] in values:
                examples.append((rows, values.index(gold[argument])))
            before[argument] = gold[argument]
        return examples


def full_chain(task: ToolTask) -> tuple[str, ...]:
    """What the request calls for, also where the first call already failed: "look_up:price calculate" as names."""
    return () if task.kind == "none" else tuple(step.partition(":")[0] for step in task.kind.split())


def mean_places(dialogues: Sequence[ToolTask]) -> dict[str, float]:
    """Where each tool stands in requests that call for several, 0 first to 1 last; 0 for one that is always alone."""
    places: dict[str, list[float]] = {}
    for one in dialogues:
        chain = full_chain(one)
        for at, name in enumerate(chain):
            places.setdefault(name, []).extend([at / (len(chain) - 1)] if len(chain) > 1 else [])
    return {name: sum(found) / len(found) if found else 0.0 for name, found in places.items()}


def common_words(dialogues: Sequence[ToolTask]) -> frozenset[str]:
    """Words that are no part of an argument: those that stand in requests of at least three different values."""
    beside: Counter[str] = Counter()
    for one in dialogues:
        inside = " ".join(str(value) for call in one.calls for value in call.arguments.values()).casefold()
        beside.update({word for word in masked(one.request) if word not in inside})
    return frozenset(word for word, count in beside.items() if count >= 3)


def hidden(request: str) -> str:
    """The request without what it is about: names of files, numbers and quoted texts as <file>, <number>, <quoted>."""
    return " ".join(masked(request))


def as_type(text: str, schema: Mapping[str, Any]) -> Any:
    """A piece as its schema wants it."""
    return {"number": float, "integer": int}.get(schema.get("type"), str)(text)


def played(place: Workplace, name: str, arguments: Mapping[str, Any]) -> Done:
    """A call of a dialogue, carried out."""
    try:
        return Done(Action(name, arguments), getattr(place, name)(**arguments), False)
    except ValueError as error:
        return Done(Action(name, arguments), str(error), True)
