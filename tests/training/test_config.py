"""TrainerConfig refuses what makes no run; device and precision are read off the machine."""

import pytest
import torch

from minillm.training import TrainerConfig, pick_device, pick_precision


@pytest.mark.parametrize(
    "setting",
    [{"max_steps": 0}, {"max_steps": 1.5}, {"max_steps": None}, {"max_steps": "10"}, {"batch_size": 0},
     {"context_length": -1}, {"gradient_accumulation": 0}, {"learning_rate": -1e-3}, {"learning_rate": float("nan")},
     {"learning_rate": 1e-3, "min_learning_rate": 1e-2}, {"warmup_steps": 11}, {"warmup_steps": -1}, {"betas": (0.9,)},
     {"betas": (0.9, 1.0)}, {"betas": 0.9}, {"eps": -1}, {"weight_decay": -0.1}, {"max_grad_norm": 0},
     {"max_grad_norm": float("inf")}, {"precision": "fp16"}, {"precision": None}, {"eval_every": 0},
     {"eval_batches": 0},
     {"log_every": 0}, {"checkpoint_every": 5}, {"checkpoint_folder": 3}, {"keep_last": 0}, {"seed": -1}, {"seed": 0.5},
     {"device": "tpu9"}, {"device": 3.5}, {"progress": "no"}],
)  # fmt: skip
def test_bad_settings(setting):
    with pytest.raises(ValueError, match=next(reversed(setting)).split("_")[0].rstrip("s")):
        TrainerConfig(**{"max_steps": 10, **setting})


def test_good_settings_and_lists_from_json():
    config = TrainerConfig(
        10, betas=[0.9, 0.99], max_grad_norm=None, checkpoint_folder="runs", checkpoint_every=2
    )
    assert config.betas == (0.9, 0.99)


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that is not there")
def test_a_missing_gpu_is_named():
    with pytest.raises(ValueError, match="no GPU"):
        pick_device("cuda")
    assert pick_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, "fp32"),
        ({"avx512_f": True, "avx512_bf16": False}, "fp32"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
    ],
)
def test_auto_precision_follows_the_flags_of_the_cpu(monkeypatch, flags, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    assert pick_precision("auto", "cpu") == expected
    assert pick_precision("fp32", "cpu") == "fp32"
    assert pick_precision("bf16", "cpu") == "bf16"


@pytest.mark.parametrize(
    ("isa", "expected"),
    [
        ("", "bf16"), ("ALL", "bf16"), ("AVX512_CORE_BF16", "bf16"), ("avx512_core_amx", "bf16"),
        ("SSE41", "fp32"), ("AVX2", "fp32"), ("AVX512_CORE", "fp32"), ("AVX512_CORE_VNNI", "fp32"),
    ],
)  # fmt: skip
def test_auto_precision_uses_no_instruction_that_onednn_may_not_use(monkeypatch, isa, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True, "avx512_bf16": True})
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.setenv(name, isa)
    assert pick_precision("auto", "cpu") == expected
