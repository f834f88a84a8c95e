"""A folder of passages that can be asked: keyword, dense and hybrid search over the same passages.

    index = PassageIndex.build(passages);   index.search("what does with do", 5);   index.save(folder)

This is what `minillm index` writes and `minillm search` and `minillm ask` open: passages.json, lexical/ and dense/.
A passage is indexed with its title, because a heading often names what its text only calls "it", and for keywords its
title counts once more, as a field of its own. Of a question, only the words that say what it is about count.

Book: 10.4.3 하이브리드 검색 구현하기, 9.1 검색 증강 생성(RAG).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minillm._checks import check_choice, check_int, check_text, describe
from minillm._files import BadFileError, read_json, write_json
from minillm.data import Passage
from minillm.search._ids import Ranking
from minillm.search.dense import DenseRetriever
from minillm.search.encoder_training import train_encoder
from minillm.search.fields import FieldSearch
from minillm.search.fusion import group_ranking
from minillm.search.hybrid import HybridSearch
from minillm.search.words import content_words

METHODS = ("bm25", "dense", "hybrid")
FIELDS = {"text": 1.0, "title": 0.5}  # what a word counts in each, in keyword search


class PassageIndex:
    """Passages with a fitted FieldSearch and a fitted DenseRetriever whose document ids are the passages' ids."""

    def __init__(self, passages: Sequence[Passage], lexical: FieldSearch, dense: DenseRetriever) -> None:
        self.passages = {passage.id: passage for passage in passages}
        if not self.passages or not set(self.passages) == set(lexical.ids) == set(dense.ids):
            raise ValueError(
                f"passages, lexical and dense must hold the same ids, got {len(self.passages)} passages, "
                f"{len(lexical.ids)} and {len(dense.ids)}"
            )
        self.lexical, self.dense = lexical, dense
        self.hybrid = HybridSearch(lexical, dense)

    def __len__(self) -> int:
        """Number of passages."""
        return len(self.passages)

    @classmethod
    def build(cls, passages: Sequence[Passage], seed: int = 0, **training: Any) -> PassageIndex:
        """Index the passages; the vectors come from an encoder trained here, on these passages alone.

        training: options of `train_encoder` (steps, dim, vocab_size, ...). Raises ValueError for anything but a list
        of at least two Passages with different ids, and for training options out of range.
        """
        passages = list(passages) if isinstance(passages, Sequence) and not isinstance(passages, str) else []
        if len(passages) < 2 or not all(isinstance(passage, Passage) for passage in passages):
            raise ValueError(f"passages must be a list of at least two Passages, got {describe(passages)}")
        texts, ids = [f"{p.title}\n{p.text}" for p in passages], [p.id for p in passages]
        encoder = train_encoder(passages, seed=seed, **training)
        lexical = FieldSearch(FIELDS, content_words).fit(
            {"text": texts, "title": [p.title for p in passages]}, ids
        )
        return cls(passages, lexical, DenseRetriever(encoder).fit(texts, ids))

    def rankings(self, queries: Sequence[str], k: int = 10, method: str = "hybrid") -> list[Ranking]:
        """For each query the best k passages as [(passage id, score), ...], best first; method: one of METHODS."""
        retrievers = {"bm25": self.lexical, "dense": self.dense, "hybrid": self.hybrid}
        return retrievers[check_choice("method", method, METHODS)].search(list(queries), check_int("k", k, 1))

    def search(self, query: str, k: int = 10, method: str = "hybrid") -> list[tuple[Passage, float]]:
        """The best k passages for one query, with their scores. Raises ValueError for a query that is no str."""
        (ranking,) = self.rankings([check_text("query", query)], k, method)
        return [(self.passages[one], score) for one, score in ranking]

    def search_documents(self, queries: Sequence[str], k: int = 10, method: str = "hybrid") -> list[Ranking]:
        """For each query the best k documents: a document stands where its best passage stood."""
        # ten passages a wanted document are enough: few documents have more among the best
        rankings = self.rankings(queries, 10 * check_int("k", k, 1), method)
        return [
            group_ranking(ranking, lambda one: self.passages[one].document_id)[:k] for ranking in rankings
        ]

    def save(self, folder: str | Path) -> Path:
        """Write the folder, each file whole or not at all."""
        folder = Path(folder)
        self.lexical.save(folder / "lexical")
        self.dense.save(folder / "dense")
        write_json(folder / "passages.json", [asdict(passage) for passage in self.passages.values()])
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> PassageIndex:
        """Open what `save` wrote; BadFileError (a ValueError) naming a file that is missing, cut or damaged."""
        folder = Path(folder)
        rows = read_json(folder / "passages.json", "list of passages")
        try:
            passages = [Passage(**row) for row in rows]
            return cls(
                passages,
                FieldSearch.load(folder / "lexical", FIELDS, content_words),
                DenseRetriever.load(folder / "dense"),
            )
        except BadFileError:
            raise
        except (TypeError, ValueError) as error:
            raise BadFileError(f"search folder {str(folder)!r} is refused: {error}") from None
