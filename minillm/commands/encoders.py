"""`minillm train-encoder`: a sentence encoder fine-tuned on one's own text, with what that has brought."""

from __future__ import annotations

import sys
from argparse import Namespace
from functools import partial
from typing import Any

from minillm.commands._show import print_json
from minillm.commands.search import check_encoder, read_sources

SMALL = "small"
# of a table of token vectors, which starts from counts, and of a transformer, which knows its language already
USUAL = {
    True: {"epochs": 30, "batch_size": 128, "learning_rate": 3e-3},
    False: {"epochs": 1, "batch_size": 32, "learning_rate": 2e-5},
}
LAST_LAYERS = 4


def train_encoder(options: Namespace) -> None:
    """Pairs from the user's text, an examination held out, before and after, and the encoder's folder."""
    from minillm.course.paths import check_out
    from minillm.course.tour.corpus import cut_passages
    from minillm.course.tour.settings import TourSettings

    check_out(options.out)
    if options.out.exists() and any(options.out.iterdir()):
        raise ValueError(f"--out must be a new or an empty folder, {options.out} holds something")
    if options.encoder != SMALL:
        check_encoder(options.encoder)
    passages = None
    if options.pairs is None:
        documents, _, reading = read_sources(options.paths, options.out)
        for why in reading.refused.values():
            print(f"minillm: left out: {why}", file=sys.stderr)
        passages = cut_passages(documents)
    elif options.paths:
        raise ValueError(
            f"name your documents or --pairs, not both: {options.paths[0]} and {options.pairs} came"
        )
    elif not options.pairs.is_file():
        raise ValueError(f"no file of pairs at {options.pairs}")

    from minillm._files import write_folder_whole
    from minillm.course.tour.stages import use_threads
    from minillm.search.before_and_after import (
        BeforeAndAfter,
        in_words,
        places_by_keywords,
        places_by_vectors,
    )
    from minillm.search.fine_tuning import fine_tune
    from minillm.search.hard_negatives import mine_hard_negatives
    from minillm.search.own_pairs import data_of_pairs, data_of_passages
    from minillm.search.pairs import read_pairs

    use_threads(TourSettings(threads=options.threads))
    how = {"held_out": options.held_out, "seed": options.seed}
    if passages is None:
        data = data_of_pairs(read_pairs(options.pairs), **how)
    else:
        data = data_of_passages(passages, **how)
    pairs = data.training
    if options.hard_negatives:
        pairs = mine_hard_negatives(pairs, num_negatives=options.hard_negatives, range_min=1)
    encoder = first_encoder(options, data)
    places = {"keyword search": places_by_keywords(data), "before": places_by_vectors(encoder, data)}
    history = fine_tune(encoder, pairs, arguments(options), loss_for(options), **layers(options))
    places["after"] = places_by_vectors(encoder, data)
    found = BeforeAndAfter(places)
    write_folder_whole(options.out, encoder.save_pretrained)

    comparisons = found.comparisons()
    if options.json:
        print_json(
            {
                "folder": str(options.out), "pairs": len(pairs), "steps": history.global_step,
                "questions": len(data.queries), "texts": len(data.corpus), "left_out": data.left_out,
                "proof": str(data.proof), "table": found.rows(), "verdict": in_words(comparisons),
                "after_against_before": {name: one._asdict() for name, one in comparisons.items()},
            }
        )  # fmt: skip
        return
    print(f"learned from {len(pairs):,} pairs in {history.global_step:,} steps")
    print(
        f"asked {len(data.queries):,} held-out questions among {len(data.corpus):,} texts; {data.left_out:,} left out, "
        f"which share a sentence with the training"
    )
    print(f"proof: {data.proof}")
    print(found)
    print(in_words(comparisons))
    print(f"{options.out}: the encoder, for `minillm index --encoder` and for sentence-transformers")


def first_encoder(options: Namespace, data: Any) -> Any:
    """The encoder that training starts from; the small one knows which words keep company in the training text."""
    from minillm.data import Passage
    from minillm.search.encoder_training import train_encoder as count_words
    from minillm.search.open_encoder import open_encoder

    if options.encoder != SMALL:
        return open_encoder(options.encoder)
    texts = dict.fromkeys(text for one in data.training for text in (one.anchor, one.positive))
    passages = data.passages or [Passage(str(n), str(n), "", text) for n, text in enumerate(texts)]
    return count_words(passages, steps=0, seed=options.seed)


def arguments(options: Namespace) -> Any:
    """The settings of the run: the user's, and the usual ones for what was left open."""
    from minillm.training import TrainingArguments

    usual = USUAL[options.encoder == SMALL]
    chosen = {name: getattr(options, name) or value for name, value in usual.items()}
    return TrainingArguments(
        num_train_epochs=chosen["epochs"],
        per_device_train_batch_size=chosen["batch_size"],
        learning_rate=chosen["learning_rate"],
        warmup_ratio=0.1,
        seed=options.seed,
        device="cpu" if options.encoder == SMALL else "auto",
        disable_tqdm=True if options.json else None,
    )


def loss_for(options: Namespace) -> Any:
    """MNR; for the small encoder both ways round and warmer, as it is trained for an index."""
    from minillm.search import mnr_loss

    return partial(mnr_loss, scale=10.0, symmetric=True) if options.encoder == SMALL else mnr_loss


def layers(options: Namespace) -> dict[str, Any]:
    """What is trained of a transformer, and how many texts it reads at a time."""
    if options.encoder == SMALL:
        return {"pieces": options.pieces}
    last = LAST_LAYERS if options.last_layers is None else options.last_layers
    return {"only": last or None, "pieces": options.pieces}


def explained() -> str:
    """For the help: where questions come from, and what is printed."""
    return (
        "From documents, a title is the question for its text, and a sentence the one for the passage that it was "
        "taken out of; a file of pairs holds one JSON object a line: anchor, positive, and, if there are some, negatives. "
        "A part is held out, and asked before and after; nothing of it stands in the training, which is proven and "
        "printed. Ctrl-C writes nothing."
    )
