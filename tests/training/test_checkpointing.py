"""Gradient checkpointing, the plain form and the one by hooks: the gradients of plain training to the last bit."""

import contextlib
import copy
import gc
import itertools
import random
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from minillm.models import BERT, GPT2, T5, BERTConfig, GPT2Config, Llama, LlamaConfig, T5Config
from minillm.nn import KVCache
from minillm.nn.blocks import EncoderBlock
from minillm.training import (
    CausalLMObjective,
    SavedMemory,
    Trainer,
    TrainingArguments,
    checkpointed,
    checkpointed_blocks,
    checkpointed_plain,
)

FORMS = {"plain": checkpointed_plain, "hooks": checkpointed}
IDS = torch.randint(0, 50, (3, 17), generator=torch.Generator().manual_seed(0))
BATCH = {"input_ids": IDS, "labels": IDS}


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    """One of the two, which whole models use then, too."""
    monkeypatch.setattr("minillm.training.checkpointing_blocks.checkpointed", FORMS[request.param])
    return FORMS[request.param]


def gpt2(layers=4, dropout=0.2, **more):
    sizes = {"vocab_size": 50, "n_positions": 32, "n_embd": 16, "n_head": 2, "n_layer": layers}
    return GPT2(GPT2Config(**sizes, resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout, **more))


def llama(layers=4, **more):
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 40, "num_attention_heads": 4}
    return Llama(
        LlamaConfig(
            **sizes, num_key_value_heads=2, num_hidden_layers=layers, max_position_embeddings=32, **more
        )
    )


def step(model, surround=contextlib.nullcontext, autocast=False, seed=1):
    """(loss, gradients) of one pass."""
    model.train(), model.zero_grad()
    torch.manual_seed(seed)
    with surround():
        with torch.autocast("cpu", torch.bfloat16, autocast):
            loss = CausalLMObjective()(model, BATCH).loss
        loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def equal(one, other):
    """Loss and gradients to the last bit."""
    assert one[1]
    assert torch.equal(one[0], other[0])
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        assert torch.equal(gradient, other[1][name]), name


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("make", [gpt2, llama])
def test_a_model_has_the_gradients_of_plain_training(form, make, autocast):
    model = make()
    plain = step(model, autocast=autocast)
    after = torch.get_rng_state()
    for segments in (None, 1, 2, 3, 4):
        equal(plain, step(model, partial(checkpointed_blocks, model, segments), autocast))
        assert torch.equal(torch.get_rng_state(), after)  # what is drawn next is the same, too
    assert all("forward" not in vars(block) for block in model.body.blocks)


def test_encoders_and_encoder_decoders_have_them_too(form):
    bert = BERT(BERTConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                           intermediate_size=32, max_position_embeddings=32))  # fmt: skip
    t5 = T5(T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, dropout_rate=0.1))
    passes = (
        (bert, lambda: bert(IDS).last_hidden_state),
        (t5, lambda: t5(IDS, decoder_input_ids=IDS[:, :5]).logits),
    )
    for model, run in passes:
        found = []
        for surround in (contextlib.nullcontext, lambda: checkpointed_blocks(model)):  # noqa: B023
            model.train(), model.zero_grad(), torch.manual_seed(0)
            with surround():
                run().square().sum().backward()
            found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        assert found[0]
        for one, other in zip(
            *found
        ):  # all blocks of T5 read the source and one table: their shares are summed
            torch.testing.assert_close(
                other, one, rtol=1e-4, atol=1e-4 * float(one.abs().max())
            )  # in another order
    bert.train()


def test_less_is_kept_and_nothing_is_left(form):
    model = gpt2(layers=9, dropout=0.0)
    peaks = {}
    for segments in (0, 1, 3, 9):
        surround = contextlib.nullcontext() if segments == 0 else checkpointed_blocks(model, segments)
        with SavedMemory(model) as memory, surround:
            CausalLMObjective()(model, BATCH).loss.backward()
        peaks[segments] = memory.peak
        assert memory.now == 0
    assert peaks[3] < peaks[0] / 2
    assert peaks[9] < peaks[3] < peaks[1]


