"""Each form of parallel training as a short program: what a rank does, from a whole model to one that has learned.

    trained = run_ranks(train_zero, 4, model, batches, 2)[0]        stage 2 on four ranks; trained.losses, .weights

A batch is ids (B, L) int64, the same on every rank; the target of each id is the next one. All take AdamW with the same
settings, so that all give the weights of `train_alone`, rounding aside.

Book: 5.3 분산 학습과 ZeRO. Held against: train_alone, and a loop of torch's own AdamW (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from minillm.models.decoder import CausalLM
from minillm.training.adamw import AdamW
from minillm.training.groups import decay_groups
from minillm.training.parallel.data_parallel import DataParallel, average_gradients
from minillm.training.parallel.group import own_rows, place, same_start
from minillm.training.parallel.pipeline import Pipeline
from minillm.training.parallel.ring import all_reduce_plain, ring_all_reduce
from minillm.training.parallel.stages import stages_of
from minillm.training.parallel.tensor_layers import vocab_parallel_cross_entropy
from minillm.training.parallel.tensor_model import tensor_parallel, whole_state_dict
from minillm.training.parallel.traffic import Traffic
from minillm.training.parallel.zero import ZeRO


class Trained(NamedTuple):
    """losses: of the whole batch, before each step. weights: by the whole model's names. more: what was counted.

    sent: bytes that this rank sent in each step, where `counted` has trained.
    """

    losses: list[float]
    weights: dict[str, Tensor]
    more: dict[str, Any]
    sent: Sequence[float] = ()


def next_id_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, T, V) against targets (B, T)."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def train_alone(model: CausalLM, batches: Sequence[Tensor], lr: float = 1e-2, eps: float = 1e-8) -> Trained:
    """One process."""
    optimizer = AdamW(decay_groups(model, 0.01), lr, eps=eps)
    losses = []
    for ids in batches:
        optimizer.zero_grad()
        loss = next_id_loss(model(ids[:, :-1]).logits, ids[:, 1:])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return Trained(losses, copied_weights(model), {})


def train_data_parallel_plain(
    model: CausalLM, batches: Sequence[Tensor], lr: float = 1e-2, eps: float = 1e-8
) -> Trained:
    """The rows cut, the model whole; gradients travel when the backward pass has ended."""
    same_start(model)
    optimizer = AdamW(decay_groups(model, 0.01), lr, eps=eps)
    losses = []
    for ids in batches:
        optimizer.zero_grad()
        rows = own_rows(ids)
        loss = next_id_loss(model(rows[:, :-1]).logits, rows[:, 1:])
        loss.backward()
        average_gradients(model)
        optimizer.step()
        losses.append(mean_over_ranks(loss))
    return Trained(losses, copied_weights(model), {})


def train_data_parallel(
    model: CausalLM, batches: Sequence[Tensor], lr: float = 1e-2, eps: float = 1e-8, bucket_bytes: int = 4096
) -> Trained:
    """The same, and gradients travel in buckets meanwhile. more: the events of the last backward pass."""
    parallel = DataParallel(model, bucket_bytes)
    optimizer = AdamW(decay_groups(model, 0.01), lr, eps=eps)
    losses = []
    for ids in batches:
        optimizer.zero_grad()
        rows = own_rows(ids)
        loss = next_id_loss(parallel(rows[:, :-1]).logits, rows[:, 1:])
        loss.backward()  # the buckets travel meanwhile
        optimizer.step()
        losses.append(mean_over_ranks(loss))
    return Trained(losses, copied_weights(model), {"events": parallel.events})


def train_zero(
    model: CausalLM, batches: Sequence[Tensor], stage: int = 1, lr: float = 1e-2, eps: float = 1e-8
) -> Trained:
    """The rows cut, and of averages, gradients, weights what the stage says. more: bytes held after a backward pass."""
    zero = ZeRO(model, stage, lr, eps=eps, weight_decay=0.01)
    losses, held = [], {}
    for ids in batches:
        zero.zero_grad()
        rows = own_rows(ids)
        loss = next_id_loss(zero(rows[:, :-1]).logits, rows[:, 1:])
        loss.backward()
        held = zero.bytes_held()
        zero.step()
        losses.append(mean_over_ranks(loss))
    with zero.whole():
        return Trained(losses, copied_weights(model), held)


def train_tensor_parallel(
    model: CausalLM, batches: Sequence[Tensor], lr: float = 1e-2, eps: float = 1e-8
) -> Trained:
    """The matrices cut; every rank sees all rows. more: numbers that this rank holds."""
    tensor_parallel(model)
    optimizer = AdamW(decay_groups(model, 0.01), lr, eps=eps)
    losses = []
    for ids in batches:
        optimizer.zero_grad()
        logits = model(ids[:, :-1]).logits  # (B, T, V / n)
        loss = vocab_parallel_cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    held = sum(parameter.numel() for parameter in model.parameters())
    return Trained(losses, whole_state_dict(model), {"numbers": held})


def train_pipeline(
    model: CausalLM,
    batches: Sequence[Tensor],
    schedule: str = "1f1b",
    microbatches: int = 4,
    lr: float = 1e-2,
    eps: float = 1e-8,
) -> Trained:
    """The layers cut. weights: those of this rank's stage. more: slots of all ranks, micro-batches remembered."""
    names = {id(p): name for name, p in model.named_parameters()}
    pipeline = Pipeline(stages_of(model, place()[1]), schedule)
    optimizer = AdamW(decay_groups(pipeline.stage, 0.01), lr, eps=eps)
    losses = []
    for ids in batches:
        optimizer.zero_grad()
        losses.append(pipeline.run(ids[:, :-1], ids[:, 1:], next_id_loss, microbatches).item())
        optimizer.step()
    own = {names[id(p)]: p.detach().clone() for p in pipeline.stage.parameters()}
    return Trained(losses, own, {"slots": pipeline.slots(), "kept": pipeline.most_kept})


def counted(
    train: Callable[..., Trained], model: CausalLM, batches: Sequence[Tensor], *options: Any
) -> Trained:
    """What train(model, batches, *options) gives, and the bytes that this rank sent in each step."""
    with Traffic() as traffic:
        trained = train(model, traffic.by_step(batches), *options)
    return trained._replace(sent=traffic.of_steps)


def sum_both_ways(numbers: Tensor) -> tuple[Tensor, int, int, float]:
    """Rank r has numbers * (r + 1). Their sum, the bytes it sent around the ring and through rank 0, and how far both
    sums are from torch's own."""
    ring = numbers * (place()[0] + 1)
    plain, theirs = ring.clone(), ring.clone()
    sent, sent_plain = ring_all_reduce(ring), all_reduce_plain(plain)
    dist.all_reduce(theirs)
    furthest = max((ring - theirs).abs().max().item(), (plain - theirs).abs().max().item())
    return ring, sent, sent_plain, furthest


def copied_weights(model: CausalLM) -> dict[str, Tensor]:
    """The weights as they are now."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def mean_over_ranks(loss: Tensor) -> float:
    """The mean of a number that each rank has."""
    total = loss.detach().clone()
    dist.all_reduce(total)
    return total.item() / place()[1]
