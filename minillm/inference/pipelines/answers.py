"""Question answering: the piece of a text that answers.

    span[i, j] = softmax(start)[i] · softmax(end)[j]     if i <= j < i + max_answer_len and both lie in the text, else 0

The model scores every token twice, as the answer's first and as its last; the best pair with the first not behind the
last is the answer. [CLS] is a token of both softmaxes, too: what it gets is the score of "no answer". A long text is
read in windows that overlap; each gives its best spans, and the same words found twice add their scores.

Book 3.5.1 파이프라인을 활용한 추론. Paper: Devlin et al. 2019, 4.2-4.3. Held against transformers'
QuestionAnsweringPipeline of version 4 (version 5 has none any more).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from minillm._checks import check_flag, check_int, describe
from minillm.inference.pipelines.base import Options, Pipeline, Row, check_logits
from minillm.models.encoder_heads import ForQuestionAnswering

WINDOW, STRIDE = 384, 128  # tokens of a window, and of those that two of them share, where nobody says


def span_scores(start: Tensor, end: Tensor, allowed: Tensor, max_answer_len: int) -> Tensor:
    """Scores (T, T) of the spans from token i to token j. start, end: logits (T,); allowed: bool (T,), which tokens
    may be the first or the last of an answer, at least one. float64: where [CLS] is sure, the rest is tiny and not 0.

    ValueError for other shapes and dtypes, for NaN, and for a max_answer_len below 1."""
    check_logits(start, axes=1)
    check_logits(end, axes=1)
    check_mask("allowed", allowed, len(start), len(end))
    check_int("max_answer_len", max_answer_len, 1)
    first = start.double().masked_fill(~allowed, -torch.inf).softmax(-1)  # (T,)
    last = end.double().masked_fill(~allowed, -torch.inf).softmax(-1)  # (T,)
    spans = first[:, None] * last[None, :]  # (T, T)
    # not before its start, and not longer than max_answer_len
    return spans.triu().tril(max_answer_len - 1)


def best_spans(scores: Tensor, inside: Tensor, count: int) -> list[tuple[float, int, int]]:
    """The `count` best (score, first token, last token) of span_scores, both in the text: inside (T,) bool.

    ValueError for other shapes, for NaN, and for a count below 1."""
    check_logits(scores, axes=2)
    check_mask("inside", inside, *scores.shape)
    check_int("count", count, 1)
    scores = scores * inside[:, None] * inside[None, :]
    best = scores.flatten().topk(min(count, scores.numel()))
    spans = []
    for score, place in zip(best.values.tolist(), best.indices.tolist()):
        i, j = divmod(place, len(scores))
        if inside[i] and inside[j] and score > 0:
            spans.append((score, i, j))
    return spans


def check_mask(name: str, mask: Tensor, *lengths: int) -> None:
    """ValueError unless `mask` is a bool tensor (T,) of these lengths; a softmax needs one True at least."""
    bools = isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.ndim == 1
    if not bools or set(lengths) != {len(mask)}:
        raise ValueError(f"{name} must be a bool tensor (T,), as long as the scores, got {describe(mask)}")
    if name == "allowed" and not mask.any():
        raise ValueError("allowed must hold at least one True: some token begins the answer, or is [CLS]")


class Window(NamedTuple):
    """A part of a context: for each token its place in the context (start, end), whether it is of the context, the
    place of its word, and whether it may take part in the softmax."""

    places: list[tuple[int, int]]
    inside: Tensor
    words: list[tuple[int, int]]
    allowed: Tensor
    context: str


def summed(
    spans: Sequence[list[tuple[float, int, int]]], windows: Sequence[Window], whole_words: bool = False
) -> list[dict[str, Any]]:
    """The answers to one question: its spans in each window (best_spans) as {"score", "start", "end", "answer"}.

    Words that several windows name, in capitals or not, are one answer with the sum of its scores, as in transformers:
    a sum may be above 1. start, end: characters where the words were met first. whole_words: spans grow to words.
    """
    answers: dict[str, dict[str, Any]] = {}
    for found, window in zip(spans, windows):
        places = window.words if whole_words else window.places
        for score, i, j in found:
            start, end = places[i][0], places[j][1]
            text = window.context[start:end]
            new = {"score": 0.0, "start": start, "end": end, "answer": text}
            answers.setdefault(text.lower(), new)["score"] += score
    return list(answers.values())


@dataclass(frozen=True)
class AnswerOptions(Options):
    """top_k: answers. max_answer_len: tokens of one, at most. max_seq_len: tokens of a window, question included (384,
    or what the model reads); doc_stride: context tokens two windows share (128, or half a window).
    handle_impossible_answer: "" may be an answer. align_to_words: an answer grows to whole words.
    """

    top_k: int = 1
    max_answer_len: int = 15
    max_seq_len: int | None = None
    doc_stride: int | None = None
    handle_impossible_answer: bool = False
    align_to_words: bool = True

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        for name in ("top_k", "max_answer_len"):
            check_int(name, getattr(self, name), 1)
        for name in ("handle_impossible_answer", "align_to_words"):
            check_flag(name, getattr(self, name))
        if self.doc_stride is not None:
            check_int("doc_stride", self.doc_stride, 0)
        if self.max_seq_len is not None and self.max_length is not None:
            raise ValueError("max_seq_len and max_length say the same: give one of them")


class QuestionAnswering(Pipeline):
    """A question and a context -> {"score", "start", "end", "answer"}; with top_k above 1 a list of them.

    start, end: characters of the context. Called with question= and context= (texts, or lists of them), a dict of the
    two, (question, context), a list of such, or a stream of them.
    """

    task, options_class, columns = "question-answering", AnswerOptions, ("question", "context")

    @classmethod
    def fits(cls, model_class: type) -> bool:
        """A model that scores starts and ends."""
        return issubclass(model_class, ForQuestionAnswering)

    def __call__(
        self,
        inputs: Any = None,
        context: Any = None,
        *,
        question: Any = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> Any:
        """As Pipeline's; pipe(question="...", context="...") and pipe("question", "context"), too."""
        question = inputs if question is None and context is not None else question
        if question is not None or context is not None:
            inputs = _paired(question, context)
        return super().__call__(inputs, batch_size=batch_size, **options)

    def longest(self, options: AnswerOptions) -> int:
        """Tokens of a window."""
        said = options.max_seq_len if options.max_seq_len is not None else options.max_length
        most = self.model.config.max_length
        if said is not None:
            return check_int("max_seq_len", said, 1, most)
        return min(WINDOW, most, self.tokenizer.model_max_length or most)

    def preprocess(self, item: Any, options: AnswerOptions) -> list[Row]:
        """The windows of the context, each behind the question."""
        question, context = _question_and_context(item)
        longest = self.longest(options)
        stride = min(longest // 2, STRIDE) if options.doc_stride is None else options.doc_stride
        batch = self.encode(
            question,
            context,
            options,
            truncation="only_second",
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        rows = self.rows(batch)
        first = self.role_id("cls_token")
        first = (
            self.role_id("bos_token") if first is None else first
        )  # RoBERTa's, where the files say nothing
        for number, row in enumerate(rows):
            inside = torch.tensor([text == 1 for text in batch.sequence_ids(number)])
            if not inside.any():
                raise ValueError(
                    f"the question leaves the context no room in {longest} tokens: {describe(question)}"
                )
            places = batch["offset_mapping"][number]
            words = _word_places(batch.word_ids(number), inside.tolist(), places)
            allowed = inside | torch.tensor([index == first for index in row.ids])
            row.about = Window(places, inside, words, allowed, context)
        return rows

    def read(self, row: Row, output: Any, number: int, options: AnswerOptions) -> tuple[list, float]:
        """The best spans of a window, more than are asked for because some will be the same words; and the score of
        "no answer"."""
        length = len(row.ids)
        start, end = (x[number, :length].float().cpu() for x in (output.start_logits, output.end_logits))
        scores = span_scores(start, end, row.about.allowed, options.max_answer_len)
        count = options.top_k * 2 + 10 if options.align_to_words else options.top_k
        return best_spans(scores, row.about.inside, count), scores[0, 0].item()

    def postprocess(self, found: list[Any], rows: list[Row], options: AnswerOptions) -> Any:
        """The best answers of all windows."""
        spans = [spans for spans, _ in found]
        answers = summed(spans, [row.about for row in rows], options.align_to_words)
        if options.handle_impossible_answer:
            none = min(score for _, score in found)  # a window that has the answer says so
            answers.append({"score": none, "start": 0, "end": 0, "answer": ""})
        ranked = sorted(answers, key=lambda answer: -answer["score"])[: options.top_k]
        ranked = ranked or [{"score": 0.0, "start": 0, "end": 0, "answer": ""}]  # all of it on "no answer"
        return ranked[0] if len(ranked) == 1 else ranked

    def shaped(self, results: list[Any], inputs: Any, given: Mapping[str, Any]) -> Any:
        """A list of one question gives what the question gives, as in transformers."""
        return results[0] if len(results) == 1 else super().shaped(results, inputs, given)


def _paired(question: Any, context: Any) -> Any:
    """question= and context= as inputs: many questions share one context."""
    if isinstance(question, list) and isinstance(context, str):
        context = [context] * len(question)
    if isinstance(question, list) and isinstance(context, list):
        if len(question) != len(context):
            raise ValueError(
                f"questions and contexts must be as many, got {len(question)} and {len(context)}"
            )
        return [{"question": one, "context": text} for one, text in zip(question, context)]
    return {"question": question, "context": context}


def _question_and_context(item: Any) -> tuple[str, str]:
    pair = (item.get("question"), item.get("context")) if isinstance(item, Mapping) else item
    if (
        not isinstance(pair, (tuple, list))
        or len(pair) != 2
        or not all(isinstance(t, str) and t for t in pair)
    ):
        raise ValueError(f"question-answering takes a question and a context, got {describe(item)}")
    return pair[0], pair[1]


def _word_places(
    words: list[int | None], inside: list[bool], places: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Of each token of the context the place of its word; of the others their own."""
    found: dict[Any, tuple[int, int]] = {}
    for word, mine, (start, end) in zip(words, inside, places):
        if mine:
            found[word] = (found.get(word, (start, end))[0], end)
    return [found[word] if mine else place for word, mine, place in zip(words, inside, places)]
