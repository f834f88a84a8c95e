"""The small model of the course: English and Korean, trained once on this machine and kept for every lesson.

    model, tokenizer, facts = small_model()

    python -m minillm.course.small               make it if it is not there, and say what it is
    python -m minillm.course.small --rebuild     make it again

The recipe is this file: two texts, one tokenizer learnt from both, a Llama of two million weights, AdamW for a minute.
It learns from Python's language reference and from a made-up encyclopaedia in Korean, and is examined on parts of both
that it has not seen (proven, not hoped). Everything is seeded. Its figures were measured when it was made, and are
kept with it: another processor's model differs a little, and so do its figures.

Book: 1.1.3 언어 모델링, 2.8.1 인과적 언어 모델링. Left out: what would take longer than a minute.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from minillm._files import read_json, write_json
from minillm.course.kept import DEADLINE, kept, kept_folder, key_of
from minillm.data import HeldOut, korean_documents, prove_held_out, python_docs, train_and_held_out
from minillm.evaluation import compressed_bits_per_byte, negative_log_likelihood
from minillm.models import Llama, LlamaConfig
from minillm.tokenizer import BPETokenizer, load_tokenizer
from minillm.training import Trainer, TrainerConfig

END = "<|endoftext|>"
VERSION = 1  # count it up when this file, or what it calls, would make another model of the same recipe


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the model, texts aside. Chosen by the bits per byte after a minute of one core."""

    vocab_size: int = 2048
    layers: int = 4
    width: int = 192  # model width C; heads are 64 wide
    context: int = 128  # tokens a training sequence
    longest: int = 512  # tokens it may be asked to read
    batch_size: int = 4  # small, so that the same tokens make more steps: the best use of a minute
    steps: int = 1600
    learning_rate: float = 2e-3
    weight_decay: float = 0.4
    beta2: float = 0.99  # small batches: their noise is averaged over more steps
    korean_documents: int = 300
    seed: int = 0


class SmallCorpus(NamedTuple):
    """documents to learn from, in the order they are read; `taught` and `exam`: one text for each language."""

    documents: list[str]
    taught: dict[str, str]
    exam: dict[str, str]
    proof: dict[str, HeldOut]


class SmallModel(NamedTuple):
    """The model in evaluation mode, its tokenizer, and the facts that were measured when it was made."""

    model: Llama
    tokenizer: BPETokenizer
    facts: dict[str, Any]


def small_corpus(recipe: Recipe = Recipe()) -> SmallCorpus:
    """Python's reference in stretches of about 4,000 characters, and Korean articles, mixed; a tenth held out."""
    english, english_exam = train_and_held_out(python_docs(), seed=recipe.seed)
    korean = [one.text for one in korean_documents(recipe.korean_documents, part="train")]
    korean_exam = [one.text for one in korean_documents(150, part="held_out")]
    documents = _stretches(english, 4000) + korean
    random.Random(recipe.seed).shuffle(documents)
    taught = {"english": english, "korean": "\n\n".join(korean) + "\n"}
    exam = {"english": english_exam, "korean": "\n\n".join(korean_exam) + "\n"}
    proof = {language: prove_held_out(exam[language], taught[language]) for language in exam}
    return SmallCorpus(documents, taught, exam, proof)


def new_model(vocab_size: int, recipe: Recipe = Recipe()) -> Llama:
    """A Llama of the recipe's size with random weights."""
    wide = math.ceil(recipe.width * 8 / 3 / 64) * 64  # SwiGLU's usual 8/3, to whole blocks of 64
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=recipe.width,
        intermediate_size=wide,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.width // 64,
        max_position_embeddings=recipe.longest,
        tie_word_embeddings=True,
    )
    return Llama(config, seed=recipe.seed)