def test_the_trainer_takes_it_and_learns_the_same(form):
    rows = [{"input_ids": row.tolist(), "labels": row.tolist()} for row in IDS.repeat(4, 1)]
    histories, weights = [], []
    for saving in (False, True):
        model = gpt2()
        args = TrainingArguments(
            max_steps=4, per_device_train_batch_size=2, gradient_accumulation_steps=2, learning_rate=1e-2,
            gradient_checkpointing=saving, logging_steps=1, disable_tqdm=True, use_cpu=True,
        )  # fmt: skip
        histories.append(
            [record["train_loss"] for record in Trainer(model, args, train_dataset=rows).train()]
        )
        weights.append(model.state_dict())
    assert histories[0] == histories[1]
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())
    with pytest.raises(ValueError, match="a Linear has no transformer blocks to checkpoint"):
        Trainer(
            nn.Linear(2, 2), TrainingArguments(gradient_checkpointing=True, use_cpu=True), train_dataset=rows
        )


def test_frozen_below_and_adapters_above_still_learn(form):
    """No input of a block has a gradient, its weights do: the classical way to lose them without a word."""
    model = llama()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("v_proj" in name)
    plain = step(model)
    assert len(plain[1]) == 4
    equal(plain, step(model, lambda: checkpointed_blocks(model)))
    equal(plain, step(model, lambda: checkpointed_blocks(model, 2)))


def test_a_cache_and_no_gradients_change_nothing(form):
    model = llama().eval()
    with torch.no_grad():
        expected = model(IDS).logits
    with checkpointed_blocks(model, 2):
        with torch.no_grad():
            assert torch.equal(model(IDS).logits, expected)
        cache = KVCache(model.config, 3, 32)
        model(IDS[:, :5], cache=cache)
        assert cache.length == 5
        assert torch.allclose(model(IDS[:, 5:], cache=cache).logits, expected[:, 5:], atol=1e-5)


def test_what_blocks_were_given_is_not_kept_after_the_pass(form):
    t5 = T5(T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, dropout_rate=0.0))
    blocks = [module for module in t5.modules() if isinstance(module, EncoderBlock)]
    given = []

    def note(block, args, options):
        tensors = [one for one in (*args[1:], *options.values()) if isinstance(one, torch.Tensor)]
        given.extend(StorageWeakRef(one.untyped_storage()) for one in tensors)

    hooks = [block.register_forward_pre_hook(note, with_kwargs=True) for block in blocks]
    for segments in (None, 1):
        with checkpointed_blocks(t5, segments):
            t5(IDS, decoder_input_ids=IDS[:, :5]).logits.square().sum().backward()
            gc.collect()
            assert given  # the source, at least, which the decoder reads
            assert all(one.expired() for one in given)
        given.clear()
    for hook in hooks:
        hook.remove()


def test_blocks_that_see_differently_are_no_segment(form):
    model = llama(
        model_type="mistral", sliding_window=4, layer_types=["sliding_attention", "full_attention"] * 2
    )
    plain = step(model)
    equal(plain, step(model, lambda: checkpointed_blocks(model)))
    with pytest.raises(ValueError, match="blocks of one segment must get the same mask"):
        step(model, lambda: checkpointed_blocks(model, 2))


# The function itself


def gradients(run, tensors):
    for tensor in tensors:
        tensor.grad = None
    torch.manual_seed(3)
    run().backward()
    return [tensor.grad.clone() for tensor in tensors]


