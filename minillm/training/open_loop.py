"""The training loop as one writes it oneself: what the Trainer does, without everything that surrounds it.

    for each epoch, for each batch:   loss -> gradient -> clip -> learning rate -> step

With the same settings it gives the weights of the Trainer, bit for bit: both take the same order of the data, draw the
same dropout, and make the same update.

Book: 3.4.3 트레이너 API를 사용하지 않고 학습하기. Held against: Trainer (a test compares the bits).
Leaves out: evaluation, checkpoints, passes that accumulate, mixed precision, several processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from minillm._checks import check_function, check_int, check_number, describe
from minillm.nn.fast_cpu import fast_layers
from minillm.training.adamw import AdamW
from minillm.training.batches import Batch
from minillm.training.clipping import clip_gradients
from minillm.training.feed import epoch_order
from minillm.training.groups import decay_groups
from minillm.training.objectives import objective_for
from minillm.training.randomness import seed_step
from minillm.training.schedule import schedule


def open_loop(
    model: nn.Module,
    rows: Sequence[Any],
    collate: Callable[[list[Any]], Batch],
    epochs: int = 3,
    batch_size: int = 8,
    learning_rate: float = 5e-5,
    weight_decay: float = 0.0,
    seed: int = 42,
    warmup_steps: int = 0,
) -> list[float]:
    """Train `model` in place on `rows`; the loss of each step, in nats a target.

    `collate` makes a batch of some rows; rows hold only what it and the model take. The learning rate rises for
    `warmup_steps` and falls, each in a straight line. The model is in training mode afterwards. ValueError for no rows,
    an epoch or batch below 1, and a negative rate, decay or seed.
    """
    if not isinstance(model, nn.Module) or collate is None:
        raise ValueError(f"a model and a collator are needed, got {describe(model)} and {describe(collate)}")
    check_function("collate", collate)
    check_number("learning_rate", learning_rate, 0)
    check_number("weight_decay", weight_decay, 0)
    check_int("seed", seed, 0)
    check_int("epochs", epochs, 1)
    check_int("batch_size", batch_size, 1)
    check_int("warmup_steps", warmup_steps, 0)
    if not len(rows):
        raise ValueError(f"rows must hold at least one example, got {describe(rows)}")
    objective, losses = objective_for(model), []
    optimizer = AdamW(decay_groups(model, weight_decay))
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    starts = range(0, len(rows), batch_size)
    rate = schedule("linear", epochs * len(starts), learning_rate, warmup_steps)
    model.train()
    with torch.random.fork_rng([]), fast_layers(model):
        for epoch in range(epochs):
            order = epoch_order(len(rows), seed, epoch)
            for start in starts:
                seed_step(seed, len(losses))  # for dropout
                batch = collate([rows[i] for i in order[start : start + batch_size]])
                loss = objective(model, batch).loss
                optimizer.zero_grad()
                loss.backward()
                clip_gradients(weights, 1.0)
                for group in optimizer.param_groups:
                    group["lr"] = rate(len(losses))
                optimizer.step()
                losses.append(loss.item())
    return losses
