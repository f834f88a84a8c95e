"""The ring: all ranks get the sum of what they have, and every rank sends as little as the next one.

    cut the tensor of S bytes into n chunks; rank r sends to r + 1 and receives from r - 1
    n - 1 times  send a chunk, add the one that comes in      (reduce-scatter: rank r ends with the sum of chunk r)
    n - 1 times  send a sum on, keep the one that comes in    (all-gather: all have all sums)
    bytes sent by each rank = 2 (n - 1) / n * S               about 2 S, however many ranks there are

The plain way sends everything to rank 0 and back: 2 (n - 1) S bytes pass through one rank.

Book: 5.3.1 분산 학습. Paper: Patarasuk & Yuan 2009. Held against: torch.distributed.all_reduce, reduce_scatter and
all_gather. Leaves out: trees, which need fewer rounds where messages are short.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from minillm._checks import describe
from minillm.training.parallel.group import place


def all_reduce_plain(tensor: Tensor, group: Any = None) -> int:
    """Replace `tensor` by its sum over all ranks, through rank 0; returns the bytes that this rank sent.

    The tensor has the same shape and dtype on every rank and is contiguous; ValueError otherwise.
    """
    (rank, ranks), flat = place(group), _flat(tensor)
    if rank > 0:
        dist.send(flat, group=group, group_dst=0)
        dist.recv(flat, group=group, group_src=0)
        return flat.nbytes
    part = torch.empty_like(flat)
    for other in range(1, ranks):
        dist.recv(part, group=group, group_src=other)
        flat += part
    for other in range(1, ranks):
        dist.send(flat, group=group, group_dst=other)
    return flat.nbytes * (ranks - 1)


def ring_all_reduce(tensor: Tensor, group: Any = None) -> int:
    """The same around the ring: no rank sends more than another."""
    chunks = ring_chunks(tensor, group)
    return ring_reduce_scatter(chunks, group) + ring_all_gather(chunks, group)


def ring_chunks(tensor: Tensor, group: Any = None) -> list[Tensor]:
    """Views of n chunks of a tensor, one for each rank, as equal as they can be."""
    return list(_flat(tensor).tensor_split(place(group)[1]))


def ring_reduce_scatter(chunks: list[Tensor], group: Any = None) -> int:
    """Afterwards chunk number r holds the sum over all ranks on rank r, and partial sums elsewhere; bytes sent."""
    rank, ranks = place(group)
    sent = 0
    for step in range(1, ranks):
        out, into = chunks[(rank - step) % ranks], chunks[(rank - step - 1) % ranks]
        sent += _pass_on(out, part := torch.empty_like(into), rank, ranks, group)
        into += part
    return sent


def ring_all_gather(chunks: list[Tensor], group: Any = None) -> int:
    """Chunk number r of rank r goes to all others; returns the bytes that this rank sent."""
    rank, ranks = place(group)
    sent = 0
    for step in range(ranks - 1):
        out, into = chunks[(rank - step) % ranks], chunks[(rank - step - 1) % ranks]
        sent += _pass_on(out, into, rank, ranks, group)
    return sent


def _pass_on(out: Tensor, into: Tensor, rank: int, ranks: int, group: Any) -> int:
    """Send one chunk to the right while another comes in from the left; the bytes sent. Empty ones need no message."""
    sending = dist.isend(out, group=group, group_dst=(rank + 1) % ranks) if out.numel() else None
    if into.numel():
        dist.recv(into, group=group, group_src=(rank - 1) % ranks)
    if sending is not None:
        sending.wait()
    return out.nbytes


def _flat(tensor: Any) -> Tensor:
    """A view of one axis, without a gradient."""
    if not isinstance(tensor, Tensor) or not tensor.is_contiguous():
        raise ValueError(f"the tensor must be contiguous, got {describe(tensor)}")
    return tensor.detach().view(-1)
