"""Stop strings, end tokens, the text and a folder's settings are those of transformers on the same models."""

import json
import random

import pytest
import torch

from minillm.inference import SamplingParams, generate, generate_batch, process_logits
from minillm.inference.stopping import Stopper
from minillm.models import load_model
from minillm.tokenizer import load_tokenizer
from tests.parity.folders import Case, transformers

tokenizers = pytest.importorskip(
    "tokenizers", reason="its tokenizers are made with tokenizers: the parity extra"
)

TEXTS = [
    "the cat and the hat. a cat, a hat!",
    "가나다 라마 가나다",
    "stop the end. The End",
    "it's 10m² or so 😀",
] * 3


def llama_like():
    """BPE as in Llama 2: blanks are "▁", one is put in front, unknown characters are bytes."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=330, special_tokens=special[:3], show_progress=False)
    bpe.train_from_iterator([text.replace("😀", "").replace("²", "") for text in TEXTS], trainer)
    content = json.loads(bpe.to_str())
    vocab = content["model"]["vocab"]
    content["model"]["vocab"] = vocab | {name: len(vocab) + i for i, name in enumerate(special[3:])}
    bpe = tokenizers.Tokenizer.from_str(json.dumps(content))
    decoders = tokenizers.decoders
    bpe.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def gpt2_like():
    """BPE on bytes as in GPT-2: a character may be cut across tokens."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|end|>"], initial_alphabet=sorted(alphabet), show_progress=False
    )
    bpe.train_from_iterator(TEXTS, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>")


@pytest.fixture(scope="module", params=[llama_like, gpt2_like])
def tokenizer(request, tmp_path_factory):
    """transformers' tokenizer, and ours from its file."""
    theirs, folder = request.param(), tmp_path_factory.mktemp("tokenizer")
    theirs.save_pretrained(folder)
    return theirs, load_tokenizer(folder)


class Model:
    eos_token_ids = ()


def test_stop_strings_are_seen_where_transformers_sees_them(tokenizer):
    tokenizer, own = tokenizer
    rng, stops = (
        random.Random(0),
        [" a", " the", "hat", ". ", "t th", "the end", " 가나", "다 ", " cat,", "a"],
    )
    criteria = {stop: transformers.StopStringCriteria(tokenizer, [stop]) for stop in stops}
    for _ in range(60):
        text, stop = " ".join(rng.choices(" ".join(TEXTS[:3]).split(), k=6)), rng.choice(stops)
        prompt = tokenizer.encode(rng.choice(["xyz", "is", "그"]), add_special_tokens=False)
        new = tokenizer.encode(text, add_special_tokens=False)
        ours = Stopper(Model, SamplingParams(stop=stop), own, prompt)
        for n, token in enumerate(new, 1):
            theirs = bool(criteria[stop](torch.tensor([prompt + new[:n]]), None)[0])
            assert ours(token) == theirs, (stop, text, n)
            if theirs:
                break
        whole, before = tokenizer.decode(prompt + ours.new), tokenizer.decode(prompt)
        after = whole.removeprefix(before)
        assert ours.text() == (after[: after.index(stop)] if ours.done else after)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peer")
    Case("Llama", {"vocab_size": 600, "max_position_embeddings": 64}).write(folder)
    return transformers.AutoModelForCausalLM.from_pretrained(folder), folder


def with_settings(folder, target, **settings):
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    (target / "generation_config.json").write_text(json.dumps(settings))
    return target


@pytest.mark.parametrize("config_eos", [None, 5])
def test_a_list_of_end_tokens_stops_as_in_transformers(made, tmp_path, config_eos):
    _, folder = made
    prompt = [5, 6, 7, 8]
    free = generate(load_model(folder), prompt, SamplingParams(max_tokens=12, temperature=0))
    ending = [free[9], free[4], 999]
    with_settings(folder, tmp_path, eos_token_id=ending)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"eos_token_id": config_eos}))
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    options = {"do_sample": False, "pad_token_id": 0, "max_new_tokens": 12}
    ids = torch.tensor([prompt])
    expected = again.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, 4:].tolist()
    ours = load_model(tmp_path)
    assert ours.eos_token_ids == tuple(ending)
    assert generate(ours, prompt, SamplingParams(max_tokens=12, temperature=0)) == expected
    assert len(expected) < 12
    assert expected[-1] in ending
    held = again.generate(ids, attention_mask=torch.ones_like(ids), min_new_tokens=7, **options)[
        0, 4:
    ].tolist()
    assert generate(ours, prompt, SamplingParams(max_tokens=12, temperature=0, min_tokens=7)) == held
    assert generate(ours, prompt, SamplingParams(max_tokens=12, temperature=0, ignore_eos=True)) == free


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_new_tokens": 9},
        {"repetition_penalty": 1.3, "max_new_tokens": 10},
        {"do_sample": False, "top_p": 0.1, "temperature": 1.0, "min_new_tokens": 6, "max_new_tokens": 8},
        {
            "eos_token_id": [3, 4],
            "min_new_tokens": 4,
            "max_new_tokens": 8,
            "use_cache": False,
            "length_penalty": 2.0,
        },
    ],
)
def test_a_folders_settings_give_transformers_tokens(made, tmp_path, settings):
    _, folder = made
    with_settings(folder, tmp_path, pad_token_id=0, **settings)
    ids = torch.tensor([[5, 6, 7, 8]])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    given = {} if "max_new_tokens" in settings else {"max_new_tokens": 16}
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), **given)[0, 4:].tolist()
    params = SamplingParams.from_folder(tmp_path)
    assert generate(load_model(tmp_path), [5, 6, 7, 8], params) == expected


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.6, "top_p": 0.9},
        {"top_k": 0, "min_p": 0.1, "temperature": 1.4},
        {"top_k": 7, "top_p": 0.5, "repetition_penalty": 1.2},
    ],
)
def test_sampling_settings_score_as_transformers(made, tmp_path, settings):
    """The scores that both draw from, at the first new token."""
    _, folder = made
    with_settings(folder, tmp_path, pad_token_id=0, do_sample=True, **settings)
    ids = torch.tensor([[5, 6, 7, 8]])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    scores = theirs.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=1,
        return_dict_in_generate=True,
        output_scores=True,
    ).scores[0][0]
    with torch.no_grad():
        logits = load_model(tmp_path)(ids).logits[0, -1]
    ours = process_logits(logits, SamplingParams.from_folder(tmp_path), ids[0])
    torch.testing.assert_close(ours, scores, atol=1e-4, rtol=1e-4)


