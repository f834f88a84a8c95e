"""Language models with a state: all at once, in pieces, step by step, through generate, batches and the engine."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minillm.inference import Engine, SamplingParams, generate, generate_batch, stream
from minillm.models import (
    GRU,
    LSTM,
    RNN,
    S4D,
    GRUConfig,
    LSTMConfig,
    Mamba,
    Mamba2,
    Mamba2Body,
    Mamba2Config,
    MambaBody,
    MambaConfig,
    RNNConfig,
    S4DConfig,
    load_model,
)
from minillm.nn import KVCache, StateCache, has_states
from minillm.training import CausalLMObjective
from tests.helpers import edit_config
from tests.inference.engine.schedules import run_schedule

SIZES = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2}
MAMBA2 = {"num_heads": 4, "head_dim": 8, "n_groups": 2, "state_size": 8, "chunk_size": 8}
MODELS = {
    "rnn": (RNN, RNNConfig, {}),
    "rnn, relu": (RNN, RNNConfig, {"hidden_act": "relu"}),
    "lstm": (LSTM, LSTMConfig, {}),
    "gru": (GRU, GRUConfig, {"tie_word_embeddings": False}),
    "s4d": (S4D, S4DConfig, {"state_size": 8}),
    "s4d, bilinear": (S4D, S4DConfig, {"state_size": 8, "initial": "inv", "discrete": "bilinear"}),
    "mamba": (Mamba, MambaConfig, {"state_size": 4}),
    "mamba, other": (
        Mamba,
        MambaConfig,
        {"state_size": 3, "conv_kernel": 2, "use_bias": True, "use_conv_bias": False, "expand": 1.5,
         "residual_in_fp32": False, "time_step_init_scheme": "constant", "rescale_prenorm_residual": True},
    ),
    "mamba, no bias of the convolution": (Mamba, MambaConfig, {"state_size": 4, "use_conv_bias": False}),
    "mamba, one token wide": (Mamba, MambaConfig, {"state_size": 4, "conv_kernel": 1, "hidden_act": "gelu"}),
    "mamba2": (Mamba2, Mamba2Config, MAMBA2),
    "mamba2, other": (
        Mamba2,
        Mamba2Config,
        {**MAMBA2, "n_groups": 1, "use_bias": True, "use_conv_bias": False, "time_step_limit": [0.01, 0.1],
         "tie_word_embeddings": True},
    ),
}  # fmt: skip


def made(name, seed=0):
    """A model whose greedy choices are no near ties."""
    cls, config, options = MODELS[name]
    model = cls(config(**SIZES | options), seed=seed)
    with torch.no_grad():
        model.body.tokens.weight.mul_(6)
        if not model.config.tie_word_embeddings:
            model.head.weight.mul_(6)
    return model.eval()


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return made(request.param)


def ids(texts=2, length=21, seed=0):
    return torch.randint(0, 50, (texts, length), generator=torch.Generator().manual_seed(seed))


def close(found, expected):
    assert float((found - expected).detach().abs().max()) <= 3e-5 * (1 + float(expected.detach().abs().max()))


@torch.no_grad()
def test_pieces_and_steps_are_the_whole(model):
    whole = model(ids()).logits
    for cuts in ((21,), (1,) * 21, (7, 1, 13), (20, 1)):
        cache = model.new_cache(2, 21)
        pieces = [model(piece, cache=cache).logits for piece in ids().split(cuts, dim=1)]
        close(torch.cat(pieces, dim=1), whole)
        assert cache.length == 21
    assert float(whole.std()) > 0.1


def test_steps_while_learning_are_those_without(model):
    """The compiled step is for no_grad; with gradients the plain layers run."""
    cache, other = model.new_cache(2, 3), model.new_cache(2, 3)
    with torch.no_grad():
        expected = [model(piece, cache=cache).logits for piece in ids(length=3).split(1, dim=1)]
    for piece, logits in zip(ids(length=3).split(1, dim=1), expected):
        close(model(piece, cache=other).logits, logits)
    assert not any(state.requires_grad for state in other.states)


def test_a_layer_that_is_watched_or_changed_is_called_in_steps():
    """The compiled step goes round the layers; where somebody looks on, or another layer stands there, they run."""
    model, seen = made("mamba"), []
    cache, other = model.new_cache(2, 3), model.new_cache(2, 3)
    with torch.no_grad():
        expected = [model(piece, cache=cache).logits for piece in ids(length=3).split(1, dim=1)]
        hook = model.body.blocks[1].mixer.x_proj.register_forward_hook(lambda *_: seen.append(1))
        found = [model(piece, cache=other).logits for piece in ids(length=3).split(1, dim=1)]
        hook.remove()
        assert len(seen) == 3
        for one, two in zip(found, expected):
            close(one, two)
        model.body.blocks[0].mixer.out_proj.weight.mul_(2)  # in place: the next step reads what is there now
        whole = model(ids(length=3)).logits
        cache = model.new_cache(2, 3)
        close(
            torch.cat([model(piece, cache=cache).logits for piece in ids(length=3).split(1, dim=1)], 1), whole
        )


def test_the_state_has_one_size(model):
    cache = model.new_cache(2, 5)
    assert isinstance(cache, StateCache)
    assert has_states(model)
    before = cache.nbytes
    with torch.no_grad():
        model(ids(length=40), cache=cache)
    assert cache.nbytes == before == 2 * model.new_cache(1, 10**6).nbytes


def test_generation_is_the_same_with_a_state_and_without(model):
    for params in (
        SamplingParams(max_tokens=9, temperature=0),
        SamplingParams(max_tokens=9, seed=3, top_k=7, repetition_penalty=1.2),
        SamplingParams(max_tokens=6, beams=3, temperature=0),
    ):
        found = [generate(model, [3, 1, 4, 1, 5], params, cache=cache) for cache in (True, False)]
        assert found[0] == found[1]
        assert len(found[0]) == params.max_tokens
    greedy = SamplingParams(max_tokens=9, temperature=0)
    assert list(stream(model, [3, 1, 4, 1, 5], greedy)) == generate(model, [3, 1, 4, 1, 5], greedy)


def test_prompts_of_any_length_in_one_call(model):
    prompts = [[1, 2, 3], [4], [5, 6, 7], [8, 9], [10]]
    params = SamplingParams(max_tokens=7, temperature=0)
    found = generate_batch(model, prompts, params)
    assert [one.token_ids for one in found] == [generate(model, prompt, params) for prompt in prompts]


@pytest.mark.parametrize("name", ["lstm", "s4d", "mamba", "mamba2"])
def test_the_engine_gives_each_text_a_slot(name):
    model = made(name)
    for seed in range(1):
        _, stats = run_schedule(model, seed, "continuous", slots=4)
        assert stats["num_blocks"] == 4
    engine = Engine(model, max_batch_size=3)
    assert engine.runner.cache.nbytes == 3 * model.new_cache(1, 1).nbytes


def test_a_folder_gives_the_model_back(model, tmp_path):
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert type(again) is type(model)
    assert again.config == model.config
    assert torch.equal(again(ids()).logits, model(ids()).logits)
    assert {name for name, _ in again.named_parameters()} == {name for name, _ in model.named_parameters()}
    model.body.save_pretrained(tmp_path / "body")
    body = type(model.body).from_pretrained(tmp_path / "body")
    assert torch.equal(body(ids()).last_hidden_state, model(ids()).last_hidden_state)


def test_learning_lowers_the_loss(model):
    """Twelve steps on one batch; every weight has a gradient."""
    learner = type(model)(model.config, seed=1)
    objective, batch = CausalLMObjective(), {"input_ids": ids(4, 12), "labels": ids(4, 12)}
    optimizer, losses = torch.optim.Adam(learner.parameters(), lr=0.02), []
    for _ in range(12):
        optimizer.zero_grad()
        loss = objective(learner, batch).loss
        loss.backward()
        losses.append(float(loss.detach()))
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in learner.parameters())
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


def test_seeds_and_other_inputs(model):
    config = model.config
    first, same, other = (type(model)(config, seed=seed).eval() for seed in (0, 0, 1))
    assert torch.equal(first(ids()).logits, same(ids()).logits)
    assert not torch.equal(first(ids()).logits, other(ids()).logits)
    out = model(ids(), output_hidden_states=True, logits_to_keep=3)
    assert out.logits.shape == (2, 3, 50)
    close(out.logits, model(ids()).logits[:, -3:])
    assert torch.equal(out.hidden_states[-1], out.last_hidden_state)
    embeds = model.body.tokens(ids())
    assert torch.equal(model(inputs_embeds=embeds).logits, model(ids()).logits)


def test_padding_on_the_right_changes_nothing(model):
    mask = torch.tensor([[1] * 21, [1] * 9 + [0] * 12])
    changed = ids()
    changed[1, 9:] = 0
    found = model(changed, mask).logits
    close(found[0], model(ids()).logits[0])
    close(found[1, :9], model(ids()).logits[1, :9])


def test_the_recurrent_models_are_torchs_layers():
    for name, layer in (("rnn", nn.RNN), ("lstm", nn.LSTM), ("gru", nn.GRU)):
        model = made(name)
        other = layer(16, 16, num_layers=2, batch_first=True)
        other.load_state_dict(model.body.layers.state_dict())
        hidden = other(F.embedding(ids(), model.body.tokens.weight))[0]
        close(model(ids()).logits, hidden @ model.head.weight.T)


def test_a_state_needs_less_than_a_cache():
    """The figure of chapter 16: bytes against the length of the text."""
    from minillm.models import Llama, LlamaConfig

    sizes = {"vocab_size": 50, "hidden_size": 64, "num_hidden_layers": 6}
    mamba = Mamba(MambaConfig(**sizes))
    llama = Llama(
        LlamaConfig(**sizes, num_attention_heads=4, intermediate_size=128, max_position_embeddings=16384)
    )
    assert mamba.new_cache(1, 256).nbytes == mamba.new_cache(1, 16384).nbytes == 6 * 4 * 128 * (16 + 3)
    assert llama.new_cache(1, 16384).nbytes == 16384 * 2 * 6 * 64 * 4


def test_narrow_weights(tmp_path):
    """In bfloat16 the states of the scan stay float32, and steps are still the scan, as near as 16 bits are."""
    for name in ("mamba", "mamba2", "s4d", "lstm"):
        model = made(name)
        model.save_pretrained(tmp_path / name)
        narrow = load_model(tmp_path / name, dtype=torch.bfloat16)
        with torch.no_grad():
            cache = narrow.new_cache(2, 21)
            steps = [narrow(one, cache=cache).logits for one in ids().split(1, dim=1)]
            expected = model(ids()).logits
            for found in (torch.cat(steps, dim=1), narrow(ids()).logits):
                assert found.dtype == torch.bfloat16
                assert float((found - expected).pow(2).mean()) < 0.01 * float(expected.pow(2).mean())


def test_bad_input_is_named(model):
    cache = model.new_cache(2, 4)
    left = torch.tensor([[1] * 21, [0] * 3 + [1] * 18])
    body = {"num_hidden_layers": 3}
    other = type(model)(type(model.config)(**SIZES | options_of(model) | body))
    attending = KVCache(type("C", (), {"num_layers": 1, "kv_heads": 1, "head_dim": 4}), 1, 4)
    for call, message in (
        (lambda: model(ids(), left), "pad on the right"),
        (lambda: model(ids(), left[:, :3]), "attention_mask must have shape"),
        (lambda: model(ids(), left, cache), "cannot leave out padding"),
        (lambda: model(ids(), position_ids=torch.arange(21)), "position_ids must be None"),
        (lambda: model(ids(3), cache=cache), "states are of 2 texts, got 3"),
        (lambda: model(ids(), cache=attending), "cache must be a StateCache or None"),
        (lambda: model(ids(), cache=other.new_cache(2, 4)), "cache is of another model"),
        (lambda: model(ids() + 50), "must lie in 0..49"),
        (lambda: model(ids().int()), "input_ids must be a LongTensor"),
        (lambda: model(torch.zeros(1, 0, dtype=torch.int64)), "at least one token"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert cache.length == 0


def options_of(model):
    return next(options for cls, _, options in MODELS.values() if cls is type(model))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MambaConfig(hidden_size=0), "hidden_size"),
        (lambda: MambaConfig(time_step_rank="large"), "time_step_rank"),
        (lambda: MambaConfig(time_step_min=0.0), "time_step_min"),
        (lambda: MambaConfig(time_step_max=1e-5), "time_step_max"),
        (lambda: MambaConfig(use_bias=1), "use_bias"),
        (lambda: MambaConfig(hidden_act="sin"), "hidden_act"),
        (lambda: MambaConfig(time_step_init_scheme="zero"), "time_step_init_scheme"),
        (lambda: MambaConfig.from_dict({"model_type": "falcon_mamba"}), "model_type"),
        (lambda: Mamba2Config(num_heads=3), "num_heads · head_dim must be"),
        (lambda: Mamba2Config(n_groups=7), "num_heads must be divisible by n_groups"),
        (lambda: Mamba2Config(time_step_limit=(0.2, 0.1)), "time_step_limit"),
        (lambda: Mamba2Config(time_step_limit=0.1), "time_step_limit must be two numbers"),
        (lambda: S4DConfig(state_size=7), "state_size must be even"),
        (lambda: S4DConfig(initial="x"), "initial"),
        (lambda: LSTMConfig(hidden_act="relu"), "hidden_act"),
        (lambda: RNNConfig(dropout=2.0), "dropout"),
        (lambda: RNNConfig.from_dict({"model_type": "lstm"}), "model_type"),
        (lambda: Mamba(Mamba2Config(**SIZES | MAMBA2)), "Mamba needs a MambaConfig"),
        (lambda: MambaBody(None), "MambaBody needs a MambaConfig"),
        (lambda: Mamba2Body(MambaConfig()), "Mamba2Body needs a Mamba2Config"),
    ],
)
def test_a_config_that_cannot_be_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_folder_that_does_not_fit_is_named(tmp_path):
    made("mamba").save_pretrained(tmp_path)
    edit_config(tmp_path, conv_kernel=3)
    with pytest.raises(ValueError, match=r"conv1d.weight|conv_weight"):
        load_model(tmp_path)
    edit_config(tmp_path, conv_kernel=4, num_hidden_layers=3)
    with pytest.raises(ValueError, match="lacks"):
        load_model(tmp_path)
