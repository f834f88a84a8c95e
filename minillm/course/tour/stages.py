"""The stages of the tour, each a function to call on its own: text in, something that works out, and one figure.

    corpus    = load_corpus(settings)
    tokenizer = train_tokenizer(corpus, settings).value
    trained   = train_model(corpus, tokenizer, settings)          ... and so on, in the order of this file

Each returns a Stage: the value the next one needs, the seconds it took, the figure it measured in words and as
numbers, and where the course explains it. Nothing here is printed; `run.py` is the composition.
Book: 1장 LLM 지도.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from minillm._checks import check_int, check_text
from minillm.course.small import Recipe, train_language_model
from minillm.course.tour.corpus import Corpus, cut_passages, load_corpus  # noqa: F401 - the first stage, with the others
from minillm.course.tour.settings import TourSettings, default_threads
from minillm.data import DECLINING, Document, Passage, Question
from minillm.evaluation import bits_per_byte, hit_at_k, mrr, perplexity
from minillm.inference import SamplingParams, generate
from minillm.quantization import model_size_bytes, quantize
from minillm.search import PassageIndex
from minillm.search.self_grading import FEWEST_QUERIES, METHODS
from minillm.tokenizer import BPETokenizer

DEFAULT_QUESTION = "How does the with statement work?"


@dataclass
class Stage:
    """What a stage hands back: `value` for the next stage, `figure` and `meaning` for people, `figures` for scripts."""

    name: str
    lesson: str
    file: str
    seconds: float
    value: Any
    figure: str
    meaning: str
    figures: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Everything but the value, for JSON."""
        return {key: value for key, value in vars(self).items() if key != "value"}


def stage(name: str, lesson: str, file: str) -> Callable[[Callable[..., tuple]], Callable[..., Stage]]:
    """Make a function that returns (value, figure, meaning, figures) into one that returns a timed Stage."""

    def wrap(work: Callable[..., tuple]) -> Callable[..., Stage]:
        @functools.wraps(work)
        def timed(*arguments: Any, **options: Any) -> Stage:
            start = time.perf_counter()
            value, figure, meaning, figures = work(*arguments, **options)
            return Stage(name, lesson, file, time.perf_counter() - start, value, figure, meaning, figures)

        return timed

    return wrap


def use_threads(settings: TourSettings) -> int:
    """Set torch's thread count to the settings' (`default_threads` where they name none) and return it."""
    threads = check_int("threads", default_threads() if settings.threads is None else settings.threads, 1)
    torch.set_num_threads(threads)
    return threads


def train_on_one_thread() -> None:
    """Set torch's thread count for the small encoder of an index: in many small steps a second thread only waits."""
    torch.set_num_threads(1)


@stage("tokenizer", lesson="02_1", file="minillm/tokenizer/bpe.py")
def train_tokenizer(corpus: Corpus, settings: TourSettings) -> tuple:
    """A byte-level BPE tokenizer learnt from the training text. value: BPETokenizer."""
    tokenizer = BPETokenizer.train([corpus.training_text], settings.vocab_size)
    tokens, size = len(tokenizer.encode(corpus.held_out_text)), len(corpus.held_out_text.encode())
    figures = {"vocab_size": tokenizer.vocab_size, "bytes_per_token": size / tokens}
    return (
        tokenizer,
        f"{size / tokens:.2f} bytes per token",
        f"{tokenizer.vocab_size:,} tokens; held-out text is {size / tokens:.1f} times shorter than in bytes",
        figures,
    )


@stage("training", lesson="01_1", file="minillm/training/trainer.py")
def train_model(
    corpus: Corpus,
    tokenizer: BPETokenizer,
    settings: TourSettings,
    folder: str | Path | None = None,
    progress: bool = True,
) -> tuple:
    """A small Llama-type model trained from random weights, saved with its tokenizer in `folder`.

    value: (model in evaluation mode, history of the trainer). The figure is in bits per byte of the held-out text,
    which compares models whatever their tokenizers.
    """
    use_threads(settings)
    training_ids, held_out_ids = (
        torch.tensor(tokenizer.encode(text)) for text in (corpus.training_text, corpus.held_out_text)
    )
    recipe = Recipe(
        vocab_size=tokenizer.vocab_size, layers=settings.layers, width=settings.width, context=settings.context,
        longest=2 * settings.context + settings.new_tokens, batch_size=settings.batch_size, steps=settings.steps,
        learning_rate=settings.learning_rate, seed=settings.seed,
    )  # fmt: skip
    model, history = train_language_model(training_ids, tokenizer.vocab_size, recipe, held_out_ids, progress)
    bits = bits_per_byte(model, held_out_ids, len(corpus.held_out_text.encode()), settings.context)
    if folder is not None:
        model.save_pretrained(folder)
        tokenizer.save(folder)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    seen = settings.steps * settings.batch_size * settings.context
    figures = {
        "parameters": parameters, "steps": settings.steps, "tokens_seen": seen, "bits_per_byte": bits,
        "first_loss": history[0]["train_loss"], "last_loss": history[-1]["train_loss"],
        "held_out": str(corpus.proof),
    }  # fmt: skip
    return (
        (model, history),
        f"{bits:.3f} bits per byte",
        f"{parameters / 1e6:.1f}M weights, {seen / 1e6:.1f}M tokens read; 8 bits a byte is knowing nothing",
        figures,
    )


