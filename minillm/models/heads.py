"""A body and what stands on it: the frame of every model with a head.

    body    ids -> hidden states        GPT2Body, LlamaBody, BERT: the part that is pre-trained and shared
    head    hidden states -> scores     an output matrix, a classifier: small, one for each task

A model with a head names the class of its body and has a table of `Weight` rows of its own for the head. In a folder
of Hugging Face the body's tensors stand behind its prefix ("bert.encoder..."), the head's beside them.

Book 3.3.1 모델 활용하기 (바디와 헤드). Held against transformers' models with heads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from minillm._checks import check_flag, check_int, describe
from minillm._files import BadFileError
from minillm.models.base import PretrainedModel

T = TypeVar("T", bound="TaskModel")


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
        prefix, rest = self.body.prefix, self.behind_prefix(tensors)
        mine = {theirs: ours[0] for ours, theirs, _ in self.weight_rows()}
        head = {name: rest.pop(name) for name in mine if name in rest}
        strange = {name: rest.pop(name) for name in list(rest) if not name.startswith(prefix)}
        if self.output is not None and self.config.tie_word_embeddings:
            self._untangle(head, rest, next(name for name in mine if mine[name] == f"{self.output}.weight"))
        body = {f"body.{name}": t for name, t in self.body.from_hugging_face(rest).items()}
        return {**body, **super().from_hugging_face(head), **self.without_place(strange)}

    def behind_prefix(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a folder, those of a body that was saved alone behind the body's prefix."""
        mine, prefix = {theirs for _, theirs, _ in self.weight_rows()}, self.body.prefix
        if any(name.startswith(prefix) for name in tensors if name not in mine):
            return dict(tensors)
        return {(name if name in mine else prefix + name): t for name, t in tensors.items()}

    def without_place(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """What stands beside body and head in a folder: it goes along, to be refused by its name."""
        return tensors

    def _untangle(self, head: dict[str, Tensor], body: dict[str, Tensor], output: str) -> None:
        """The table and the tied output matrix, of which a folder may hold one, or both; two that differ stay two."""
        rows = self.body.weight_rows()
        table = self.body.prefix + next(theirs for ours, theirs, _ in rows if ours == ("tokens.weight",))
        if table not in body and output not in head:
            raise KeyError(table)
        head.setdefault(output, body.get(table))
        body.setdefault(table, head[output])
        if head[output] is not body[table] and not torch.equal(head[output], body[table]):
            self.config = replace(self.config, tie_word_embeddings=False)


class TaskModel(ModelWithHead):
    """A model for a task: its head may be new, on a body that is trained already.

    A folder of the body alone, or with another head, opens too: `new_parts` then names what the folder lacks and was
    drawn from `seed`, `left_out` what the folder has and this model does not need. A tensor of the body that is
    missing is an error, and so is one of the head in a folder that claims to hold this very model.
    """

    generates = False
    labelled: ClassVar[bool] = False  # whether the head has num_labels outputs

    @classmethod
    def from_pretrained(
        cls: type[T],
        folder: str | Path,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        *,
        num_labels: int | None = None,
        seed: int = 0,
        ignore_mismatched_sizes: bool = False,
    ) -> T:
        """As PretrainedModel.from_pretrained, with a new head where the folder has none.

        num_labels: of a classifier; None takes the folder's. seed: of the new weights. ignore_mismatched_sizes: a
        stored head of another size gives way to a new one; without it, it is an error, as in transformers. Raises
        ValueError for num_labels below 1 or for a head that has no labels.
        """
        check_int("seed", seed), check_flag("ignore_mismatched_sizes", ignore_mismatched_sizes)
        if num_labels is not None and not cls.labelled:
            raise ValueError(f"{cls.__name__} has no labels, got num_labels {describe(num_labels)}")
        if num_labels is not None:
            check_int("num_labels", num_labels, 1)
        found = cls.read_folder(folder, dtype, device)
        config = found.config if num_labels is None else found.config.with_labels(num_labels)
        model = cls.skeleton(config, found.tensors, found.what)
        tensors = model.behind_prefix(cls.renamed(found.tensors))
        head = dict(model.new_rows())
        unfit = model.unfit(head, tensors)
        if unfit and not ignore_mismatched_sizes:
            raise BadFileError(
                f"{found.what}: {next(iter(unfit.values()))}; ignore_mismatched_sizes=True draws a new head"
            )
        named = found.architectures
        lacking = set(unfit)
        if not isinstance(named, list) or model.architecture() not in named:
            lacking |= {ours for ours, theirs in head.items() if theirs not in tensors}
        fresh = model.first_weights(lacking, seed)
        tensors |= {head[ours]: tensor for ours, tensor in fresh.items()}
        model = cls.from_tensors(config, tensors, found.what, found.dtype, device, found.generation)
        model.new_parts = tuple(ours for ours in head if ours in lacking)
        # of a body that was saved alone the folder's own names have no prefix
        alone = [name.removeprefix(model.body.prefix) for name in model.left_out]
        model.left_out = tuple(
            name if name in found.tensors else own for name, own in zip(model.left_out, alone)
        )
        return model

    def new_rows(self) -> Iterator[tuple[str, str]]:
        """(our name, their name) of the tensors that may be new: the head's."""
        table = f"{self.output}.weight" if self.config.tie_word_embeddings else None
        for ours, theirs, _ in self.weight_rows():
            if ours[0] != table:
                yield ours[0], theirs

    def unfit(self, head: Mapping[str, str], tensors: Mapping[str, Tensor]) -> dict[str, str]:
        """{our name: what is wrong} of tensors of the head that a folder has in another shape."""
        wrong = {}
        for ours, theirs in head.items():
            wanted = tuple(self.get_parameter(ours).shape)
            if theirs in tensors and tuple(tensors[theirs].shape) != wanted:
                wrong[ours] = f"{theirs!r} has shape {tuple(tensors[theirs].shape)}, the head needs {wanted}"
        return wrong

    def first_weights(self, names: Collection[str], seed: int) -> dict[str, Tensor]:
        """The named tensors of a model without memory, as a new model has them."""
        layers = {name.rpartition(".")[0] for name in names}
        for layer in layers:
            self.get_submodule(layer).to_empty(device="cpu", recurse=False)
        self.initialise(torch.Generator().manual_seed(seed), layers)
        return {name: self.get_parameter(name).detach() for name in sorted(names)}

    def without_place(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Another head's tensors are left out, and named."""
        self.left_out = (*tensors, *self.body.left_out)
        return {}