def test_nested_arguments_and_results(form):
    a, b, c = (torch.randn(4, 3, requires_grad=True) for _ in range(3))
    linear = nn.Linear(3, 3)

    def function(x, pair, *, table, power, name):
        assert name == "said"
        first = F.dropout(linear(x) * pair[1]["b"], 0.5)
        return {"y": first**power, "rest": (table[0] + x, None, 7), "ids": pair[0] + 1}

    ids, everything = torch.arange(4), [a, b, c, *linear.parameters()]

    def run(call):
        out = call(function, a, (ids, {"b": b}), table=[c], power=2, name="said")
        assert out["rest"][1:] == (None, 7)
        assert torch.equal(out["ids"], ids + 1)
        assert not out["ids"].requires_grad
        return out["y"].sum() + (out["rest"][0] * 3).sum()

    plain = gradients(lambda: run(lambda function, *args, **options: function(*args, **options)), everything)
    ours = gradients(lambda: run(form), everything)
    assert all(map(torch.equal, plain, ours))


@pytest.mark.parametrize("seed", range(8))
def test_random_networks_of_checkpoints_in_checkpoints(form, seed):
    rng = random.Random(seed)
    layers = [nn.Linear(5, 5) for _ in range(4)]

    def grow(depth):
        """A function made at random of layers, dropout, a skip, and checkpoints."""
        kind = rng.choice(["layer", "drop", "skip", "two", "saved"]) if depth else "layer"
        if kind == "layer":
            layer = rng.choice(layers)
            return lambda x, call: torch.tanh(layer(x))
        inner, other = grow(depth - 1), grow(depth - 1)
        return {
            "drop": lambda x, call: F.dropout(inner(x, call), 0.3),
            "skip": lambda x, call: x + inner(x, call),
            "two": lambda x, call: other(inner(x, call), call),
            "saved": lambda x, call: call(inner, x, call),
        }[kind]

    network = [grow(4) for _ in range(3)]
    x = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    for layer in layers:
        layer.double()

    def run(call):
        y = x
        for function in network:
            y = call(function, y, call)
        return y.square().sum()

    tensors = [x, *(p for layer in layers for p in layer.parameters())]
    for tensor in tensors:  # a layer that is not used has a gradient of zero
        tensor.grad = torch.zeros_like(tensor)

    def summed(call):
        for tensor in tensors:
            tensor.grad = torch.zeros_like(tensor)
        torch.manual_seed(3)
        run(call).backward()
        return [tensor.grad.clone() for tensor in tensors]

    plain, ours = summed(lambda function, *args: function(*args)), summed(form)
    for one, other in zip(plain, ours):  # a layer used by several parts is summed in another order
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_a_generator_of_ones_own_draws_the_same_again(form):
    x = torch.ones(1000, requires_grad=True)

    def noisy(x, generator):
        return x * torch.rand(1000, generator=generator)

    generator = torch.Generator().manual_seed(5)
    y = form(noisy, x, generator)
    later = torch.rand(3, generator=generator)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    again = torch.Generator().manual_seed(5)
    torch.rand(1000, generator=again)
    assert torch.equal(later, torch.rand(3, generator=again))


def test_two_ways_back_and_unused_results(form):
    x = torch.randn(5, requires_grad=True)
    first, _ = form(lambda x: (x.sin(), x.exp()), x)
    first.sum().backward(retain_graph=True)
    first.sum().backward()
    torch.testing.assert_close(x.grad, 2 * x.detach().cos())
    assert not form(lambda x: x + 1, torch.randn(3)).requires_grad
    assert torch.equal(form(lambda x: x, x), x)


def test_weights_cast_by_autocast_inside_and_outside_learn_both_ways(form):
    linear, x = nn.Linear(4, 4), torch.randn(3, 4)
    found = []
    for call in (lambda function, x: function(x), form):
        linear.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            (call(linear, x).float().sum() + linear(2 * x).float().sum()).backward()
        found.append(linear.weight.grad.clone())
    torch.testing.assert_close(found[0], found[1], rtol=0.02, atol=0.02)


