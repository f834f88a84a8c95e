"""A conversation as an example to learn from: all of it is read, and only what the assistant said carries loss.

    <|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\nHello<|im_end|>\\n
                                                            -----------------     labels; -100 everywhere else

Where an answer begins, the template itself says: render what came before it with a generation prompt, as one does to
get an answer; what follows in the whole text is what the model must write, its end token included. So no template
needs marks of its own, and the model learns the very text that it will be asked for. (Where a template has no
generation prompt, that is the head of the turn too: nobody else will write it.)

Book: 4.1.2 연습문제 풀어보기: 지도 미세 조정. Paper: Ouyang et al. 2022 (InstructGPT).
Held against: trl's SFTTrainer, whose templates mark answers by {% generation %}. Leaves out: weights of single turns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from minillm._checks import check_choice, check_int, describe, is_listing
from minillm.tokenizer.chat import apply_chat_template
from minillm.training.alignment.logprobs import IGNORED

TURNS = ("every", "last")
TRUNCATIONS = ("keep_start", "keep_end", "drop")
_MARK = " MARKOFANEND"  # begins with a blank: no mark of a template does


class ChatExamples(NamedTuple):
    """examples: dicts of input_ids and labels, for a Trainer. dropped: conversations of which no answer was left."""

    examples: list[dict[str, list[int]]]
    dropped: int


def answer_spans(
    tokenizer: Any, messages: Sequence[Mapping[str, Any]], turns: str = "every", **template: Any
) -> tuple[str, list[tuple[int, int]]]:
    """(the conversation as text, the (start, end) in it of each answer, its end token included).

    turns: "every" answer of the assistant, or the "last" one. template: what apply_chat_template takes besides.
    ValueError for a conversation without an answer, or that begins with one, and for a template that writes what came
    before an answer otherwise once the answer is there: what the model would learn from, it would never read.
    """

    def render(chat: Sequence[Mapping[str, Any]], asks: bool = False) -> str:
        return apply_chat_template(tokenizer, chat, add_generation_prompt=asks, **template)

    places = _answers(messages, check_choice("turns", turns, TURNS))
    text, spans = render(messages), []
    for i in places:
        start = _start_of_answer(messages, i, text, render)
        if start is None:
            raise ValueError(_rewritten(i, i != places[-1]))
        spans.append((start, _end_of_answer(tokenizer, messages, i, start, text, render)))
    return text, spans


def chat_example(
    tokenizer: Any, messages: Sequence[Mapping[str, Any]], turns: str = "every", **template: Any
) -> dict[str, list[int]]:
    """{"input_ids": of the whole conversation, "labels": the same ids in answers, -100 elsewhere}.

    A token carries loss if all of it lies in an answer. Arguments and errors as answer_spans.
    """
    text, spans = answer_spans(tokenizer, messages, turns, **template)
    ids, offsets = tokenizer.encode_with_offsets(text)
    labels = [
        token if any(start <= first and last <= end for start, end in spans) else IGNORED
        for token, (first, last) in zip(ids, offsets)
    ]
    return {"input_ids": ids, "labels": labels}


def truncated(
    example: Mapping[str, list[int]], max_length: int | None, truncation: str
) -> dict[str, list[int]] | None:
    """The example in at most max_length ids, or None where no answer is left in it.

    truncation: "keep_start" cuts the end off, "keep_end" the beginning, "drop" gives up an example that is too long.
    The first id of an example is never a target: nothing stands before it. ValueError for other arguments.
    """
    check_choice("truncation", truncation, TRUNCATIONS), check_cut(example, max_length)
    ids, labels = example["input_ids"], example["labels"]
    if max_length is not None and len(ids) > max_length:
        if truncation == "drop":
            return None
        kept = slice(None, max_length) if truncation == "keep_start" else slice(-max_length, None)
        ids, labels = ids[kept], labels[kept]
    labels = [IGNORED, *labels[1:]]
    return {"input_ids": ids, "labels": labels} if any(one != IGNORED for one in labels) else None


def check_cut(example: Any, max_length: int | None) -> None:
    """ValueError for what is no example of as many labels as ids, or no length."""
    if max_length is not None:
        check_int("max_length", max_length, 1)
    parts = (
        [example.get(name) for name in ("input_ids", "labels")] if isinstance(example, Mapping) else [None]
    )
    if not all(map(is_listing, parts)) or len({len(one) for one in parts}) != 1:
        raise ValueError(f"example must have input_ids and labels of one length, got {describe(example)}")


def chat_examples(
    tokenizer: Any,
    conversations: Iterable[Sequence[Mapping[str, Any]]],
    turns: str = "every",
    max_length: int | None = None,
    truncation: str = "keep_start",
    **template: Any,
) -> ChatExamples:
    """Conversations as examples for a Trainer, and how many were dropped. Arguments as chat_example and truncated.

    ValueError for what is no conversation, by its number, and where no example is left.
    """
    check_choice("truncation", truncation, TRUNCATIONS), check_choice("turns", turns, TURNS)
    if max_length is not None:
        check_int("max_length", max_length, 2)
    if not is_listing(conversations) or isinstance(conversations, Mapping):
        raise ValueError(f"conversations must be a list of lists of messages, got {describe(conversations)}")
    examples, number = [], 0
    for number, messages in enumerate(conversations, 1):
        try:
            whole = chat_example(tokenizer, messages, turns, **template)
        except ValueError as error:
            raise ValueError(f"conversation {number}: {error}") from None
        if (one := truncated(whole, max_length, truncation)) is not None:
            examples.append(one)
    if not examples:
        raise ValueError(f"no answer is left to learn from in {number} conversations")
    return ChatExamples(examples, number - len(examples))


def _answers(messages: Any, turns: str) -> list[int]:
    """The places of the assistant's messages that are learned."""
    listed = isinstance(messages, (list, tuple)) and all(isinstance(one, Mapping) for one in messages)
    if not listed or not messages:
        raise ValueError(
            f"a conversation must be a list of dicts with role and content, got {describe(messages)}"
        )
    places = [i for i, one in enumerate(messages) if one.get("role") == "assistant"]
    if not places:
        raise ValueError("a conversation needs a message of the assistant to learn from, it has none")
    if places[0] == 0:
        raise ValueError(
            "a conversation must begin with a question, it begins with a message of the assistant"
        )
    return places if turns == "every" else places[-1:]


