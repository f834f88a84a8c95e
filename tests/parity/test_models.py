"""What else a model of ours and transformers' on the same weights agree in: hidden states, gradients, batches, first
weights. Their logits, folder by folder: test_folders.py.
"""

import pytest
import torch

from minillm.inference import SamplingParams, generate_batch
from minillm.models import GPT2, BARTConfig, GPT2Config, Llama, LlamaConfig, T5Config, load_model
from tests.parity.folders import CASES, LLAMA, close, ids, opener, transformers


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return opener(tmp_path_factory)


@pytest.mark.parametrize("name", [name for name in CASES if "16" not in name])
@torch.no_grad()
def test_equal_hidden_states(opened, name):
    theirs, ours, _ = opened(name)
    expected, found = (model(ids(), output_hidden_states=True).hidden_states for model in (theirs, ours))
    assert len(found) == len(expected)
    for mine, other in zip(found, expected):
        close(mine, other)
    close(ours(ids(), logits_to_keep=3).logits, theirs(ids()).logits[:, -3:])


@pytest.mark.parametrize("name", ["llama, grouped", "qwen3", "gpt2"])
def test_equal_gradients(opened, name):
    theirs, ours, _ = opened(name)
    x = ids()
    for model in (theirs, ours):
        model.zero_grad()
        torch.nn.functional.cross_entropy(
            model(x[:, :-1]).logits.flatten(0, 1), x[:, 1:].flatten()
        ).backward()
    embedding = theirs.get_input_embeddings().weight.grad
    torch.testing.assert_close(ours.body.tokens.weight.grad, embedding, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama, grouped", "mistral, window", "gpt2"])
def test_left_padded_batch_equals_transformers_generate(opened, name):
    theirs, ours, _ = opened(name)
    rows = [ids(1, n, seed=n)[0].tolist() for n in (9, 4, 1)]
    padded = torch.tensor([[0] * (9 - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (9 - len(row)) + [1] * len(row) for row in rows])
    expected = theirs.generate(
        padded, attention_mask=mask, max_new_tokens=12, do_sample=False, pad_token_id=0
    )
    found = generate_batch(ours, rows, SamplingParams(max_tokens=12, temperature=0))
    assert [completion.token_ids for completion in found] == expected[:, 9:].tolist()


def test_rows_of_a_batch_are_alone_under_dynamic_rope(opened):
    """transformers' own batch is not: the frequencies of all its rows follow the longest."""
    theirs, ours, _ = opened("llama, dynamic rope, outgrown")
    rows, expected = [ids(1, n, seed=n)[0].tolist() for n in (9, 4, 1, 9)], []
    for row in rows:
        theirs(ids(1, 2))
        alone = theirs.generate(torch.tensor([row]), max_new_tokens=12, do_sample=False, pad_token_id=0)
        expected.append(alone[0, len(row) :].tolist())
    found = generate_batch(ours, rows, SamplingParams(max_tokens=12, temperature=0))
    assert [completion.token_ids for completion in found] == expected


@torch.no_grad()
def test_sharded_folder_opens(opened, tmp_path):
    theirs, ours, _ = opened("llama, grouped")
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    assert torch.equal(load_model(tmp_path)(ids()).logits, ours(ids()).logits)
    shard = sorted(tmp_path.glob("model-*.safetensors"))[0]
    shard.unlink()
    with pytest.raises(ValueError, match=shard.name):
        load_model(tmp_path)


def test_first_weights_are_drawn_as_transformers_draws_them():
    sizes = {"vocab_size": 512, "n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": 64}
    ours, theirs = GPT2(GPT2Config(**sizes)), transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))
    tensors = ours.to_hugging_face(ours.state_dict())
    for name, parameter in theirs.named_parameters():
        if parameter.dim() == 2:
            assert tensors[name].std().item() == pytest.approx(parameter.std().item(), rel=0.05), name
        else:
            assert torch.equal(tensors[name], parameter), name
    assert ours.num_parameters() == theirs.num_parameters()
    llama = {k: v for k, v in LLAMA.items() if "token_id" not in k}
    assert (
        Llama(LlamaConfig(**llama)).num_parameters()
        == transformers.LlamaForCausalLM(transformers.LlamaConfig(**llama)).num_parameters()
    )


@pytest.mark.parametrize("kind", [GPT2Config, T5Config, BARTConfig])
def test_the_common_names_of_a_config_are_transformers(kind):
    theirs = getattr(transformers, kind.__name__.replace("BART", "Bart"))()
    for name in kind.other_names:
        assert theirs.attribute_map[name] == kind.other_names[name]
        assert getattr(kind(), name) == getattr(theirs, name)
