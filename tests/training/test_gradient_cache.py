"""Gradient caching against the large batch: value, gradients, dropout, what it is multiplied by, and its memory."""

import copy

import pytest
import torch
from torch import nn

from minillm.search import mnr_loss, triplet_loss
from minillm.training import SavedMemory, cached_loss

CLOSE = {"rtol": 1e-9, "atol": 1e-10}  # in float64: sums in another order, and nothing else


class Reader(nn.Module):
    """ids (B, T) -> vectors (B, D), through two layers and dropout."""

    def __init__(self, dropout=0.0, width=16):
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            self.table, self.up = nn.Embedding(30, width), nn.Linear(width, 4 * width)
            self.down = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, column):
        return self.down(torch.tanh(self.dropout(self.up(self.table(column["ids"]))))).mean(1)


def columns(rows=(13, 26), length=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [{"ids": torch.randint(0, 30, (size, length), generator=generator)} for size in rows]


def loss(anchors, documents):
    return mnr_loss(anchors, documents[:13], documents[13:])


def gradients_of(model, value):
    model.zero_grad()
    value.backward()
    return [one.grad.clone() for one in model.parameters()]


@pytest.mark.parametrize("size", [1, 4, 13, 99])
@pytest.mark.parametrize("factor", [1.0, 0.25, 1024.0])
def test_value_and_gradients_are_those_of_the_large_batch(size, factor):
    model = Reader().double()
    whole = loss(*map(model, columns())) * factor
    expected = gradients_of(model, whole)
    cached = cached_loss(model, columns(), loss, size) * factor
    torch.testing.assert_close(cached, whole, **CLOSE)
    for found, wanted in zip(gradients_of(model, cached), expected, strict=True):
        assert wanted.abs().max() > 0
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10 * factor)


def test_dropout_draws_the_same_in_both_passes():
    model = Reader(dropout=0.5).double().train()

    def whole(parts):
        return [torch.cat([model(piece) for piece in part]) for part in parts]

    pieces = [[{"ids": rows} for rows in one["ids"].split(4)] for one in columns()]
    torch.manual_seed(7)
    value = loss(*whole(pieces))  # every piece with its graph, all at a time
    after = torch.rand(1)
    expected = gradients_of(model, value)
    torch.manual_seed(7)
    cached = cached_loss(model, columns(), loss, 4)
    torch.testing.assert_close(torch.rand(1), after)  # as many numbers were drawn
    torch.testing.assert_close(cached, value, **CLOSE)
    for found, wanted in zip(gradients_of(model, cached), expected, strict=True):
        torch.testing.assert_close(found, wanted, **CLOSE)
    other = gradients_of(model, cached_loss(model, columns(), loss, 4))  # another draw
    assert (other[1] - expected[1]).abs().max() > 1e-4


def test_the_generators_go_on_as_if_there_had_been_one_pass():
    model = Reader(dropout=0.5).double().train()
    torch.manual_seed(1)
    value = cached_loss(model, columns(), loss, 4)
    before = torch.get_rng_state()
    value.backward()
    assert torch.equal(torch.get_rng_state(), before)


def test_gradients_are_added_and_a_column_may_be_unused():
    model = Reader().double()
    expected = gradients_of(model, loss(*map(model, columns())))
    model.zero_grad()
    for _ in range(2):
        cached_loss(model, columns(), loss, 5).backward()
    for one, wanted in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(one.grad, 2 * wanted, **CLOSE)
    of_two = cached_loss(model, columns((13, 13, 13)), lambda u, v, n: mnr_loss(u, v), 5)
    expected = gradients_of(model, mnr_loss(*map(model, columns((13, 13, 13))[:2])))
    for found, wanted in zip(gradients_of(model, of_two), expected, strict=True):
        torch.testing.assert_close(found, wanted, **CLOSE)


def test_any_loss_of_any_columns_and_no_graph_without_gradients():
    model = Reader().double()
    three = columns((8, 8, 8), seed=3)
    expected = gradients_of(model, triplet_loss(*map(model, three)))
    for found, wanted in zip(gradients_of(model, cached_loss(model, three, triplet_loss, 3)), expected):
        torch.testing.assert_close(found, wanted, **CLOSE)
    with torch.no_grad():
        value = cached_loss(model, three, triplet_loss, 3)
    assert not value.requires_grad
    torch.testing.assert_close(value, triplet_loss(*map(model, three)).detach(), **CLOSE)


