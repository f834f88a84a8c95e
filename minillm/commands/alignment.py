"""`minillm sft` and `minillm dpo`: a model taught by one's own rows, and what that has brought."""

from __future__ import annotations

import math
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from minillm.commands._adapters import is_adapter
from minillm.commands._find import find_model, new_folder
from minillm.commands._show import print_json
from minillm.data.conversations import read_instructions, read_preferences

SMALL = 10_000_000  # parameters; such a model needs larger steps
RATES = {"sft": (1e-3, 2e-5), "dpo": (1e-4, 1e-6)}  # of a small model, and of another
LORA_RATES = {"sft": 1e-3, "dpo": 1e-4}  # of an adapter, on a model of any size


def sft(options: Namespace) -> None:
    """Rows, a part held out, before and after, and the model's folder."""
    new_folder(options.out)
    folder = find_model(options.model)
    chats = [row["messages"] for row in read_instructions(options.data)]
    tokenizer, given = open_tokenizer(folder)

    from minillm.evaluation import paired
    from minillm.training.alignment.chat_examples import chat_examples
    from minillm.training.alignment.own_rows import answer_losses, asked_text, split_rows
    from minillm.training.alignment.packing import PackedSet, SFTObjective
    from minillm.training.batches import ExampleSet
    from minillm.training.trainer import Trainer

    taught, held, proof = split_rows(chats, asked_text, options.held_out, options.seed)
    model = with_adapter(open_model(folder, tokenizer, options), options)
    longest = min(options.max_length or model.config.max_length, model.config.max_length)
    how = {"max_length": longest, "truncation": options.truncation}
    examples, dropped = chat_examples(tokenizer, taught, options.turns, **how)
    exam, not_asked = chat_examples(tokenizer, held, options.turns, **how)
    data: Any = PackedSet(examples, longest) if options.packing else ExampleSet(examples)
    before = answer_losses(model, exam)
    config = settings(options, "sft", model, len(data), int(data.lengths.max()))
    history = Trainer(model, config, data, objective=SFTObjective()).train()
    after = answer_losses(model, exam)
    comparison = paired(-after, -before)
    write(options, model, tokenizer, folder)
    report(
        options,
        {
            **adapter_figures(model),
            "folder": str(options.out), "examples": len(examples), "dropped": dropped, "held_out": len(exam),
            "held_out_dropped": not_asked, "steps": history.global_step, "proof": str(proof), "template_given": given,
            "table": [
                {"model": name, "nats_a_token": float(found.mean()), "perplexity": math.exp(min(found.mean(), 700))}
                for name, found in (("before", before), ("after", after))
            ],
        },
        {"nats a token saved": comparison},
        f"learned from {len(examples):,} conversations in {history.global_step:,} steps; "
        f"asked {len(exam):,} held-out ones; left out: {dropped + not_asked:,} without an answer in {longest:,} tokens",
    )  # fmt: skip


