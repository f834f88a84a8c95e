"""Where a student comes from, and what it reads: half of the teacher's layers, and texts that the teacher wrote.

    student_from_layers(teacher, [0, 2, 4])            DistilBERT's start: every second layer, embeddings and head
    teacher_examples(prompts, write, tokenizer)        hard targets: learn the teacher's answers, token by token

Texts need no logits, and no common vocabulary: they also come from a model that one can only ask.

Book: 7.3 지식 증류 활용하기. Papers: Sanh et al. 2019 (DistilBERT); Kim and Rush 2016 (sequence-level distillation).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from minillm._checks import check_int, describe, is_listing

BLOCK = re.compile(r"(.*\bblocks\.)(\d+)(\..*)")
DEPTHS = ("num_hidden_layers", "n_layer")  # what configs call the number of blocks


def student_from_layers(teacher: Any, layers: Iterable[int] | None = None) -> Any:
    """A model of the teacher's class with copies of only those of its blocks, in this order; the rest copied whole.

    layers: numbers of blocks, 0 the first, rising; None takes every second one: 0, 2, 4, ... Raises ValueError for a
    model that is not a decoder or encoder of ours or is quantized, or for layers that are not there.
    """
    config = getattr(teacher, "config", None)
    name = next((one for one in DEPTHS if hasattr(config, one)), None)
    if name is None or not any(BLOCK.fullmatch(key) for key in teacher.state_dict()):
        raise ValueError(
            f"teacher must be a model with a config and blocks, got {describe(type(teacher).__name__)}"
        )
    depth = getattr(config, name)
    kept = list(range(0, depth, 2)) if layers is None else _check_blocks(layers, depth)
    smaller = copy.deepcopy(config)
    setattr(smaller, name, len(kept))
    if getattr(smaller, "layer_types", None) is not None:
        smaller.layer_types = [config.layer_types[i] for i in kept]
    student, state = type(teacher)(smaller), {}
    for key, tensor in teacher.state_dict().items():
        found = BLOCK.fullmatch(key)
        if found is None:
            state[key] = tensor
        elif int(found[2]) in kept:
            state[f"{found[1]}{kept.index(int(found[2]))}{found[3]}"] = tensor
    if odd := sorted(student.state_dict().keys() ^ state.keys()):
        raise ValueError(
            f"teacher must have the weights of a fresh {type(teacher).__name__}, which differ in {odd[0]}"
        )
    student.to(next(teacher.parameters()).dtype).load_state_dict(state)
    return student.to(next(teacher.parameters()).device)


def teacher_examples(
    prompts: Sequence[str],
    write: Callable[[list[str]], Sequence[str]],
    tokenizer: Any,
    end_token_id: int | None = None,
    max_length: int | None = None,
) -> list[dict[str, list[int]]]:
    """Examples to train a causal model on: each prompt and what the teacher wrote after it.

    write(prompts) -> as many texts, without the prompts; the teacher is behind it, wherever it runs. An example has
    `input_ids`, prompt and answer, and `labels`, -100 on the prompt: nobody asks the student for that. end_token_id is
    put behind each answer, so that the student learns to stop; max_length cuts from the right. Raises ValueError for
    texts that are not as many str as there are prompts, and where an example has nothing to learn left.
    """
    asked_for = list(prompts) if is_listing(prompts) else []
    if not asked_for or not all(isinstance(one, str) for one in asked_for):
        raise ValueError(f"prompts must be a list of at least one str, got {describe(prompts)}")
    if not callable(write) or not callable(getattr(tokenizer, "encode", None)):
        raise ValueError(
            "write must be a function of a list of str, and tokenizer have encode, "
            f"got {describe(write)} and {describe(tokenizer)}"
        )
    if max_length is not None:
        check_int("max_length", max_length, 2)
    end = [] if end_token_id is None else [check_int("end_token_id", end_token_id, 0)]
    written = write(list(asked_for))
    texts = list(written) if is_listing(written) else []
    if len(texts) != len(asked_for) or not all(isinstance(one, str) for one in texts):
        raise ValueError(
            f"write must give {len(asked_for)} texts for {len(asked_for)} prompts, got {describe(written)}"
        )
    examples = []
    for prompt, text in zip(asked_for, texts):
        asked, answer = tokenizer.encode(prompt), tokenizer.encode(text) + end
        ids = (asked + answer)[:max_length]
        if len(ids) <= max(1, len(asked)):
            raise ValueError(f"nothing to learn is left of prompt {prompt!r:.60} and text {text!r:.60}")
        examples.append({"input_ids": ids, "labels": ([-100] * len(asked) + answer)[:max_length]})
    return examples


def _check_blocks(layers: Iterable[int], depth: int) -> list[int]:
    if not is_listing(layers):
        raise ValueError(f"layers must be numbers of blocks, got {describe(layers)}")
    kept = [check_int("a layer", one, 0, depth - 1) for one in layers]
    if not kept or kept != sorted(set(kept)):
        raise ValueError(f"layers must rise and not be none, got {kept}")
    return kept
