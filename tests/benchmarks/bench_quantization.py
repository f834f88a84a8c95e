"""Linear layers with int8 and 4-bit weights against torch's float32 layer: the price, or gain, of unpacking."""

from __future__ import annotations

import torch
from torch import nn

from minillm.quantization import Int8Linear, quantize
from tests.benchmarks.harness import Row, in_turn

AT_ONE = {"int8": 2.0, "rtn": 2.5, "nf4": 1.5}  # at least so many times as fast, one token


def run(quick: bool) -> list[Row]:
    """One token (generation), 16 texts at once and 64 tokens (a prompt) through layers of three sizes."""
    rows = []
    sizes = [(384, 1536), (1024, 4096)] if quick else [(384, 1536), (1024, 4096), (4096, 4096)]
    for inputs, outputs in sizes:
        generator = torch.Generator().manual_seed(0)
        layer = nn.Linear(inputs, outputs, bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(outputs, inputs, generator=generator))
        small = {"int8": Int8Linear.from_linear(layer)}
        small |= {name: quantize(nn.Sequential(layer), name)[0] for name in ("rtn", "nf4")}
        for tokens in (1, 16, 64):
            x = torch.randn(tokens, inputs, generator=generator)
            repeats = max(1, 2**23 // (inputs * outputs * tokens))

            def call(module: nn.Module, x: torch.Tensor = x, repeats: int = repeats) -> None:
                with torch.inference_mode():
                    for _ in range(repeats):
                        module(x)

            calls = {"fp32": lambda call=call, layer=layer: call(layer)}
            calls |= {name: lambda call=call, module=module: call(module) for name, module in small.items()}
            times = in_turn(calls, rounds=5 if quick else 11)
            microseconds = {name: seconds / repeats * 1e6 for name, seconds in times.items()}
            rows += [
                Row(
                    work=f"linear {inputs} -> {outputs}, {name} weights, {tokens} tokens",
                    peer="torch float32",
                    unit="us",
                    ours=microseconds[name],
                    theirs=microseconds["fp32"],
                    target=AT_ONE[name] if tokens == 1 else 1.0,
                    threads=torch.get_num_threads(),
                    note=f"{memory(module) / layer.weight.nbytes:.2f} of the memory",
                    higher_is_better=False,
                    spread=times.spread("fp32", name),
                )
                for name, module in small.items()
            ]
    return rows


def memory(module: nn.Module) -> int:
    """Bytes of the layer's weights as it keeps them."""
    return sum(buffer.nbytes for buffer in module.buffers())
