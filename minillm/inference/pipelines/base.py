"""The frame of every pipeline: inputs -> rows of ids -> padded batches -> the model -> results, in order.

    preprocess     one input    -> one row of ids, or several (the windows of a long text)
    forward        some rows    -> a padded batch, one pass, what each row of the output says
    postprocess    one input's rows and what was read -> labels, spans, texts

Rows of like length stand in one batch, so that little is padded; the mask keeps the padding out of the numbers, so a
batch gives what its rows give one by one.

Book 3.5.1 파이프라인을 활용한 추론, 3.5.2 직접 추론하기. Held against transformers.Pipeline.
Leaves out: images and sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from inspect import signature
from itertools import islice
from typing import Any, ClassVar

import torch
from torch import Tensor

from minillm._checks import check_choice, check_int, describe
from minillm.inference.loop import Evaluating
from minillm.models.base import PretrainedModel
from minillm.tokenizer.base import Tokenizer
from minillm.tokenizer.batch import PADDING, TRUNCATION, Batch
from minillm.tokenizer.chat import known_roles

GONE = {  # options of older versions of transformers -> what says the same today
    "return_all_scores": "top_k=None gives all scores",
    "grouped_entities": "aggregation_strategy='simple' puts names together",
}


@dataclass
class Row:
    """What the model reads of one text or window: ids, token types (None: the model has one), and what the
    postprocessing needs to know of it. item: which input of the call it belongs to."""

    ids: list[int]
    types: list[int] | None = None
    about: Any = None
    item: int = 0


def collate(rows: Sequence[Row], pad_id: int, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Rows as tensors (B, T) of the longest one's length: input_ids, attention_mask, token_type_ids if there are any.

    [5, 6], [7]  ->  input_ids [[5, 6], [7, pad_id]], attention_mask [[1, 1], [1, 0]]

    ValueError for no rows, for what is no Row, and for rows of which only some have types.
    """
    if not rows or not all(isinstance(row, Row) for row in rows):
        raise ValueError(f"rows must be at least one Row of ids, got {describe(rows)}")
    check_int("pad_id", pad_id)
    for row in rows:
        if (row.types is None) != (rows[0].types is None) or len(row.types or row.ids) != len(row.ids):
            raise ValueError(
                f"each row must have a token type for each id, or none has any, got {describe(row)}"
            )
    longest = max(len(row.ids) for row in rows)
    batch = {
        "input_ids": [row.ids + [pad_id] * (longest - len(row.ids)) for row in rows],
        "attention_mask": [[1] * len(row.ids) + [0] * (longest - len(row.ids)) for row in rows],
    }
    if rows[0].types is not None:
        batch["token_type_ids"] = [row.types + [0] * (longest - len(row.types)) for row in rows]
    return {name: torch.tensor(values, device=device) for name, values in batch.items()}


def batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Places of the rows of each batch: rows of like length together, the longest first (what does not fit into
    memory says so at once).

    [3, 9, 4, 8], 2  ->  [1, 3], [2, 0]

    ValueError for a batch_size below 1.
    """
    check_int("batch_size", batch_size, 1)
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def check_logits(logits: Tensor, axes: int | None = None) -> None:
    """ValueError for what is no float tensor of so many axes (None: one or more), and for NaN of a damaged model."""
    right = isinstance(logits, Tensor) and logits.is_floating_point() and logits.ndim > 0
    if not right or logits.ndim != (axes or logits.ndim):
        raise ValueError(f"scores must be a float tensor of {axes or 'some'} axes, got {describe(logits)}")
    if logits.isnan().any():
        raise ValueError(
            "the model gives NaN in place of scores: its weights are damaged, or its numbers overflow"
        )


@dataclass(frozen=True)
class Options:
    """What a call may set. truncation: cut texts that are too long (True, or which of two texts gives way); max_length:
    tokens of a row, at most and by default what the model reads. padding: a word of transformers' that changes nothing
    here, because the rows of a batch are always filled up, and the mask hides what fills them."""

    truncation: bool | str = False
    max_length: int | None = None
    padding: bool | str = True

    def __post_init__(self) -> None:
        """Check every field; ValueError naming the one that is wrong."""
        check_choice("truncation", self.truncation, TRUNCATION)
        check_choice("padding", self.padding, PADDING)
        if self.max_length is not None:
            check_int("max_length", self.max_length, 1)

    @property
    def cuts(self) -> bool:
        """Whether texts are cut at all."""
        return self.truncation not in (False, "do_not_truncate")


class Pipeline:
    """Texts in, answers out. `pipeline(task, model)` makes the one of a task; a task overrides the three steps."""

    task: ClassVar[str]
    options_class: ClassVar[type[Any]] = Options
    columns: ClassVar[tuple[str, ...]] = ("text",)  # what is taken of a Dataset's rows

    def __init__(
        self, model: PretrainedModel, tokenizer: Tokenizer, batch_size: int = 1, **defaults: Any
    ) -> None:
        """A model whose head fits the task, and its tokenizer. defaults: options of every call.

        Raises ValueError for a model of another task, no tokenizer, and options that the task does not have.
        """
        self.check_model(type(model), describe(type(model).__name__))
        if not isinstance(tokenizer, Tokenizer):
            raise ValueError(f"tokenizer must be a tokenizer of minillm, got {describe(tokenizer)}")
        self.model, self.tokenizer = model, tokenizer
        self.batch_size = check_int("batch_size", batch_size, 1)
        self.options = self.options_class()
        self.options = self.settle(defaults)

    # What a task supplies

    @classmethod
    def fits(cls, model_class: type) -> bool:
        """Whether models of this class have what the task needs."""
        raise NotImplementedError

    def preprocess(self, item: Any, options: Any) -> list[Row]:
        """The rows of one input; ValueError for an input that is none."""
        raise NotImplementedError

    def read(self, row: Row, output: Any, number: int, options: Any) -> Any:
        """What row `number` of a model's output says, on the CPU and without the padding."""
        raise NotImplementedError

    def postprocess(self, found: list[Any], rows: list[Row], options: Any) -> Any:
        """The result of one input, of what was read of its rows."""
        raise NotImplementedError

    def is_single(self, inputs: Any) -> bool:
        """Whether this is one input and not a list of them."""
        return isinstance(inputs, (str, Mapping, tuple))

    def shaped(self, results: list[Any], inputs: Any, given: Mapping[str, Any]) -> Any:
        """The results of a call as transformers hands them out. given: the options the caller named."""
        return results[0] if self.is_single(inputs) else results

    # What it gets

    def __call__(self, inputs: Any, *, batch_size: int | None = None, **options: Any) -> Any:
        """The result of one input, a list of results of a list, an iterator of results of anything else that can be
        iterated (a generator, a Dataset, of torch's, too): it is read as the results are asked for, batch_size inputs
        at a time.

        batch_size: rows that go through the model together; the numbers do not depend on it. options: the task's.
        Raises ValueError for inputs and options that do not fit the task: of a list before the model runs, of an
        iterator when the input is reached.
        """
        chosen = self.settle(options)
        size = self.batch_size if batch_size is None else check_int("batch_size", batch_size, 1)
        if self.is_single(inputs):
            return self.shaped(self.results([inputs], size, chosen), inputs, options)
        if isinstance(inputs, list):
            return self.shaped(self.results(inputs, size, chosen), inputs, options)
        if not isinstance(inputs, (Iterable, torch.utils.data.Dataset)) or isinstance(inputs, bytes):
            raise ValueError(f"{self.task} takes texts, got {describe(inputs)}")
        return self.stream(self.rows_of(inputs), size, chosen)

    def settle(self, options: Mapping[str, Any]) -> Any:
        """The pipeline's options with these in their place; ValueError for names and values that do not fit."""
        return self.changed(self.options, options)

    @classmethod
    def changed(cls, before: Any, options: Mapping[str, Any]) -> Any:
        """`before` with these options in their place, as far as they can be checked without a model."""
        options = dict(options)
        for name in ("tokenizer_kwargs", "tokenize_kwargs"):  # transformers' way to say truncation
            options |= options.pop(name, None) or {}
        cls.check_names(options, [field.name for field in fields(cls.options_class)])
        return replace(before, **options)

    @classmethod
    def check_names(cls, options: Mapping[str, Any], known: Sequence[str]) -> None:
        """ValueError for an option that the task does not have."""
        for name in sorted(options.keys() - set(known)):
            hint = GONE.get(name, f"it has {', '.join(known)}")
            raise ValueError(f"{cls.task} has no option {name!r}; {hint}")

    def stream(self, items: Iterator[Any], batch_size: int, options: Any) -> Iterator[Any]:
        """Results one by one, of inputs that are read a batch at a time."""
        first = 0
        while some := list(islice(items, batch_size)):
            yield from self.results(some, batch_size, options, first)
            first += len(some)

    def rows_of(self, inputs: Iterable[Any]) -> Iterator[Any]:
        """The inputs one by one; of the rows of a Dataset the columns that the task reads."""
        names = getattr(inputs, "column_names", None)
        if names is None and not isinstance(inputs, Iterable):  # torch's Dataset: places and a length
            return (inputs[place] for place in range(len(inputs)))
        if names is None:
            return iter(inputs)
        wanted = [name for name in self.columns if name in names]
        if not wanted or self.columns[0] not in wanted:
            raise ValueError(
                f"{self.task} needs the columns {', '.join(self.columns)}, got {describe(names)}"
            )
        if len(wanted) == 1:
            return (row[wanted[0]] for row in inputs)
        return ({name: row[name] for name in wanted} for row in inputs)

    def results(self, items: Sequence[Any], batch_size: int, options: Any, first: int = 0) -> list[Any]:
        """The result of each input. All are checked and tokenized before the model runs. first: number of the first."""
        read = [self.preprocess(item, options) for item in items]
        for number, rows in enumerate(read, first):
            for row in rows:
                row.item = number
        found = iter(self.run([row for rows in read for row in rows], batch_size, options))
        return [self.postprocess([next(found) for _ in rows], rows, options) for rows in read]

    def run(self, rows: Sequence[Row], batch_size: int, options: Any) -> list[Any]:
        """What is read of each row, in the order of the rows."""
        found: list[Any] = [None] * len(rows)
        for places in batches([len(row.ids) for row in rows], batch_size):
            for place, one in zip(places, self.forward([rows[place] for place in places], options)):
                found[place] = one
        return found

    def forward(self, rows: Sequence[Row], options: Any) -> list[Any]:
        """One pass of the model over a batch of rows, and what is read of each."""
        inputs = collate(rows, self.pad_id, self.model.device)
        with torch.inference_mode(), Evaluating(self.model):
            output = self.model(**inputs)
            return [self.read(row, output, number, options) for number, row in enumerate(rows)]

    # Helpers of the tasks

    @classmethod
    def check_model(cls, model_class: type, what: str) -> None:
        """ValueError, naming `what`, for a model that has no head for the task."""
        if not (isinstance(model_class, type) and issubclass(model_class, PretrainedModel)):
            raise ValueError(f"model must be a path or a model of minillm, got {what}")
        if not cls.fits(model_class):
            raise ValueError(
                f"{what} holds a {model_class.__name__}, which has no head for the task {cls.task!r}"
            )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    @property
    def pad_id(self) -> int:
        """What fills rows up: the model's own padding id, from which some models count places."""
        own = self.model.config.pad_token_id
        return own if own is not None else self.tokenizer.pad_token_id or 0

    def role_id(self, role: str) -> int | None:
        """The id of the special token with this role: "cls_token", "mask_token", "unk_token"."""
        name = known_roles(self.tokenizer).get(role)
        return None if name is None else self.tokenizer.token_to_id(name)

    def longest(self, options: Options) -> int:
        """Tokens of a row at most. ValueError for a max_length that the model cannot read."""
        own = self.model.config.max_length
        if options.max_length is not None:
            return check_int("max_length", options.max_length, 1, own)
        return min(own, self.tokenizer.model_max_length or own)

    def encode(self, text: Any, pair: str | None, options: Options, **more: Any) -> Batch:
        """One text, or two, as the lists of a batch of one row, or of several if `more` asks for windows.

        Raises ValueError for what is no text, and for a text that does not fit and may not be cut.
        """
        for one in (text,) if pair is None else (text, pair):
            if not isinstance(one, str):
                raise ValueError(f"{self.task} takes texts, got {describe(one)}")
        longest = self.longest(options)
        more = {"truncation": options.truncation, **more}
        cuts = more["truncation"] not in (False, "do_not_truncate")
        pairs = None if pair is None else [pair]
        batch = self.tokenizer([text], pairs, max_length=longest if cuts else None, **more)
        length = max(map(len, batch["input_ids"]))
        if length > longest:
            raise ValueError(
                f"a text of {length} tokens does not fit into {longest}; truncation=True cuts it: {describe(text)}"
            )
        if not length:
            raise ValueError(f"a text without a token cannot be read, got {describe(text)}")
        return batch

    def rows(self, batch: Batch) -> list[Row]:
        """The rows of a batch, with token types where the model tells texts apart."""
        typed = getattr(self.model.config, "type_vocab_size", 1) > 1
        typed = typed and "token_type_ids" in signature(self.model.forward).parameters
        types = batch["token_type_ids"] if typed else [None] * len(batch["input_ids"])
        return [Row(ids, kinds) for ids, kinds in zip(batch["input_ids"], types)]


def text_and_pair(item: Any, task: str) -> tuple[Any, str | None]:
    """One text, or two as (text, pair), {"text": ..., "text_pair": ...} or [[text, pair]]."""
    if isinstance(item, Mapping):
        if "text" not in item or item.keys() - {"text", "text_pair"}:
            raise ValueError(f"{task} takes a dict of text and text_pair, got {describe(dict(item))}")
        return item["text"], item.get("text_pair")
    if isinstance(item, list) and len(item) == 1:  # as transformers once took pairs
        item = item[0]
    if isinstance(item, (tuple, list)):
        if len(item) != 2 or not all(isinstance(one, str) for one in item):
            raise ValueError(f"{task} takes a text or a pair of two, got {describe(item)}")
        return item[0], item[1]
    return item, None
