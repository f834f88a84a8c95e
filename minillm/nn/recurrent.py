"""RNN, LSTM and GRU (순환 신경망): one state, written over at every token.

    RNN     h = tanh(W x + b + U h + d)
    LSTM    c = σ(f) c + σ(i) tanh(g),  h = σ(o) tanh(c)        i, f, g, o: the four quarters of W x + b + U h + d
    GRU     h = (1 - σ(z)) n + σ(z) h,  n = tanh(n_x + σ(r) n_h)    r, z, n: the thirds of W x + b and of U h + d

The gradient goes back through one factor a token. In an RNN that is a matrix times tanh's slope: it vanishes or
explodes as a power. In an LSTM it is the forget gate, a number that can stay near 1. `gradient_norms` measures it.
Book 16.1 기존 아키텍처의 장단점. Papers: Elman 1990; Hochreiter and Schmidhuber 1997; Cho et al. 2014. Held against
torch.nn.RNN, LSTM and GRU: same arguments, same names of weights, same order of gates. Leaves out: proj_size, packed
sequences, and device and dtype as arguments (`.to` does it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_choice, check_flag, check_int, check_number, describe

States = tuple[Tensor, ...]  # (B, H) each: (h,) of an RNN and a GRU, (h, c) of an LSTM
Step = Callable[[Tensor, States, Tensor, Tensor | None], States]


# One token: a = W x + b is (B, gates · H), U (gates · H, H), d (gates · H,) or None


def rnn_step(a: Tensor, states: States, U: Tensor, d: Tensor | None) -> States:
    """h = tanh(a + U h + d)."""
    return (torch.tanh(a + F.linear(states[0], U, d)),)


def relu_step(a: Tensor, states: States, U: Tensor, d: Tensor | None) -> States:
    """h = max(0, a + U h + d): nothing holds the state small."""
    return (torch.relu(a + F.linear(states[0], U, d)),)


def lstm_step(a: Tensor, states: States, U: Tensor, d: Tensor | None) -> States:
    """The cell c is kept by the forget gate f, written to by i, and shown by o."""
    h, c = states
    i, f, g, o = (a + F.linear(h, U, d)).chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru_step(a: Tensor, states: States, U: Tensor, d: Tensor | None) -> States:
    """z says how much of the old state stays, r how much of it the new candidate n sees."""
    (h,) = states
    r_x, z_x, n_x = a.chunk(3, dim=-1)
    r_h, z_h, n_h = F.linear(h, U, d).chunk(3, dim=-1)
    n = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
    z = torch.sigmoid(z_x + z_h)
    return ((1 - z) * n + z * h,)


def run_layer(
    step: Step, x: Tensor, states: States, weights: Sequence[Tensor | None], backwards: bool = False
) -> tuple[Tensor, States]:
    """One layer over a text: x (T, B, C), states (B, H) each -> (h of every token (T, B, H), the last states).

    weights: W, U, b, d; backwards: from the last token to the first.
    """
    W, U, b, d = weights
    # what does not wait for the state is one product for all tokens; unbind, because x[t] in a loop would fill a
    # gradient of all T tokens at every step
    inputs = F.linear(x, W, b).unbind(0)  # T times (B, gates · H)
    shown = []
    for a in reversed(inputs) if backwards else inputs:
        states = step(a, states, U, d)
        shown.append(states[0])
    return torch.stack(shown[::-1] if backwards else shown), states


class RecurrentLayers(nn.Module):
    """What RNNLayers, LSTMLayers and GRULayers share: torch.nn's arguments, weights and shapes.

    input_size, hidden_size: C and H. num_layers: one upon the other. dropout: between them, while training.
    bidirectional: a second run from the end, its H beside the first's. batch_first: x is (B, T, C), not (T, B, C).
    ValueError for sizes below one and for a dropout outside 0..1.
    """

    gates: ClassVar[int]
    kinds: ClassVar[int] = 1  # states: h, or h and c
    step: Step

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ):
        super().__init__()
        self.input_size, self.hidden_size = input_size, check_int("hidden_size", hidden_size, 1)
        check_int("input_size", input_size, 1)
        self.num_layers = check_int("num_layers", num_layers, 1)
        self.bias, self.batch_first = check_flag("bias", bias), check_flag("batch_first", batch_first)
        self.dropout = check_number("dropout", dropout, 0.0, 1.0)
        self.bidirectional = check_flag("bidirectional", bidirectional)
        self.directions = 2 if bidirectional else 1
        rows = self.gates * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * self.directions
            for end in ("", "_reverse")[: self.directions]:
                self.register_parameter(f"weight_ih_l{layer}{end}", nn.Parameter(torch.empty(rows, width)))
                self.register_parameter(
                    f"weight_hh_l{layer}{end}", nn.Parameter(torch.empty(rows, hidden_size))
                )
                for name in ("bias_ih", "bias_hh") if bias else ():
                    self.register_parameter(f"{name}_l{layer}{end}", nn.Parameter(torch.empty(rows)))
        self.draw()

    def draw(self, generator: torch.Generator | None = None) -> None:
        """First weights: even in ±1/√H, as torch draws them."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def weights_of(self, number: int) -> list[Tensor | None]:
        """W, U, b, d of layer number // directions, in direction number % directions."""
        layer, backwards = divmod(number, self.directions)
        end = f"_l{layer}{'_reverse' if backwards else ''}"
        return [
            getattr(self, f"{name}{end}", None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]

    def forward(self, x: Tensor, hx: Tensor | tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, ...]:
        """x (T, B, C) -> (h of every token (T, B, directions · H), the last state), as torch.nn gives them.

        hx: the state before, h (layers · directions, B, H), for an LSTM (h, c); None for zeros. Without B in x, none in
        what comes out. Raises ValueError for other shapes, and for another dtype than the weights have.
        """
        alone, states = self._check(x, hx)
        if alone:
            x, states = x.unsqueeze(0 if self.batch_first else 1), [one.unsqueeze(1) for one in states]
        if self.batch_first:
            x = x.transpose(0, 1)
        states = (
            states
            or [x.new_zeros(self.num_layers * self.directions, x.shape[1], self.hidden_size)] * self.kinds
        )
        x, states = self.run(x, states)
        if self.batch_first:
            x = x.transpose(0, 1)
        if alone:
            x, states = x.squeeze(0 if self.batch_first else 1), [one.squeeze(1) for one in states]
        return x, states[0] if self.kinds == 1 else tuple(states)

    def run(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """All layers: x (T, B, C), states (layers · directions, B, H) each -> both as they are at the end."""
        after = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = F.dropout(x, self.dropout)
            sides = []
            for side in range(self.directions):
                number = layer * self.directions + side
                before = tuple(one[number] for one in states)
                y, last = run_layer(self.step, x, before, self.weights_of(number), backwards=side == 1)
                sides.append(y)
                after.append(last)
            x = sides[0] if len(sides) == 1 else torch.cat(sides, dim=-1)
        return x, [torch.stack(kind) for kind in zip(*after)]

    def flatten_parameters(self) -> None:
        """Nothing: torch's layers put their weights side by side here, for cuDNN."""

    def _check(self, x: Tensor, state: Tensor | tuple[Tensor, Tensor] | None) -> tuple[bool, list[Tensor]]:
        """Whether x has no batch, and the states as a list, empty for None."""
        if not isinstance(x, Tensor) or x.dim() not in (2, 3) or x.shape[-1] != self.input_size:
            axes = "(B, T, C)" if self.batch_first else "(T, B, C)"
            raise ValueError(
                f"x must be a tensor {axes} or (T, C) with C = {self.input_size}, got {describe(x)}"
            )
        if not x.numel():
            raise ValueError(f"x must hold at least one token, got shape {tuple(x.shape)}")
        self._check_dtype("x", x)
        if state is None:
            return x.dim() == 2, []
        states = [state] if self.kinds == 1 else list(state) if isinstance(state, (tuple, list)) else []
        shape: tuple[int, ...] = (self.num_layers * self.directions, self.hidden_size)
        if x.dim() == 3:
            shape = (shape[0], x.shape[0 if self.batch_first else 1], shape[1])
        if len(states) != self.kinds or any(not isinstance(s, Tensor) or s.shape != shape for s in states):
            wanted = f"a tensor {shape}" if self.kinds == 1 else f"two tensors (h, c) of shape {shape}"
            raise ValueError(f"hx must be {wanted} or None, got {describe(state)}")
        for one in states:
            self._check_dtype("hx", one)
        return x.dim() == 2, states

    def _check_dtype(self, name: str, value: Tensor) -> None:
        """ValueError for another dtype than the weights'; autocast makes one of several floats."""
        dtype = self.weight_ih_l0.dtype
        if value.dtype == dtype:
            return
        if not (value.is_floating_point() and torch.is_autocast_enabled(value.device.type)):
            raise ValueError(f"{name} must be of {dtype}, as the weights are, got {describe(value)}")

    def extra_repr(self) -> str:
        """What print shows."""
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"


class RNNLayers(RecurrentLayers):
    """Elman's RNN, as torch.nn.RNN: `RNNLayers(input_size, hidden_size, ...)`; nonlinearity "tanh" or "relu"."""

    gates = 1

    def __init__(self, *args: int, nonlinearity: str = "tanh", **options: bool | int | float):
        super().__init__(*args, **options)
        self.nonlinearity = check_choice("nonlinearity", nonlinearity, ("tanh", "relu"))

    @property
    def step(self) -> Step:
        """What one token does."""
        return rnn_step if self.nonlinearity == "tanh" else relu_step


class LSTMLayers(RecurrentLayers):
    """As torch.nn.LSTM: `LSTMLayers(input_size, hidden_size, ...)`. The state is (h, c)."""

    gates, kinds, step = 4, 2, staticmethod(lstm_step)


class GRULayers(RecurrentLayers):
    """As torch.nn.GRU: `GRULayers(input_size, hidden_size, ...)`."""

    gates, step = 3, staticmethod(gru_step)


# How far a gradient reaches


@torch.enable_grad()
def gradient_norms(layers: nn.Module, x: Tensor) -> Tensor:
    """‖∂h_T / ∂x_t‖ (Frobenius) for every token t of a text: x (T, C) -> (T,). ValueError for another shape.

    layers: RNNLayers, LSTMLayers, GRULayers, torch.nn's, or anything that is called as they are, x (T, 1, C) ->
    (h (T, 1, H), ...). With batch_first they would take T tokens for T texts: ValueError. Dropout, if any, draws as the
    layers' mode says.
    """
    if not isinstance(x, Tensor) or x.dim() != 2 or not x.numel() or not x.is_floating_point():
        raise ValueError(f"x must be a tensor (T, C) of floats, got {describe(x)}")
    if not callable(layers) or getattr(layers, "batch_first", False):
        raise ValueError(f"layers must read (T, B, C), without batch_first, got {describe(layers)}")
    x = x.detach()[:, None].requires_grad_()  # (T, 1, C)
    h = layers(x)[0][-1, 0]  # (H,)
    total = x.new_zeros(len(x))
    for row in _rows(h, x):
        total += row.pow(2).sum(dim=(1, 2))
    return total.sqrt()


def _rows(h: Tensor, x: Tensor) -> Iterator[Tensor]:
    """The gradient (T, 1, C) of each number of h (H,)."""
    for i in range(len(h)):
        yield torch.autograd.grad(h[i], x, retain_graph=i + 1 < len(h))[0]
