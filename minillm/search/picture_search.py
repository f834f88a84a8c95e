"""Pictures found by words, and by pictures (멀티 모달 검색): CLIP makes the vectors, a vector store keeps them.

    add         u = picture tower(picture) / ‖·‖     -> a record of the store: id, u, metadata
    by_text     v = text tower(caption) / ‖·‖        -> the records whose u has the largest u · v
    by_picture  u' = picture tower(picture) / ‖·‖    -> the records whose u has the largest u · u'

Both towers end in one space, so one store serves both questions. A cosine of two pictures and one of a picture and a
text are no common scale: pictures lie nearer to each other. Compare scores within one question only.

Book 12.5 실습: 파인콘을 활용해 멀티 모달 검색 구현하기. Paper: Radford et al. 2021; the gap: Liang et al. 2022.
Peer: sentence-transformers' clip models above a vector database. Left out: pictures and texts in one namespace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from minillm._checks import check_int, describe, is_listing
from minillm.data.picture_files import is_image
from minillm.models import CLIP, caption_vectors, picture_vectors
from minillm.models.picture_processor import PictureProcessor, check_pictures
from minillm.search._ids import check_texts
from minillm.search.store import VectorStore
from minillm.search.store.records import check_name
from minillm.tokenizer.base import Tokenizer

PART = 64  # pictures in memory at a time

Match = dict[str, Any]  # {"id", "score", "metadata"}


class PictureSearch:
    """Pictures in one namespace of a VectorStore as wide as the model's vectors.

    processor: what makes a picture fit for the model; None takes -1..1 for 0..1, as the course's own CLIP does.
    Pictures are arrays or tensors of values in 0..1, (N, 3, H, W), or a list of (3, H, W), of PNG and JPEG files, or of
    Pillow's pictures.
    Raises ValueError for bad input before anything is written, BadFileError (one, too) for a file that is no picture.
    """

    def __init__(
        self,
        model: CLIP,
        tokenizer: Tokenizer,
        store: VectorStore,
        namespace: str = "pictures",
        processor: PictureProcessor | None = None,
    ) -> None:
        if not isinstance(model, CLIP):
            raise ValueError(f"model must be a CLIP, got {describe(model)}")
        if not isinstance(tokenizer, Tokenizer):
            raise ValueError(f"tokenizer must be a Tokenizer, got {describe(tokenizer)}")
        if not isinstance(store, VectorStore) or store.dim != model.config.width:
            came = f"one of {store.dim}" if isinstance(store, VectorStore) else describe(store)
            raise ValueError(
                f"store must be a VectorStore of dim {model.config.width}, as the model, got {came}"
            )
        if store.metric == "l2":  # its scores are distances, the smallest first
            raise ValueError('store must compare by "cosine" or "ip", got "l2"')
        size = model.config.vision_config.image_size
        if processor is None:
            processor = PictureProcessor(size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        if not isinstance(processor, PictureProcessor) or processor.size != size:
            came = f"{processor.size}" if isinstance(processor, PictureProcessor) else describe(processor)
            raise ValueError(f"processor must make pictures of {size} pixels, as the model, got {came}")
        self.model, self.tokenizer, self.store = model, tokenizer, store
        self.namespace, self.processor = check_name("namespace", namespace, empty=True), processor

    def __len__(self) -> int:
        """Pictures in the namespace."""
        return self.store.stats()["namespaces"].get(self.namespace, {"vector_count": 0})["vector_count"]

    # --- vectors ----------------------------------------------------------------------------------------------

    def encode_pictures(self, pictures: Any) -> NDArray[np.float32]:
        """Vectors (N, D) of length 1 of N pictures."""
        given = _as_list(pictures)
        parts = (given[i : i + PART] for i in range(0, len(given), PART))
        return np.concatenate([picture_vectors(self.model, self.processor(part)) for part in parts])

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (N, D) of length 1 of N texts; what the model's window cannot hold is cut off."""
        texts = check_texts("texts", texts)
        if not texts or not all(text.strip() for text in texts):
            raise ValueError(f"texts must hold words, got {describe(texts)}")
        return caption_vectors(self.model, self.tokenizer, texts)

    # --- verbs ------------------------------------------------------------------------------------------------

    def add(
        self,
        pictures: Any,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[str]:
        """Keep N pictures, all or none; their ids. One whose id is there is replaced.

        ids: N different str; by default a file's path, and "picture-7" for the eighth picture of the namespace.
        metadata: N dicts, as VectorStore.upsert takes them.
        """
        given = _as_list(pictures)
        ids = self._new_ids(given) if ids is None else _check_length("ids", ids, given)
        check_different(ids)
        metadata = [{}] * len(given) if metadata is None else _check_length("metadata", metadata, given)
        vectors = self.encode_pictures(given)
        records = [{"id": i, "values": u, "metadata": m} for i, u, m in zip(ids, vectors, metadata)]
        self.store.upsert(records, self.namespace)
        return ids

    def by_text(self, text: str | Sequence[str], top_k: int = 10, filter: Any = None) -> list:
        """The top_k pictures nearest to a text: [{"id", "score", "metadata"}, ...], best first; a list of such lists
        for a list of texts. filter: as VectorStore.query."""
        found = self._query(self.encode_texts([text] if isinstance(text, str) else text), top_k, filter)
        return found[0] if isinstance(text, str) else found

    def by_picture(self, picture: Any, top_k: int = 10, filter: Any = None) -> list:
        """The top_k pictures nearest to one picture, (3, H, W), a file or Pillow's; a list of lists for several."""
        one = isinstance(picture, (str, Path)) or is_image(picture) or getattr(picture, "ndim", 4) == 3
        found = self._query(self.encode_pictures([picture] if one else picture), top_k, filter)
        return found[0] if one else found

    def _query(self, vectors: NDArray, top_k: int, filter: Any) -> list[list[Match]]:
        top_k = check_int("top_k", top_k, 1)
        return [self.store.query(one, top_k, filter, self.namespace)["matches"] for one in vectors]

    def _new_ids(self, given: Sequence[Any]) -> list[str]:
        start = len(self)
        ids = [
            str(one) if isinstance(one, (str, Path)) else f"picture-{start + place}"
            for place, one in enumerate(given)
        ]
        numbered = [id for id, one in zip(ids, given) if not isinstance(one, (str, Path))]
        if taken := list(self.store.fetch(numbered, self.namespace)["vectors"]):
            raise ValueError(f"ids must be given: the next one, {taken[0]!r}, is taken")
        return ids


def _as_list(pictures: Any) -> list[Any]:
    """Pictures as a list, arrays among them checked."""
    if isinstance(pictures, (np.ndarray, Tensor)):
        return check_pictures(pictures)
    if not is_listing(pictures):
        raise ValueError(
            f"pictures must be (N, 3, H, W) or a list of pictures or files, got {describe(pictures)}"
        )
    pictures = list(pictures)
    if not pictures:
        raise ValueError("pictures must hold at least one picture, got none")
    return [
        one if isinstance(one, (str, Path)) or is_image(one) else check_pictures([one])[0] for one in pictures
    ]


def check_different(ids: list[str]) -> None:
    """ValueError naming an id that comes twice."""
    if len(set(ids)) < len(ids):
        twice = next(id for place, id in enumerate(ids) if id in ids[:place])
        raise ValueError(f"ids must be different, got {twice!r} more than once")


def _check_length(name: str, values: Any, pictures: Sequence[Any]) -> list[Any]:
    values = list(values) if is_listing(values) and not isinstance(values, (Set, Mapping)) else values
    if not isinstance(values, list) or len(values) != len(pictures):
        came = f"{len(values)}" if isinstance(values, list) else describe(values)
        raise ValueError(f"{name} must be a list of {len(pictures)}, one a picture, got {came}")
    return values
