"""Arguments are pointed at: of all pieces of the request and the last result, the best by a ranker's weights.

    "Send what is in rent.txt to Mina."    send_message.to: Send 0.1, Send what -3.0, ..., Mina 5.2  -> Mina

A piece is described by its shape and its neighbours (spans.py), not by what it says: so names that no dialogue has are
found. An argument takes only kinds of pieces that it took in the dialogues (a path a file's name, a text what stands in
quotes or what a tool said), and only what its JSON schema allows.

Book: 15.1.4 에이전트의 행동. Paper: Vinyals et al. 2015, "Pointer Networks". Left out: arguments that must be reworded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from minillm.apps.agents.policies.action import Action, Done
from minillm.apps.agents.policies.spans import Piece, Vocabulary, features, forms, masked, pieces, tokens
from minillm.data.tool_tasks import ToolTask
from minillm.data.tool_world import Workplace, tool_schemas
from minillm.evaluation.ranker import Ranker

DROPOUT = 0.3
SPECIAL = {"quoted", "file"}  # pieces that stand in a request only to be an argument
Schema = Mapping[str, Any]


class Place(NamedTuple):
    """An argument of a tool, where a piece is wanted."""

    tool: str
    argument: str
    schema: Schema

    @property
    def name(self) -> str:
        return f"{self.tool}.{self.argument}"


class ArgumentPointer:
    """`ArgumentPointer().fit(dialogues).point(place, request, steps, taken)`."""

    def __init__(self) -> None:
        self.ranker = Ranker()
        self.known = Vocabulary()  # of words that are no part of an argument
        self.sources: dict[str, set[str]] = {}  # "tool.argument": kinds of pieces that it was filled with

    def fit(self, dialogues: Sequence[ToolTask], epochs: int, seed: int) -> ArgumentPointer:
        """Learn from every argument of the dialogues that stands in its request or in the result before."""
        # where the first call fails, the arguments of the others are not known
        beside = {one.shape: context(one) for one in dialogues if not (one.declines and one.calls)}
        self.known, self.sources, examples = Vocabulary(beside.values()), {}, []
        for one in dialogues:
            own = forms(beside.get(one.shape, ()))
            steps: list[Done] = []
            workplace = Workplace(one.world)
            for call in one.calls:
                for place in places_of(call.name):
                    found, rows = self.candidates(
                        place, one.request, steps, taken(call.arguments, place), own
                    )
                    values = [as_type(piece.value, place.schema) for piece in found]
                    if call.arguments[place.argument] in values:
                        gold = len(values) - 1 - values[::-1].index(call.arguments[place.argument])
                        self.sources.setdefault(place.name, set()).add(found[gold].source)
                        examples.append((rows, gold))
                steps.append(played(workplace, call.name, call.arguments))
        self.ranker.fit(examples, epochs, seed, DROPOUT)
        return self

    def candidates(
        self,
        place: Place,
        request: str,
        steps: Sequence[Done],
        before: Sequence[Any],
        own: Collection[str] = (),
    ) -> tuple[list[Piece], list[list[str]]]:
        """(pieces that the schema allows, what describes each). before: what the call's other arguments are."""
        every = tokens(request)
        found = [
            piece
            for piece in pieces(request, steps[-1].observation if steps else None)
            if fits(piece, place.schema)
        ]
        rows = []
        for piece in found:
            row = [f"{place.name}|{one}" for one in features(piece, every, self.known, own)]
            if piece.kind == "number" and before:  # what is first, a subtraction wants to know
                row += [f"{one} {before[0]}" for one in row]
            rows.append(row + [f"{place.name}|taken"] * (as_type(piece.value, place.schema) in before))
        return found, rows

    def point(
        self,
        place: Place,
        request: str,
        steps: Sequence[Done],
        before: Sequence[Any],
        tried: Collection[Any] = (),
    ) -> tuple[bool, Any]:
        """(whether there is anything to point at, the value). tried: values that were of no use."""
        found, rows = self.candidates(place, request, steps, before)
        kinds = self.sources.get(place.name, set())
        allowed = [
            (piece, row)
            for piece, row in zip(found, rows)
            if piece.source in kinds and as_type(piece.value, place.schema) not in tried
        ]
        if not allowed:
            return False, None
        best = self.ranker.best([row for _, row in allowed])
        return True, as_type(allowed[best][0].value, place.schema)

    def can_fill(self, tool: str, request: str, later: bool, all_special: bool = False) -> bool:
        """Whether the request holds a piece of the right kind for each argument. later: a result will be there, too.

        all_special: and the tool takes every kind of `SPECIAL` piece that the request holds.
        """
        given = Counter(piece.source for piece in pieces(request)) + Counter({"observed": int(later)})
        wanted = places_of(tool)
        kinds = [self.sources.get(place.name, set()) for place in wanted]
        if all_special and not (SPECIAL & set(given)) <= set().union(*kinds):
            return False
        numbers = sum(place.schema.get("type") == "number" for place in wanted)
        return given["number"] + given["observed"] >= numbers and all(
            any(given[one] for one in own) for own in kinds
        )


def places_of(tool: str) -> list[Place]:
    """The arguments of a tool that are no choice from a list."""
    arguments = tool_schemas([tool])[tool]["parameters"]["properties"]
    return [Place(tool, name, schema) for name, schema in arguments.items() if "enum" not in schema]


def fits(piece: Piece, schema: Schema) -> bool:
    """Whether a piece may stand where the schema is."""
    if schema.get("type") == "number":
        return piece.kind == "number"
    return "pattern" not in schema or re.search(schema["pattern"], piece.value) is not None


def as_type(text: str, schema: Schema) -> Any:
    """A piece as its schema wants it."""
    return float(text) if schema.get("type") == "number" else text


def taken(arguments: Mapping[str, Any], place: Place) -> list[Any]:
    """The values of the arguments before this one."""
    names = list(arguments)
    return [arguments[name] for name in names[: names.index(place.argument)]]


def played(workplace: Workplace, name: str, arguments: Mapping[str, Any]) -> Done:
    """A call of a dialogue, carried out."""
    try:
        return Done(Action(name, arguments), getattr(workplace, name)(**arguments), False)
    except ValueError as error:
        return Done(Action(name, arguments), str(error), True)


def context(task: ToolTask) -> frozenset[str]:
    """The words of a request that are no part of an argument."""
    inside = " ".join(str(value) for call in task.calls for value in call.arguments.values()).casefold()
    return frozenset(word for word in masked(task.request) if word not in inside)