def test_what_cannot_be_is_said(form):
    x = torch.randn(3, requires_grad=True)
    with pytest.raises(ValueError, match="function must be callable, got 5"):
        form(5, x)
    with pytest.raises(ValueError, match="function must give a tensor or several, got 7"):
        form(lambda x: 7, x)
    sizes = iter((2, 3))
    changing = form(lambda x: x[: next(sizes)].sin(), x)
    with pytest.raises(ValueError, match="it has changed"):
        changing.sum().backward()
    with (
        pytest.raises(ValueError, match="segments must be between 1 and 4, got 5"),
        checkpointed_blocks(llama(), 5),
    ):
        pass
    with pytest.raises(ValueError, match="model must be a torch module"), checkpointed_blocks(None):
        pass
    with pytest.raises(ValueError, match="there is one way to checkpoint"):
        TrainingArguments(gradient_checkpointing_kwargs={})


def test_the_plain_form_says_what_it_cannot_do():
    x = torch.randn(3, requires_grad=True)
    with pytest.raises(ValueError, match=r"torch.autograd.grad is not supported"):
        torch.autograd.grad(checkpointed_plain(torch.sin, x).sum(), x)
    torch.autograd.backward(checkpointed_plain(torch.sin, x).sum(), create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        x.grad.sum().backward()


def test_an_input_that_was_changed_in_place_is_found(form):
    x = torch.randn(3, requires_grad=True)
    base = x * 1
    y = form(torch.sin, base)
    base.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


class Grown(nn.Module):
    """Times a table that is filled as far as it is wanted, once, in place."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("table", torch.zeros(64, width))
        self.filled = 0

    def forward(self, x):
        if self.filled < len(x):
            rows = torch.arange(self.filled, len(x))[:, None]
            self.table[self.filled : len(x)], self.filled = rows.cos(), len(x)
        return x * self.table[: len(x)]


def test_running_statistics_and_a_table_that_grows_are_no_change(form):
    net = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), Grown(6), nn.Linear(6, 6))
    first, second = (torch.randn(n, 6, requires_grad=True) for n in (8, 12))
    found = []
    for call in (lambda function, x: function(x), form):
        copied = copy.deepcopy(net)
        for x in (first, second):  # the second one makes the table grow
            found.append(gradients(lambda: call(copied, x).square().sum(), [x, *copied.parameters()]))  # noqa: B023
    assert len(found[0]) == 7
    assert all(map(torch.equal, [*found[0], *found[1]], [*found[2], *found[3]]))


# By hooks: what autograd does with a plain graph it does here, too


def test_gradients_by_name_of_gradients_and_of_what_no_argument_brings():
    x, c = (torch.randn(4, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    net = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5)).double()
    found = []
    for call in (lambda function, x: function(x), checkpointed):
        outside = 3 * c  # has a history of its own
        y = call(lambda x: net(x) * outside, x)  # noqa: B023
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        found.append([first, *torch.autograd.grad(first.square().sum(), [x, c, *net.parameters()])])
    assert len(found[0]) == 7
    assert all(map(torch.equal, *found))


class Counted(nn.Linear):
    """A linear layer that counts how often it is asked, and how often it gives something."""

    def __init__(self, width):
        super().__init__(width, width)
        self.asked = self.gave = 0

    def forward(self, x):
        self.asked += 1
        y = super().forward(x)
        self.gave += 1
        return y


def counted(net):
    return [(layer.asked, layer.gave) for layer in net.modules() if isinstance(layer, Counted)]


def test_the_second_run_ends_where_backward_has_all_it_needs():
    net = nn.Sequential(Counted(5), nn.Tanh(), Counted(5))
    y = checkpointed(net, torch.randn(3, 5))
    assert counted(net) == [(1, 1), (1, 1)]
    y.sum().backward(retain_graph=True)
    assert counted(net) == [(2, 2), (2, 1)]  # the last layer's product would be for nobody
    y.sum().backward()  # once more: what was given is not kept
    assert counted(net) == [(3, 3), (3, 1)]


def test_a_checkpoint_inside_runs_three_times_and_keeps_nothing_meanwhile():
    inner, outer = nn.Sequential(Counted(5), nn.Tanh()), Counted(5)
    x = torch.randn(64, 5, requires_grad=True)
    with SavedMemory(nn.ModuleList([inner, outer])) as memory:
        y = checkpointed(lambda x: outer(checkpointed(inner, x)).sin(), x)
        assert memory.now == x.nbytes
        y.sum().backward()
    assert counted(inner) == [(3, 3)]
    assert memory.now == 0


def test_nothing_but_inputs_is_kept_and_all_goes_without_a_collector():
    net, x = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 8)), torch.randn(32, 8)
    seen = []
    net[1].register_forward_hook(lambda *_: seen.append(StorageWeakRef(_[2].untyped_storage())))
    gc.disable()
    try:
        with SavedMemory(net) as memory:
            y = checkpointed(net, x)
            assert memory.now == x.nbytes
            assert seen[0].expired()
            y.sum().backward()
        assert (
            memory.peak == x.nbytes + 2 * 32 * 64 * 4
        )  # what GELU and the last layer read, counted in backward
        assert memory.now == 0
        assert len(seen) == 2
        assert seen[1].expired()
    finally:
        gc.enable()


class Twice(torch.autograd.Function):
    """Asks for what it kept two times, as careless code does."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[1], gradient * ctx.saved_tensors[0]


def test_who_asks_twice_gets_it_twice_and_outside_of_backward_too():
    x = torch.randn(5, requires_grad=True)
    y = checkpointed(lambda x: Twice.apply(x.sin(), x.exp()), x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, (x.exp() * (x.sin() + x.cos())).detach())
    y = checkpointed(torch.sin, x)
    assert torch.equal(y.grad_fn._saved_self, x)
    assert torch.equal(y.grad_fn._saved_self, x)


def test_a_gradient_inside_of_the_function():
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)

    def penalty(x, call):
        (slope,) = torch.autograd.grad(call(torch.sin, x).square().sum(), x, create_graph=True)
        return slope.exp().sum()

    found = []
    for outer, inner in itertools.product((lambda function, *args: function(*args), checkpointed), repeat=2):
        found.append(torch.autograd.grad(outer(penalty, x, inner), x)[0])
    assert len(found) == 4
    assert all(torch.equal(found[0], one) for one in found[1:])


