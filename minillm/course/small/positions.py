"""Four tiny language models that differ in one thing: how they are told where a token stands. What do they do far out?

    train, windows, proof = position_data()
    reader = train_reader("ALiBi", train, seed=0)       or "learned", "sinusoidal", "RoPE"
    losses = loss_by_position(reader, windows)          nats a byte, (windows, positions)
    quarters(losses)                                    the same bytes at 1, 2, 3 and 4 times the trained length

    python -m minillm.course.small.positions --seeds 0 1 2        the table of lesson 02_2

They learn from bytes of Python's language reference in windows of 32, and are examined on bytes they have not seen, in
windows of 128. The windows of the exam begin 32 bytes apart. So each byte is predicted once in each quarter of a
window. The quarters of the exam differ in where the byte stands, and in how many bytes stand before it.

Book: 2.2.3 위치 인코딩, 8.2.3 상대적 위치 인코딩. Papers: Press et al. 2021 (train short, test long); Peng et al. 2023.
Leaves out: training at the new length, which scaled rotary positions are made for.
"""

from __future__ import annotations

import argparse
import copy
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import check_choice, check_int, describe
from minillm.course.small.recipe import one_thread, small_corpus
from minillm.data import HeldOut, prove_held_out
from minillm.nn import (
    ALiBi,
    DecoderBlock,
    LearnedPosition,
    MultiHeadAttention,
    PositionScheme,
    RMSNorm,
    RoPE,
    SinusoidalPosition,
)
from minillm.training import Trainer, TrainerConfig

TRAINED, LONGEST = 32, 128  # bytes a window: of the training, of the exam
WIDTH, HEADS, LAYERS = 64, 4, 2
STEPS = 500
EXAM_BYTES = 12_000
KINDS = ("learned", "sinusoidal", "RoPE", "ALiBi")
_LONGER = {"factor": LONGEST / TRAINED, "original_max_position_embeddings": TRAINED}
SCALINGS: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": LONGEST / TRAINED},
    "dynamic NTK": {"rope_type": "dynamic", **_LONGER},
    "YaRN": {"rope_type": "yarn", **_LONGER},
}


