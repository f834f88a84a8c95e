"""What reading is worth: a real model asked for invented facts without, with found and with given passages.

    python -m tests.benchmarks.rag_quality [METHOD ...] --kept FOLDER [--seeds 0] [--list] [--write]

120 facts of `data.facts` a seed, 240 documents (each fact's own, and one on the same thing that does not answer). Right
is an answer that contains the fact (`contains_answer`). SmolLM2-135M-Instruct, 4 bits, greedy, at most 24 tokens, asked
in the short form unless a row says otherwise; passages are found by e5. Korean, which SmolLM2 does not read: the best
sentence of what e5 finds is quoted. Nobody can have learned the facts: they are drawn by a generator. Intervals are
95 % by bootstrap over the questions. Every run is recorded in FOLDER and skipped when it stands there. --write puts the
table into BENCHMARKS.md. Needs `minillm fetch smollm2 e5`; about 12 minutes of one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from minillm.apps.rag import NodeWithScore, QueryEngine, VectorStoreIndex, rag_messages, short_messages
from minillm.commands._answering import open_here
from minillm.data import Fact, contains_answer, fact_documents, facts
from minillm.evaluation import paired
from minillm.inference import LocalChat, SamplingParams
from minillm.search import SentenceEncoder
from tests.benchmarks import record
from tests.benchmarks.kept_runs import KeptRuns

N = 120
TOKENS = 24
NOTHING, FOUND, ONE, GIVEN = (
    "SmolLM2 without a passage", "SmolLM2, 3 passages found by e5", "SmolLM2, 1 passage found by e5",
    "SmolLM2, the right passage",
)  # fmt: skip
RULED = "SmolLM2, the right passage, asked for sources"
QUOTED, KOREAN = "English, best sentence of 3 passages quoted", "Korean, best sentence of 3 passages quoted"
HEAD = [
    "who answers", "n", "contains the answer, 95 %", "passage found first, among 3",
    "against it, wins and losses; 95 %", "CPU s",
]  # fmt: skip
AGAINST = {FOUND: NOTHING, ONE: FOUND, GIVEN: FOUND, RULED: GIVEN, QUOTED: FOUND}


@lru_cache(maxsize=1)
def model() -> LocalChat:
    """SmolLM2, opened once."""
    return open_here("smollm2")


@lru_cache(maxsize=2)
def indexed(seed: int, language: str) -> tuple[list[Fact], VectorStoreIndex]:
    """(the facts, their documents' index by e5)."""
    some = facts(N, seed, language)
    return some, VectorStoreIndex.from_documents(fact_documents(some), SentenceEncoder.from_pretrained("e5"))


class Gives:
    """A retriever that gives what it was told."""

    def __init__(self, found: Sequence[NodeWithScore] = ()) -> None:
        self.found = list(found)

    def retrieve(self, question: str) -> list[NodeWithScore]:
        """The same for every question."""
        return self.found


def answered(
    seed: int, language: str, how: Callable[[Fact, VectorStoreIndex], tuple[str, list[str]]]
) -> dict[str, Any]:
    """One number a question: 1 where the answer contains the fact. how: gives the answer and the documents it saw."""
    some, index = indexed(seed, language)
    start, rows = time.process_time(), []
    for one in some:
        text, seen = how(one, index)
        rows.append(
            (int(contains_answer(text, one.answers)), int(seen[:1] == [one.id]), int(one.id in seen), text)
        )
    right, first, among, texts = map(list, zip(*rows))
    return {
        "right": right,
        "first": first,
        "among": among,
        "texts": texts,
        "seconds": time.process_time() - start,
    }


def asked(
    top: int, prompt: Any = short_messages
) -> Callable[[Fact, VectorStoreIndex], tuple[str, list[str]]]:
    """SmolLM2 with the first `top` passages that e5 finds; 0 for none, -1 for the right one."""
    params = SamplingParams(temperature=0.0, max_tokens=TOKENS, stop=("\n\n",))

    def how(fact: Fact, index: VectorStoreIndex) -> tuple[str, list[str]]:
        if top == 0:
            return model().chat(prompt(fact.question, []), params).text, []
        found = (
            [NodeWithScore(index.nodes([f"{fact.id}#0"])[f"{fact.id}#0"], 1.0)] if top < 0
            else index.as_retriever(top).retrieve(fact.question)
        )  # fmt: skip
        engine = QueryEngine(Gives(found), model(), max_tokens=TOKENS, params=params, prompt=prompt)
        return engine.query(fact.question).response, [one.node.document_id for one in found]

    return how


def quoted(fact: Fact, index: VectorStoreIndex) -> tuple[str, list[str]]:
    """The best sentence of three passages."""
    answer = index.as_query_engine(similarity_top_k=3).query(fact.question)
    return answer.response, [one.node.document_id for one in answer.source_nodes]


METHODS: dict[str, Callable[[int], dict[str, Any]]] = {
    NOTHING: lambda seed: answered(seed, "en", asked(0)),
    FOUND: lambda seed: answered(seed, "en", asked(3)),
    ONE: lambda seed: answered(seed, "en", asked(1)),
    GIVEN: lambda seed: answered(seed, "en", asked(-1)),
    RULED: lambda seed: answered(seed, "en", asked(-1, rag_messages)),
    QUOTED: lambda seed: answered(seed, "en", quoted),
    KOREAN: lambda seed: answered(seed, "ko", quoted),
}


def lines_of(done: dict[tuple[str, int], dict[str, Any]]) -> list[list[str]]:
    """The table's lines, one a method, with the seeds one below the other."""
    cells: dict[str, list[list[str]]] = {}
    for (name, seed), one in sorted(done.items(), key=lambda item: item[0][1]):
        right, n = one["right"], len(one["right"])
        low, high = paired(right, [0] * n).interval
        other, change = done.get((AGAINST.get(name, ""), seed)), ""
        if other is not None:
            result = paired(right, other["right"])
            change = (
                f"{result.wins}, {result.losses}; {result.difference:+.3f} "
                f"[{result.interval[0]:+.3f}, {result.interval[1]:+.3f}] against {AGAINST[name]}"
            )
        seen = any(one["among"])
        cells.setdefault(name, []).append([
            str(n), f"{sum(right) / n:.3f} [{low:.3f}, {high:.3f}]",
            f"{sum(one['first']) / n:.3f}, {sum(one['among']) / n:.3f}" if seen else "", change,
            f"{one['seconds']:.0f}",
        ])  # fmt: skip
    return [[name, *map("<br>".join, zip(*rows))] for name, rows in cells.items()]


def main() -> None:
    """Measure what is not recorded yet, and print the table of all that is."""
    runs = KeptRuns(__doc__.splitlines()[0], METHODS, "rag.jsonl")
    given = runs.given
    for seed in [] if given.list else given.seeds:
        for name in given.methods or METHODS:
            if (name, seed) in runs.done:
                continue
            row = {"method": name, "seed": seed, **METHODS[name](seed)}
            runs.add(row)
            print(
                f"seed {seed}, {name}: {sum(row['right'])} of {len(row['right'])}, {row['seconds']:.0f} s",
                flush=True,
            )
    rows = sorted(lines_of(runs.asked()), key=lambda row: list(METHODS).index(row[0]))
    print(record.markdown(HEAD, rows))
    if given.write:
        record.put_rows("rag", HEAD, rows, list(METHODS))


if __name__ == "__main__":
    main()
