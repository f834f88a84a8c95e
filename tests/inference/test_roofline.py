"""The roofline of decoding: predicted from published figures, counted on real passes, measured coarsely."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from minillm.inference.roofline import (
    CARDS,
    Machine,
    Work,
    best_batch,
    decode_work,
    linear_work,
    measure_decode,
    measure_machine,
    predicted_seconds,
    read_weights,
)
from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig
from minillm.nn import attention_backend
from minillm.quantization import quantize


def _llama(kv_heads=2, tied=False):
    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=kv_heads, max_position_embeddings=64, tie_word_embeddings=tied,
    )  # fmt: skip
    return Llama(config, seed=0).eval()


def test_published_batch_of_an_a100():
    """Chen 2022, "Transformer Inference Arithmetic": 312e12 / 1.5e12 = 208; with the data sheet's 1,555 GB/s 200.6."""
    assert best_batch(Machine(1.5e12, 312e12)) == pytest.approx(208)
    assert best_batch(CARDS["A100 40GB"]) == pytest.approx(200.643, abs=0.001)
    assert best_batch(CARDS["A100 40GB"], 1) == pytest.approx(
        100.322, abs=0.001
    )  # int8 weights, 16-bit arithmetic
    rounded = {name: round(best_batch(card)) for name, card in CARDS.items()}
    assert rounded == {"T4": 203, "A10": 208, "A100 40GB": 201, "A100 80GB": 153, "H100": 295, "H200": 206}


def test_published_times_of_a_52b_model_on_four_a100():
    """The same source: a 52B model in 16 bit on four cards takes 17 ms a step (104e9 bytes at 4 · 1.5 TB/s)."""
    work = decode_work(SimpleNamespace(num_layers=1, kv_heads=1, head_dim=1), 52_000_000_000, 1)
    assert predicted_seconds(work, Machine(4 * 1.5e12, 4 * 312e12)) == pytest.approx(0.0173, abs=0.0001)


def test_both_sides_are_equal_at_the_best_batch():
    for machine in CARDS.values():
        for size in (1, 2, 4):
            batch = best_batch(machine, size)
            assert 1000 * size / machine.bandwidth == pytest.approx(2 * 1000 * batch / machine.rate)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize(("batch_size", "length"), [(1, 5), (3, 11)])
def test_operations_of_a_decode_step_are_those_torch_counts(kv_heads, batch_size, length):
    model = _llama(kv_heads)
    cache = model.new_cache(batch_size, length)
    with torch.no_grad(), attention_backend("plain"):
        model(torch.zeros(batch_size, length - 1, dtype=torch.long), cache=cache)
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(batch_size, 1, dtype=torch.long), cache=cache)
    work = decode_work(model.config, read_weights(model), batch_size, length, torch.float32)
    assert work.operations == counter.get_total_flops()
    assert work.bytes == 4 * read_weights(model) + cache.nbytes


@pytest.mark.parametrize("tied", [False, True])
def test_weights_that_are_read(tied):
    model = _llama(tied=tied)
    norms = sum(weight.numel() for weight in model.parameters() if weight.dim() == 1)
    assert read_weights(model) == model.num_parameters() - norms - (0 if tied else 50 * 32)
    config = GPT2Config(vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=2)
    # GPT-2's matrices: c_attn, c_proj, c_fc, c_proj of each layer, and the table as the output matrix
    assert read_weights(GPT2(config, seed=0)) == 2 * 12 * 32 * 32 + 50 * 32


def test_a_linear_layer():
    one, many = linear_work(4096, 4096, 1), linear_work(4096, 4096, 512)
    assert one.operations == 2 * 4096**2
    assert one.intensity == pytest.approx(1, abs=0.001)
    assert many.intensity == pytest.approx(512 / (1 + 512 * 2 / 4096), abs=0.001)


def test_the_slower_side_decides():
    work = decode_work(_llama().config, 1_000_000, 4, 0, torch.float32)
    assert (work.operations, work.bytes) == (8e6, 4e6)
    assert predicted_seconds(work, Machine(1e6, 1e9)) == pytest.approx(4)
    assert predicted_seconds(work, Machine(1e9, 1e6)) == pytest.approx(8)


def test_measured_figures_are_those_of_some_computer():
    threads = torch.get_num_threads()
    machine = measure_machine(megabytes=8, width=128)
    assert 1e7 < machine.bandwidth < 1e13  # nothing that runs torch is slower or faster
    assert 1e7 < machine.rate < 1e15
    seconds = measure_decode(_llama(), (1, 2), length=4)
    assert list(seconds) == [1, 2]
    assert all(0 < one < 60 for one in seconds.values())
    assert torch.get_num_threads() == threads


def test_weights_of_four_bits_leave_the_rows_in_sixteen():
    work = linear_work(8, 4, 3, 0.5)
    assert work == (2 * 8 * 4 * 3, 8 * 4 / 2 + 2 * 3 * (8 + 4))
    assert linear_work(8, 4, 3, 4).bytes == 4 * (8 * 4 + 3 * (8 + 4))


def test_a_quantized_model_has_as_many_weights():
    assert {read_weights(quantize(_llama(), method)) for method in ("int8", "nf4")} == {
        read_weights(_llama())
    }


def test_bad_input():
    for call, message in (
        (lambda: linear_work(0, 1, 1), "inputs"),
        (lambda: linear_work(1, 1, 1, 0), "bytes_a_weight"),
        (lambda: decode_work(_llama().config, 10, 0), "batch_size"),
        (lambda: decode_work(None, 10, 1), "config"),
        (lambda: best_batch(CARDS["T4"], -1), "bytes_a_weight"),
        (lambda: best_batch("A100 40GB"), "Machine"),
        (lambda: best_batch((1e12, 1e14)), "Machine"),
        (lambda: best_batch(Machine(0, 1e12)), "bandwidth"),
        (lambda: best_batch(Machine(1e12, float("nan"))), "rate"),
        (lambda: predicted_seconds(Machine(1.0, 1.0), Work(1.0, 1.0)), "Work"),
        (lambda: predicted_seconds(Work(-1, 1), Machine(1.0, 1.0)), "operations"),
        (lambda: Work(1, 0).intensity, "bytes"),
        (lambda: read_weights("llama"), "module"),
        (lambda: measure_decode("llama", (1,)), "new_cache"),
        (lambda: measure_decode(_llama(), 4), "batch_sizes"),
        (lambda: measure_machine(0), "threads"),
        (lambda: measure_decode(_llama(), ()), "batch_sizes"),
        (lambda: measure_decode(_llama(), (0,)), "batch size"),
        (lambda: measure_decode(_llama(), (1,), length=64), "position|64|long"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