def _rewritten(i: int, more_follow: bool) -> str:
    more = "; turns='last' learns from the last answer alone" if more_follow else ""
    return f"the chat template writes what comes before message {i} in another way once more follows{more}"


def _shared(a: str, b: str) -> int:
    """How many characters two texts begin with in common."""
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def _start_of_answer(messages: Sequence[Mapping[str, Any]], i: int, text: str, render: Any) -> int | None:
    """Where the answer in message i starts: where its prompt ends; None where the text before it is another."""
    prompt = render(messages[:i], asks=True)
    start = _shared(text, prompt)
    if start == len(prompt):
        return start
    # the prompt says more than stands there, a thought that is begun: what both begin with, and no letter of the answer
    start = min(start, _parts(messages, i, text, render, before=_MARK))
    return start if start >= _parts(messages, i - 1, text, render, behind=_MARK) else None


def _parts(
    messages: Sequence[Mapping[str, Any]], i: int, text: str, render: Any, before: str = "", behind: str = ""
) -> int:
    """Where the text parts from the same with a mark at the content of message i; its length where that has none."""
    content = messages[i].get("content")
    if not isinstance(content, str) or not content.strip():
        return len(text)
    content = before + content.lstrip() if before else content.rstrip() + behind
    return _shared(text, render([*messages[:i], {**messages[i], "content": content}, *messages[i + 1 :]]))


def _end_of_answer(
    tokenizer: Any, messages: Sequence[Mapping[str, Any]], i: int, start: int, text: str, render: Any
) -> int:
    """Where the answer in message i ends: behind the token that ends it, if its template has one.

    What stands behind an answer and belongs to it is there whether or not more follows.
    """
    names = "|".join(map(re.escape, sorted(getattr(tokenizer, "special_tokens", ()), key=len, reverse=True)))
    calls, content = messages[i].get("tool_calls"), _parts(messages, i, text, render, behind=_MARK)
    alone, first = (
        render(messages[: i + 1]),
        start,
    )  # a call stands behind the content: all of the answer is looked at
    plain = content < len(text) and not calls
    if plain:
        start, first = content, _parts(messages[: i + 1], i, alone, render, behind=_MARK)
    tail = text[start : start + _shared(text[start:], alone[first:])]
    if calls and not tail.strip():
        raise ValueError(f"the chat template does not show where the answer in message {i} ends")
    found = list(re.finditer(rf"\s*(?:{names})", tail)) if names else []
    if plain and found and found[0].start() == 0:
        return start + found[0].end()
    if not plain and found and not re.search(r"\w", tail[found[-1].end() :]):
        return start + found[-1].end()
    # no token says it: all of the tail, or its whole lines where the next turn begins like the end of the text
    return start + (len(tail) if len(tail) == len(alone) - first else tail.rfind("\n") + 1)
