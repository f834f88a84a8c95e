"""A cross-encoder (교차 인코더): one transformer reads a question and a text together and says how well they fit.

    bi-encoder      score(q, d) = cos(encode(q), encode(d))                 texts are encoded once, before any question
    cross-encoder   score(q, d) = sigmoid(w . body([CLS] q [SEP] d [SEP]) + b)     every pair is read, when it is asked

Each word of the question sees each word of the text, so it judges better than two vectors can, and it is far slower:
one run of the model for each pair. So a fast search brings the best hundred, and a cross-encoder puts them in order.

Book: 10.2 문장 임베딩 방식, 11.4 검색 품질을 높이는 순위 재정렬. Paper: Nogueira and Cho 2019 (Passage Re-ranking with
BERT). Held against: sentence_transformers' CrossEncoder. Trained by cross_training.py. Leaves out: several labels,
prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from minillm._checks import check_choice, check_flag, check_int, check_path, check_text, describe, is_listing
from minillm._files import BadFileError, read_json, write_checksums, write_json
from minillm.models import PretrainedModel, load_model
from minillm.models.encoder_heads import ForFirstTokenClassification, ForSequenceClassification
from minillm.nn.fast_cpu import fast_layers
from minillm.search._ids import Ranking, check_texts
from minillm.search.sentence_folder import check_tokenizer, encoder_path, read_pair_settings
from minillm.tokenizer import Tokenizer, load_tokenizer

ACTIVATIONS = {"sigmoid": torch.sigmoid, "identity": lambda logits: logits}  # what is done to the one number
TORCH_NAMES = {  # sentence-transformers writes the activation as the name of a class of torch
    "sigmoid": "torch.nn.modules.activation.Sigmoid",
    "identity": "torch.nn.modules.linear.Identity",
}
Pair = Sequence[str]  # (question, text)


class CrossEncoder:
    """A classifier of text pairs with one label, its tokenizer, and what turns its number into a score.

    model: a BERT's or RoBERTa's ...ForSequenceClassification with num_labels 1. tokenizer: one with a padding token.
    max_length: tokens after which a pair is cut, special ones counted; None is as many as the model reads.
    activation: "sigmoid", scores from 0 to 1, or "identity", the number itself; the order is the same.
    Raises ValueError when they do not fit each other.
    """

    def __init__(
        self,
        model: PretrainedModel,
        tokenizer: Tokenizer,
        max_length: int | None = None,
        activation: str = "sigmoid",
    ) -> None:
        if not isinstance(model, (ForSequenceClassification, ForFirstTokenClassification)):
            raise ValueError(
                "model must be a BERT or RoBERTa that classifies texts (...ForSequenceClassification), got "
                f"{describe(type(model).__name__)}"
            )
        if model.config.num_labels != 1:
            raise ValueError(f"model must give one number (num_labels 1), got {model.config.num_labels}")
        self.activation = check_choice("activation", activation, ACTIVATIONS)
        longest = model.config.max_length
        self.model, self.tokenizer = model, check_tokenizer(tokenizer, model.config.vocab_size)
        self.max_length = (
            longest if max_length is None else min(check_int("max_length", max_length, 1), longest)
        )
        names = tokenizer.model_input_names  # what a folder says that its model reads
        self.typed = model.config.type_vocab_size > 1 and (names is None or "token_type_ids" in names)
        self._rows([("", "")])  # ValueError where max_length leaves no room

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device

    def score(
        self,
        pairs: Iterable[Pair],
        batch_size: int = 32,
        activation: str | None = None,
        *,
        show_progress_bar: bool = False,
    ) -> np.ndarray:
        """How well the two texts of each pair fit, float32 (N,); higher is better.

        pairs: a list of (question, text). A pair that is too long loses tokens of its longer text first. Pairs of like
        length go through the model together, so the order and the batch size change nothing but the time. activation:
        None is the encoder's own. Raises ValueError for anything but pairs of str and for batch_size < 1.
        """
        pairs = check_pairs(pairs)
        batch_size = check_int("batch_size", batch_size, minimum=1)
        activate = ACTIVATIONS[
            self.activation if activation is None else check_choice("activation", activation, ACTIVATIONS)
        ]
        check_flag("show_progress_bar", show_progress_bar)
        rows = self._rows(pairs) if pairs else []
        # the longest first: a batch that needs too much memory fails at once
        order = sorted(range(len(rows)), key=lambda place: -len(rows[place][0]))
        scores = torch.empty(len(rows))
        was_training = self.model.training
        self.model.eval()
        try:
            with fast_layers(self.model), torch.inference_mode():
                starts = tqdm(range(0, len(order), batch_size), "Batches", disable=not show_progress_bar)
                for start in starts:
                    places = order[start : start + batch_size]
                    scores[places] = activate(self._logits([rows[place] for place in places])).cpu()
        finally:
            self.model.train(was_training)
        return scores.numpy()

    def predict(self, pairs: Any, batch_size: int = 32, **options: Any) -> np.ndarray | np.float32:
        """`score` under the peer's name; of one pair alone, ("a question", "a text"), its number."""
        single = isinstance(pairs, (list, tuple)) and [*map(type, pairs)] == [str, str]
        scores = self.score([pairs] if single else pairs, batch_size, **options)
        return scores[0] if single else scores

    def rank(
        self, query: str, documents: Sequence[str], k: int | None = None, batch_size: int = 32
    ) -> Ranking:
        """The best k documents (None: all) for one query as [(place in `documents`, score), ...], best first; equal
        scores stay in the order of `documents`. Raises ValueError as `score`, and for k < 1."""
        query, documents = check_text("query", query), check_texts("documents", documents)
        k = len(documents) if k is None else check_int("k", k, minimum=1)
        scores = self.score([(query, document) for document in documents], batch_size)
        return [(int(place), float(scores[place])) for place in np.argsort(-scores, kind="stable")[:k]]

    def _rows(self, pairs: Sequence[Pair]) -> list[tuple[list[int], list[int]]]:
        """(token ids, token types) of each pair: [CLS] question [SEP] text [SEP], types 0 ... 0 1 ... 1."""
        questions, texts = [list(one) for one in zip(*pairs)]
        batch = self.tokenizer(
            questions, texts, truncation="longest_first", max_length=self.max_length,
            return_attention_mask=False,
        )  # fmt: skip
        return list(zip(batch["input_ids"], batch["token_type_ids"]))

    def _logits(self, rows: Sequence[tuple[list[int], list[int]]]) -> Tensor:
        """The model's number for each row, (B,) float32."""
        longest, pad = max(len(ids) for ids, _ in rows), self.tokenizer.pad_token_id
        missing = [longest - len(ids) for ids, _ in rows]
        values = {
            "input_ids": [ids + [pad] * gap for (ids, _), gap in zip(rows, missing)],
            "attention_mask": [[1] * len(ids) + [0] * gap for (ids, _), gap in zip(rows, missing)],
        }
        if self.typed:
            values["token_type_ids"] = [types + [0] * gap for (_, types), gap in zip(rows, missing)]
        tensors = {name: torch.tensor(value, device=self.device) for name, value in values.items()}
        return self.model(**tensors).logits[:, 0].float()  # (B, 1) -> (B,)

    # --- folders ----------------------------------------------------------------------------------------------

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write a folder that sentence-transformers opens as a CrossEncoder and transformers as a model for sequence
        classification: the model, its tokenizer, the activation (in config.json) and the longest pair."""
        folder = check_path("folder", folder)
        self.model.save_pretrained(folder)
        self.tokenizer.save(folder)
        config, tokens = folder / "config.json", folder / "tokenizer_config.json"
        activation = {"sentence_transformers": {"activation_fn": TORCH_NAMES[self.activation]}}
        write_json(config, read_json(config) | activation)
        names = ["input_ids", *(["token_type_ids"] if self.typed else []), "attention_mask"]
        write_json(
            tokens, read_json(tokens) | {"model_max_length": self.max_length, "model_input_names": names}
        )
        write_checksums(folder, [config.name, tokens.name])
        return folder

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> CrossEncoder:
        """The cross-encoder in a folder of sentence-transformers or transformers, or of "owner/name" on the hub.

        The activation is the one that the folder names, else sigmoid, as sentence-transformers does it. dtype, device:
        as in `load_model`. Raises BadFileError naming what is missing, cut, damaged, or not built here.
        """
        path = encoder_path(source)
        if not path.is_dir():
            raise BadFileError(f"cross-encoder {str(path)!r} is refused: there is no such folder")
        settings = read_pair_settings(path)
        model = load_model(path / settings.inner, dtype, device)
        tokenizer = load_tokenizer(path / settings.inner)
        try:
            activation = _activation(settings.activation or _named_in(model.config.extra))
            return cls(model, tokenizer, settings.max_length, activation)
        except ValueError as error:
            raise BadFileError(f"cross-encoder {str(path)!r} is refused: {error}") from None


def check_pairs(pairs: Any) -> list[Pair]:
    """`pairs` as a list; ValueError naming the first that is not two str."""
    if not is_listing(pairs):
        raise ValueError(f"pairs must be a list of (question, text), got {describe(pairs)}")
    pairs = list(pairs)
    for position, pair in enumerate(pairs):
        two = isinstance(pair, (tuple, list)) and len(pair) == 2
        if not two or not all(isinstance(text, str) for text in pair):
            raise ValueError(
                f"pairs must hold (question, text), two str each, got {describe(pair)} at position {position}"
            )
    return pairs


def _named_in(extra: dict[str, Any]) -> Any:
    """The activation that a config.json names: since 2025 in an object of its own, before that by one long key."""
    own = extra.get("sentence_transformers")
    if isinstance(own, dict) and "activation_fn" in own:
        return own["activation_fn"]
    return extra.get("sbert_ce_default_activation_function")


def _activation(name: Any) -> str:
    """Ours for the name of a class of torch; None, nothing named, is the sigmoid."""
    if name is None:
        return "sigmoid"
    parts = name.split(".") if isinstance(name, str) else [""]
    if parts[0] != "torch" or parts[-1] not in ("Sigmoid", "Identity"):
        raise ValueError(f"its activation is {describe(name)}; we have {', '.join(TORCH_NAMES.values())}")
    return parts[-1].lower()