def sample(model: Any, tokenizer: Any, prompt: str, settings: TourSettings, temperature: float = 0.7) -> str:
    """What the model writes after `prompt`: prompt and continuation, with the settings' seed."""
    ids = tokenizer.encode(check_text("prompt", prompt))
    params = SamplingParams(
        max_tokens=settings.new_tokens, temperature=temperature, top_p=0.95, seed=settings.seed
    )
    return tokenizer.decode(ids + generate(model, ids, params))


@stage("KV cache", lesson="07_1", file="minillm/nn/cache.py")
def compare_cache(model: Any, tokenizer: Any, prompt: str, settings: TourSettings) -> tuple:
    """The same greedy text with and without the KV cache. value: {name: seconds so far at each new token}."""
    use_threads(settings)
    ids = tokenizer.encode(prompt)
    params = SamplingParams(max_tokens=settings.new_tokens, temperature=0.0)
    curves, tokens = {}, {}
    for name, cache in (("with cache", True), ("without cache", False)):
        generate(model, ids, replace(params, max_tokens=4), cache=cache)  # first calls set things up
        curves[name], tokens[name] = _timed_tokens(model, ids, params, cache)
    same = tokens["with cache"] == tokens["without cache"]
    ratio = curves["without cache"][-1] / curves["with cache"][-1]
    return (
        curves,
        f"{ratio:.1f}x faster",
        f"{len(tokens['with cache'])} tokens, {'the same' if same else 'NOT the same'} with and without it",
        {"speed_ratio": ratio, "same_tokens": same, "new_tokens": len(tokens["with cache"])},
    )


def _timed_tokens(model: Any, prompt: list[int], params: SamplingParams, cache: bool) -> tuple[list, list]:
    from minillm.inference import stream

    seconds, tokens, start = [], [], time.perf_counter()
    for token in stream(model, prompt, params, cache=cache):
        tokens.append(token)
        seconds.append(time.perf_counter() - start)
    return seconds, tokens


@stage("quantization", lesson="01_1", file="minillm/quantization/blockwise.py")
def compare_quantization(model: Any, tokenizer: Any, corpus: Corpus, settings: TourSettings) -> tuple:
    """Size and held-out perplexity in fp32, int8 and 4 bit. value: {method: (bytes, perplexity)}."""
    use_threads(settings)
    ids = torch.tensor(tokenizer.encode(corpus.held_out_text))
    rows = {}
    for method in ("fp32", "int8", "nf4"):
        one = model if method == "fp32" else quantize(model, method=method)
        rows[method] = (model_size_bytes(one), perplexity(one, ids, settings.context))
    full, small = rows["fp32"], rows["nf4"]
    # rounded, and 0 added: of -0.0 nobody wants to read the sign
    change = {name: round(100 * (row[1] / full[1] - 1), 2) + 0.0 for name, row in rows.items()}
    return (
        rows,
        f"{full[0] / small[0]:.1f}x smaller in 4 bit",
        f"{full[0] / 1e6:.1f} MB, {rows['int8'][0] / 1e6:.1f} in int8, {small[0] / 1e6:.1f} in 4 bit; "
        f"perplexity {full[1]:.1f}, {change['int8']:+.2f} % and {change['nf4']:+.2f} %",
        {
            f"{name}_{what}": row[i]
            for name, row in rows.items()
            for i, what in enumerate(("bytes", "perplexity"))
        },
    )


def build_index(
    corpus: Corpus, settings: TourSettings, folder: str | Path | None = None, progress: bool = False
) -> Stage:
    """As `index_documents`, of a corpus."""
    return index_documents(corpus.documents, settings, folder, progress)


@stage("index", lesson="10_4", file="minillm/search/bm25.py")
def index_documents(
    documents: Sequence[Document],
    settings: TourSettings,
    folder: str | Path | None = None,
    progress: bool = False,
) -> tuple:
    """Passages of the documents, indexed by BM25 and by vectors from an encoder trained here. value: PassageIndex.

    progress: a bar on standard error, where a terminal shows it. Raises ValueError for fewer than two passages.
    """
    train_on_one_thread()
    passages = cut_passages(documents)
    with tqdm(
        total=settings.dense_steps, desc="index", unit="step", disable=None if progress else True
    ) as bar:
        index = PassageIndex.build(
            passages, steps=settings.dense_steps, seed=settings.seed, on_step=lambda *_: bar.update()
        )
    if folder is not None:
        index.save(folder)
    return index, *describe_index(index, len(documents))


