"""One's own rows, measured: what is kept from training, what a model makes of it before and after.

    answer_losses   nats a token of each held-out answer, given its prompt        (fine-tuning)
    pair_margins    log p(better) - log p(worse) of each held-out pair, of sums and of means per token (preferences)

Rows that ask the same stay on one side: a question that was learned is no examination. That none is on both is proven
and not assumed (data/proof.py).

Book: 4.1.3 좋은 지시 데이터셋이 갖춰야 할 조건. Sources: evaluation/paired.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn

from minillm._checks import check_int, check_number, describe
from minillm.data.documents import plain_words
from minillm.data.proof import HeldOut, prove_held_out
from minillm.nn.modes import Evaluating
from minillm.tokenizer.chat import known_roles
from minillm.training.alignment.logprobs import IGNORED, token_logprobs
from minillm.training.alignment.pairs import SIDES, PreferenceSet
from minillm.training.batches import ExampleSet

Row = TypeVar("Row")
# of a tokenizer that has none: a model that only continues text learns it with the answers
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ '### ' + message['role'] + '\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### assistant\n' }}{% endif %}"
)


def give_template(tokenizer: Any) -> bool:
    """Give a tokenizer without a chat template the plain one; whether it had none. ValueError without an end."""
    if getattr(tokenizer, "chat_template", None):
        return False
    end = known_roles(tokenizer).get("eos_token")
    if end is None or end not in tokenizer.special_tokens:
        raise ValueError(
            "the tokenizer has no chat template and no end token: a model that is taught to answer must learn where "
            f"an answer ends; its special tokens are {', '.join(tokenizer.special_tokens) or 'none'}"
        )
    tokenizer.chat_template = PLAIN_TEMPLATE
    return True


def asked_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """What a conversation asks: the texts before its first answer."""
    before = itertools.takewhile(lambda one: one["role"] != "assistant", messages)
    return "\n".join(str(one.get("content") or "") for one in before)


def split_rows(
    rows: Sequence[Row], asked: Callable[[Row], str], held_out: float = 0.1, seed: int = 0
) -> tuple[list[Row], list[Row], HeldOut]:
    """(rows to learn from, held-out rows, the proof that no question is in both).

    asked: the text that a row asks; rows of the same words go together. held_out: the share of the questions. The same
    rows and seed give the same split. ValueError where one side would be empty.
    """
    share = check_number("held_out", held_out, 0.001, 0.9)
    questions: dict[Hashable, list[Row]] = {}
    for row in rows:
        questions.setdefault(plain_words(asked(row)), []).append(row)
    if len(questions) < 2:
        raise ValueError(
            f"too few rows to hold some out: {len(rows)} rows ask {len(questions)} different questions"
        )
    order = np.random.default_rng(check_int("seed", seed, 0)).permutation(len(questions))
    count = min(max(1, round(share * len(questions))), len(questions) - 1)
    groups = list(questions.values())
    held, taught = ([groups[i] for i in part] for part in (sorted(order[:count]), sorted(order[count:])))
    proof = prove_held_out(
        list(dict.fromkeys(asked(one[0]) for one in held)), [asked(one[0]) for one in taught], what="question"
    )
    return [row for group in taught for row in group], [row for group in held for row in group], proof


def answer_losses(model: nn.Module, examples: Sequence[Any], rows: int = 16) -> np.ndarray:
    """Nats a token that each example's answer costs the model, float64 (N,): the mean of -log p over its tokens."""
    data, found = ExampleSet(examples), []
    device = next(model.parameters()).device
    with torch.no_grad(), Evaluating(model):
        for batch in data.eval_batches(rows, int(data.lengths.max())):
            batch = {name: x.to(device) for name, x in batch.items()}
            logprobs = token_logprobs(model, batch["input_ids"], batch["labels"], batch["attention_mask"])
            tokens = (batch["labels"][:, 1:] != IGNORED).sum(dim=1)
            found.append((-logprobs.sum(dim=1) / tokens.clamp(min=1)).double().cpu())
    return torch.cat(found).numpy()


class Margins(NamedTuple):
    """What a model finds of N pairs, float64 (N,) each.

    margin: log p(better) - log p(worse), sums over the answers' tokens: the shorter of two answers has a start in it.
    a_token: the same of means per token, which has none. chosen: log p(better).
    """

    margin: np.ndarray
    a_token: np.ndarray
    chosen: np.ndarray


def pair_margins(model: nn.Module, pairs: PreferenceSet, rows: int = 16) -> Margins:
    """By how much a model finds the better answer of each pair likelier, the length of the answers in it and not."""
    if not isinstance(pairs, PreferenceSet):
        raise ValueError(f"pairs must be a PreferenceSet, got {describe(pairs)}")
    known = pairs.with_reference(model, check_int("rows", rows, 1)).columns
    chosen, rejected = (known[f"reference_{side}"].double().numpy() for side in SIDES)
    tokens = [
        np.array([(labels[1:] != IGNORED).sum() for _, labels in pairs.sides[side].rows]) for side in SIDES
    ]
    each = [total / count.clip(min=1) for total, count in zip((chosen, rejected), tokens)]
    return Margins(chosen - rejected, each[0] - each[1], chosen)