def test_text_is_that_of_the_pipeline(made, tokenizer, tmp_path):
    """transformers' pipeline, without the prompt's own text, prompts of several kinds."""
    (_, folder), (tokenizer, own) = made, tokenizer
    theirs, ours = transformers.AutoModelForCausalLM.from_pretrained(folder), load_model(folder)
    pipe = transformers.pipeline("text-generation", model=theirs, tokenizer=tokenizer)
    size = len(tokenizer)
    with torch.no_grad():
        for head in (theirs.lm_head, ours.head):
            head.weight[size:] = 0  # no ids past the tokenizer's
    for text in ("the cat", "가나", "x"):
        prompt = tokenizer.encode(text)
        expected = pipe(text, max_new_tokens=12, do_sample=False, return_full_text=False, pad_token_id=0)
        row = generate_batch(ours, [prompt], SamplingParams(max_tokens=12, temperature=0), own)[0]
        assert row.text == expected[0]["generated_text"]


@pytest.mark.parametrize(
    ("theirs_say", "ours_say"),
    [
        ({"repetition_penalty": 1.5}, {"repetition_penalty": 1.5}),
        ({"no_repeat_ngram_size": 1}, {"no_repeat_ngram_size": 1}),
        ({"sequence_bias": [[[9], 3.0], [[31], -4.0]]}, {"logit_bias": {9: 3.0, 31: -4.0}}),
        ({"min_new_tokens": 10}, {"min_tokens": 10}),
        ({"min_new_tokens": 6, "repetition_penalty": 0.7}, {"min_tokens": 6, "repetition_penalty": 0.7}),
        (
            {"min_new_tokens": 5, "repetition_penalty": 1.3, "no_repeat_ngram_size": 1, "sequence_bias": [[[9], 2.0]]},
            {"min_tokens": 5, "repetition_penalty": 1.3, "no_repeat_ngram_size": 1, "logit_bias": {9: 2.0}},
        ),
    ],
)  # fmt: skip
def test_penalties_and_bans_give_transformers_tokens(made, theirs_say, ours_say):
    """Where the definitions agree. Frequency and presence penalties are vLLM's: transformers has none."""
    theirs, folder = made
    ours, changed = load_model(folder), 0
    for prompt in ([5, 6, 7, 8], [40, 12], [33, 40, 33, 40]):
        free = generate(ours, prompt, SamplingParams(max_tokens=14, temperature=0))
        ends = [free[3], free[8]]
        ids = torch.tensor([prompt])
        made_by = {"do_sample": False, "pad_token_id": 0, "eos_token_id": ends, "max_new_tokens": 14}
        row = theirs.generate(ids, attention_mask=torch.ones_like(ids), **made_by, **theirs_say)[0]
        params = SamplingParams(max_tokens=14, temperature=0, stop_token_ids=ends, **ours_say)
        found = generate(ours, prompt, params)
        assert found == row[len(prompt) :].tolist()
        changed += found != generate(
            ours, prompt, SamplingParams(max_tokens=14, temperature=0, stop_token_ids=ends)
        )
    assert changed


def test_log_probabilities_are_transformers(made):
    theirs, folder = made
    prompts = [[5, 6, 7, 8, 9], [40, 12], [33]]
    params = SamplingParams(max_tokens=6, seed=1, n=2, logprobs=4, prompt_logprobs=2)
    for i, row in enumerate(generate_batch(load_model(folder), prompts, params)):
        text = prompts[i // 2] + row.token_ids
        with torch.no_grad():
            expected = theirs(torch.tensor([text])).logits[0].log_softmax(-1)
        said = [*row.prompt_logprobs, *row.logprobs]
        assert said[0] is None
        for at in range(1, len(text)):
            place, best = expected[at - 1], 2 if at < len(prompts[i // 2]) else 4
            assert set(said[at]) == {text[at], *place.topk(best).indices.tolist()}
            for token, value in said[at].items():
                assert value == pytest.approx(place[token].item(), abs=1e-4)
