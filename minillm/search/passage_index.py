"""A folder of passages that can be asked: keyword, dense and hybrid search over the same passages.

    index = PassageIndex.build(passages);   index.search("what does with do", 5);   index.save(folder)

This is what `minillm index` writes and `minillm search` and `minillm ask` open: passages.json, choice.json, lexical/
and dense/. A passage is indexed with its title, because a heading often names what its text only calls "it", and for
keywords its title counts once more, as a field of its own. Of a question, only the words that say what it is about
count. Building grades every method on queries made from the passages (self_grading.py); the best is `auto`.

Book: 10.5.3 하이브리드 검색 구현하기, 9.1 검색 증강 생성(RAG).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minillm._checks import check_choice, check_int, check_text
from minillm._files import BadFileError, read_json, verify_checksums, write_checksums, write_json
from minillm.data import Passage
from minillm.data.documents import check_passages
from minillm.search._ids import Ranking
from minillm.search.bm25 import lucene_idf
from minillm.search.confidence import share_named
from minillm.search.dense import DenseRetriever
from minillm.search.encoder_training import train_encoder
from minillm.search.fields import FieldSearch
from minillm.search.fusion import group_ranking
from minillm.search.hybrid import HybridSearch
from minillm.search.kept_vectors import KeptVectors
from minillm.search.self_grading import FEWEST_QUERIES, METHODS, Choice, choose, first_places, hold_out
from minillm.search.snippets import Snippet, find_snippet
from minillm.search.weighted import WeightedSearch
from minillm.search.words import content_words, find_operators, search_words

FIELDS = {"text": 1.0, "title": 1.0}  # what a word counts in each, in keyword search
WHOLE = ("title",)  # a title says what its section is about, all of it
CHECKED = (
    "passages.json",
    "choice.json",
    "dense/documents.json",
)  # JSON has no room for a checksum of its own


class PassageIndex:
    """Passages with a fitted FieldSearch and a fitted DenseRetriever whose document ids are the passages' ids.

    choice: what "auto" means and the weight of "weighted" (default: weighted, 0.4).
    """

    building_seconds = grading_seconds = 0.0  # what `build` took in all, and for grading

    def __init__(
        self,
        passages: Sequence[Passage],
        lexical: FieldSearch,
        dense: DenseRetriever,
        choice: Choice | None = None,
    ) -> None:
        self.passages = {passage.id: passage for passage in passages}
        if not self.passages or not list(self.passages) == list(lexical.ids) == list(dense.ids):
            raise ValueError(
                f"passages, lexical and dense must hold the same ids, got {len(self.passages)} passages, "
                f"{len(lexical.ids)} and {len(dense.ids)}"
            )
        self.lexical, self.dense, self.choice = lexical, dense, choice or Choice()
        self.hybrid = HybridSearch(lexical, dense)
        self.weighted = WeightedSearch(lexical, dense, self.choice.dense_weight)

    def __len__(self) -> int:
        """Number of passages."""
        return len(self.passages)

    @classmethod
    def build(
        cls,
        passages: Sequence[Passage],
        seed: int = 0,
        encoder: Any = None,
        choice: Choice | None = None,
        **training: Any,
    ) -> PassageIndex:
        """Index the passages; the vectors come from `encoder` (a SentenceEncoder, say, or KeptVectors of one), or from
        one that is trained here, on these passages alone. choice: of the method, where it is made; nothing is graded.

        training: options of `train_encoder` (steps, dim, vocab_size, ...). Raises ValueError for anything but a list
        of at least two Passages with different ids, for training options out of range, or beside an encoder.
        """
        passages = check_passages(passages, least=2)
        if encoder is not None and training:
            raise ValueError(f"an encoder that is given is not trained: {', '.join(training)} has no use")
        start = time.perf_counter()
        held = hold_out(passages, seed)
        graded = choice is None and len(held.queries) >= FEWEST_QUERIES
        if encoder is None:
            encoder = train_encoder(held.passages if graded else passages, seed=seed, **training)
        elif not isinstance(encoder, KeptVectors):
            encoder = KeptVectors(encoder)  # most passages stay whole in grading, and each is encoded once
        grading = time.perf_counter()
        if graded:
            choice = choose(first_places(held, *fit_both(held.passages, encoder)))
        graded_at = time.perf_counter()
        index = cls(passages, *fit_both(passages, encoder), choice)
        if isinstance(encoder, KeptVectors):
            index.dense.encoder = encoder.encoder
        index.grading_seconds, index.building_seconds = graded_at - grading, time.perf_counter() - start
        return index

    def choice_in_words(self) -> str:
        """What "auto" means here: "bm25", or "weighted (bm25 0.6, dense 0.4)"."""
        weight = self.choice.dense_weight
        parts = f" (bm25 {1 - weight:.1f}, dense {weight:.1f})" if self.choice.method == "weighted" else ""
        return self.choice.method + parts

    def rankings(self, queries: Sequence[str], k: int = 10, method: str = "auto") -> list[Ranking]:
        """For each query the best k passages as [(passage id, score), ...], best first.

        method: one of METHODS, or "auto" for the one that `build` chose. Raises ValueError for anything else.
        """
        method = self.resolve(method)
        retrievers = {
            "bm25": self.lexical, "dense": self.dense, "hybrid": self.hybrid, "weighted": self.weighted,
        }  # fmt: skip
        return retrievers[method].search(list(queries), check_int("k", k, 1))

    def resolve(self, method: str) -> str:
        """The name of the method: what was chosen for "auto". Raises ValueError for a name there is not."""
        method = check_choice("method", method, ("auto", *METHODS))
        return self.choice.method if method == "auto" else method

    def search(self, query: str, k: int = 10, method: str = "auto") -> list[tuple[Passage, float]]:
        """The best k passages for one query, with their scores; none for a query without a word or an operator.

        Raises ValueError for a query that is no str.
        """
        (ranking,) = self.rankings([check_text("query", query)], k, method)
        if not search_words(query) and not find_operators(query):  # the vectors would be near to something
            return []
        return [(self.passages[one], score) for one, score in ranking]

    def idf(self, word: str) -> float:
        """How much a word says here, as BM25 weighs it in texts; an unknown word says most."""
        return lucene_idf(self.lexical.fields["text"].document_frequency(word), len(self))

    def share_named(self, query: str, passage: Passage) -> float:
        """The share, 0 to 1, of what the query's words weigh that the passage says (confidence.py)."""
        said = content_words(f"{passage.title}\n{passage.text}")
        return share_named(content_words(check_text("query", query)), said, self.idf)

    def snippet(self, query: str, passage: Passage, width: int = 200) -> Snippet:
        """The part of a passage that says most of the query (snippets.py)."""
        return find_snippet(passage.text, query, width, lambda word: sum(map(self.idf, search_words(word))))

    def search_documents(self, queries: Sequence[str], k: int = 10, method: str = "auto") -> list[Ranking]:
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
        write_json(folder / "choice.json", asdict(self.choice))
        write_checksums(folder, CHECKED)
        return folder

    @classmethod
    def load(cls, folder: str | Path, encoder: Any = None) -> PassageIndex:
        """Open what `save` wrote; BadFileError (a ValueError) naming a file that is missing, cut or damaged. encoder:
        one that is open already, in place of the folder's own."""
        folder = Path(folder)
        verify_checksums(folder)
        rows = read_json(folder / "passages.json", "list of passages")
        chosen = read_json(folder / "choice.json", "choice of the search method")
        try:
            passages = [Passage(**row) for row in rows]
            return cls(
                passages,
                FieldSearch.load(folder / "lexical", FIELDS, content_words, WHOLE),
                DenseRetriever.load(folder / "dense", encoder),
                Choice(**chosen),
            )
        except BadFileError:
            raise
        except (TypeError, ValueError) as error:
            raise BadFileError(f"search folder {str(folder)!r} is refused: {error}") from None


def indexed_texts(passages: Sequence[Passage]) -> list[str]:
    """What is indexed of each passage: its title, which often names what the text only calls "it", and its text."""
    return [f"{passage.title}\n{passage.text}" for passage in passages]


def fit_both(passages: Sequence[Passage], encoder: Any) -> tuple[FieldSearch, DenseRetriever]:
    """Keyword and dense search over the passages, each indexed with its title."""
    titles, ids = [passage.title for passage in passages], [passage.id for passage in passages]
    texts = indexed_texts(passages)
    lexical = FieldSearch(FIELDS, content_words, WHOLE).fit({"text": texts, "title": titles}, ids)
    return lexical, DenseRetriever(encoder).fit(texts, ids)
