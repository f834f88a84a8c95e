"""What training needs of an encoder: a module with weights, texts as ids, ids as vectors that have a gradient.

    SentenceEncoder    its transformer; the vector is pooled over the last layer
    StaticEncoder      its table of token vectors; the vector is their mean

Vectors are not made of length 1: losses do that themselves where they want it.

Book: 11.2 언어 모델을 임베딩 모델로 만들기.
Held against: the forward pass of sentence_transformers' SentenceTransformer, whose gradients are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import describe
from minillm.search.sentence_encoder import DOCUMENT_PROMPTS, POOLINGS, SentenceEncoder
from minillm.search.static_encoder import StaticEncoder


class Trainable(NamedTuple):
    """module: what is trained. tokens: texts -> ids of each. embed: (module, ids, mask (B, T)) -> vectors (B, C)
    float32, or float64. pad_id: fills rows up. finish: called after training."""

    module: nn.Module
    tokens: Callable[[Sequence[str]], list[list[int]]]
    embed: Callable[[nn.Module, Tensor, Tensor], Tensor]
    pad_id: int
    finish: Callable[[], None]


class TokenMeans(nn.Module):
    """A StaticEncoder's table as a module: ids, mask (B, T) -> the mean of the vectors of each row's tokens (B, C)."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table.clone())  # the memory of an opened file is not to be written to

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """A row without tokens is the zero vector."""
        lengths = mask.sum(1)  # (B,)
        # one flat list of ids and where each text starts, so that no vector is fetched for padding, nor kept
        return F.embedding_bag(ids[mask.bool()], self.table, lengths.cumsum(0) - lengths, mode="mean")


def trainable(encoder: Any) -> Trainable:
    """The parts of a SentenceEncoder or a StaticEncoder; ValueError for anything else."""
    if isinstance(encoder, SentenceEncoder):
        pool = POOLINGS[encoder.pooling]

        def embed(model: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
            hidden = model(ids, attention_mask=mask).last_hidden_state  # (B, T, C)
            return pool(hidden.to(torch.promote_types(hidden.dtype, torch.float32)), mask)

        return Trainable(encoder.model, encoder.tokens, embed, encoder.tokenizer.pad_token_id, lambda: None)
    if isinstance(encoder, StaticEncoder):
        module = TokenMeans(encoder._weight)

        def put_back() -> None:
            encoder._weight = module.table.detach().cpu()
            encoder.embeddings = encoder._weight.numpy()

        return Trainable(
            module,
            lambda texts: [encoder.tokens(text) for text in texts],
            lambda model, ids, mask: model(ids, mask),
            0,
            put_back,
        )
    raise ValueError(f"encoder must be a SentenceEncoder or a StaticEncoder, got {describe(encoder)}")


def usual_prompts(encoder: Any, scored: bool) -> tuple[str, str]:
    """What `encode_query` and `encode_document` put in front of texts; for scored pairs what `encode` does."""
    prompts = getattr(encoder, "prompts", {})
    if scored:
        default = getattr(encoder, "default_prompt_name", None)
        return (prompts[default],) * 2 if default is not None else ("", "")
    documents = [name for name in DOCUMENT_PROMPTS if name in prompts]
    return prompts.get("query", ""), prompts[documents[0]] if documents else ""


def freeze_all_but(module: nn.Module, only: int | Sequence[str] | None) -> list[nn.Parameter]:
    """Freeze the parameters that are not to be trained, and return them, so that they can be thawed.

    only: None freezes nothing; an int trains the last so many of the model's blocks and what stands on them (a pooler,
    a head); names train the parameters whose name begins with one of them ("blocks.11.", "pooler"). What was frozen
    before stays frozen. Raises ValueError, with nothing frozen, for a model without as many blocks, or a name that no
    parameter has.
    """
    chosen = chosen_names(module, only)
    frozen = [
        parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and name not in chosen
    ]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return frozen


def chosen_names(module: nn.Module, only: Any) -> set[str]:
    """The names of the parameters to train."""
    names = [name for name, _ in module.named_parameters()]
    if only is None:
        return set(names)
    if isinstance(only, int) and not isinstance(only, bool):
        stacks = [(name, one) for name, one in module.named_modules() if name.split(".")[-1] == "blocks"]
        prefix, blocks = stacks[0] if stacks else ("", ())
        if not 1 <= only <= len(blocks):
            raise ValueError(
                f"only must be at most the model's {len(blocks)} layers and at least 1, got {only}"
            )
        first = next(name for name in names if name.startswith(f"{prefix}.{len(blocks) - only}."))
        return set(names[names.index(first) :])  # in the order in which a text passes them
    if isinstance(only, str) or not isinstance(only, Sequence) or not only:
        raise ValueError(f"only must be a number of layers or a list of names, got {describe(only)}")
    for one in only:
        if not isinstance(one, str) or not any(name.startswith(one) for name in names):
            raise ValueError(f"only must begin names of parameters ({names[-1]!r}, say), got {describe(one)}")
    return {name for name in names if name.startswith(tuple(only))}
