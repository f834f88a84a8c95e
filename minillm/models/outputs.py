"""What the models give back: small dataclasses with transformers' field names.

Every one is a BodyOutput: it has last_hidden_state, and hidden_states where they were asked for. What stands on a body
adds its own fields. Shape letters: B texts, T tokens of a text (S of the encoder's), C the model's width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor


@dataclass
class BodyOutput:
    """last_hidden_state (B, T, C): after the last norm. hidden_states: (B, T, C) of the embeddings and after each
    block, the last one after the norm, if asked for."""

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None = None

    def __getitem__(self, name: str) -> Any:
        """A field by its name, as in transformers: out["logits"] is out.logits.

        Raises KeyError for a name that is none, TypeError for a place: what stands first differs between the two.
        """
        names = [one.name for one in fields(self)]
        if not isinstance(name, str):
            raise TypeError(f"{type(self).__name__} has named fields ({', '.join(names)}), got {name!r}")
        if name not in names:
            raise KeyError(f"{name!r} is none of the fields {', '.join(names)} of {type(self).__name__}")
        return getattr(self, name)

    def keys(self) -> list[str]:
        """The names of the fields that hold something, as in transformers: `"logits" in out`, `dict(out)`."""
        return [one.name for one in fields(self) if getattr(self, one.name) is not None]

    def __contains__(self, name: Any) -> bool:
        return name in self.keys()


@dataclass
class PooledOutput(BodyOutput):
    """As BodyOutput, and pooler_output (B, C): one vector for each text; None from a body without a pooler."""

    pooler_output: Tensor | None = None


@dataclass
class LogitsOutput(BodyOutput):
    """As BodyOutput, and logits: scores (B, T, V) for every token or (B, labels) for every text, as the head says."""

    logits: Tensor = field(kw_only=True)


@dataclass
class CausalLMOutput(LogitsOutput):
    """As BodyOutput, and logits (B, T, V): scores of the token that follows each token."""


@dataclass
class QuestionAnsweringOutput(BodyOutput):
    """As BodyOutput, and start_logits, end_logits (B, T): how well the answer starts, or ends, at each token."""

    start_logits: Tensor = field(kw_only=True)
    end_logits: Tensor = field(kw_only=True)


@dataclass
class Seq2SeqOutput(BodyOutput):
    """An encoder-decoder's: the fields of BodyOutput are the decoder's, encoder_last_hidden_state (B, S, C) and
    encoder_hidden_states the encoder's."""

    encoder_last_hidden_state: Tensor = field(kw_only=True)
    encoder_hidden_states: tuple[Tensor, ...] | None = field(default=None, kw_only=True)


@dataclass
class Seq2SeqLMOutput(Seq2SeqOutput):
    """As Seq2SeqOutput, and logits (B, T, V): scores of the token that follows each token of the decoder's text."""

    logits: Tensor = field(kw_only=True)
