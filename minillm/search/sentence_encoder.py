"""A sentence encoder (문장 임베딩): a transformer reads a text, and one vector is made of its tokens' vectors.

    cls   h of the first token      mean   sum of h over the real tokens / how many      max   the largest of each
    encode(text) = pooled / |pooled|                                                     h (T, C) -> pooled (C,)

Unlike StaticEncoder's means, h of a token knows the words around it. Models are trained with a pooling, and often with
a prompt in front of a text ("query: ", "passage: "): a folder of sentence-transformers says which, and is opened here.
The real ones are `SentenceEncoder.from_pretrained("e5")` (100 languages, Korean among them) and `"minilm"` (English).

Book: 10.2 문장 임베딩 방식. Papers: Reimers and Gurevych 2019 (Sentence-BERT); Wang et al. 2024 (multilingual E5).
Held against: sentence_transformers' SentenceTransformer. Trained by fine_tuning.py. Leaves out: several poolings at
once, other modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from minillm._checks import check_choice, check_flag, check_int, check_path, check_text, describe
from minillm._files import BadFileError
from minillm.data.e5s1 import is_e5s1
from minillm.data.real_models import REAL_MODELS
from minillm.models import EncoderBody, PretrainedModel, load_model
from minillm.nn.fast_cpu import fast_layers
from minillm.search._ids import check_texts
from minillm.search.sentence_folder import (
    E5,
    SentenceSettings,
    check_tokenizer,
    encoder_path,
    read_settings,
    write_settings,
)
from minillm.tokenizer import Tokenizer, load_tokenizer
from minillm.training.config import pick_device

DOCUMENT_PROMPTS = (
    "document",
    "passage",
    "corpus",
)  # what sentence-transformers calls the same, in its order


def first_token(hidden: Tensor, mask: Tensor) -> Tensor:
    """The vector of the first token, which BERT was trained to put a text into: (B, T, C) -> (B, C)."""
    return hidden[:, 0]


def mean_of_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean of the real tokens' vectors; mask (B, T) is 1 for them, 0 for padding."""
    weights = mask[:, :, None].to(hidden.dtype)  # (B, T, 1)
    return (hidden * weights).sum(1) / weights.sum(1)


def max_of_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """The largest value of each of the C numbers over the real tokens."""
    return hidden.masked_fill(mask[:, :, None] == 0, -torch.inf).amax(1)


def _rows(name: str, vectors: Any) -> Tensor:
    """Vectors as a float32 tensor (N, C)."""
    if isinstance(vectors, (list, tuple)) and vectors and isinstance(vectors[0], (np.ndarray, Tensor)):
        vectors = torch.stack([torch.as_tensor(one) for one in vectors])
    if isinstance(vectors, np.ndarray):
        vectors = np.ascontiguousarray(vectors)  # torch reads no array backwards
    try:
        found = torch.as_tensor(vectors, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} must be vectors, got {describe(vectors)}") from None
    if found.ndim not in (1, 2):
        raise ValueError(f"{name} must be (N, C) or (C,), got {tuple(found.shape)}")
    return found.reshape(1, -1) if found.ndim == 1 else found


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": first_token,
    "mean": mean_of_tokens,
    "max": max_of_tokens,
}


