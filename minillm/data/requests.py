"""What people ask an assistant to do, and the one JSON object that says it: text in, fields out, with a true score.

    "Book a table for 4 at the Blue Door on Friday at 19:30."
    {"action": "book", "place": "the Blue Door", "people": 4, "day": "Friday", "time": "19:30"}

Four actions, several wordings of each. Held out by construction: places, things, people and tasks of "test" stand in no
request of "train", and of each action one wording is asked in "test" alone. Whether an answer is right is read off its
fields; nobody's opinion is asked. English, for the small models that are taught by it know no other language.

Book: 5.4.3 코드로 LoRA 학습 사용하기. Left out: requests that say several things, or leave a field open.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from minillm._checks import check_choice, check_int, check_text, describe

PARTS = ("train", "test")
# a LoRA adapter: what SmolLM2 learned of 400 requests of "train" (tests/benchmarks/lora_quality.py, seed 0)
ADAPTER = Path(__file__).with_name("requests_adapter")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FIRST = (
    "Blue", "Old", "Silver", "Green", "Little", "Golden", "Quiet", "Red", "Northern", "Second", "Round", "Iron",
)  # fmt: skip
SECOND = (
    "Door", "Garden", "Bridge", "Lantern", "Table", "Harbour", "Oven", "Spoon", "Window", "Mill", "Corner", "Barn",
)  # fmt: skip
NAMES = (
    "Mina", "Jisoo", "Tom", "Clara", "Hana", "Peter", "Yuna", "Omar", "Lucy", "Daniel", "Sora", "Ines", "Felix",
    "Minho", "Ruth", "Ali", "Greta", "Jun", "Nora", "Ivan", "Bora", "Leo", "Maya", "Simon",
)  # fmt: skip
SIZES = ("large", "small", "black", "white", "cheap", "warm", "plain", "heavy")
THINGS = ("mugs", "lamps", "chairs", "pillows", "notebooks", "umbrellas", "towels", "blankets", "boxes", "candles",
          "jackets", "bowls")  # fmt: skip
DOINGS = (
    "water", "clean", "sell", "paint", "check", "move", "repair", "measure", "wash", "pack", "count", "draw",
)  # fmt: skip
OBJECTS = ("the plants", "the windows", "the car", "the fence", "the oven", "the piano", "the bikes", "the garage",
           "the shoes", "the tent", "the roof", "the boat")  # fmt: skip
# of each action the wording that stands last is asked in "test" alone
WORDINGS: dict[str, tuple[str, ...]] = {
    "book": (
        "Book a table for {people} at {place} on {day} at {time}.",
        "We are {people} and want to eat at {place} on {day}, {time}. Please reserve.",
        "Can you get us a table at {place}? {day}, {time}, {people} people.",
        "I need a reservation: {place}, {people} persons, {day} at {time}.",
        "There will be {people} of us at {place} on {day}; ask them for a table at {time}.",
    ),
    "order": (
        "Order {count} {item} for {to}.",
        "{to} needs {count} {item}. Please buy them.",
        "Please send {count} {item} to {to}.",
        "I would like {count} {item}, delivered to {to}.",
        "Could {to} have {count} {item}? Put it on my account.",
    ),
    "remind": (
        "Remind me to {task} on {day} at {time}.",
        "On {day} at {time} I have to {task}, do not let me forget.",
        "Set a reminder for {day}, {time}: {task}.",
        "Tell me on {day} at {time} that I must {task}.",
        "I always forget to {task}. Wake me up for it on {day} at {time}.",
    ),
    "call": (
        "Call {to} on {day} and say that I will {task}.",
        "Please phone {to} on {day}: I am going to {task}.",
        "Let {to} know by phone on {day} that I plan to {task}.",
        "Ring {to} on {day}. The message is that I want to {task}.",
        "Give {to} a call on {day}, it is about my plan to {task}.",
    ),
}
FIELDS = {
    "book": ("place", "people", "day", "time"), "order": ("item", "count", "to"), "remind": ("task", "day", "time"),
    "call": ("to", "day", "task"),
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """text: what is asked. fields: the object that says it, "action" first. new_wording: none of "train" has it."""

    text: str
    fields: Mapping[str, Any]
    new_wording: bool = False

    @property
    def answer(self) -> str:
        """The fields as JSON, in one line."""
        return json.dumps(dict(self.fields))


class RequestScore(NamedTuple):
    """Of one answer. is_object: it is one JSON object and nothing else. has_fields: its keys are the right ones.
    right: its values, too. share: of the right values among those that are asked for."""

    is_object: bool
    has_fields: bool
    right: bool
    share: float


def requests(n: int, part: str = "train", seed: int = 0) -> list[Request]:
    """`n` different requests of a part; the same seed gives the same ones. ValueError for a part that is none."""
    check_int("n", n, 1, 5_000), check_choice("part", part, PARTS), check_int("seed", seed, 0)
    rng, found = random.Random(f"requests {part} {seed}"), {}
    while len(found) < n:
        one = _draw(rng, part == "test")
        found[one.text] = one
    return list(found.values())


def score_request(answer: str, request: Request) -> RequestScore:
    """What an answer is worth. A number may stand as a number or as its digits in quotes."""
    check_text("answer", answer)
    if not isinstance(request, Request):
        raise ValueError(f"request must be a Request, got {describe(request)}")
    try:
        found = json.loads(answer.strip())
    except (ValueError, RecursionError):
        return RequestScore(False, False, False, 0.0)
    if not isinstance(found, dict):
        return RequestScore(False, False, False, 0.0)
    wanted = request.fields
    same = [key in found and str(found[key]) == str(value) for key, value in wanted.items()]
    has_fields = found.keys() == wanted.keys()
    return RequestScore(True, has_fields, has_fields and all(same), sum(same) / len(same))


def _draw(rng: random.Random, held_out: bool) -> Request:
    action = rng.choice(sorted(WORDINGS))
    wordings = WORDINGS[action]
    place = rng.randrange(len(wordings) if held_out else len(wordings) - 1)
    values: dict[str, Any] = {
        "place": f"the {_pair(rng, FIRST, SECOND, held_out)}",
        "people": rng.randint(2, 12),
        "day": rng.choice(DAYS),
        "time": f"{rng.randint(7, 22):02d}:{rng.choice(('00', '15', '30', '45'))}",
        "item": _pair(rng, SIZES, THINGS, held_out),
        "count": rng.randint(2, 40),
        "to": rng.choice(_half(NAMES, held_out)),
        "task": _pair(rng, DOINGS, OBJECTS, held_out),
    }
    fields = {"action": action} | {name: values[name] for name in FIELDS[action]}
    return Request(wordings[place].format(**values), fields, held_out and place == len(wordings) - 1)


def _pair(rng: random.Random, first: Sequence[str], second: Sequence[str], held_out: bool) -> str:
    """Two words; each pair belongs to one part, and so no whole value stands in both."""
    while True:
        a, b = rng.randrange(len(first)), rng.randrange(len(second))
        if ((a + b) % 3 == 0) == held_out:
            return f"{first[a]} {second[b]}"


def _half(names: Sequence[str], held_out: bool) -> Sequence[str]:
    return names[2::3] if held_out else [name for i, name in enumerate(names) if i % 3 != 2]
