"""A benchmark harness: what a language model is asked, how its answer is read, and when it counts as right.

    multiple choice   no text is written: of every choice c the model says log p(c | question), token by token, and the
                      likeliest is its answer;  by_length divides by the letters of c, as longer ones are less likely
    written answers   the model writes until a stop text, a rule takes the answer out (the last number, what stands
                      behind ####), and it must equal the gold one after tidying

The rules decide as much as the model does: a blank before the choice, the examples in front, a comma in a number. These
are lm-evaluation-harness', so that figures compare. A figure stands with its interval: 32 % of 80 may be luck (25 %).

Book: 13.3.2 벤치마크 데이터셋을 활용한 평가. Papers: Hendrycks et al. 2021 (MMLU); Cobbe et al. 2021 (GSM8K); Biderman
et al. 2024. Held against: lm-evaluation-harness' scoring, from the same log-likelihoods. Leaves out: its many tasks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minillm._checks import check_flag, check_function, check_int, check_text, describe, is_listing
from minillm.evaluation.detection import wilson_interval
from minillm.evaluation.perplexity import check_model, evaluating, place_of

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Continuation:
    """log p of a text behind another one (nats), its tokens, and whether each of them was the model's first choice."""

    log_likelihood: float
    tokens: int
    greedy: bool


@dataclass(frozen=True)
class Answered:
    """right: for each item whether it was answered rightly; answers: what was answered; details: what led there."""

    right: list[bool]
    answers: list[Any]
    details: list[Any]

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return sum(self.right) / len(self.right)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson_interval(sum(self.right), len(self.right))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.accuracy:.3f} [{low:.3f}, {high:.3f}], n = {len(self.right)}"


def multiple_choice(
    model: Any,
    tokenizer: Any,
    items: Sequence[Mapping[str, Any]],
    by_length: bool = False,
    delimiter: str = " ",
    batch_size: int = 16,
    max_length: int = 1024,
) -> Answered:
    """Each item answered by its likeliest choice; details: the log-likelihoods of its choices.

    items: {"prompt": str, "choices": [str, ...], "answer": place of the right one}. The text that is scored is prompt +
    delimiter + choice. by_length: by log-likelihood over the number of characters of the choice (lm-evaluation-
    harness' acc_norm). Of equal ones the first. model, tokenizer, max_length as `log_likelihoods`; ValueError for items
    of another form, and a model that gives NaN.
    """
    check_flag("by_length", by_length), check_text("delimiter", delimiter)
    items = [_checked_choices(item, place) for place, item in enumerate(_listed(items))]
    pairs = [(prompt, delimiter + choice) for prompt, choices, _ in items for choice in choices]
    scores = iter(log_likelihoods(model, tokenizer, pairs, batch_size, max_length))
    right, answers, details = [], [], []
    for _, choices, gold in items:
        found = [next(scores).log_likelihood for _ in choices]
        ranks = [score / len(choice) for score, choice in zip(found, choices)] if by_length else found
        answers.append(ranks.index(max(ranks)))
        right.append(answers[-1] == gold)
        details.append(found)
    return Answered(right, answers, details)


def generate_until(
    write: Callable[[list[str]], Sequence[str]],
    items: Sequence[Mapping[str, Any]],
    until: Sequence[str] = (),
    extract: Callable[[str], str] | None = None,
) -> Answered:
    """Each item answered in writing; details: the texts, cut at the first of `until`.

    write: from the prompts to what the model writes behind each, any way there is. items: {"prompt": str, "answer":
    str}. extract: from what was written to the answer in it (None: the text as it is); the gold one is taken as it
    stands. Answers are compared as `same_answer` does. Raises ValueError for items of another form, and where `write`
    gives something else than a text for each prompt, or `extract` something else than a text.
    """
    check_function("write", write), check_function("extract", extract)
    if isinstance(until, str) or not is_listing(until):
        raise ValueError(f"until must be a list of stop texts, got {describe(until)}")
    until = [check_text("a stop text", stop) for stop in until]
    rows = [_checked(item, place, "answer") for place, item in enumerate(_listed(items))]
    texts = write([prompt for prompt, _ in rows])
    if isinstance(texts, str) or not is_listing(texts) or len(texts := list(texts)) != len(rows):
        raise ValueError(f"write must give a text for each of {len(rows)} prompts, got {describe(texts)}")
    texts = [cut_at(check_text("what write gives", text), until) for text in texts]
    answers = [check_text("what extract gives", extract(text)) if extract else text for text in texts]
    return Answered([same_answer(a, gold) for a, (_, gold) in zip(answers, rows)], answers, texts)