def dpo(options: Namespace) -> None:
    """Pairs, a part held out, before and after, and the model's folder."""
    new_folder(options.out)
    folder = find_model(options.model)
    every = read_preferences(options.data)
    rows = [row for row in every if row["chosen"] != row["rejected"]]  # two equal answers teach nothing
    if not rows:
        raise ValueError(
            f"chosen and rejected are the same answer in all {len(every)} rows of {options.data}"
        )
    tokenizer, given = open_tokenizer(folder)

    from minillm.evaluation import paired
    from minillm.training.alignment.dpo import DPOTrainer
    from minillm.training.alignment.own_rows import asked_text, pair_margins, split_rows
    from minillm.training.alignment.pairs import SIDES, PreferenceSet, preference_pair, ranked_right
    from minillm.training.alignment.preference_losses import dpo_loss, hinge_loss, ipo_loss

    taught, held, proof = split_rows(
        rows, lambda row: asked_text(row["prompt"]), options.held_out, options.seed
    )
    model = with_adapter(open_model(folder, tokenizer, options), options)
    longest = min(options.max_length or model.config.max_length, model.config.max_length)
    sides = [
        [
            pair
            for pair in (
                preference_pair(tokenizer, *(row[name] for name in ("prompt", *SIDES))) for row in part
            )
            if pair["chosen"] != pair["rejected"]
        ]
        for part in (taught, held)
    ]
    alike = len(every) - sum(map(len, sides))  # some are equal only once the template has cut blanks off
    sides = [[pair for pair in side if length_of(pair) <= longest] for side in sides]
    dropped = len(every) - alike - sum(map(len, sides))
    if not all(sides):
        raise ValueError(f"no pair is left to learn from, or none to ask: {dropped} of {len(rows)} have more than "
                         f"{longest} tokens")  # fmt: skip
    pairs, exam = (PreferenceSet(side) for side in sides)
    before = pair_margins(model, exam)
    config = settings(options, "dpo", model, len(pairs), max(map(length_of, [*sides[0], *sides[1]])))
    loss = {"dpo": dpo_loss, "hinge": hinge_loss, "ipo": ipo_loss}[options.loss]
    history = DPOTrainer(model, config, pairs, beta=options.beta, loss=loss).train()
    after = pair_margins(model, exam)
    comparison = {
        "ranked right": paired(ranked_right(after.margin), ranked_right(before.margin)),
        "ranked right a token": paired(ranked_right(after.a_token), ranked_right(before.a_token)),
        "margin, in nats": paired(after.margin, before.margin),
    }
    write(options, model, tokenizer, folder)
    report(
        options,
        {
            **adapter_figures(model),
            "folder": str(options.out), "pairs": len(pairs), "dropped": dropped, "alike": alike,
            "held_out": len(exam), "steps": history.global_step, "proof": str(proof), "template_given": given,
            "reward_accuracy": float(ranked_right(after.margin - before.margin).mean()),
            "chosen_moved": float((after.chosen - before.chosen).mean()),
            "table": [
                {
                    "model": name, "ranked_right": float(ranked_right(found.margin).mean()),
                    "right_a_token": float(ranked_right(found.a_token).mean()), "margin": float(found.margin.mean()),
                }
                for name, found in (("before", before), ("after", after))
            ],
        },
        comparison,
        f"learned from {len(pairs):,} pairs in {history.global_step:,} steps; asked {len(exam):,} held-out ones; "
        f"left out: {dropped:,} of more than {longest:,} tokens, {alike:,} of two equal answers",
    )  # fmt: skip


# --- parts -----------------------------------------------------------------------------------------------------------


def open_tokenizer(folder: Path) -> tuple[Any, bool]:
    """(the model's tokenizer, whether it was given a chat template because it had none)."""
    from minillm.tokenizer import load_tokenizer
    from minillm.training.alignment.own_rows import give_template

    tokenizer = load_tokenizer(folder)
    given = give_template(tokenizer)
    with (
        tempfile.TemporaryDirectory() as place
    ):  # one that cannot be saved would end the run after all its work
        tokenizer.save(place)
    return tokenizer, given


def open_model(folder: Path, tokenizer: Any, options: Namespace) -> Any:
    """The language model, for training; ValueError for one that writes nothing, or of another tokenizer."""
    if is_adapter(folder):
        raise ValueError(
            f"{folder} holds an adapter, not a model: `minillm convert {folder} NEW` puts it into its model's weights"
        )
    import torch

    from minillm.course.tour.settings import TourSettings
    from minillm.course.tour.stages import use_threads
    from minillm.models import load_model
    from minillm.models.decoder import CausalLM

    use_threads(TourSettings(threads=options.threads))
    model = load_model(folder, dtype=torch.float32)
    if not isinstance(model, CausalLM):
        raise ValueError(
            f"{folder} holds a {type(model).__name__}, expected a language model like GPT-2 or Llama"
        )
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer of {folder} has {tokenizer.vocab_size:,} tokens and its model {model.config.vocab_size:,}: "
            "they do not belong together"
        )
    return model


def settings(options: Namespace, command: str, model: Any, rows: int, longest: int) -> Any:
    """The TrainerConfig of a run: the user's options, and the usual ones for what was left open."""
    from minillm.training.config import TrainerConfig

    steps = math.ceil(options.epochs * rows / options.batch_size)
    usual = RATES[command][model.num_parameters() > SMALL] if options.lora is None else LORA_RATES[command]
    rate = options.learning_rate or usual
    return TrainerConfig(
        max_steps=steps, batch_size=options.batch_size, context_length=max(longest - 1, 1), learning_rate=rate,
        warmup_steps=steps // 10, weight_decay=0.0, seed=options.seed, progress=not options.json, log_every=10,
    )  # fmt: skip


def length_of(pair: dict[str, Any]) -> int:
    """Tokens of the longer side of a pair."""
    return max(len(one["input_ids"]) for one in pair.values())


