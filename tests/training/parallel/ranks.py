"""What the tests let ranks do: functions that other processes import by name."""

import os
import signal
import sys
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig
from minillm.training import checkpointed, checkpointed_plain, decay_groups
from minillm.training.parallel import (
    ColumnParallelLinear,
    DataParallel,
    Pipeline,
    RowParallelLinear,
    Traffic,
    VocabParallelEmbedding,
    ZeRO,
    all_reduce_plain,
    counted,
    own_rows,
    place,
    ring_all_gather,
    ring_all_reduce,
    ring_chunks,
    ring_reduce_scatter,
    stages_of,
    tensor_parallel,
    vocab_parallel_cross_entropy,
)
from minillm.training.parallel.recipes import (
    train_data_parallel,
    train_data_parallel_plain,
    train_pipeline,
    train_tensor_parallel,
    train_zero,
)

STEPS, WORDS, ROWS = 10, 24, 8
LR, EPS = 1e-2, 1e-8


def llama(tied=True, seed=0, dtype=torch.float64, **options):
    sizes = {"vocab_size": WORDS, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
             "num_attention_heads": 4, "max_position_embeddings": 16, "initializer_range": 0.3}  # fmt: skip
    return Llama(LlamaConfig(**sizes | {"tie_word_embeddings": tied} | options), seed).to(dtype)


def gpt2(tied=True, dtype=torch.float64, **options):
    sizes = {"vocab_size": WORDS, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 4,
             "initializer_range": 0.2}  # fmt: skip
    drops = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2(GPT2Config(**sizes | drops | {"tie_word_embeddings": tied} | options)).to(dtype)


def batches(steps=STEPS, rows=ROWS):
    """Ids (B, L) int64 of each step: every row counts on by 5 from another number."""
    start = torch.randint(WORDS, (steps, rows, 1), generator=torch.Generator().manual_seed(5))
    ids = (start + 5 * torch.arange(9)) % WORDS
    return list(ids)


def loss_of(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def one_process(model, eps=EPS):
    """The oracle: torch's AdamW and loss on the whole batch. (weights, losses)"""
    optimizer = torch.optim.AdamW(decay_groups(model, 0.01), lr=LR, eps=eps)
    losses = []
    for ids in batches():
        optimizer.zero_grad()
        loss = loss_of(model(ids[:, :-1]).logits, ids[:, 1:])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}, losses


def rings():
    """For sizes that divide and do not: (difference to torch's sum, bytes by the ring, bytes by rank 0)."""
    rank, ranks = place()
    found = {}
    for size in (0, 1, 3, ranks, 12, 1000, 1001):
        for dtype in (torch.float64, torch.float32, torch.int64):
            mine = torch.randn(size, generator=torch.Generator().manual_seed(rank)).mul(8).to(dtype)
            theirs, ring, plain = mine.clone(), mine.clone(), mine.clone()
            dist.all_reduce(theirs)
            sent = ring_all_reduce(ring), all_reduce_plain(plain)
            found[size, str(dtype)] = largest(ring - theirs), largest(plain - theirs), *sent
    chunks = ring_chunks(torch.arange(ranks * 3.0).view(ranks, 3) * (rank + 1))
    ring_reduce_scatter(chunks)
    mine = chunks[rank].clone()
    ring_all_gather(chunks)
    return found, mine, torch.cat(chunks)


def largest(difference):
    return difference.abs().max().item() if difference.numel() else 0.0


