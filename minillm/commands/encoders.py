"""`minillm train-encoder`: a sentence encoder fine-tuned on one's own text, with what that has brought."""

from __future__ import annotations

import sys
from argparse import Namespace
from functools import partial
from typing import Any

from minillm.commands._find import new_folder
from minillm.commands._show import print_json
from minillm.commands.search import check_encoder, read_sources

SMALL = "small"
# of a table of token vectors, which starts from counts, and of a transformer, which knows its language already
USUAL = {
    True: {"epochs": 10, "batch_size": 128, "learning_rate": 3e-3},
    False: {"epochs": 1, "batch_size": 32, "learning_rate": 2e-5},
}
LAST_LAYERS = 4
SENTENCES_EACH = {True: 8, False: 2}  # questions of each passage, besides its title


def train_encoder(options: Namespace) -> None:
    """Pairs from the user's text, an examination held out, before and after, and the encoder's folder."""
    from minillm.course.tour.corpus import cut_passages
    from minillm.course.tour.settings import TourSettings

    new_folder(options.out)
    if options.encoder != SMALL:
        check_encoder(options.encoder)
    elif options.last_layers:
        raise ValueError(
            f"--last-layers is for transformers; {SMALL} has no layers, got {options.last_layers}"
        )
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
    share = {"held_out": options.held_out, "seed": options.seed}
    if passages is None:
        data = data_of_pairs(read_pairs(options.pairs), **share)
    else:
        each = SENTENCES_EACH[options.encoder == SMALL]
        data = data_of_passages(passages, sentences_each=each, **share)
    encoder = first_encoder(options, data)
    pairs = data.training
    how = settings(options, encoder, len(pairs))
    if options.hard_negatives:
        pairs = mine_hard_negatives(pairs, num_negatives=options.hard_negatives)
    places = {"keyword search": places_by_keywords(data), "before": places_by_vectors(encoder, data)}
    history = fine_tune(encoder, pairs, **how)
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
    steps = "1 step" if history.global_step == 1 else f"{history.global_step:,} steps"
    print(f"learned from {len(pairs):,} pairs in {steps}")
    print(
        f"asked {len(data.queries):,} held-out questions among {len(data.corpus):,} texts; {data.left_out:,} left out "
        f"for what they share with the training"
    )
    print(f"proof: {data.proof}")
    print(found)
    print(in_words(comparisons))
    print(f"{options.out}: the encoder, for `minillm index --encoder` and for sentence-transformers")


def first_encoder(options: Namespace, data: Any) -> Any:
    """The encoder that training starts from; the small one knows which words keep company in the training text."""
    from minillm.data import Passage
    from minillm.search.encoder_sources import open_encoder
    from minillm.search.encoder_training import train_encoder as count_words

    if options.encoder != SMALL:
        return open_encoder(options.encoder)
    texts = dict.fromkeys(text for one in data.training for text in (one.anchor, one.positive))
    passages = data.passages or [Passage(str(n), str(n), "", text) for n, text in enumerate(texts)]
    try:
        return count_words(passages, steps=0, seed=options.seed)
    except ValueError as error:
        raise ValueError(
            f"too little text for the small encoder, which counts words that stand together: {error}; another "
            "--encoder knows its language already"
        ) from None


def settings(options: Namespace, encoder: Any, pairs: int) -> dict[str, Any]:
    """The options of `fine_tune`: the user's, and the usual ones for what was left open. ValueError for layers that the
    encoder has not. The loss is MNR; for a table of tokens both ways round and warmer, as one is trained for an index.
    """
    from minillm.search import StaticEncoder, mnr_loss
    from minillm.search.fine_tuning import usual_arguments

    static = isinstance(encoder, StaticEncoder)
    chosen = {name: getattr(options, name) or value for name, value in USUAL[static].items()}
    args = usual_arguments(
        encoder,
        pairs,
        num_train_epochs=chosen["epochs"],
        per_device_train_batch_size=chosen["batch_size"],
        learning_rate=chosen["learning_rate"],
        seed=options.seed,
        device="cpu" if static else "auto",
        disable_tqdm=True if options.json else None,
    )
    layers, last = 0 if static else len(encoder.model.blocks), options.last_layers
    if last is not None and last > layers:
        raise ValueError(f"--last-layers must be at most {layers}, the layers of this encoder, got {last}")
    return {
        "args": args,
        "loss": partial(mnr_loss, scale=10.0, symmetric=True) if static else mnr_loss,
        "only": (min(LAST_LAYERS, layers) if last is None else last) or None,
        "pieces": options.pieces,
    }


def explained() -> str:
    """For the help: where questions come from, and what is printed."""
    return (
        "From documents, a title is the question for its text, and a sentence the one for the passage that it was "
        "taken out of; a file of pairs holds one JSON object a line: anchor, positive and, if you have any, negatives. "
        "A part is held out, and asked before and after; nothing of it stands in the training, which is proven and "
        "printed. `minillm index` grades searches on titles and sentences of the same text, most of which the encoder "
        "has then learned from: believe the table printed here. Ctrl-C writes nothing."
    )
