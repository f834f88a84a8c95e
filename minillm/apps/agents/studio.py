"""A multimodal agent (멀티 모달 에이전트): it looks for a picture, draws one, looks at it, and draws again.

    search_pictures(query) -> names        describe_picture(name) -> text        draw_picture(prompt, seed) -> name

A model of texts never holds a picture: it holds its name, and the studio keeps the pixels. The three functions behind
the tools are handed in (a diffusion model, a CLIP, a store of pictures). `LookPolicy` draws until what it sees agrees
with what was asked for: best of n, with an eye that can be wrong.

Book: 15.4.3 멀티 모달 에이전트. Peer: AutoGen's MultimodalConversableAgent. Papers: Yang et al. 2023, "Idea2Img";
Gao et al. 2023, on what an imperfect judge does to best of n. Left out: editing a picture, several in one answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from minillm._checks import check_flag, check_function, check_int
from minillm.apps.agents.policies.action import Action, Done, Tools
from minillm.apps.agents.tools import Tool, tool_from

MOST_PICTURES, MOST_FOUND = 200, 3


class Studio:
    """draw: (prompt, seed) -> picture. describe: picture -> text. search: (query, how many) -> pictures, best first.

    pictures: name -> picture, "picture1" the first. Where a function is None, there is no such tool.
    """

    def __init__(
        self,
        draw: Callable[[str, int], Any] | None = None,
        describe: Callable[[Any], str] | None = None,
        search: Callable[[str, int], Iterable[Any]] | None = None,
    ) -> None:
        self.draw, self.describe = check_function("draw", draw), check_function("describe", describe)
        self.search = check_function("search", search)
        self.pictures: dict[str, Any] = {}

    def tools(self, seconds: float = 60.0) -> list[Tool]:
        """The tools, one for each function."""

        def search_pictures(query: str) -> list:
            """Look for pictures in the collection; gives their names."""
            return [self.kept(one) for one in self.search(query, MOST_FOUND)]

        def describe_picture(name: str) -> str:
            """Look at a picture and say what is on it."""
            if name not in self.pictures:
                raise ValueError(f"there is no picture {name[:40]!r}, there are {[*self.pictures]}")
            return self.describe(self.pictures[name])

        def draw_picture(prompt: str, seed: int = 0) -> str:
            """Draw a picture of a prompt; another seed draws another one. Gives its name."""
            return self.kept(self.draw(prompt, seed))

        made = {"search": search_pictures, "describe": describe_picture, "draw": draw_picture}
        return [
            tool_from(one, seconds=seconds) for name, one in made.items() if getattr(self, name) is not None
        ]

    def kept(self, picture: Any) -> str:
        """The name of a picture that is kept from now on."""
        if len(self.pictures) >= MOST_PICTURES:
            raise ValueError(f"the studio holds {MOST_PICTURES} pictures, and no more")
        name = f"picture{len(self.pictures) + 1}"
        self.pictures[name] = picture
        return name


class LookPolicy:
    """agreement: (request, description) -> 0..1. tries: pictures drawn at most. looks_first: searches the collection.

    Ends with the first picture that agrees fully, else with the best; the earlier one of equals.
    """

    def __init__(
        self, agreement: Callable[[str, str], float], tries: int = 3, looks_first: bool = False
    ) -> None:
        self.agreement, self.tries = check_function("agreement", agreement), check_int("tries", tries, 1, 50)
        self.looks_first = check_flag("looks_first", looks_first)

    def decide(self, request: str, steps: Sequence[Done], tools: Tools) -> Action:
        """Look at what was not looked at, else draw, else answer: read off the steps alone."""
        if self.looks_first and not steps:
            return Action("search_pictures", {"query": request})
        seen = self.seen(request, steps)
        for name in named(steps):
            if name not in seen:
                return Action("describe_picture", {"name": name})
            if seen[name] >= 1:
                return Action(None, answer=name)
        drawn = sum(step.action.tool == "draw_picture" for step in steps)
        if drawn < self.tries:
            return Action("draw_picture", {"prompt": request, "seed": drawn})
        return Action(None, answer=max(seen, key=seen.get) if seen else "I could not draw it.")

    def seen(self, request: str, steps: Sequence[Done]) -> dict[str, float]:
        """name -> how far what was seen agrees; what could not be looked at agrees with nothing."""
        return {
            step.action.arguments["name"]: 0.0 if step.failed else self.agreement(request, step.observation)
            for step in steps
            if step.action.tool == "describe_picture"
        }


def named(steps: Sequence[Done]) -> list[str]:
    """The pictures that were found or drawn, in order."""
    found: list[str] = []
    for step in steps:
        if step.action.tool == "search_pictures" and not step.failed:
            found += json.loads(step.observation)
        elif step.action.tool == "draw_picture" and not step.failed:
            found.append(step.observation)
    return found
