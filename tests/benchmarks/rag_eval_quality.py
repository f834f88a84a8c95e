"""Do the RAG figures tell good from bad? Each against its label on 120 answers, by words, by e5, by SmolLM2 as judge.

    python -m tests.benchmarks.rag_eval_quality [METHOD ...] --kept FOLDER [--seeds 0] [--list] [--write]

Answers, passages and labels: minillm.data.rag_answers (half English, half Korean). AUC of
    faithfulness        of an answer, with the question's own two passages: nothing in it is invented
    answer relevance    of question and answer: it is about the question (10 of 120 are not)
    context recall      of each sentence of the reference with four passages: they say it
    context precision   of each passage with question and reference: it is one of the question's own two
The interval draws questions, not answers: six answers share one. "words", "e5": seconds; "judge": minutes, each
score kept as it comes, so that a run that was stopped goes on.
The judge's answer relevance is the cosine (e5) of the question with the one that it asks back.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minillm.apps.judging import ask_back, statements_of, support_by, useful
from minillm.data import RagAnswer, fetch, rag_answers
from minillm.evaluation import (
    answer_relevance,
    auc,
    auc_interval,
    context_recall,
    embedding_support,
    faithfulness,
    lexical_support,
)
from minillm.inference import Engine, LocalChat
from minillm.models import load_model
from minillm.search import SentenceEncoder
from minillm.tokenizer import load_tokenizer
from tests.benchmarks import record
from tests.benchmarks.kept_runs import KeptRuns

METHODS = ("words", "e5", "judge")
FIGURES = ("faithfulness", "answer relevance", "context recall", "context precision")
HEAD = ["figure, by, language", "n (bad)", "AUC", "95 %"]
Case = tuple[str, str, bool, Callable[[], float]]  # question, language, label, the score


def e5_support() -> Callable[..., float]:
    """Cosines of e5, its texts kept: passages come again."""
    encoder, known = SentenceEncoder.from_pretrained("e5"), {}

    def encode(texts: list[str]) -> np.ndarray:
        new = [one for one in dict.fromkeys(texts) if one not in known]
        if new:
            known.update(zip(new, encoder.encode(new, prompt="query: ")))
        return np.stack([known[one] for one in texts])

    return embedding_support(encode)


def cases(method: str, figure: str, rows: list[RagAnswer]) -> list[Case]:
    """What is scored, and its label."""
    once = [
        one for place, one in enumerate(rows) if place % 6 < 3
    ]  # right and wrong answers share their passages
    chat = support = None
    if method == "judge":
        path = fetch("smollm2")
        chat = LocalChat(Engine(load_model(path), load_tokenizer(path)))
        support = support_by(chat)
    near = lexical_support if method == "words" else e5_support()
    support = support or near

    def cosine(a: str, b: str) -> float:
        return near(a, [b])

    def meant(answer: str) -> str:
        return ask_back(chat, answer) if chat else answer

    if figure == "faithfulness":
        return [
            (row.question, row.language, row.answer_supported,
             lambda row=row: faithfulness(statements_of(row.answer), row.facts, support))
            for row in rows if row.kind != "off_topic"
        ]  # fmt: skip
    if figure == "answer relevance":
        return [
            (row.question, row.language, row.on_topic,
             lambda row=row: answer_relevance(row.question, [meant(row.answer)], cosine))
            for row in rows
        ]  # fmt: skip
    if figure == "context recall":
        return [
            (row.question, row.language, row.recalled[place],
             lambda row=row, text=text: context_recall([text], row.contexts, support))
            for row in once for place, text in enumerate(statements_of(row.reference))
        ]  # fmt: skip
    return [
        (row.question, row.language, row.useful[place],
         lambda row=row, text=text: useful(chat, row.question, row.reference, text) if chat
         else near(f"{row.question} {row.reference}", [text]))
        for row in once for place, text in enumerate(row.contexts)
    ]  # fmt: skip


class Scores:
    """The scores of one figure, each kept as soon as it is there: a run that was stopped goes on where it was."""

    def __init__(self, file: Path, figure: str) -> None:
        self.file, self.figure = file, figure
        lines = file.read_text("utf-8").splitlines() if file.is_file() else []
        rows = [json.loads(line) for line in lines if line.endswith("]")]  # not the last one, half written
        self.known = {(name, place): score for name, place, score in rows}

    def of(self, place: int, score: Callable[[], float]) -> float:
        key = self.figure, place
        if key not in self.known:
            self.known[key] = float(score())
            with self.file.open("a", encoding="utf-8") as stream:
                stream.write("\n" * (stream.tell() > 0) + json.dumps([*key, self.known[key]]))
        return self.known[key]


def lines_of(row: dict) -> list[list[str]]:
    """The table's lines of a kept row: each language apart."""
    lines = []
    for figure, (questions, languages, labels, scores) in row["figures"].items():
        for language in ("en", "ko"):
            some = np.array(languages) == language
            s, y, g = np.array(scores)[some], np.array(labels)[some], np.array(questions)[some]
            low, high = auc_interval(s, y, g)
            name, n = f"{figure}, {row['method']}, {language}", f"{len(y)} ({int((y == 0).sum())})"
            lines.append([name, n, f"{auc(s, y):.2f}", f"[{low:.2f}, {high:.2f}]"])
    return lines


def main() -> None:
    runs = KeptRuns(__doc__.splitlines()[0], METHODS, "rag_eval.jsonl")
    for method in runs.given.methods or METHODS:
        if runs.given.list or (method, 0) in runs.done:
            continue
        figures = {}
        for figure in FIGURES:
            questions, languages, labels, score = zip(*cases(method, figure, rag_answers()))
            known = Scores(runs.given.kept / f"rag_eval_{method}.jsonl", figure)
            scores = [known.of(place, one) for place, one in enumerate(score)]
            figures[figure] = [questions, languages, [int(y) for y in labels], scores]
        runs.add({"method": method, "seed": 0, "figures": figures})
    rows = [line for row in runs.done.values() for line in lines_of(row)]
    order = [f"{one}, {by}, {language}" for one in FIGURES for by in METHODS for language in ("en", "ko")]
    rows.sort(key=lambda line: order.index(line[0]))
    print(record.markdown(HEAD, rows))
    if runs.given.write:
        record.put_rows("rag_eval_quality", HEAD, rows, order)


if __name__ == "__main__":
    main()