def test_frozen_weights_have_no_gradient_and_bf16_is_repeated():
    model = Reader()
    frozen = copy.deepcopy(model).requires_grad_(False)
    cached_loss(frozen, columns(), loss, 4).backward()
    assert all(one.grad is None for one in frozen.parameters())
    kinds = []
    model.up.register_forward_hook(lambda module, given, out: kinds.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        value = cached_loss(lambda column: model(column).float(), columns(), loss, 13)
    value.backward()  # outside of autocast, as the Trainer does it
    assert kinds == [torch.bfloat16] * 6


def test_the_memory_is_that_of_a_piece():
    model, size = Reader(width=32), 64
    rows = columns((size, size), length=20)
    with SavedMemory(model) as whole:
        mnr_loss(*map(model, rows)).backward()
    peaks = {}
    for pieces in (32, 8, 4):
        with SavedMemory(model) as memory:
            cached_loss(model, rows, mnr_loss, pieces).backward()
        peaks[pieces] = memory.peak
        assert memory.now == 0
    # the graph of the loss is there in any case: (B, B) scores and (B, D) vectors
    of_the_loss = 8 * 4 * size * (size + 32)
    for pieces, peak in peaks.items():
        assert peak <= whole.peak * pieces / (2 * size) + of_the_loss
    assert peaks[4] < whole.peak / 5


def test_saved_memory_is_counted_by_hand():
    x = torch.randn(100, 50, requires_grad=True)
    with SavedMemory() as memory:
        y = torch.sin(x)  # keeps x: 20,000 bytes
        z = torch.exp(y)  # keeps its result
        assert memory.now == 2 * 20_000
        w = z * z  # keeps z twice, which is kept already
        assert memory.now == memory.peak == 2 * 20_000
        w.sum().backward()
        del y, z, w
        assert memory.now == 0
        assert memory.peak == 2 * 20_000
    linear = nn.Linear(50, 3)
    with SavedMemory(linear) as memory:
        result = linear(x.detach())
        assert memory.now == 20_000  # the input for the weight's gradient, and not the weight
    del result


def test_numbers_are_not_counted_and_a_model_is_one():
    x = torch.randn(100, requires_grad=True)
    with SavedMemory() as memory:
        y = x * torch.tensor(3.0)
        assert memory.now == 0
    del y
    with pytest.raises(ValueError, match="model must be a torch module or None, got 5"):
        SavedMemory(5)


@pytest.mark.parametrize(
    "wrong", [lambda u, v: (u * v).sum(1), lambda u, v: torch.tensor(1.0), lambda u, v: None]
)
def test_a_loss_that_is_none_is_named(wrong):
    with pytest.raises(ValueError, match="loss must give a scalar tensor that depends on the vectors, got"):
        cached_loss(Reader(), columns((4, 4)), wrong, 4)


def test_two_ways_back_before_a_step_and_shared_weights():
    """Parts of an accumulated batch, each scaled as the Trainer does it, on a model that uses one weight twice."""

    class Shared(Reader):
        def forward(self, column):
            return super().forward(column) @ self.table.weight[:16, :16]

    model = Shared().double()
    parts = [columns(seed=1), columns(seed=2)]
    expected = gradients_of(model, sum(loss(*map(model, part)) * 0.5 for part in parts) * 1024)
    model.zero_grad()
    held = [
        cached_loss(model, part, loss, 3) * 0.5 for part in parts
    ]  # both forward before the first backward
    for one in held:
        (one * 1024).backward()
    for one, wanted in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(one.grad, wanted, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("inside", [True, False])
def test_bf16_gives_the_gradients_of_bf16_wherever_backward_is_called(inside):
    """The copies of weights that autocast keeps are made without a graph first: they must not serve the way back."""
    model = Reader()
    with torch.autocast("cpu", torch.bfloat16):
        whole = loss(*(model(one).float() for one in columns()))
    expected = gradients_of(model, whole)
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        value = cached_loss(lambda column: model(column).float(), columns(), loss, 4)
        if inside:
            value.backward()
    if not inside:
        value.backward()
    for one, wanted in zip(model.parameters(), expected, strict=True):
        assert (one.grad - wanted).abs().max() < 0.03 * wanted.abs().max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 4), "columns must be dicts of tensors"),
        (([{}], 4), "columns must be dicts of tensors"),
        ((5, 4), "columns must be dicts of tensors"),
        (([{"ids": 5}], 4), "columns must be dicts of tensors"),
        (([{"ids": torch.zeros(0, 3)}], 4), "columns must be dicts of tensors"),
        (([{"ids": torch.tensor(5)}], 4), "columns must be dicts of tensors"),
        (([{"ids": torch.zeros(5, 3), "mask": torch.zeros(4, 3)}], 4), "a row for every text"),
        ((columns(), 0), "size must be at least 1, got 0"),
    ],
)
def test_bad_input_is_named(arguments, message):
    given, size = arguments
    with pytest.raises(ValueError, match=message):
        cached_loss(Reader(), given, loss, size)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize(
    ("embed", "one_loss", "message"),
    [
        (None, loss, "embed must be a function, got None"),
        (Reader(), 5, "loss must be a function, got 5"),
        (lambda column: Reader()(column)[:1], loss, r"embed must give vectors \(4, D\) of 4 texts, got"),
        (lambda column: Reader()(column).sum(), loss, r"embed must give vectors \(4, D\) of 4 texts, got"),
        (lambda column: [1.0], loss, r"embed must give vectors \(4, D\) of 4 texts, got \[1.0\]"),
        (lambda column: Reader()(column).long(), loss, "vectors of floats"),
        (Reader(), lambda u, v: u.sum(1), "loss must give a scalar tensor"),
        (Reader(), lambda u, v: 1.0, "loss must give a scalar tensor"),
    ],
)
def test_an_encoder_and_a_loss_that_are_none_are_named(gradients, embed, one_loss, message):
    with torch.set_grad_enabled(gradients), pytest.raises(ValueError, match=message):
        cached_loss(embed, columns(), one_loss, 4)
