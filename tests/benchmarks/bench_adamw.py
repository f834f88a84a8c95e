"""AdamW: one update of a 3.5M-parameter model's weights, ours against torch.optim.AdamW in its three ways."""

from __future__ import annotations

from collections.abc import Callable

import torch

from minillm.training import AdamW
from tests.benchmarks.harness import Row, in_turn

# a Llama of 4 layers, width 256, hidden 704, vocabulary 1,024
LAYER = [(256, 256)] * 4 + [(704, 256)] * 2 + [(256, 704)] + [(256,)] * 2
SHAPES = [(1024, 256), *LAYER * 4, (256,)]


def run(quick: bool) -> list[Row]:
    """One row for each of torch's implementations. `fused` is C++ written for this; the others are torch calls."""
    updates = 5 if quick else 20

    def stepper(make: Callable) -> Callable[[], None]:
        generator = torch.Generator().manual_seed(0)
        params = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
        for parameter in params:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer = make(params)

        def steps() -> None:
            for _ in range(updates):
                optimizer.step()

        return steps

    settings = {"lr": 1e-3, "betas": (0.9, 0.95), "weight_decay": 0.1}
    calls = {
        "ours": stepper(lambda params: AdamW(params, **settings)),
        "torch.optim.AdamW": stepper(lambda params: torch.optim.AdamW(params, **settings)),
        "torch.optim.AdamW(foreach=True)": stepper(
            lambda params: torch.optim.AdamW(params, foreach=True, **settings)
        ),
        "torch.optim.AdamW(fused=True)": stepper(
            lambda params: torch.optim.AdamW(params, fused=True, **settings)
        ),
    }
    times = in_turn(calls, rounds=3 if quick else 7)
    milliseconds = {name: seconds / updates * 1e3 for name, seconds in times.items()}
    parameters = sum(torch.Size(shape).numel() for shape in SHAPES)
    return [
        Row(
            work=f"AdamW update, {parameters / 1e6:.1f}M float32 parameters",
            peer=name,
            unit="ms",
            ours=milliseconds["ours"],
            theirs=milliseconds[name],
            threads=torch.get_num_threads(),
            higher_is_better=False,
            spread=times.spread(name),
        )
        for name in list(calls)[1:]
    ]