# Log-likelihoods


def log_likelihoods(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]], batch_size: int = 16, max_length: int = 1024
) -> list[Continuation]:
    """log p(continuation | context) of each pair of texts.

    model: called with (B, T) int64, gives `.logits` (B, T, V); it must be causal, as rows are filled up behind. Of what
    is longer than max_length tokens the front of the context is cut. tokenizer: has encode. Raises ValueError for a
    continuation without a token, or longer than max_length, an empty context, and a model that gives NaN.
    """
    check_model(model), check_int("batch_size", batch_size, 1), check_int("max_length", max_length, 1)
    rows = []
    for context, continuation in pairs:
        before, behind = encoded_pair(tokenizer, context, continuation)
        if not before or not 0 < len(behind) <= max_length:
            raise ValueError(
                f"expected a context and 1 to {max_length} tokens behind it, got {len(before)} and {len(behind)} "
                f"tokens of {describe(context)} and {describe(continuation)}"
            )
        rows.append(((before + behind)[-(max_length + 1) :], len(behind)))
    # rows that read the same, such as a question before four letters, are read once
    reads: dict[tuple[int, ...], list[int]] = {}
    for place, (ids, _) in enumerate(rows):
        reads.setdefault(tuple(ids[:-1]), []).append(place)
    order = sorted(reads, key=len, reverse=True)  # rows of like length share a batch
    found: dict[int, Continuation] = {}
    with evaluating(model):
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            for ids, logits in zip(batch, _logits(model, batch)):
                found |= {place: scored(logits, *rows[place]) for place in reads[ids]}
    if any(math.isnan(one.log_likelihood) for one in found.values()):
        raise ValueError("the model gave NaN as the logarithm of a probability")
    return [found[place] for place in range(len(rows))]


def encoded_pair(tokenizer: Any, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """The ids of both texts, cut where the context ends; blanks at its end belong to the continuation.

    Words begin with their blank: "Answer:" + " A" are the tokens of "Answer: A", while "Answer: " alone ends in a blank
    that no training text has there.
    """
    check_text("context", context), check_text("continuation", continuation)
    kept = context.rstrip()
    whole = list(tokenizer.encode(kept + context[len(kept) :] + continuation))
    cut = len(tokenizer.encode(kept))
    return whole[:cut], whole[cut:]


def _logits(model: Any, rows: Sequence[Sequence[int]]) -> Tensor:
    """(B, T, V) float32 on the CPU of rows of ids that are filled up behind."""
    batch = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
    for row, ids in zip(batch, rows):
        row[: len(ids)] = torch.tensor(ids)
    return model(batch.to(place_of(model, batch))).logits.float().cpu()


def scored(logits: Tensor, ids: Sequence[int], last: int) -> Continuation:
    """The last `last` of the ids, from logits (T, V) for ids[:-1] and perhaps some behind them."""
    wanted = torch.tensor(ids[-last:])  # (last,)
    logits = logits[len(ids) - 1 - last : len(ids) - 1]  # the logits before a token are its own
    # log p(c | question) = sum over the tokens of c
    surprise = F.cross_entropy(logits, wanted, reduction="none").double()
    return Continuation(-surprise.sum().item(), last, bool((logits.argmax(-1) == wanted).all()))


# The forms of MMLU and GSM8K


def mmlu_item(
    question: str,
    choices: Sequence[str],
    answer: int,
    subject: str,
    examples: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """An item whose choices are letters, behind `examples` ({"question", "choices", "answer"}) with their letters.

    Raises ValueError for a question or choice that is no text, fewer than 2 or more than 26 choices, an answer that is
    none of their places, a subject that is no text, and examples of another form.
    """
    check_text("subject", subject)
    choices, answer = _checked_question("", question, choices, answer)
    if isinstance(examples, (str, Mapping)) or not is_listing(examples):
        raise ValueError(f"examples must be a list of questions, got {describe(examples)}")
    for place, one in enumerate(examples):
        if not isinstance(one, Mapping) or set(one) != {"question", "choices", "answer"}:
            raise ValueError(
                f"examples[{place}] must be {{'question', 'choices', 'answer'}}, got {describe(one)}"
            )
        _checked_question(f"examples[{place}] ", one["question"], one["choices"], one["answer"])
    head = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}."
    shown = [f"{_lettered(**one)} {LETTERS[one['answer']]}" for one in examples]
    prompt = "\n\n".join([head, *shown, _lettered(question, choices)])
    return {"prompt": prompt, "choices": list(LETTERS[: len(choices)]), "answer": answer}


def _checked_question(name: str, question: Any, choices: Any, answer: Any) -> tuple[list[str], int]:
    check_text(f"{name}question", question)
    listed = list(choices) if is_listing(choices) and not isinstance(choices, (str, Mapping)) else []
    if not 2 <= len(listed) <= len(LETTERS) or not all(isinstance(one, str) for one in listed):
        raise ValueError(f"{name}choices must be 2 to {len(LETTERS)} texts, got {describe(choices)}")
    return listed, check_int(f"{name}answer", answer, 0, len(listed) - 1)


def _lettered(question: str, choices: Sequence[str], answer: int | None = None) -> str:
    lines = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices)]
    return "\n".join([question.strip(), *lines, "Answer:"])