def training_settings(recipe: Recipe, progress: bool = False) -> TrainerConfig:
    """What the trainer is told: AdamW with a warm-up of a twentieth of the steps, then a cosine."""
    return TrainerConfig(
        max_steps=recipe.steps,
        warmup_steps=recipe.steps // 20,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        betas=(0.9, recipe.beta2),
        batch_size=recipe.batch_size,
        context_length=recipe.context,
        precision="auto",
        seed=recipe.seed,
        progress=progress,
        eval_every=max(1, recipe.steps // 6),
    )


def train_language_model(
    ids: torch.Tensor,
    vocab_size: int,
    recipe: Recipe,
    held_out_ids: torch.Tensor | None = None,
    progress: bool = False,
) -> tuple[Llama, list[dict[str, Any]]]:
    """(a Llama trained from random weights on the stream `ids`, the trainer's history). The tour trains by it, too."""
    model = new_model(vocab_size, recipe)
    history = Trainer(model, training_settings(recipe, progress), ids, held_out_ids).train()
    return model.eval(), history


def make_small_model(recipe: Recipe = Recipe(), progress: bool = False) -> SmallModel:
    """Train it and examine it: the whole recipe, start to end, with nothing kept."""
    start = time.perf_counter()
    corpus = small_corpus(recipe)
    tokenizer = BPETokenizer.train(list(corpus.taught.values()), recipe.vocab_size, special_tokens=(END,))
    ids = torch.tensor(tokenizer.encode("".join(document + END for document in corpus.documents)))
    with one_thread():  # a model this small gains nothing by a second one, and repeats itself on any machine
        model, history = train_language_model(ids, tokenizer.vocab_size, recipe, progress=progress)
        seconds = time.perf_counter() - start
        bits = exam_bits_per_byte(model, tokenizer, corpus.exam, recipe.context)
    facts = {"training_tokens": len(ids), "last_loss": history[-1]["train_loss"], "seconds": seconds}
    return SmallModel(model, tokenizer, _facts(recipe, corpus, model) | facts | {"bits_per_byte": bits})


def _facts(recipe: Recipe, corpus: SmallCorpus, model: Llama) -> dict[str, Any]:
    """What is kept beside the model: its texts, its size, and what compressors need after the same texts."""
    return {
        "corpus": {
            language: {"training_bytes": len(corpus.taught[language].encode()), "exam_bytes": len(text.encode()),
                       "proof": str(corpus.proof[language])}
            for language, text in corpus.exam.items()
        },
        "tokens_read": recipe.steps * recipe.batch_size * recipe.context,
        "parameters": sum(parameter.numel() for parameter in model.parameters()), "recipe": asdict(recipe),
        "compressors": {
            language: compressed_bits_per_byte(text, corpus.taught[language]) for language, text in corpus.exam.items()
        },
        "python": ".".join(map(str, sys.version_info[:3])), "torch": torch.__version__,
    }  # fmt: skip


def exam_bits_per_byte(model: Any, tokenizer: Any, exam: dict[str, str], context: int) -> dict[str, float]:
    """Bits per byte of each text of `exam`, and of both together as "all". Windows overlap by half.

    Blank lines between Korean articles are end-of-text tokens, as in training: the model is charged for them, too.
    """
    bits, size = {}, {}
    for language, text in exam.items():
        ends = text.strip("\n").replace("\n\n", END) if language == "korean" else text.strip("\n")
        ids = tokenizer.encode(END + ends + END)
        size[language] = len(text.encode())
        bits[language] = negative_log_likelihood(model, ids, context, context // 2)[0] / math.log(2)
    each = {language: bits[language] / size[language] for language in exam}
    return each | {"all": sum(bits.values()) / sum(size.values())}


def small_model(rebuild: bool = False, progress: bool = False, deadline: float = DEADLINE) -> SmallModel:
    """The course's own small model: (model, tokenizer, facts), made by the first call on this machine and kept.

    The first call takes a minute or two, others a fraction of a second; calls at the same time wait for each other.
    rebuild: make it again. progress: show a bar while it is made. Raises TimeoutError when another process has been
    at it for `deadline` seconds.
    """
    return kept("small_model", _key(), lambda folder: _save(folder, progress), _load, rebuild, deadline)


def small_model_folder() -> Path:
    """Where this recipe's model is kept, whether it has been made yet or not."""
    return kept_folder("small_model", _key())


def _key() -> str:
    """Another recipe, another text (each Python ships its own reference) or another version makes another model."""
    english = [one.text for one in python_docs()]
    korean = [one.text for one in korean_documents(Recipe().korean_documents, part="train")]
    return key_of(Recipe(), english, korean, torch.__version__, VERSION)


def _save(folder: Path, progress: bool) -> None:
    model, tokenizer, facts = make_small_model(progress=progress)
    model.save_pretrained(folder)
    tokenizer.save(folder)
    write_json(folder / "facts.json", facts)


def _load(folder: Path) -> SmallModel:
    facts = read_json(folder / "facts.json", "facts of the small model")
    return SmallModel(Llama.from_pretrained(folder).eval(), load_tokenizer(folder), facts)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread inside the block, as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _stretches(text: str, size: int) -> list[str]:
    """The text cut at blank lines into pieces of about `size` characters."""
    pieces: list[list[str]] = [[]]
    for paragraph in text.strip("\n").split("\n\n"):
        if sum(map(len, pieces[-1])) > size:
            pieces.append([])
        pieces[-1].append(paragraph)
    return ["\n\n".join(piece) for piece in pieces]