class ByteReader(nn.Module):
    """A decoder over bytes. added: adds positions to the input; position: used by the attention; None for neither."""

    def __init__(self, added: nn.Module | None = None, position: PositionScheme | None = None):
        super().__init__()
        self.tokens, self.added = nn.Embedding(256, WIDTH), added
        self.blocks = nn.ModuleList(DecoderBlock(WIDTH, HEADS, norm=RMSNorm) for _ in range(LAYERS))
        for block in self.blocks:
            block.attention = MultiHeadAttention(WIDTH, HEADS, position=position, bias=False, causal=True)
        self.norm, self.head = RMSNorm(WIDTH), nn.Linear(WIDTH, 256, bias=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> SimpleNamespace:
        """ids (B, T) -> .logits (B, T, 256)."""
        x = self.tokens(input_ids)  # (B, T, C)
        if self.added is not None:
            x = self.added(x)
        for block in self.blocks:
            x = block(x)
        return SimpleNamespace(logits=self.head(self.norm(x)))


def new_reader(kind: str, seed: int = 0) -> ByteReader:
    """A reader with random weights; kind: one of KINDS. Tables have LONGEST rows, so that none ends in the exam."""
    check_choice("kind", kind, KINDS), check_int("seed", seed, 0)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        if kind == "learned":
            return ByteReader(added=LearnedPosition(LONGEST, WIDTH))
        if kind == "sinusoidal":
            return ByteReader(added=SinusoidalPosition(LONGEST, WIDTH))
        return ByteReader(position=RoPE(WIDTH // HEADS) if kind == "RoPE" else ALiBi(HEADS))


def train_reader(kind: str, ids: Tensor, seed: int = 0, steps: int = STEPS) -> ByteReader:
    """A new reader of that kind, trained on random windows of TRAINED bytes."""
    reader = new_reader(kind, seed)
    settings = TrainerConfig(
        steps, batch_size=16, context_length=TRAINED, learning_rate=6e-3, warmup_steps=steps // 20,
        seed=seed, device="cpu", precision="fp32", log_every=steps, progress=False,
    )  # fmt: skip
    Trainer(reader, settings, ids).train()
    return reader.eval()


def position_data() -> tuple[Tensor, Tensor, HeldOut]:
    """(bytes to learn from (N,), windows of the exam (W, LONGEST + 1), the proof that the training lacks the exam)."""
    corpus = small_corpus()
    taught, exam = corpus.taught["english"], corpus.exam["english"].encode()[:EXAM_BYTES]
    proof = prove_held_out(exam.decode(errors="ignore"), taught)
    windows = torch.tensor(list(exam)).unfold(0, LONGEST + 1, TRAINED)
    return torch.tensor(list(taught.encode())), windows, proof


@torch.no_grad()
def loss_by_position(reader: nn.Module, windows: Tensor) -> Tensor:
    """Loss in nats of each next byte, (W, T - 1), for windows (W, T) int64."""
    if not isinstance(windows, Tensor) or windows.dtype != torch.int64 or windows.dim() != 2:
        raise ValueError(f"windows must be a LongTensor (W, T), got {describe(windows)}")
    losses = [
        nn.functional.cross_entropy(reader(some[:, :-1]).logits.mT, some[:, 1:], reduction="none")
        for some in windows.split(64)
    ]
    return torch.cat(losses)


def quarters(losses: Tensor) -> Tensor:
    """(4, n): the mean loss of n stretches of TRAINED bytes, the same ones in each quarter of a window.

    losses: (W, LONGEST), of windows that begin TRAINED bytes apart. Stretch b is quarter q of window b - q.
    """
    parts = losses.unflatten(1, (-1, TRAINED)).mean(-1)  # (W, quarters)
    last = parts.shape[1] - 1
    return torch.stack([parts[last - q : len(parts) - q, q] for q in range(last + 1)])


def with_scaling(reader: ByteReader, scaling: dict[str, Any] | None) -> ByteReader:
    """A copy of the reader with the same weights whose rotary positions are scaled so; nothing is trained."""
    scaled = copy.deepcopy(reader)
    for block in scaled.blocks:
        if not isinstance(block.attention.position, RoPE):
            raise ValueError(f"reader must have rotary positions, got {describe(block.attention.position)}")
        block.attention.position = RoPE(WIDTH // HEADS, scaling=scaling)
    return scaled


def results(kind: str, train: Tensor, windows: Tensor, seed: int) -> dict[str, Tensor]:
    """The quarters (4, n) of one kind, for RoPE of every scaling, too: name -> losses."""
    reader = train_reader(kind, train, seed)
    variants = {kind: reader}
    if kind == "RoPE":
        variants |= {f"RoPE, {name}": with_scaling(reader, scaling) for name, scaling in SCALINGS.items()}
    return {name: quarters(loss_by_position(one, windows)) for name, one in variants.items()}


def main(arguments: list[str] | None = None) -> int:
    """Print the table of lesson 02_2: a line for each seed, kind and scaling."""
    parser = argparse.ArgumentParser(
        prog="python -m minillm.course.small.positions", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args(arguments).seeds
    train, windows, proof = position_data()
    print(f"the exam: {proof}")
    print(f"{'nats a byte at':26}" + "".join(f"{q + 1:>7}x" for q in range(LONGEST // TRAINED)))
    with one_thread():
        for seed in seeds:
            for kind in KINDS:
                for name, found in results(kind, train, windows, seed).items():
                    numbers = "".join(f"{x:8.2f}" for x in found.mean(1).tolist())
                    print(f"{f'seed {seed}, {name}':26}{numbers}  n = {found.shape[1]}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