class SentenceEncoder:
    """An encoder's body, its tokenizer and a pooling.

    model: a BERT or RoBERTa without a head. tokenizer: one with a padding token. pooling: "cls", "mean" or "max".
    max_length: tokens after which a text is cut, special ones counted; None is as many as the model reads.
    prompts: name -> text put in front; default_prompt_name: the one that `encode` takes when none is named.
    Raises ValueError when they do not fit each other.
    """

    def __init__(
        self,
        model: PretrainedModel,
        tokenizer: Tokenizer,
        pooling: str = "mean",
        max_length: int | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
    ) -> None:
        if not isinstance(model, EncoderBody):
            raise ValueError(
                f"model must be a BERT or a RoBERTa without a head, got {describe(type(model).__name__)}"
            )
        longest = model.config.max_length
        self.model, self.tokenizer = model, check_tokenizer(tokenizer, model.config.vocab_size)
        self.name: str | None = None  # of a real model, "e5": what an index writes down instead of the model
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        self.max_length = (
            longest if max_length is None else min(check_int("max_length", max_length, 1), longest)
        )
        if prompts is not None and not isinstance(prompts, Mapping):
            raise ValueError(f"prompts must be a dict from name to text, got {describe(prompts)}")
        self.prompts = dict(prompts or {})
        for name, text in self.prompts.items():
            check_text(f"prompt {name!r}", text)
        if default_prompt_name is not None:
            check_choice("default_prompt_name", default_prompt_name, self.prompts)
        self.default_prompt_name = default_prompt_name
        self.tokens([""])  # ValueError where max_length leaves no room

    @property
    def dim(self) -> int:
        """Width C of the vectors."""
        return self.model.config.width

    @property
    def max_seq_length(self) -> int:
        """The peer's name of `max_length`; it may be set, to as many as the model reads at most. Raises ValueError
        where no room is left beside the special tokens."""
        return self.max_length

    @max_seq_length.setter
    def max_seq_length(self, length: int) -> None:
        before = self.max_length
        self.max_length = min(check_int("max_seq_length", length, 1), self.model.config.max_length)
        try:
            self.tokens([""])
        except ValueError:
            self.max_length = before
            raise

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids that the model reads for each text, special ones around them, cut to max_length.

        Raises ValueError for anything but a list of str, here and in `count_tokens`.
        """
        texts = check_texts("texts", texts)
        asked = {"return_attention_mask": False, "return_token_type_ids": False}
        return self.tokenizer(texts, truncation=True, max_length=self.max_length, **asked)["input_ids"]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, special ones counted, before it is cut to max_length."""
        texts = check_texts("texts", texts)
        asked = {"return_attention_mask": False, "return_token_type_ids": False}
        return [len(row) for row in self.tokenizer(texts, **asked)["input_ids"]]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special ones."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device

    def encode(
        self,
        texts: str | Sequence[str],
        batch_size: int = 32,
        normalize: bool = True,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *,
        normalize_embeddings: bool | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        show_progress_bar: bool = False,
        device: torch.device | str | None = None,
    ) -> np.ndarray | Tensor | list[Tensor]:
        """Vectors of `texts`, float32 (N, C), of length 1 with `normalize`; (C,) for one str, as the peer gives it.

        prompt: put in front of every text; prompt_name: one of `prompts`, if `prompt` is not given; with neither it
        is the default prompt, if there is one. Texts of like length go through the model together, so the order and
        the batch size change nothing but the time. convert_to_tensor: a tensor on the model's device.
        convert_to_numpy: False gives a list of tensors, as the peer does. device: where the model is moved first; it
        stays there. normalize_embeddings is the peer's name of `normalize`. Raises
        ValueError when `texts` is no str and no list of str, for batch_size < 1 and for a prompt that is not known.
        """
        single = isinstance(texts, str)
        texts = check_texts("texts", [texts] if single else texts)
        batch_size = check_int("batch_size", batch_size, minimum=1)
        normalize = normalize if normalize_embeddings is None else normalize_embeddings
        check_flag("normalize", normalize)
        check_flag("convert_to_numpy", convert_to_numpy), check_flag("convert_to_tensor", convert_to_tensor)
        check_flag("show_progress_bar", show_progress_bar)
        front = self._front(prompt_name, prompt)
        if device is not None:
            self.model.to(pick_device(device))
        rows = self.tokens([front + text for text in texts]) if texts else []
        # the longest first: a batch that needs too much memory fails at once
        order = sorted(filter(rows.__getitem__, range(len(rows))), key=lambda place: -len(rows[place]))
        starts = tqdm(range(0, len(order), batch_size), "Batches", disable=not show_progress_bar)
        # a text without a token, of a tokenizer without special ones, stays zero
        vectors = torch.zeros(len(rows), self.dim, device=self.device if convert_to_tensor else "cpu")
        was_training = self.model.training
        self.model.eval()
        try:
            with fast_layers(self.model):
                for start in starts:
                    places = order[start : start + batch_size]
                    vectors[places] = self._embed([rows[place] for place in places], normalize).to(
                        vectors.device
                    )
        finally:
            self.model.train(was_training)
        found = vectors[0] if single else vectors
        if convert_to_tensor:
            return found
        return found.numpy() if convert_to_numpy else found if single else list(found)

    def encode_query(
        self, texts: str | Sequence[str], batch_size: int = 32, normalize: bool = True, **options: Any
    ) -> np.ndarray | Tensor:
        """`encode` with the prompt called "query"; without a prompt where there is none of that name."""
        return self.encode(
            texts, batch_size, normalize, **{"prompt": self.prompts.get("query", ""), **options}
        )

    def encode_document(
        self, texts: str | Sequence[str], batch_size: int = 32, normalize: bool = True, **options: Any
    ) -> np.ndarray | Tensor:
        """`encode` with the first prompt that is called "document", "passage" or "corpus", else without one."""
        names = [name for name in DOCUMENT_PROMPTS if name in self.prompts]
        prompt = self.prompts[names[0]] if names else ""
        return self.encode(texts, batch_size, normalize, **{"prompt": prompt, **options})

    def similarity(self, a: Any, b: Any) -> Tensor:
        """Cosine of every vector of `a` (N, C) with every one of `b` (M, C): (N, M); one vector (C,) is a row of one.

        Raises ValueError when the widths differ.
        """
        first, second = (_rows(name, one) for name, one in (("a", a), ("b", b)))
        if first.shape[1] != second.shape[1]:
            raise ValueError(
                f"a and b must be equally wide, got {tuple(first.shape)} and {tuple(second.shape)}"
            )
        return F.normalize(first, dim=1) @ F.normalize(second, dim=1).T.to(first.device)

    def _front(self, name: str | None, prompt: str | None) -> str:
        if prompt is not None:
            return check_text("prompt", prompt)
        name = self.default_prompt_name if name is None else check_choice("prompt_name", name, self.prompts)
        return "" if name is None else self.prompts[name]

    @torch.inference_mode()
    def _embed(self, rows: Sequence[Sequence[int]], normalize: bool) -> Tensor:
        """Lists of token ids -> (B, C) float32."""
        longest, pad = max(map(len, rows)), self.tokenizer.pad_token_id
        ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], device=self.model.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.model.device)
        mask = (torch.arange(longest, device=self.model.device) < lengths[:, None]).long()  # (B, T)
        hidden = self.model(ids, attention_mask=mask).last_hidden_state  # (B, T, C)
        pooled = POOLINGS[self.pooling](hidden.float(), mask)
        return F.normalize(pooled, dim=1) if normalize else pooled

    # --- folders ----------------------------------------------------------------------------------------------

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write a folder of sentence-transformers, whose vectors it makes of length 1: the model, its tokenizer and
        the settings. transformers opens it as a BertModel (or RobertaModel), too."""
        folder = check_path("folder", folder)
        self.model.save_pretrained(folder)
        self.tokenizer.save(folder)
        settings = SentenceSettings(
            "", self.pooling, self.dim, self.max_length, self.prompts, self.default_prompt_name
        )
        write_settings(folder, settings)
        return folder

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> SentenceEncoder:
        """The encoder in a folder of sentence-transformers, in an E5S1 file, or of the name "e5" or "minilm".

        "owner/name" of the hub is downloaded once (extra `hub`, as in `load_model`). A path that exists goes before a
        name; a real model must have been fetched (`minillm fetch e5`). In a folder without modules.json the tokens
        are averaged, as sentence-transformers does it. dtype, device: as in `load_model`. Raises ValueError for a
        real model that is not here, BadFileError naming what is missing, cut, damaged, or not built here.
        """
        path = encoder_path(source)
        if is_e5s1(path):
            encoder = cls(
                load_model(path, dtype, device), load_tokenizer(path), E5.pooling, prompts=E5.prompts
            )
            encoder.name = _real_name(source, dtype)
            return encoder
        settings = read_settings(path)
        model = load_model(path / settings.inner, dtype, device)
        model = getattr(model, "body", model)  # a head has no part in it
        tokenizer = load_tokenizer(path / settings.inner)
        try:
            encoder = cls(
                model, tokenizer, settings.pooling, settings.max_length, settings.prompts,
                settings.default_prompt_name,
            )  # fmt: skip
        except ValueError as error:
            raise BadFileError(f"sentence encoder {str(path)!r} is refused: {error}") from None
        if settings.width not in (None, encoder.dim):
            raise BadFileError(
                f"sentence encoder {str(path)!r} is refused: its pooling expects vectors of {settings.width} numbers, "
                f"its model makes {encoder.dim}"
            )
        encoder.name = _real_name(source, dtype)
        return encoder


def _real_name(source: str | Path, dtype: torch.dtype | None) -> str | None:
    """`source` where it names a real model, opened as it is."""
    named = isinstance(source, str) and source in REAL_MODELS and not Path(source).exists()
    return source if named and dtype is None else None
