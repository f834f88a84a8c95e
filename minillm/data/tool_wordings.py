"""How tools are asked for, in words: two JSON files, one reader.

    "<pre>(add|sum up) {a} and {b}."  ->  "One more thing: sum up {a} and {b}."       choices in (), groups in <>

`tool_wordings.json` has the values, the groups, the wordings to learn from and those of the examinations;
`tool_ways.json` has more wordings to learn from, in ways of asking ("reason first", "complaint", ...): each has every
kind of one-tool task twice or more in both languages, so that a whole way can be left out and be examined on.

Book: 15.3 에이전트 평가하기. Left out: a grammar of requests; every sentence was written by one hand.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from minillm._files import read_json

WORDINGS = Path(__file__).with_name("tool_wordings.json")
WAYS = Path(__file__).with_name("tool_ways.json")  # way of asking -> language -> kind -> wordings
LANGUAGES = ("en", "ko")


@lru_cache(maxsize=1)
def read() -> dict[str, Any]:
    """Both files: "values", "groups", "wordings" and "ways"."""
    ways = read_json(WAYS, "ways of asking for tools")
    return {**read_json(WORDINGS, "wordings of tool tasks"), "ways": ways}


def ways_of_asking() -> tuple[str, ...]:
    """The names of the ways of asking ("reason first", "complaint", ...): each has all kinds of one tool, twice."""
    return tuple(read()["ways"])


@lru_cache(maxsize=1)
def taught_wordings(without: tuple[str, ...] = ()) -> dict[str, dict[str, list[str]]]:
    """language -> kind -> the wordings that dialogues are made of. without: ways of asking that are left out."""
    parts = [read()["wordings"]["train"], *(one for way, one in read()["ways"].items() if way not in without)]
    return {
        language: {
            kind: [text for part in parts for text in part[language].get(kind, ())]
            for kind in parts[0][language]
        }
        for language in LANGUAGES
    }


def written_out(wording: str, rng: random.Random, groups: Mapping[str, str]) -> str:
    """One of the sentences that a wording with choices stands for: "(add|sum up) {a}" -> "Sum up {a}".

    groups: choices that many wordings have, by name: "<ask>add {a}" with ask = "(|please )".
    """
    text = re.sub(r"<(\w+)>", lambda found: groups[found[1]], wording)
    text = re.sub(r"\(([^()]*)\)", lambda found: rng.choice(found[1].split("|")), text)
    return text[:1].upper() + text[1:] if text[:1].isascii() else text
