"""A body and what stands on it: the frame of every model with a head.

    body    ids -> hidden states        GPT2Body, LlamaBody, BERT: the part that is pre-trained and shared
    head    hidden states -> scores     an output matrix, a classifier: small, one for each task

A model with a head names the class of its body and has a table of `Weight` rows of its own for the head. In a folder
of Hugging Face the body's tensors stand behind its prefix ("bert.encoder..."), the head's beside them.

Book 3.3.1 모델 활용하기 (바디와 헤드). Held against transformers' models with heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from minillm.models.base import PretrainedModel


class ModelWithHead(PretrainedModel):
    """A body and a head on it. A class names its body, makes its head, and lists the head's tensors in `weights`.

    output: a linear layer of the head whose weight is the body's embedding table when the config says so
    (`tie_word_embeddings`): one tensor, one gradient, stored once. A folder whose stored matrix differs from the table
    all the same keeps its own, as in transformers.
    """

    body_class: ClassVar[type[PretrainedModel]]
    output: ClassVar[str | None] = None

    def build(self, config: Any) -> None:
        """The body, and the head on it."""
        self.body = self.body_class.unfilled(config)
        self.build_head(config)
        self.tie()

    def build_head(self, config: Any) -> None:
        """Make the layers of the head."""
        raise NotImplementedError

    def residual_scale(self) -> float:
        """The body's."""
        return self.body.residual_scale()

    def tie(self) -> None:
        """The output matrix is the embedding table when the config says so."""
        if self.output is not None and self.config.tie_word_embeddings:
            self.get_submodule(self.output).weight = self.body.tokens.weight

    def to_hugging_face(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The body's tensors behind its prefix; an output matrix that is the embedding table is not stored twice."""
        # what is neither body nor head goes along, to be refused by its name
        mine = {name: theirs for ours, theirs, _ in self.weight_rows() for name in ours}
        body = {name.removeprefix("body."): t for name, t in state.items() if name not in mine}
        out = {self.body.prefix + name: t for name, t in self.body.to_hugging_face(body).items()}
        out |= super().to_hugging_face({name: t for name, t in state.items() if name in mine})
        if self.output is not None and self.config.tie_word_embeddings:
            weight = f"{self.output}.weight"
            if torch.equal(state[weight], state["body.tokens.weight"]):
                del out[mine[weight]]
        return out

    def from_hugging_face(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The way back, from a folder of the body alone, too, if that leaves no tensor of the head unsaid."""
        rest, prefix = dict(tensors), self.body.prefix
        mine = {theirs: ours[0] for ours, theirs, _ in self.weight_rows()}
        head = {name: rest.pop(name) for name in mine if name in rest}
        if not any(name.startswith(prefix) for name in rest):
            rest = {prefix + name: t for name, t in rest.items()}  # a body alone, or only a head
        if self.output is not None and self.config.tie_word_embeddings:
            self._untangle(head, rest, next(name for name in mine if mine[name] == f"{self.output}.weight"))
        strange = {name: t for name, t in rest.items() if not name.startswith(prefix)}
        body = {f"body.{name}": t for name, t in self.body.from_hugging_face(rest).items()}
        return {**body, **super().from_hugging_face(head), **strange}

    def _untangle(self, head: dict[str, Tensor], body: dict[str, Tensor], output: str) -> None:
        """The table and the tied output matrix, of which a folder may hold one, or both; two that differ stay two."""
        rows = self.body.weight_rows()
        table = self.body.prefix + next(theirs for ours, theirs, _ in rows if ours == ("tokens.weight",))
        if table not in body and output not in head:
            raise KeyError(table)
        head.setdefault(output, body.get(table))
        body.setdefault(table, head[output])
        if not torch.equal(head[output], body[table]):
            self.config = replace(self.config, tie_word_embeddings=False)