def test_a_function_that_catches_everything_and_one_that_keeps_less_or_another_kind():
    x = torch.randn(5, requires_grad=True)

    def careless(x):
        try:
            return x.sin()
        except BaseException:
            return x.cos().exp()

    y = checkpointed(careless, x)
    y.sum().backward()
    assert torch.equal(x.grad, x.detach().cos())
    for second in (lambda x: x + 1, lambda x: x.double().sin(), lambda x: x[:2].sin()):
        turns = iter((torch.sin, second))
        y = checkpointed(lambda x: next(turns)(x), x)  # noqa: B023
        with pytest.raises(ValueError, match="it has changed"):
            y.sum().backward()


def test_what_was_changed_in_place_gives_no_gradient_of_another_pass():
    net, x = nn.Linear(3, 3), torch.randn(2, 3, requires_grad=True)
    y = checkpointed(net, x)
    with torch.no_grad():
        net.weight.mul_(2)  # plain training finds it, too
    for broken in (y, checkpointed(lambda x: 3 * x.sin().exp_().mul_(2).exp(), x)):
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            broken.sum().backward()


def test_an_average_that_goes_on_with_every_run_is_no_gradient_of_another_pass():
    average, x = torch.ones(3), torch.randn(5, 3, requires_grad=True)

    def scaled(x):
        average.mul_(0.9).add_(0.1 * x.detach().abs().mean(0))
        return x / average

    y = checkpointed(scaled, x)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation.* when the function ran first"):
        y.sum().backward()


def test_hooks_around_it_see_inputs_and_what_was_computed_again():
    x, net = torch.randn(4, 3, requires_grad=True), nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    plain = gradients(lambda: net((x * 1).mul_(2)).sum(), [x, *net.parameters()])
    copies = torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor.clone(), lambda copied: copied)
    with copies:  # a copy has counted no changes in place
        ours = gradients(lambda: checkpointed(net, (x * 1).mul_(2)).sum(), [x, *net.parameters()])
    assert all(map(torch.equal, plain, ours))
