"""Generation with encoder-decoders: one loop, the source to itself. What they write: tests/parity."""

import json

import pytest
import torch

from minillm.cli import main
from minillm.inference import SamplingParams, generate, generate_batch, stream
from minillm.models import BART, T5, BARTConfig, T5Body, T5Config, T5Encoder
from minillm.tokenizer import BPETokenizer

V = 30
SIZES = {"vocab_size": V, "d_model": 8, "d_kv": 3, "d_ff": 12, "num_heads": 2, "num_layers": 2}
BART_SIZES = {"vocab_size": V, "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 12}
BART_SIZES |= {"decoder_ffn_dim": 12, "encoder_attention_heads": 2, "decoder_attention_heads": 2}


def t5(**options):
    return T5(T5Config(**SIZES | {"tie_word_embeddings": False} | options)).eval()


def bart(**options):
    return BART(BARTConfig(**BART_SIZES | {"max_position_embeddings": 12} | options)).eval()


def test_the_window_holds_source_and_target_each():
    params = SamplingParams(max_tokens=11, temperature=0, ignore_eos=True)
    assert len(generate(bart(), list(range(3, 15)), params)) == 11
    for source, tokens in ((13, 4), (2, 12)):
        with pytest.raises(ValueError, match=f"{source} tokens, the new text {tokens} .* window is 12"):
            generate(bart(), [3] * source, SamplingParams(max_tokens=tokens))
    assert len(generate(t5(), [3] * 700, SamplingParams(max_tokens=3, ignore_eos=True))) == 3


@pytest.mark.parametrize("call", [generate, stream])
def test_bad_sources_are_refused_at_the_call(call):
    for ids, message in (
        ([], "at least one token"),
        ([V], f"between 0 and {V - 1}, got {V}"),
        ("ab", "list of token ids"),
    ):
        with pytest.raises(ValueError, match=message):
            call(t5(), ids)
    with pytest.raises(ValueError, match="no decoder_start_token_id"):
        call(t5(decoder_start_token_id=None), [3])
    with pytest.raises(ValueError, match=f"decoder_start_token_id must be between 0 and {V - 1}, got 77"):
        call(t5(decoder_start_token_id=77), [3])
    for cls in (T5Body, T5Encoder):
        with pytest.raises(ValueError, match=f"{cls.__name__} has no output matrix"):
            call(cls(T5Config(**SIZES)), [3])
    with pytest.raises(ValueError, match="forced_bos_token_id must be between"):
        call(bart(forced_bos_token_id=99, max_position_embeddings=40), [3])


def test_the_source_is_read_once_and_not_at_the_call():
    model, calls = t5(), []
    model.body.encoder.register_forward_hook(lambda *_: calls.append(1))
    tokens = stream(model, [3, 4, 5], SamplingParams(max_tokens=6, ignore_eos=True))
    assert not calls
    assert len([*tokens]) == 6
    assert len(calls) == 1
    shapes = []
    model.body.encoder.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape)))
    generate_batch(model, [[3, 4], [5, 6, 7]], SamplingParams(max_tokens=2, n=3))
    assert shapes == [(2, 3, 8)]  # six rows of two sources
    assert generate_batch(model, []) == []


def test_modes_and_gradients_are_left_alone():
    model = t5(dropout_rate=0.5)
    expected = generate(model, [3, 4, 5], SamplingParams(max_tokens=6, temperature=0))
    model.train()
    model.body.encoder.blocks[0].eval()
    before = {name: module.training for name, module in model.named_modules()}
    tokens = stream(model, [3, 4, 5], SamplingParams(max_tokens=6, temperature=0))
    first = next(tokens)
    assert {name: module.training for name, module in model.named_modules()} == before
    assert [first, *tokens] == expected
    assert {name: module.training for name, module in model.named_modules()} == before
    x = torch.tensor([[3, 4, 5]])
    model(x, decoder_input_ids=x).logits.sum().backward()  # nothing of inference mode stays in the model


def test_forced_tokens():
    ids, model = [5, 6], bart(forced_bos_token_id=9, forced_eos_token_id=[4])
    found = generate(model, ids, SamplingParams(max_tokens=6, temperature=0))
    assert (found[0], found[-1]) == (9, 4)
    for params in ({"ignore_eos": True}, {"min_tokens": 6}):  # no end was wanted
        free = generate(model, ids, SamplingParams(max_tokens=6, temperature=0, **params))
        assert len(free) == 6
        assert free[0] == 9
        assert free[:-1] == found[:-1]
    row = generate_batch(model, [ids], SamplingParams(max_tokens=3, temperature=0, logprobs=1))[0]
    assert row.logprobs[0] == {9: 0.0}


def test_the_text_is_that_of_the_new_tokens():
    class Words:
        def decode(self, ids, skip_special_tokens=False):
            return " ".join(f"w{i}" for i in ids if i > 2 or not skip_special_tokens)

        def decode_bytes(self, ids, skip_special_tokens=False):
            return "".join(f"w{i} " for i in ids if i > 2 or not skip_special_tokens).encode()

    model = t5()
    row = generate_batch(model, [[7, 8, 9]], SamplingParams(max_tokens=4, temperature=0), Words())[0]
    assert row.text == " ".join(f"w{i}" for i in row.token_ids if i > 2)
    stop = f"w{row.token_ids[1]} "
    cut = generate_batch(model, [[7, 8, 9]], SamplingParams(max_tokens=4, temperature=0, stop=stop), Words())[
        0
    ]
    assert cut.finish_reason == "stop"
    assert len(cut.token_ids) <= 2


def test_the_command_line_prints_the_new_text_alone(tmp_path, capsys):
    tokenizer = BPETokenizer.train(["reads one text and writes another"] * 3, 280, ("</s>",))
    tokenizer.save(tmp_path / "tokenizer.json")
    size = tokenizer.vocab_size
    model = bart(
        vocab_size=size, pad_token_id=0, decoder_start_token_id=0, eos_token_id=0, forced_eos_token_id=0
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(20 if parameter.dim() == 2 else 1)
    model.save_pretrained(tmp_path)
    source = "reads one text"
    ids = tokenizer(source)["input_ids"]
    expected = generate(model, ids, SamplingParams(max_tokens=8, temperature=0.8, seed=5))
    arguments = ["generate", source, "--model", str(tmp_path), "--max-tokens", "8", "--seed", "5"]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    text = tokenizer.decode(expected, skip_special_tokens=True)
    assert found == {"prompt": source, "token_ids": expected, "text": text}
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert text.startswith(printed.rstrip("\n"))
    assert not printed.startswith(source)
    assert main([*arguments[:-3], "12"]) == 1  # the window is 12, one is for the start
    assert "--max-tokens must be at most 11" in capsys.readouterr().err
