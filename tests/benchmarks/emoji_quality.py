"""A CLIP of the course's size learns emoji (real drawings, real captions), and finds those that it never saw.

    python -m tests.benchmarks.emoji_quality [METHOD ...] --kept FOLDER [--seeds 0 1 2] [--list] [--write]

METHODs: CLIP, nearest pixels. Needs the data set noto_emoji below MINILLM_DATA. 214 of the 1,071 emoji are the
examination, the same for every method and seed: neither their pictures nor their captions are trained on. A query is a
caption, the answer its picture among those 214. "nearest pixels" learns nothing: of the five emoji of the training part
whose words are most like the query's (cosine of TF-IDF) it takes the pictures, and orders the 214 by how like their
pixels are to those (cosine around the mean picture). A seed is one of weights, batches and copies.
The recipe is the course's (course/small/clip.py), shorter; it was fixed before the first run and not tuned.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from minillm.course.small.clip import (
    LONGEST,
    SHORT,
    WHOLE,
    CLIPRecipe,
    Pairs,
    as_pixels,
    new_clip,
    new_tokenizer,
    train_clip,
)
from minillm.course.small.clip_exam import ranks
from minillm.data import Emoji, emoji_pictures, prove_held_out
from minillm.evaluation import paired
from minillm.models import caption_vectors, picture_vectors
from minillm.models.pictures import resize
from minillm.search import TfIdf
from tests.benchmarks import record
from tests.benchmarks.kept_runs import KeptRuns

METHODS = ("nearest pixels", "CLIP")
QUERIES = ("caption", "caption, Korean", "caption and keywords", "caption and keywords, Korean")
HEAD = [
    "query, by",
    "n",
    "R@1",
    "R@5 (chance .023)",
    "R@5 against nearest pixels: wins:losses, difference, 95 %",
    "CPU s",
]
SIDE = 32  # pixels
K = len(WHOLE + SHORT)  # captions of a picture: the course's training draws one of each kind
SIZES = (26, 28, 30, 32)  # of the emoji on its 32 x 32 pixels of paper, when it is learnt
RECIPE = CLIPRecipe(vocab_size=3000, steps=600, learning_rate=2e-3)


def parts_of(n: int) -> tuple[NDArray, NDArray]:
    """Places of what is learnt and of what is asked: a fifth of n, drawn once for all."""
    order = np.random.default_rng(2026).permutation(n)
    exam, taught = order[: n // 5], order[n // 5 :]
    return taught, exam


def on_paper(image: NDArray[np.uint8], size: int, y: int, x: int) -> NDArray[np.float32]:
    """The picture (3, 32, 32) in 0..1: `size` pixels wide, its corner at (y, x) of white paper."""
    paper = np.ones((SIDE, SIDE, 3), np.float32)
    paper[y : y + size, x : x + size] = resize(image, size, size).astype(np.float32) / 255
    return paper.transpose(2, 0, 1)


def exam_pictures(emoji: Emoji, places: NDArray) -> NDArray[np.float32]:
    """Each in the middle, 30 pixels wide: (N, 3, 32, 32)."""
    return np.stack([on_paper(emoji.images[i], 30, 1, 1) for i in places])


def query_of(emoji: Emoji, i: int, kind: str) -> str:
    """What is asked for emoji i."""
    caption, words = (
        (emoji.captions_ko[i], emoji.keywords_ko[i])
        if "Korean" in kind
        else (emoji.captions[i], emoji.keywords[i])
    )
    return ", ".join([caption, *words]) if "keywords" in kind else caption


def texts_of(emoji: Emoji, i: int, rng: np.random.Generator) -> list[str]:
    """K texts that are learnt of emoji i: three whole ones, and short ones: captions, and some of the keywords."""
    texts = [
        query_of(emoji, i, kind) for kind in (QUERIES[2], QUERIES[0], QUERIES[3], QUERIES[0], QUERIES[1])
    ]
    while len(texts) < K:
        words = (emoji.keywords[i], emoji.keywords_ko[i])[len(texts) % 2]
        some = rng.permutation(len(words))[: rng.integers(1, 4)]
        texts.append(", ".join(words[j] for j in some))
    return texts


def pairs_of(emoji: Emoji, places: NDArray, seed: int, copies: int = 10) -> tuple[Pairs, Any]:
    """Training pairs: every picture in several sizes and places of the paper."""
    rng = np.random.default_rng([seed, 72])
    rows = [texts_of(emoji, i, rng) for i in places]
    texts = sorted({text for row in rows for text in row})
    tokenizer = new_tokenizer(texts, RECIPE.vocab_size)
    batch = tokenizer(texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    number = {text: i for i, text in enumerate(texts)}
    same = torch.tensor([[number[text] for text in row] for row in rows]).repeat_interleave(copies, 0)
    images = np.empty((len(places) * copies, 3, SIDE, SIDE), np.float32)
    for at, i in enumerate(places):
        for copy in range(copies):
            size = int(rng.choice(SIZES))
            y, x = rng.integers(0, SIDE - size + 1, 2)
            images[at * copies + copy] = on_paper(emoji.images[i], size, y, x)
    return Pairs(as_pixels(images), batch["input_ids"], batch["attention_mask"], same), tokenizer


def by_clip(emoji: Emoji, taught: NDArray, exam: NDArray, seed: int) -> tuple[dict[str, list[int]], float]:
    """Ranks of the right picture for each query, 0 for the first, and CPU seconds."""
    start = time.process_time()
    recipe = CLIPRecipe(**(vars(RECIPE) | {"seed": seed}))
    pairs, tokenizer = pairs_of(emoji, taught, seed)
    model = new_clip(tokenizer, recipe)
    losses = train_clip(model, pairs, recipe)
    seconds = time.process_time() - start
    print(
        f"seed {seed}: loss {np.mean(losses[:20]):.2f} -> {np.mean(losses[-50:]):.2f}, {seconds:.0f} s",
        flush=True,
    )
    u = picture_vectors(model, as_pixels(exam_pictures(emoji, exam)))
    asked = {kind: [query_of(emoji, i, kind) for i in exam] for kind in QUERIES}
    found = {
        kind: ranks(caption_vectors(model, tokenizer, texts), u).tolist() for kind, texts in asked.items()
    }
    return found, seconds


def by_pixels(emoji: Emoji, taught: NDArray, exam: NDArray) -> dict[str, list[int]]:
    """The same from words that are alike and pixels that are alike."""
    known, asked = (exam_pictures(emoji, places).reshape(len(places), -1) for places in (taught, exam))
    middle = known.mean(0)
    known, asked = ((x - middle) / np.linalg.norm(x - middle, axis=1, keepdims=True) for x in (known, asked))
    alike = known @ asked.T  # (taught, exam)
    found = {}
    for kind in QUERIES:
        whole = "caption and keywords" + (", Korean" if "Korean" in kind else "")
        words = TfIdf().fit([query_of(emoji, i, whole) for i in taught])
        pairs = ((exam, kind), (taught, whole))
        asked_for, held = (
            words.transform([query_of(emoji, i, what) for i in places]).toarray() for places, what in pairs
        )
        near = asked_for @ held.T  # (exam, taught)
        best = np.argsort(-near, axis=1, kind="stable")[:, :5]
        scores = np.stack([row[five] @ alike[five] for row, five in zip(near, best)])  # (exam, exam)
        own = np.diagonal(scores)[:, None]
        # equal scores (no word is known: all are 0) count half
        found[kind] = ((scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2).tolist()
    return found


def measure(method: str, seed: int) -> dict[str, Any]:
    """One method of one seed."""
    emoji = emoji_pictures()
    taught, exam = parts_of(len(emoji.captions))
    proof = prove_held_out(
        [emoji.captions[i] for i in exam], [emoji.captions[i] for i in taught], what="caption"
    )
    prove_held_out(
        [emoji.images[i].tobytes() for i in exam], [emoji.images[i].tobytes() for i in taught], what="picture"
    )
    known = {word for i in taught for word in query_of(emoji, i, QUERIES[2]).lower().split(", ")}
    known = {part for words in known for part in words.split()}
    unknown = sum(not known & set(emoji.captions[i].lower().split()) for i in exam)
    found, spent = (
        by_clip(emoji, taught, exam, seed) if method == "CLIP" else (by_pixels(emoji, taught, exam), 0.0)
    )
    return {
        "method": method,
        "seed": seed,
        "seconds": spent,
        "ranks": found,
        "proof": str(proof),
        "unknown": unknown,
    }


def lines_of(done: dict[tuple[str, int], dict[str, Any]]) -> list[list[str]]:
    """The table's lines: one a query and method, with the seeds one below the other."""
    base = next((row["ranks"] for (name, _), row in sorted(done.items()) if name == "nearest pixels"), None)
    cells: dict[str, list[list[str]]] = {}
    for (name, seed), row in sorted(done.items(), key=lambda item: (METHODS.index(item[0][0]), item[0][1])):
        if name != "CLIP" and seed:
            continue  # nothing is drawn: once for all seeds
        for kind in QUERIES:
            rank, against = np.array(row["ranks"][kind]), ""
            if base is not None and name == "CLIP":
                result = paired((rank < 5).tolist(), (np.array(base[kind]) < 5).tolist())
                low, high = result.interval
                against = f"{result.wins}:{result.losses}, {result.difference:+.3f} [{low:+.3f}, {high:+.3f}]"
            figures = [f"{(rank < k).mean():.3f}" for k in (1, 5)]
            line = [str(len(rank)), *figures, against, f"{row['seconds']:.0f}"]
            cells.setdefault(f"{kind}, {name}", []).append(line)
    return [[name, *map("<br>".join, zip(*rows))] for name, rows in sorted(cells.items())]


def main() -> None:
    """Measure what is not recorded yet, and print the table of all that is."""
    runs = KeptRuns(__doc__.splitlines()[0], METHODS, "emoji.jsonl")
    for seed in runs.given.seeds:
        for method in runs.given.methods or METHODS:
            if not runs.given.list and (method, seed) not in runs.done and (method == "CLIP" or not seed):
                runs.add(measure(method, seed))
    rows = lines_of(runs.asked())
    print(record.markdown(HEAD, rows))
    if runs.given.write:
        record.put_rows(
            "emoji_quality", HEAD, rows, [f"{kind}, {name}" for kind in QUERIES for name in METHODS]
        )


if __name__ == "__main__":
    main()