def gsm8k_item(question: str, answer: str, examples: Sequence[tuple[str, str]] = ()) -> dict[str, str]:
    """An item of a word problem behind `examples` of (question, worked answer)."""
    shown = [f"Question: {asked}\nAnswer: {told}" for asked, told in examples]
    return {"prompt": "\n\n".join([*shown, f"Question: {question}\nAnswer:"]), "answer": answer}


UNTIL_GSM8K = ("Question:", "</s>", "<|im_end|>")
_STRICT, _FLEXIBLE = re.compile(r"#### (-?[0-9.,]+)"), re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")


def strict_number(text: str) -> str:
    """The first number behind ####, else "[invalid]"."""
    found = _STRICT.search(text)
    return found[1] if found else "[invalid]"


def flexible_number(text: str) -> str:
    """The last thing that looks like a number, else "[invalid]"."""
    found = _FLEXIBLE.findall(text)
    return found[-1] if found else "[invalid]"


def same_answer(answer: str, gold: str) -> bool:
    """Whether two answers are one: without commas, dollars, a last point, what leads up to ####; in any case."""
    return tidied(answer) == tidied(gold)


def tidied(text: str) -> str:
    """An answer without commas, dollars, what leads up to ####, and a last point; in small letters."""
    text = text.replace(",", "").replace("$", "")
    return re.sub(r"\.$", "", re.sub(r"(?s).*#### ", "", text)).lower()


def cut_at(text: str, until: Sequence[str]) -> str:
    """The text before the first of the stop texts."""
    places = [text.find(stop) for stop in until if stop]
    return text[: min((place for place in places if place >= 0), default=len(text))]


# Items


def _listed(items: Any) -> list[Any]:
    if isinstance(items, (str, Mapping)) or not is_listing(items) or not (items := list(items)):
        raise ValueError(f"items must be a list of at least one item, got {describe(items)}")
    return items


def _checked(item: Any, place: int, *names: str) -> tuple[Any, ...]:
    if not isinstance(item, Mapping) or any(
        not isinstance(item.get(name), str) for name in ("prompt", *names)
    ):
        wanted = ", ".join(f"{name!r}: str" for name in ("prompt", *names))
        raise ValueError(f"items[{place}] must be {{{wanted}}}, got {describe(item)}")
    return (item["prompt"], *(item[name] for name in names))


def _checked_choices(item: Any, place: int) -> tuple[str, list[str], int]:
    (prompt,) = _checked(item, place)
    choices = item.get("choices")
    choices = list(choices) if is_listing(choices) else []
    if len(choices) < 2 or not all(isinstance(one, str) and one for one in choices):
        raise ValueError(
            f"items[{place}]['choices'] must be two texts or more, got {describe(item.get('choices'))}"
        )
    return prompt, choices, check_int(f"items[{place}]['answer']", item.get("answer"), 0, len(choices) - 1)