def with_adapter(model: Any, options: Namespace) -> Any:
    """The model as it is, or with an adapter that alone learns; quantized below it, if that is asked for."""
    if options.lora is None:
        if options.qlora or options.lora_layers is not None:
            raise ValueError("--qlora and --lora-layers are settings of an adapter: give --lora, too")
        return model
    from minillm.quantization import quantize
    from minillm.training.lora import apply_lora

    if options.qlora:
        model = quantize(model, "nf4", double_quant=True).train()
    last = None
    if options.lora_layers is not None:
        count = model.config.num_layers
        if options.lora_layers > count:
            raise ValueError(f"--lora-layers must be at most the model's {count}, got {options.lora_layers}")
        last = range(count - options.lora_layers, count)
    how = {"layers_to_transform": last, "seed": options.seed}
    return apply_lora(model, options.lora, 2 * options.lora, "all-linear", **how)


def adapter_figures(model: Any) -> dict[str, Any]:
    """How many numbers have learned, where it was not all of them."""
    from minillm.nn.lora import adapters_of
    from minillm.training.lora import trainable_parameters

    if adapters_of(model) is None:
        return {}
    learned, every = trainable_parameters(model)
    return {"learned_numbers": learned, "all_numbers": every}


def write(options: Namespace, model: Any, tokenizer: Any, base: Path) -> None:
    """Model, or adapter, and tokenizer as one folder, whole or not at all."""
    from minillm._files import write_folder_whole
    from minillm.training.adapters import save_adapter

    def fill(folder: Path) -> None:
        if options.lora is None:
            model.save_pretrained(folder)
        else:  # a name stays a name; a path is found from elsewhere, too
            here = options.model.exists()
            save_adapter(model, folder, base_model=base.resolve() if here else options.model.as_posix())
        tokenizer.save(folder)

    write_folder_whole(options.out, fill)


def report(options: Namespace, figures: dict[str, Any], comparisons: dict[str, Any], done: str) -> None:
    """Print what was found, as JSON or as text."""
    from minillm.search.before_and_after import in_words

    verdict = in_words(comparisons)
    if options.json:
        against = {name: one._asdict() for name, one in comparisons.items()}
        print_json(figures | {"verdict": verdict, "after_against_before": against})
        return
    print(done)
    print(f"proof: {figures['proof']}")
    names = [name for name in figures["table"][0] if name != "model"]
    print(f"{'':<8}" + "".join(f"{name.replace('_', ' '):>16}" for name in names))
    for row in figures["table"]:
        print(f"{row['model']:<8}" + "".join(f"{row[name]:>16.3f}" for name in names))
    for name, one in comparisons.items():
        print(f"{name}, after against before: {one}")
    if "reward_accuracy" in figures:
        print(
            "ranked right compares log p of whole answers, which gives the shorter of two a start; right a token "
            "divides each by its tokens"
        )
        print(
            f"moved towards the better answer in {figures['reward_accuracy']:.3f} of the held-out pairs; the better "
            f"answers' log probability has changed by {figures['chosen_moved']:+.2f} nats"
        )
    print(verdict)
    if figures["template_given"]:
        print("the tokenizer had no chat template: it was given a plain one, and the model has learned it")
    what = "the model"
    if "learned_numbers" in figures:
        learned, every = figures["learned_numbers"], figures["all_numbers"]
        print(f"{learned:,} numbers have learned, {learned / every:.2%} of all; the rest is as it was")
        what = f"the adapter beside which {options.model} is needed"
    print(f"{options.out}: {what}, for `minillm chat {options.out}`")


def explained(command: str) -> str:
    """For the help: what a row is, and what is printed."""
    rows = {
        "sft": 'A row is {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}, ...]}, '
        '{"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}, ...]} (ShareGPT), '
        '{"instruction": ..., "input": ..., "output": ...} or {"prompt": ..., "completion": ...}. '
        "Only what the assistant says carries loss.",
        "dpo": 'A row is {"prompt": ..., "chosen": ..., "rejected": ...}, each a text or a list of messages; '
        "instruction and input may stand in place of prompt, and chosen and rejected may be whole conversations that "
        "begin alike, without a prompt. The model as it comes is the reference.",
    }
    return (
        f"{rows[command]} The file holds one JSON object a line, or one JSON list. Rows that ask the same stay on one "
        "side; a part is held out, which is proven and printed, and asked before and after. Ctrl-C writes nothing."
    )
