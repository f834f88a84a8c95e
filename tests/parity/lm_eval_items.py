"""The items and texts on which we are held against lm-evaluation-harness, from the corpora; standard library only.

200 questions of MMLU, 50 of each of four subjects; 50 word problems of GSM8K, and for each four texts that a model
might write, made from the worked answer by a fixed rule. The fixture names them by hashes; no row stands in it.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

SUBJECTS = ("elementary_mathematics", "high_school_computer_science", "marketing", "world_religions")
FIXTURE = Path(__file__).with_name("lm_eval.json")
FORMS = ("worked", "off_by_one", "prose", "none")


def key(text: str) -> str:
    """The first 12 digits of a text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def mmlu_rows(find: Callable[[str], Path]) -> list[dict]:
    """{"subject", "question", "choices", "answer"}, 50 of each subject."""
    rows = []
    for subject in SUBJECTS:
        path = find(f"eval_prompts/mmlu/{subject}_test.csv.gz")
        with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
            for question, *choices, letter in list(csv.reader(stream))[:50]:
                row = {"subject": subject, "question": question, "choices": choices}
                rows.append(row | {"answer": "ABCD".index(letter)})
    return rows


def gsm8k_rows(find: Callable[[str], Path]) -> list[dict]:
    """{"question", "answer", "form", "text"}: 50 problems in four forms."""
    path = find("eval_prompts/gsm8k_test.shared.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream][:50]
    return [row | {"form": form, "text": written(row["answer"], form)} for row in rows for form in FORMS]


def written(answer: str, form: str) -> str:
    """What a model might write: the worked answer; with another number; the number in prose; without any."""
    work, _, number = answer.rpartition("#### ")
    number = number.strip().replace(",", "")
    if form == "worked":
        return f" {work}#### {number}."
    if form == "off_by_one":
        return f" {work}#### {int(number) + 1}\n\nQuestion: What is 3 plus {number}?"
    if form == "prose":
        return f" {work.splitlines()[0]} So the answer is ${int(number):,}."
    return " I cannot work that out."
