"""Text while it is written: never half a character, never half a stop string.

    tokens   b"\\xea\\xb0"   b"\\x80 en"   b"d"          with the stop string "end"
    pieces   (nothing)      "가 "        (the text ends)

A token may hold a part of a character, or begin a stop string that a later token ends or does not. Such text is held
back until it is known what it becomes. All pieces together are the text that `generate_batch` gives.

A piece is read in the light of a few tokens before it, not of the whole text: a long text costs no more a token than a
short one. Book 7.1 언어 모델 추론 이해하기. Held against `generate_batch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from minillm._checks import describe
from minillm.inference.conditioned import conditioned, is_encoder_decoder
from minillm.inference.generate import check_stream
from minillm.inference.loop import Row, generation_loop
from minillm.inference.params import SamplingParams
from minillm.inference.sampling import new_generator
from minillm.inference.stopping import Stopper, added_text
from minillm.nn.cache import KVCache

CONTEXT = 8  # tokens in whose light the next are read: more than a character or a word's blank takes
UNFINISHED = "\ufffd"  # what the bytes of an unfinished character are decoded to


class PieceReader:
    """The text of a Stopper's new tokens, piece by piece: `next_piece()` after each token, with `last` at the end."""

    def __init__(self, stop: Stopper) -> None:
        self.stop = stop
        self.before = _context(stop.tokenizer, stop.prompt)
        self.read = 0  # so many new tokens are in pieces already
        self.shown = ""  # of the tokens after them

    def next_piece(self, last: bool = False) -> str:
        """What can be shown since the piece before; "" while nothing can."""
        stop = self.stop
        text = added_text(stop.tokenizer, self.before, stop.new[self.read :])
        sure = text
        if stop.cut is not None:
            sure = text[: len(text) - stop.shown_from(stop.cut)]
        elif not last:
            sure = text[: len(text) - stop.shown_from(stop.begun())].rstrip(UNFINISHED)
        if not sure.startswith(self.shown):  # a tokenizer that changes what stands before: wait
            return sure[len(self.shown) :] if last else ""
        piece, self.shown = sure[len(self.shown) :], sure
        if sure == text:  # nothing is held back: the next piece begins with the next token
            self.before = _context(stop.tokenizer, [*self.before, *stop.new[self.read :]])
            self.read, self.shown = len(stop.new), ""
        return piece


def _context(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """The last few ids: as many as show something, where the text shows anything at all."""
    many = CONTEXT
    while many < len(ids) and not tokenizer.decode([*ids[-many:]], skip_special_tokens=True):
        many *= 2
    return [*ids[-many:]]


class TextStream(Iterator[str]):
    """An iterator of pieces of text. Whenever it stands still: `token_ids` so far, `text` so far, and `finish_reason`,
    None while it goes on, else "stop" or "length"."""

    def __init__(
        self,
        model: nn.Module,
        ids: list[int],
        params: SamplingParams,
        tokenizer: Any,
        cache: bool | KVCache,
    ) -> None:
        language_model, [prompt] = conditioned(model, [ids], params)
        self.text = ""
        self.finish_reason: str | None = None
        self._stop = Stopper(model, params, tokenizer, prompt)
        row = Row(prompt, self._stop, new_generator(params.seed, model.device))
        self._pieces = self._read(generation_loop(language_model, [row], params, cache), params)

    @property
    def token_ids(self) -> list[int]:
        """The new tokens so far, those included whose text is held back."""
        return self._stop.new

    def __next__(self) -> str:
        return next(self._pieces)

    def _read(self, steps: Iterator[Any], params: SamplingParams) -> Iterator[str]:
        stop, reader = self._stop, PieceReader(self._stop)
        size = getattr(stop.tokenizer, "vocab_size", None)
        for _, [token], _ in steps:
            if (
                size is not None and token >= size
            ):  # models may have room to spare: a trained one never chooses it
                raise ValueError(
                    f"the model chose token {token}, and the tokenizer has {size:,}: they do not belong together"
                )
            last = stop.done or len(stop.new) == params.max_tokens
            piece = reader.next_piece(last)
            self.text += piece
            if last:
                self.finish_reason = "stop" if stop.done else "length"
            if piece:
                yield piece


def stream_text(
    model: nn.Module,
    tokenizer: Any,
    prompt: str | Sequence[int],
    params: SamplingParams | None = None,
    cache: bool | KVCache = True,
) -> TextStream:
    """The text that follows the prompt, in pieces as soon as they are sure; special tokens and stop strings left out.

    prompt: a text, or its ids; of an encoder-decoder what it reads. Special tokens in a text are seen as such.
    cache: as in `stream`.
    The pieces together are `text` of what `generate_batch` gives for the same params. Raises ValueError as `stream`
    does, at the call, and while it runs for a tokenizer of another model.
    """
    params = SamplingParams() if params is None else params
    if not callable(getattr(tokenizer, "decode", None)):
        raise ValueError(f"tokenizer must be a tokenizer, got {describe(tokenizer)}")
    if isinstance(prompt, str):
        reads = isinstance(model, nn.Module) and hasattr(model, "config") and is_encoder_decoder(model)
        prompt = tokenizer(prompt)["input_ids"] if reads else tokenizer.encode(prompt)
    return TextStream(model, check_stream(model, prompt, params, cache), params, tokenizer, cache)