def describe_index(index: PassageIndex, documents: int) -> tuple[str, str, dict[str, Any]]:
    """(figure, meaning, figures) of an index of so many documents, as a stage has them."""
    choice = index.choice
    graded = (
        f"chosen by {choice.queries} queries made from the text"
        if choice.queries
        else f"not graded: the text holds fewer than {FEWEST_QUERIES} sentences to ask for"
    )
    return (
        f"{len(index):,} passages",
        f"from {documents} document{'s' * (documents != 1)}; words for BM25, {index.dense.index.dim} "
        f"numbers each for vectors; searched by {index.choice_in_words()}, {graded}",
        {
            "passages": len(index), "documents": documents, "dim": index.dense.index.dim,
            "choice": asdict(choice),
        },
    )  # fmt: skip


@stage("search quality", lesson="10_4", file="minillm/search/hybrid.py")
def compare_search(index: PassageIndex, questions: Sequence[Question]) -> tuple:
    """hit@1, hit@5 and MRR of every method. value: {method: {figure name: number}}."""
    texts, gold = [question.text for question in questions], [set(question.gold) for question in questions]
    rows = {}
    for method in METHODS:
        rankings = index.search_documents(texts, 10, method)
        rows[method] = {
            "hit@1": hit_at_k(rankings, gold, 1), "hit@5": hit_at_k(rankings, gold, 5), "MRR": mrr(rankings, gold),
        }  # fmt: skip
    chosen, best = index.choice.method, max(rows, key=lambda method: rows[method]["MRR"])
    loss = "" if best == chosen else f"; here {chosen} loses to {best}"
    others = ", ".join(f"{method} {rows[method]['hit@5']:.2f}" for method in METHODS if method != chosen)
    return (
        rows,
        f"hit@5 {rows[chosen]['hit@5']:.2f} {chosen}",
        f"{len(texts)} questions; {others}{loss}",
        rows,
    )


@stage("answer", lesson="10_4", file="minillm/search/passage_index.py")
def answer_question(index: PassageIndex, question: str, method: str = "auto", k: int = 1) -> tuple:
    """The best passage for a question, quoted and named. value: the Passage, or None when nothing matches well.

    figures: "declined" and the "share" of the question that the passage says; the passage, its "snippet" and where
    in the passage it stands; the next k - 1 passages under "others"; what each method alone would have quoted under
    "first_by_method" (they often differ, and that is why they are combined).
    """
    found = index.search(check_text("question", question), check_int("k", k, 1), method)
    figures: dict[str, Any] = {
        "question": question,
        "method": index.resolve(method),
        "declined": True,
        "share": 0.0,
    }
    if not found:
        return None, "nothing found", NOTHING, figures
    rows = [result(index, question, passage, score) for passage, score in found]
    first = first_passages(index, question)
    figures |= rows[0] | {
        "share": index.share_named(question, found[0][0]), "others": rows[1:],
        "first_by_method": {one: best.id for one, best in first.items()},
    }  # fmt: skip
    figures["declined"] = figures["share"] < DECLINING.least_share
    passage = found[0][0]
    if figures["declined"]:
        nearest = f"{NOTHING}. The nearest: {passage.title} [{passage.id}]"
        return None, "nothing matches well", nearest, figures
    others = "; ".join(f"{one}: {best.title} [{best.id}]" for one, best in first.items())
    return passage, passage.id, f"{quotation(passage)}\n\n   (first by {others})", figures


NOTHING = "nothing in the index matches well"


def result(index: PassageIndex, query: str, passage: Passage, score: float) -> dict[str, Any]:
    """A found passage for JSON, with the part that matched and where in its text it stands."""
    snippet = index.snippet(query, passage)
    return {
        "id": passage.id, "title": passage.title, "score": round(float(score), 4), "text": passage.text,
        "snippet": {
            "text": snippet.text, "start": snippet.start, "end": snippet.end, "matches": [*map(list, snippet.matches)],
        },
    }  # fmt: skip


def first_passages(index: PassageIndex, question: str) -> dict[str, Passage]:
    """{method: the passage it finds first}; a method that finds nothing is left out."""
    found = {method: index.search(question, 1, method) for method in METHODS}
    return {method: passages[0][0] for method, passages in found.items() if passages}


def quotation(passage: Passage) -> str:
    """The passage as an answer: where it stands, then its own words, indented."""
    lines = [f"    {line}".rstrip() for line in passage.text.splitlines()]
    return "\n".join([f"{passage.title} [{passage.id}]", *lines])
