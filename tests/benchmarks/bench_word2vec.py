"""Word2Vec training against gensim on one thread: words of text read a second, vocabulary and all epochs included.

The text is Python's reference and the docstrings of its standard library as lists of lower-cased words; the sizes are
gensim's defaults: 100 dimensions, window 5, 5 negatives. The plain loop, in numpy, reads a part of the text. A made-up
text of 50,000 Zipfian words, a million long, shows what a vocabulary costs that no cache holds.
"""

from __future__ import annotations

import re

import numpy as np

from minillm.data import python_docs, standard_library_docs
from minillm.search import Word2Vec
from minillm.search.vectors import word2vec
from minillm.search.vectors.negative_sampling import train_plain
from tests.benchmarks.harness import Row, in_turn, peer_or_none, seconds

WORD, SENTENCE_END = re.compile(r"\w+"), re.compile(r"[.\n]\s*\n|\.\s")
PART = 100  # sentences for the plain loop


def real_text() -> list[list[str]]:
    texts = [document.text.lower() for document in python_docs() + standard_library_docs()]
    return [WORD.findall(sentence) for text in texts for sentence in SENTENCE_END.split(text)]


def made_up_text(sentences: int = 50_000, length: int = 20, words: int = 50_000) -> list[list[str]]:
    """The word of rank r stands with a chance of 1/r."""
    names = np.array([f"w{rank}" for rank in range(words)])
    bounds = np.cumsum(1 / np.arange(1, words + 1))
    places = np.random.default_rng(0).random((sentences, length)) * bounds[-1]
    return names[np.searchsorted(bounds, places)].tolist()


def run(quick: bool) -> list[Row]:
    rounds, epochs = (1, 1) if quick else (5, 3)
    gensim = peer_or_none("gensim.models")
    rows = []
    for name, text in (("Python's documentation", real_text()), ("50,000 Zipfian words", made_up_text())):
        count = sum(map(len, text))
        for mode in ("cbow", "skipgram"):
            calls = {"ours": lambda mode=mode, text=text: Word2Vec(mode, epochs=epochs).fit(text)}
            if gensim:
                calls["gensim"] = lambda mode=mode, text=text: gensim.Word2Vec(
                    text, sg=int(mode == "skipgram"), workers=1, epochs=epochs
                )
            times = in_turn(calls, rounds)
            rate = {peer: count * epochs / spent for peer, spent in times.items()}
            rows.append(
                Row(f"Word2Vec {mode}, {name}", "gensim", "words/s", rate["ours"], rate.get("gensim"), 1.0,
                    spread=times.spread("gensim"))
            )  # fmt: skip
            if name.startswith("Python"):
                spent = seconds(lambda mode=mode, text=text: plain(mode, text[:PART]))
                speed = sum(map(len, text[:PART])) / spent
                rows[-1].note = f"the plain loop reads {speed:.0f} words a second"
    return rows


def plain(mode: str, text: list[list[str]]) -> None:
    """`Word2Vec.fit` with the plain loop in the compiled one's place."""
    fast = word2vec.train
    word2vec.train = lambda *arguments: train_plain(*arguments[:-1], int(arguments[-1]))
    try:
        Word2Vec(mode, epochs=1, min_count=1).fit(text)
    finally:
        word2vec.train = fast
