"""A sentence encoder without layers: one vector a token, and a text is the mean of its tokens' vectors.

    encode(text) = normalise( 1/n * sum over its n tokens of  E[token] )         E (V, D), learned

Word order is lost, and "bank" has one vector for money and river; but it is fast (no matrix product at all), small,
and trained well it keeps most of the quality of a transformer on search. `train_encoder` learns E from plain text.
Text is made even first (NFKC, lower case, a space in front), so "With", "with" and decomposed Hangul are one.

Book: 10.2 문장 임베딩 방식 (평균 모드). Paper: Wieting et al. 2016, "Towards Universal Paraphrastic Sentence
Embeddings".
Peer: sentence_transformers' StaticEmbedding, which opens the folder we save and gives the same vectors.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from minillm._checks import check_flag, check_int, check_path, check_text, describe
from minillm._files import BadFileError, read_json, write_json
from minillm.models.weights import read_tensors, write_tensors
from minillm.search._ids import check_texts
from minillm.search.exact import row_lengths
from minillm.tokenizer.tokenizer_json import from_json

MOST_LENGTH = 1e19  # the square of a longer vector overflows float32, and its direction would be lost
NORMALIZER = {
    "type": "Sequence",
    "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Prepend", "prepend": " "}],
}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"},
    {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
]
SETTINGS = {
    "modules.json": MODULES,
    "1_Normalize/config.json": {},
    "config_sentence_transformers.json": {"similarity_fn_name": "cosine"},
}


def normalise_text(text: str) -> str:
    """NFKC, lower case, a space in front: what `NORMALIZER` says to the tokenizers library. "" stays ""."""
    text = check_text("text", text)
    if text.isascii():
        return f" {text.lower()}" if text else ""
    text = unicodedata.normalize("NFKC", text)
    # Letter by letter, as the tokenizers library does it: str.lower() would treat a last Greek sigma specially.
    return f" {''.join(letter.lower() for letter in text)}" if text else ""


def mean_plain(embeddings: np.ndarray, tokens: Sequence[int]) -> np.ndarray:
    """The vector of one text, float32 (D,): the formula for a list of token ids; zeros when there are none."""
    if not tokens:
        return np.zeros(embeddings.shape[1], np.float32)
    mean = sum(embeddings[token] for token in tokens) / len(tokens)
    return mean / max(np.linalg.norm(mean), 1e-12)


class StaticEncoder:
    """Token vectors and the tokenizer they belong to.

    tokenizer: a trained BPETokenizer (it sees text after `normalise_text`); embeddings: float32 (V, D) with V the
    tokenizer's vocab_size. Raises ValueError when they do not fit.

    A server reads `max_length` (None: any number of tokens) and `prompts`, as of a SentenceEncoder.
    """

    max_length: int | None = None
    prompts: Mapping[str, str] = MappingProxyType({})
    default_prompt_name: str | None = None

    def __init__(self, tokenizer: Any, embeddings: np.ndarray) -> None:
        if not callable(getattr(tokenizer, "encode", None)) or not hasattr(tokenizer, "vocab_size"):
            raise ValueError(f"tokenizer must be a trained BPETokenizer, got {describe(tokenizer)}")
        embeddings = np.asarray(embeddings)
        if embeddings.ndim != 2 or embeddings.dtype != np.float32 or not np.isfinite(embeddings).all():
            raise ValueError(f"embeddings must be finite float32 (V, D), got {describe(embeddings)}")
        if embeddings.size and (longest := row_lengths(embeddings).max()) > MOST_LENGTH:
            raise ValueError(
                f"embeddings must be no longer than {MOST_LENGTH:g}, the square root of the largest float32, "
                f"got one of length {longest:g}"
            )
        if len(embeddings) != tokenizer.vocab_size:
            raise ValueError(
                f"embeddings must have a row for each of {tokenizer.vocab_size} tokens, got {len(embeddings)}"
            )
        self.tokenizer = tokenizer
        self.embeddings = np.ascontiguousarray(embeddings)
        self._weight = torch.from_numpy(self.embeddings)

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        return self.embeddings.shape[1]

    def tokens(self, text: str) -> list[int]:
        """The token ids whose vectors are averaged; special tokens in `text` are plain text here."""
        return self.tokenizer.encode(normalise_text(text), allowed_special=set())

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has."""
        return [len(self.tokens(text)) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The text that `tokens` reads as these ids: without the space that stands in front of every text."""
        return self.tokenizer.decode(ids, skip_special_tokens=True).removeprefix(" ")

    def encode(
        self, texts: Sequence[str], batch_size: int = 32, normalize: bool = True, prompt: str = ""
    ) -> np.ndarray:
        """Vectors of `texts`, float32 (N, D), of length 1 with `normalize`; a text without tokens is the zero vector.

        prompt: put in front of every text. Raises ValueError when `texts` is no list of str (a single str is
        refused) or batch_size < 1.
        """
        texts = check_texts("texts", texts)
        check_text("prompt", prompt)
        batch_size = check_int("batch_size", batch_size, minimum=1)
        check_flag("normalize", normalize)
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), batch_size):
            batch = [self.tokens(prompt + text) for text in texts[start : start + batch_size]]
            vectors[start : start + len(batch)] = embed_batch(self._weight, batch, normalize).numpy()
        return vectors

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write a sentence-transformers folder: tokenizer.json, model.safetensors, modules.json and its settings."""
        folder = check_path("folder", folder)
        self.tokenizer.save(folder / "tokenizer.json")
        layout = read_json(folder / "tokenizer.json")
        write_json(folder / "tokenizer.json", {**layout, "normalizer": NORMALIZER})
        write_tensors(folder / "model.safetensors", {"embedding.weight": self._weight})
        for name, content in SETTINGS.items():
            write_json(folder / name, content)
        return folder

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> StaticEncoder:
        """The encoder that `save_pretrained` wrote; BadFileError (a ValueError) naming the file that is missing,
        cut, or made for text that was prepared in another way."""
        folder = check_path("folder", folder)
        for name, content in SETTINGS.items():
            if read_json(folder / name, "encoder settings") != content:
                raise BadFileError(f"{str(folder / name)!r} is refused: not saved by a StaticEncoder")
        layout = read_json(folder / "tokenizer.json", "tokenizer file")
        if not isinstance(layout, dict) or layout.get("normalizer") != NORMALIZER:
            raise BadFileError(f"{str(folder / 'tokenizer.json')!r} is refused: not saved by a StaticEncoder")
        try:  # `tokens` prepares the text itself, which is faster
            tokenizer = from_json({**layout, "normalizer": None})
        except (ValueError, RecursionError) as error:
            raise BadFileError(f"tokenizer {str(folder / 'tokenizer.json')!r} is refused: {error}") from None
        path = folder / "model.safetensors"
        weights = read_tensors(path)
        try:
            return cls(tokenizer, weights["embedding.weight"].numpy())
        except (KeyError, ValueError, TypeError) as error:
            raise BadFileError(f"embedding file {str(path)!r} is refused: {error}") from None


def embed_batch(weight: torch.Tensor, batch: Sequence[Sequence[int]], normalize: bool = True) -> torch.Tensor:
    """Mean of the rows of weight (V, D) for each list of token ids, (B, D); differentiable in `weight`.

    One flat list of ids and where each text starts: no padding, so a long text beside short ones costs nothing.
    """
    lengths = torch.tensor([0, *map(len, batch)])
    flat = torch.tensor(list(chain(*batch)), dtype=torch.long)
    means = F.embedding_bag(flat, weight, offsets=lengths.cumsum(0)[:-1], mode="mean")  # (B, D)
    return F.normalize(means, dim=1) if normalize else means
