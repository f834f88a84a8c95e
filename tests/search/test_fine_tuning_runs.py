"""Fine-tuning as a run of the Trainer: accumulation and scaling, resuming, short batches, warm-up."""

from functools import partial

import pytest
import torch

from minillm.search import SentenceEncoder, fine_tune, mnr_loss
from minillm.search.fine_tuning import usual_arguments
from minillm.training import TrainerCallback, TrainingArguments
from tests.search.test_fine_tuning import PAIRS, PROMPTS, QUICK, encoder
from tests.search.test_sentence_encoder import tiny, tokenizer

__all__ = ["encoder", "tokenizer"]  # the fixtures, which pytest finds by their names


class Gradients(TrainerCallback):
    """Keeps the gradients of the first update, after clipping."""

    def __init__(self):
        self.kept = {}

    def on_pre_optimizer_step(self, args, state, control, model=None, **parts):
        if not self.kept:
            self.kept = {
                name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None
            }


@pytest.mark.parametrize(
    ("precision", "close"), [({}, 1e-5), ({"bf16": True}, 0.05), ({"fp16": True}, 0.01)], ids=str
)
def test_pieces_in_the_trainer_give_the_update_of_the_whole_batches(tokenizer, precision, close):
    """Two batches an update, the loss scaled where it is float16, a piece larger than the batch, frozen weights."""
    found = []
    for pieces in (None, 2, 99):
        encoder, seen = SentenceEncoder(tiny(), tokenizer, prompts=PROMPTS), Gradients()
        args = TrainingArguments(**QUICK | precision | {"max_steps": 1, "gradient_accumulation_steps": 2})
        fine_tune(encoder, PAIRS, args, only=1, pieces=pieces, callbacks=[seen])
        found.append(seen.kept)
    whole, *others = found
    assert all(name.startswith("blocks.1.") for name in whole)
    largest = max(one.abs().max() for one in whole.values())
    assert largest > 0.01
    for one in others:
        assert one.keys() == whole.keys()
        for name, gradient in one.items():
            assert (gradient - whole[name]).abs().max() <= close * largest


def test_a_resumed_run_without_a_step_left_has_lost_its_name_and_another_part_is_refused(tokenizer, tmp_path):
    args = TrainingArguments(tmp_path, **QUICK | {"max_steps": 2, "save_steps": 2})

    def fresh():
        encoder = SentenceEncoder(tiny(), tokenizer, prompts=PROMPTS)
        encoder.name = "e5"
        return encoder

    trained, parts = fresh(), ["blocks.0.attention."]
    fine_tune(trained, PAIRS, args, only=parts)
    # of as many parameters and shapes: the optimiser's averages would be those of others
    for changes, message in (
        ({"only": ["blocks.1.attention."]}, "objective's only"),
        ({"only": parts, "prompts": ("a ", "b ")}, "objective's prompts"),
        ({"only": parts, "loss": partial(mnr_loss, scale=3)}, "objective's settings"),
    ):
        encoder = fresh()
        with pytest.raises(ValueError, match=message):
            fine_tune(encoder, PAIRS, args, resume_from_checkpoint=True, **changes)
        assert encoder.name == "e5"
    again = fresh()
    fine_tune(again, PAIRS, args, only=parts, resume_from_checkpoint=True)
    for name, one in trained.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], one)
    assert again.name is None  # its weights are no longer those of that name


def test_short_batches_of_pairs_that_share_a_text_are_not_dropped(encoder):
    # one answer stands four times: no batch of four pairs can be filled
    pairs = [("cat", "dog"), ("dogs", "dog"), ("runs", "dog"), ("the", "dog"), ("a", "cats"), ("query", ".")]
    args = TrainingArguments(
        dataloader_drop_last=True, num_train_epochs=3, per_device_train_batch_size=4, device="cpu"
    )
    history = fine_tune(encoder, pairs, args)
    assert history.global_step == 3


def test_no_run_of_few_steps_spends_its_only_ones_warming_up(encoder):
    for pairs, changes, warmup in (
        (320, {}, 0), (321, {}, 2), (40, {"num_train_epochs": 10}, 2), (400, {"max_steps": 4}, 0),
        (160, {"per_device_train_batch_size": 16}, 0), (161, {"per_device_train_batch_size": 16}, 2),
        (24, {"warmup_steps": 1}, 1), (24, {"warmup_ratio": 0.5}, 1),
    ):  # fmt: skip
        args = usual_arguments(encoder, pairs, **changes)
        batches = -(-pairs // args.per_device_train_batch_size) * int(args.num_train_epochs)
        steps = args.max_steps if args.max_steps > 0 else batches
        assert args.get_warmup_steps(steps) == warmup