def layers():
    """Each layer against its whole: outputs, gradients of input and weights; with and without gathering."""
    rank, ranks = place()
    torch.manual_seed(3)
    whole, x = torch.nn.Linear(8, 12).double(), torch.randn(5, 8, dtype=torch.float64)
    outer = torch.randn(5, 12, dtype=torch.float64)
    x0 = x.clone().requires_grad_()
    y0 = whole(x0)
    y0.backward(outer)
    found = {}
    for name, layer in {
        "column": ColumnParallelLinear.of(whole, gather_output=True),
        "row": RowParallelLinear.of(whole, input_is_cut=False),
    }.items():
        x1 = x.clone().requires_grad_()
        y1 = layer(x1)
        y1.backward(outer)
        weight = whole.weight.grad.chunk(ranks, layer.cut["weight"])[rank]
        bias = whole.bias.grad.chunk(ranks)[rank] if "bias" in layer.cut else whole.bias.grad
        found[name] = max(
            largest(y1 - y0), largest(x1.grad - x0.grad), largest(layer.weight.grad - weight),
            largest(layer.bias.grad - bias),
        )  # fmt: skip
    table = torch.nn.Embedding(WORDS, 4).double()
    cut, ids = VocabParallelEmbedding.of(table), torch.tensor([[0, 5, WORDS - 1], [7, 7, 12]])
    table(ids).square().sum().backward()
    cut(ids).square().sum().backward()
    found["embedding"] = max(
        largest(cut(ids) - table(ids)), largest(cut.weight.grad - table.weight.grad.chunk(ranks)[rank])
    )
    # large logits, ignored targets, and one of each rank's words
    logits = torch.randn(9, WORDS, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 30
    targets = torch.tensor([0, WORDS - 1, -100, 11, 12, 5, -100, 6, 23])
    l0, l1 = logits.clone().requires_grad_(), logits.chunk(ranks, 1)[rank].clone().requires_grad_()
    one, other = F.cross_entropy(l0, targets), vocab_parallel_cross_entropy(l1, targets)
    (3 * one).backward(), (3 * other).backward()
    found["loss"] = max(largest(one - other), largest(l1.grad - l0.grad.chunk(ranks, 1)[rank]))
    made = ColumnParallelLinear(8, 12, bias=False), RowParallelLinear(8, 12), VocabParallelEmbedding(WORDS, 4)
    found["shapes"] = [tuple(layer.weight.shape) for layer in made]
    return found


class Unused(torch.nn.Module):
    """`never` is used by no rank, `sometimes` by rank 0 alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.always, self.sometimes, self.never = (torch.nn.Linear(4, 4).double() for _ in range(3))

    def forward(self, x, rank):
        return self.always(x) + (self.sometimes(x) if rank == 0 else 0)


def unused():
    """Gradients where parts of a model are not used, and after accumulating and after a broken backward pass."""
    rank, ranks = place()
    parallel = DataParallel(Unused(), bucket_bytes=64)
    x = torch.arange(4 * ranks, dtype=torch.float64).view(ranks, 4)
    out = parallel(own_rows(x), rank)
    out.sum().backward()
    model = parallel.model
    found = [model.sometimes.weight.grad.clone(), model.never.weight.grad, model.always.weight.grad.clone()]
    # twice the same in two passes is twice the gradient
    parallel.zero_grad()
    with parallel.no_sync():
        parallel(own_rows(x), rank).sum().backward()
    local = model.always.weight.grad.clone()
    parallel(own_rows(x), rank).sum().backward()
    found += [local, model.always.weight.grad.clone()]
    # an error inside a backward pass, on all ranks at the same place, leaves the next one right
    parallel.zero_grad()
    bad = parallel(own_rows(x), 0)
    hook = model.always.bias.register_hook(lambda gradient: 1 / 0)
    try:
        bad.sum().backward()
    except ZeroDivisionError:
        found.append("broke")
    hook.remove()
    parallel.zero_grad()
    parallel(own_rows(x), rank).sum().backward()
    return [*found, model.always.weight.grad.clone()]


def clipped(stage):
    """The length of the gradient, and the gradient's own piece after clipping, joined."""
    sharded = ZeRO(llama(), stage, LR)
    rows = own_rows(batches(1)[0])
    loss_of(sharded(rows[:, :-1]).logits, rows[:, 1:]).backward()
    norm = sharded.clip_gradients(0.01)
    after = sum(flat.own.grad.square().sum() for flat in sharded.flats)
    dist.all_reduce(after)
    return norm.item(), after.sqrt().item()


def empty_between():
    """With stage 3, bytes and numbers of the weights outside of a pass, inside `whole`, and after."""
    sharded = ZeRO(llama(), 3)

    def counts():
        return sum(p.numel() for p in sharded.model.parameters()), sharded.bytes_held()["weights"]

    outside = counts()
    with sharded.whole():
        inside = counts()
    with torch.no_grad():
        sharded(batches(1)[0])
    after = counts()
    # accumulating, and a model whose blocks run again in the backward pass
    return outside, inside, after


def torchs(layer, x):
    """torch's checkpoint."""
    return checkpoint(layer, x, use_reentrant=False)


def checkpointed_zero(call):
    """Stage 3 and checkpoints: gradients as without. call(layer, x): makes one."""
    torch.manual_seed(0)
    layers = [torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Tanh()) for _ in range(3)]

    class Stack(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList(layers)

        def forward(self, x):
            for layer in self.layers:
                x = call(layer, x)
            return x

    model = Stack().double()
    x = torch.arange(12.0, dtype=torch.float64).view(2, 6) / 10
    plain = torch.autograd.grad(torch.nn.Sequential(*layers)(x).square().sum(), list(model.parameters()))
    sharded = ZeRO(model, 3, group=None)
    for _ in range(2):  # the second pass adds up
        sharded(x).square().sum().backward()
    flat = torch.cat([t.flatten() for t in plain]) * 2
    norm = sharded.clip_gradients(1e9)
    return norm.item(), flat.norm().item()


class Nested(torch.nn.Module):
    """Its gradient comes by a tensor that lies two levels deep in what it gives; the one above is not used."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(6, 6)

    def forward(self, x):
        y = self.layer(x).tanh()
        return {"beside": 2 * y, "below": [y]}


class Nests(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = torch.nn.ModuleList(Nested() for _ in range(3))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)["below"][0]
        return x


def odd_passes(stage):
    """(length of the gradient, of one process): outputs in outputs, a backward pass that broke off, two forward passes
    before two backward passes, and one without a gradient between."""
    ranks = place()[1]
    x = torch.arange(12.0 * ranks, dtype=torch.float64).view(2 * ranks, 6).sin()
    plain = Nests().double()
    (plain(x).square().mean() + plain(2 * x).square().mean()).backward()
    expected = torch.cat([p.grad.flatten() for p in plain.parameters()]).norm()
    sharded = ZeRO(Nests().double(), stage)
    hook = sharded.model.blocks[1].layer.bias.register_hook(lambda gradient: 1 / 0)
    try:
        sharded(own_rows(x)).sum().backward()
    except ZeroDivisionError:
        hook.remove()
    sharded.zero_grad()
    losses = [sharded(own_rows(by * x)).square().mean() for by in (1, 2)]
    with torch.no_grad():
        sharded(x)
    for loss in losses:
        loss.backward()
    return sharded.clip_gradients(1e9).item(), expected.item()


def clipped_halves():
    """The length of a gradient of 42 times 300 in float16, where 300 squared is infinite."""
    sharded = ZeRO(torch.nn.Linear(6, 6).half(), 2)
    for flat in sharded.flats:
        flat.own.grad = torch.full_like(flat.own, 300)
    return sharded.clip_gradients(1.0).item(), max(flat.own.grad.max().item() for flat in sharded.flats)


def everything():
    """All of it in one launch: a process costs more than its work. Rank 0's weights are taken, others begin apart."""
    rank, ranks = place()
    ids, large = batches(), {"lr": LR, "eps": 1e-4}
    found = {
        "ring": rings(), "layers": layers(), "refused": refused(ranks),
        "data parallel": train_data_parallel(llama(seed=rank), ids, bucket_bytes=1024),
        "data parallel, plain": train_data_parallel_plain(llama(seed=rank), ids),
        **{f"zero-{stage}": train_zero(llama(seed=rank), ids, stage) for stage in (1, 2, 3)},
        "tensors": train_tensor_parallel(llama(seed=rank), ids),
        "gpipe": train_pipeline(untied_llama(), ids, "gpipe"),
        "1f1b": train_pipeline(untied_llama(), ids, "1f1b"),
    }  # fmt: skip
    found["traffic"] = traffic()
    if ranks == 2:  # what has nothing new to say on four
        found |= {
            "unused": unused(), "clipped": [clipped(stage) for stage in (1, 2, 3)], "empty": empty_between(),
            "checkpointed": [checkpointed_zero(call) for call in (torchs, checkpointed, checkpointed_plain)],
            "odd": [odd_passes(stage) for stage in (1, 2, 3)],
            "halves": clipped_halves(),
            "tensors of qwen3": train_tensor_parallel(qwen3(), ids),
            "tensors of gpt2": train_tensor_parallel(gpt2(), ids, **large),
            "1f1b of gpt2": train_pipeline(untied_gpt2(), ids, "1f1b", 8, **large),
        }  # fmt: skip
    return found | {"cpu": time.process_time()}


def traffic():
    """What Traffic notes of each kind of message, what the ring says of its own, and the steps of two stages."""
    _, ranks = place()
    whole, noted = torch.ones(12 * ranks, dtype=torch.float64), {}
    calls = {
        "ring": lambda: ring_all_reduce(whole.clone()),
        "all_reduce": lambda: dist.all_reduce(whole.clone()),
        "async": lambda: dist.all_reduce(tensor=whole.clone(), async_op=True).wait(),
        "reduce_scatter": lambda: dist.reduce_scatter(torch.empty_like(whole[:12]), list(whole.chunk(ranks))),
        "all_gather": lambda: dist.all_gather(list(whole.clone().chunk(ranks)), whole[:12].clone()),
        "broadcast": lambda: dist.broadcast(whole.clone(), group_src=0),
    }
    own = [getattr(dist, name) for name in ("all_reduce", "send", "isend", "broadcast")]
    for name, call in calls.items():
        with Traffic() as seen:
            told = call()
        noted[name] = seen.sent, told if name == "ring" else None
    steps = {stage: counted(train_zero, llama(tied=False), batches()[:2], stage).sent for stage in (1, 3)}
    after = [getattr(dist, name) for name in ("all_reduce", "send", "isend", "broadcast")]
    return noted, steps, own == after


def untied_llama():
    return llama(tied=False, num_hidden_layers=4)


def untied_gpt2():
    return gpt2(tied=False, n_layer=4)


def qwen3():
    return llama(model_type="qwen3", head_dim=4)


def refused(ranks):
    """What each bad call says."""
    words = torch.zeros(4, WORDS // ranks), torch.zeros(4, dtype=torch.int64)
    calls = {
        "rows": lambda: own_rows(torch.zeros(ranks + 1, 2)),
        "no rows": lambda: own_rows(torch.zeros(0, 2)),
        "no batch": lambda: own_rows([1, 2]),
        "bucket": lambda: DataParallel(llama(), 0),
        "no module": lambda: DataParallel([1]),
        "frozen": lambda: DataParallel(llama().requires_grad_(False)),
        "stage": lambda: ZeRO(llama(), 4),
        "clip": lambda: ZeRO(llama(), 1).clip_gradients(0),
        "columns": lambda: ColumnParallelLinear(4, ranks + 1),
        "rows of a layer": lambda: RowParallelLinear(ranks + 1, 4),
        "words": lambda: VocabParallelEmbedding(ranks * 3 + 1, 4),
        "an id": lambda: VocabParallelEmbedding(WORDS, 4)(torch.tensor([WORDS])),
        "a target": lambda: vocab_parallel_cross_entropy(words[0], words[1] + WORDS),
        "logits": lambda: vocab_parallel_cross_entropy(words[0][0], words[1]),
        "targets": lambda: vocab_parallel_cross_entropy(words[0], words[1][:2]),
        "heads": lambda: tensor_parallel(llama(num_attention_heads=1, head_dim=16)),
        "dropout": lambda: tensor_parallel(gpt2(resid_pdrop=0.1)),
        "no language model": lambda: tensor_parallel(torch.nn.Linear(2, 2)),
        "stages": lambda: Pipeline([torch.nn.Identity()] * (ranks + 1)),
        "schedule": lambda: Pipeline([torch.nn.Identity()] * ranks, "zigzag"),
        "micro-batches": lambda: Pipeline(stages_of(untied_llama(), ranks)).run(*batches(1) * 2, loss_of, 3),
        "blocks": lambda: stages_of(untied_llama(), 9),
        "tied": lambda: stages_of(llama(), 2),
        "contiguous": lambda: ring_all_reduce(torch.zeros(4, 4).T),
    }
    said = {}
    for name, call in calls.items():
        try:
            call()
        except ValueError as error:
            said[name] = str(error)
    return said, list(calls)


# Trouble


def trouble(kind):
    """Rank 1 makes it; the others wait for it in a collective."""
    rank, _ = place()
    print(f"begins {kind}")
    if rank == 1:
        if kind == "raises":
            raise KeyError("a word of rank 1")
        if kind == "exits":
            sys.exit(3)
        if kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "dies":
            os._exit(7)
        if kind == "sleeps":
            time.sleep(600)
        if kind == "gives what cannot travel":
            return lambda: 0
    dist.all_reduce(torch.zeros(3))
    return rank


def add(tensor, table, by):
    """Arguments are copies; what is printed comes back."""
    tensor += by
    print("rank", place()[0], "of", place()[1])
    return {"sum": tensor, "same": table, "threads": torch.get_num_threads()}
