"""Whatever comes in that cannot be meant is refused with a ValueError that says what came and what was expected.

One table of calls for the names of the public face, one table of files: each file cut short or with flipped bits is
refused by its name (BadFileError), and nothing but that ever comes out of a damaged file.
"""

import json
import re
import shutil
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from minillm import course, data, evaluation, inference, models, nn, quantization, search, tokenizer, training
from minillm._files import BadFileError, save_arrays
from minillm.data.readers import read_source
from minillm.models.llama2c import load_llama2c
from minillm.quantization.folder import load_quantized, save_quantized
from tests.helpers import cuts

NAN, SURROGATE, HUGE = float("nan"), "a\ud800", 10**400


@lru_cache(maxsize=1)
def parts() -> SimpleNamespace:
    """A small one of everything, made when the first test asks."""
    tok = tokenizer.BPETokenizer.train(["the cat sat on the mat, 고양이가 앉았다"], 270)
    gpt2 = models.GPT2(models.GPT2Config(vocab_size=270, n_positions=16, n_embd=8, n_layer=1, n_head=2))
    llama = models.Llama(llama_config())
    encoder = search.StaticEncoder(tok, np.eye(tok.vocab_size, 4, dtype=np.float32))
    index = search.ExactIndex(4)
    index.add(np.eye(4, dtype=np.float32))
    return SimpleNamespace(
        tok=tok,
        gpt2=gpt2,
        llama=llama,
        encoder=encoder,
        index=index,
        bm25=search.BM25().fit(["the cat", "the mat"]),
        dense=search.DenseRetriever(encoder).fit(["the cat", "the mat"]),
        params=inference.SamplingParams(max_tokens=1),
        documents=[data.Document("one", "One", "the cat sat on the mat")],
    )


def llama_config(**options):
    sizes = {"vocab_size": 270, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2}
    return models.LlamaConfig(**sizes | {"max_position_embeddings": 16} | options)


def trainer(**options):
    config = training.TrainerConfig(max_steps=1, batch_size=1, context_length=4, progress=False)
    return training.Trainer(**{"model": parts().gpt2, "config": config, "train_data": [1] * 9} | options)


X = torch.zeros(1, 3, 8)
Q = torch.zeros(1, 2, 3, 4)
WEIGHTS = [torch.nn.Parameter(torch.ones(2))]

TOKENIZER = [
    (
        lambda p: tokenizer.BPETokenizer.train("one text", 300),
        "texts must be an iterable of str, got 'one text'",
    ),
    (
        lambda p: tokenizer.BPETokenizer.train(np.array(3), 300),
        "texts must be an iterable of str, got ndarray",
    ),
    (
        lambda p: tokenizer.BPETokenizer.train([__file__], 300),
        "texts must be the texts themselves, got the name of a file",
    ),
    (
        lambda p: tokenizer.WordPieceTokenizer.train([__file__], 300),
        "texts must be the texts themselves, got the name of a file",
    ),
    (
        lambda p: tokenizer.UnigramTokenizer.train([__file__], 300),
        "texts must be the texts themselves, got the name of a file",
    ),
    (lambda p: tokenizer.BPETokenizer.train(["a"], 300.0), "vocab_size must be an integer, got 300.0"),
    (lambda p: tokenizer.BPETokenizer.train(["a"], 200), "vocab_size must be at least 257"),
    (
        lambda p: tokenizer.BPETokenizer.train(["a"], 300, pattern=["a"]),
        r"pattern must be a str, got \['a'\]",
    ),
    (
        lambda p: tokenizer.BPETokenizer.train(["a"], 300, min_frequency=HUGE),
        "min_frequency must fit into 64 bits",
    ),
    (
        lambda p: tokenizer.BPETokenizer.train(["a"], 300, ["<a>", ""]),
        "special token must be a non-empty str, got ''",
    ),
    (lambda p: tokenizer.BPETokenizer(None, [], {}), "tokens must be a list of bytes, got None"),
    (lambda p: tokenizer.BPETokenizer([b"a"], [b"ab"], {}), "merges must be a list of pairs of bytes"),
    (
        lambda p: tokenizer.BPETokenizer([b"a"], [], ["<a>"]),
        r"special_tokens must map str to ids, got \['<a>'\]",
    ),
    (lambda p: tokenizer.BPETokenizer.from_files(5, "merges.txt"), "vocabulary must be a path, got 5"),
    (lambda p: p.tok.encode(None), "text must be a str, got None"),
    (lambda p: p.tok.encode(SURROGATE), "lone surrogate U.D800 at character 1"),
    (lambda p: p.tok.encode("a", allowed_special={"<b>"}), "allowed_special has .*<b>.*special tokens are"),
    (lambda p: p.tok.encode_batch("a"), "texts must be an iterable of str, got 'a'"),
    (lambda p: list(p.tok.encode_iterable([1])), "text 0 must be a str, got 1"),
    (lambda p: p.tok.decode([270]), "id 270 is out of range: the vocabulary has ids 0 to 269"),
    (lambda p: p.tok.decode([True]), "id must be an integer, got True"),
    (
        lambda p: p.tok.decode([1], skip_special_tokens="no"),
        "skip_special_tokens must be True or False, got 'no'",
    ),
    (lambda p: p.tok.decode_bytes([-1]), "id -1 is out of range"),
    (lambda p: p.tok(["a"], padding="longer"), "padding must be one of .* got 'longer'"),
    (lambda p: p.tok(["a"], truncation=True), "max_length must be given"),
    (lambda p: p.tok(["a", "bb cc"], return_tensors="pt"), "make no tensor: pass padding=True"),
    (lambda p: p.tok(["a"], ["b", "c"]), "texts and text_pair must be as many, got 1 and 2"),
    (lambda p: p.tok.token_to_id(5), "token must be a str, got 5"),
    (lambda p: p.tok.id_to_token(270), "id must be between 0 and 269, got 270"),
    (lambda p: p.tok.save(None), "path must be a path, got None"),
    (lambda p: tokenizer.load_tokenizer(""), "path must be a path, got ''"),
    (lambda p: tokenizer.Llama2cTokenizer(None, None), "tokens must be a list, got None"),
    (lambda p: tokenizer.Llama2cTokenizer.from_file(7), "tokenizer must be a path, got 7"),
]

NN = [
    (lambda p: nn.attention(Q[0], Q, Q), r"q must be a float tensor of shape \(B, heads, .*, got .*\(2, 3, 4\)"),
    (lambda p: nn.attention(Q, Q, Q[:, :, :2]), r"needs k .* got q \(1, 2, 3, 4\)"),
    (lambda p: nn.attention(Q, Q, Q, mask=torch.ones(3, 3)), "mask must be a bool tensor .* got Tensor"),
    (lambda p: nn.attention(Q, Q, Q, backend="flash"), "backend must be one of 'auto', .* got 'flash'"),
    (lambda p: nn.attention(Q, Q, Q, scale=NAN), "scale must be a finite number, got nan"),
    (lambda p: nn.MultiHeadAttention(8, 3), "width must be divisible by heads .* got 8 and 3"),
    (lambda p: nn.MultiHeadAttention(8, True), "heads must be an integer, got True"),
    (lambda p: nn.MultiHeadAttention(8, 2, position="rope"), "position must be None, a RoPE or an ALiBi, got 'rope'"),
    (lambda p: nn.MultiHeadAttention(8, 2, bias="no"), "bias must be True or False, got 'no'"),
    (lambda p: nn.MultiHeadAttention(8, 2, scale="1"), "scale must be a finite number, got '1'"),
    (lambda p: nn.MultiHeadAttention(8, 2)(X[0]), r"x must be a float tensor \(B, length, 8\), got .*\(3, 8\)"),
    (lambda p: nn.MultiHeadAttention(8, 2)(X, cache={}), "cache must be a KVCache or None, got {}"),
    (lambda p: nn.SinusoidalPosition(4, 7), "width must be even, .* got 7"),
    (lambda p: nn.SinusoidalPosition(4, 8)(X, start=None), "start must be an integer, got None"),
    (lambda p: nn.LearnedPosition(2, 8)(X), "positions 0 to 2 do not fit into the 2 there are"),
    (lambda p: nn.RoPE(5), "dim must be even, .* got 5"),
    (lambda p: nn.RoPE(4, base=HUGE), "base must be a finite number"),
    (lambda p: nn.RoPE(4, scaling={"rope_type": "longrope"}), "rope_type must be one of .* got 'longrope'"),
    (lambda p: nn.RoPE(4)(Q, None), r"k must be a float tensor \(B, heads, T, 4\), got None"),
    (lambda p: nn.RoPE(4)(Q, Q, -1), "positions must be at least 0, got -1"),
    (lambda p: nn.RoPE(4)(Q, Q, torch.tensor([-1, 0, 1])), "positions must be at least 0, got -1"),
    (lambda p: nn.RoPE(4)(Q, Q, torch.arange(5)), r"positions must be .*\(1, 3\), got Tensor of shape \(5,\)"),
    (lambda p: nn.RoPE(4)(Q, Q, torch.zeros(2, 3, dtype=torch.long)), r"positions must be .* got .*\(2, 3\)"),
    (lambda p: nn.MultiHeadAttention(8, 2)(X.long()), "x must be a float tensor .* dtype torch.int64"),
    (lambda p: nn.rope_frequencies("4"), "dim must be an integer, got '4'"),
    (lambda p: nn.ALiBi(0), "heads must be at least 1, got 0"),
    (lambda p: nn.ALiBi(2)(None, 3), "queries must be an integer, got None"),
    (lambda p: nn.LayerNorm(4)(X), r"x must be a float tensor \(\.\.\., 4\), got .*\(1, 3, 8\)"),
    (lambda p: nn.RMSNorm(4, eps=-1.0), "eps must be at least 0.0, got -1"),
    (lambda p: nn.BatchNorm(8)(X[0, :1]), "batch norm needs at least two tokens to train on, got 1"),
    (lambda p: nn.FeedForward(8, activation="mish"), "activation must be one of .* got 'mish'"),
    (lambda p: nn.SwiGLU(8)(X.long()), "x must be a float tensor .* dtype torch.int64"),
    (lambda p: nn.EncoderBlock(8, 2, dropout=1.5), "dropout must be between 0.0 and 1.0, got 1.5"),
    (lambda p: nn.EncoderBlock(8, 2, norm=None), "norm must be called with the width and give a layer, got None"),
    (lambda p: nn.DecoderBlock(8, 2)(X, X), "a context is given exactly to a block made with cross=True"),
]  # fmt: skip

MODELS = [
    (lambda p: models.GPT2Config(n_embd=7, n_head=2), "n_embd must be divisible by n_head, got 7 and 2"),
    (lambda p: models.GPT2Config(attn_pdrop=2), "attn_pdrop must be between 0.0 and 1.0, got 2"),
    (lambda p: models.GPT2Config(n_inner="wide"), "n_inner must be an integer, got 'wide'"),
    (lambda p: models.GPT2Config(eos_token_id=[None]), "eos_token_id must be an integer, got None"),
    (lambda p: llama_config(rope_theta=0), "rope_theta must be at least 1.0, got 0"),
    (lambda p: llama_config(rope_scaling=""), "scaling must be None or a dict .* got ''"),
    (lambda p: llama_config(attention_bias="no"), "attention_bias must be True or False, got 'no'"),
    (lambda p: llama_config(layer_types=["full_attention"] * 2), "layer_types must be 1 times full_attention or"),
    (lambda p: llama_config(rms_norm_eps=HUGE), "rms_norm_eps must be a finite number"),
    (lambda p: models.GPT2(llama_config()), "GPT2 needs a GPT2Config, got LlamaConfig"),
    (lambda p: models.Llama(llama_config(), seed=0.5), "seed must be an integer, got 0.5"),
    (lambda p: p.gpt2([[1, 2]]), r"input_ids must be a LongTensor \(B, T\), got \[\[1, 2\]\]"),
    (lambda p: p.gpt2(torch.zeros(1, 0, dtype=torch.long)), "input_ids must hold at least one token"),
    (lambda p: p.gpt2(torch.tensor([[270]])), "ids must lie in 0..269, got 270..270"),
    (lambda p: p.llama(torch.tensor([[-1]])), "ids must lie in 0..269, got -1..-1"),
    (lambda p: p.llama(torch.ones(1, 17, dtype=torch.long)), "17 tokens do not fit into the context window of 16"),
    (lambda p: p.llama(torch.tensor([[1]]), attention_mask=torch.ones(1, 2)), r"have shape \(1, 1\), got \(1, 2\)"),
    (lambda p: p.llama(torch.tensor([[1]]), cache="yes"), "cache must be a KVCache or None, got 'yes'"),
    (lambda p: p.llama(torch.tensor([[1]]), logits_to_keep=None), "logits_to_keep must be an integer, got None"),
    (lambda p: models.Llama.from_pretrained(None), "folder must be a path, got None"),
    (lambda p: p.llama.save_pretrained([]), r"folder must be a path, got \[\]"),
    (lambda p: models.load_model(3), "path of a folder, a .gguf or a .bin file, got 3"),
    (lambda p: models.load_model("no/such/folder"), "model config 'no/such/folder/config.json' cannot be read"),
]  # fmt: skip

TRAINING = [
    (lambda p: training.AdamW([]), "AdamW needs at least one parameter, got none"),
    (lambda p: training.AdamW(WEIGHTS, lr=NAN), "lr must be a finite number, got nan"),
    (lambda p: training.AdamW(WEIGHTS, betas=0.9), "betas must be a pair of numbers, got 0.9"),
    (
        lambda p: training.AdamW(WEIGHTS).load_state_dict(np.zeros(3)),
        r"expected what state_dict\(\) returned",
    ),
    (lambda p: training.cosine_schedule(-1, 10), "step must be at least 0, got -1"),
    (lambda p: training.clip_gradients(WEIGHTS, 0), "max_norm must be above 0, got 0"),
    (
        lambda p: training.clip_gradients(np.array(1.0), 1),
        "parameters must be an iterable of tensors, got ndarray",
    ),
    (
        lambda p: training.CausalLMObjective(label_smoothing=2),
        "label_smoothing must be between 0 and 1, got 2",
    ),
    (lambda p: training.CausalLMObjective().count({}), "a batch needs labels .* got None"),
    (lambda p: training.MaskedLMObjective().count({}), "a batch needs labels .* got None"),
    (lambda p: training.ClassificationObjective("grade"), "problem_type must be one of None, .* got 'grade'"),
    (lambda p: training.MaskedLMNoise(9, 9), "mask_id must be between 0 and 8, got 9"),
    (lambda p: training.SpanCorruption([5, 5]), r"sentinel_ids must be different ids, got \[5, 5\]"),
    (lambda p: training.BARTNoise(3, mean_span=0), "mean_span must be at least 1, got 0"),
    (lambda p: training.NoisySet([1, 2], None), r"noise must be a function of \(ids, generator\), got None"),
    (lambda p: training.PairSet([[1, 2]]), "pair 0 must have a source and a target"),
    (lambda p: training.LabelledSet([[1, 2]]), "example 0 must have an id and labels"),
    (lambda p: training.TrainerConfig(max_steps=0), "max_steps must be at least 1, got 0"),
    (
        lambda p: training.TrainerConfig(max_steps=1, warmup_steps=2),
        "warmup_steps must be between 0 and 1, got 2",
    ),
    (
        lambda p: training.TrainerConfig(max_steps=1, device="warp"),
        "device must be auto, cpu, cuda .* got 'warp'",
    ),
    (lambda p: training.pick_precision("fp64"), "precision must be one of 'fp32', .* got 'fp64'"),
    (lambda p: trainer(model=None), "model must be a torch module, got None"),
    (lambda p: trainer(train_data=[0.5] * 9), "train_data|ids"),
    (lambda p: trainer(train_data=np.array(3)), "a token stream must be a flat sequence of ids"),
    (lambda p: trainer(train_data=[270] * 9), "train_data holds id 270, the model's vocabulary ends at 269"),
    (lambda p: trainer(train_data=[1, 2]), "train_data: the token stream has 2 ids; .* needs at least 5"),
    (lambda p: trainer(objective="causal"), r"objective must be like CausalLMObjective\(\), got 'causal'"),
    (lambda p: trainer(compute_metrics="f1"), "compute_metrics must be a function or None, got 'f1'"),
    (lambda p: trainer(tokenizer="gpt2"), r"tokenizer must have a method save\(folder\), got 'gpt2'"),
    (lambda p: trainer().train(resume_from_checkpoint=5), "must be True, False or a path, got 5"),
]

QUANTIZATION = [
    (lambda p: quantization.absmax_quantize([1.0]), r"x must be a float tensor, got \[1.0\]"),
    (lambda p: quantization.absmax_quantize(torch.ones(2), bits=9), "bits must be between 2 and 8, got 9"),
    (
        lambda p: quantization.absmax_quantize(torch.tensor([NAN])),
        "x must hold finite float32 numbers, got inf or NaN",
    ),
    (lambda p: quantization.zeropoint_quantize(torch.ones(0)), "x must hold at least one number"),
    (
        lambda p: quantization.zeropoint_quantize(torch.ones(2), axis=1),
        "axis must be between -1 and 0, got 1",
    ),
    (
        lambda p: quantization.blockwise_quantize(torch.ones(2), block_size=0),
        "block_size must be at least 1, got 0",
    ),
    (
        lambda p: quantization.blockwise_quantize(torch.ones(2), codebook=torch.tensor([1.0, 0.0])),
        "ascending numbers",
    ),
    (lambda p: quantization.quantile_codebook(torch.ones(2), bits=1.5), "bits must be an integer, got 1.5"),
    (lambda p: quantization.quantize(None), "model must be a torch module, got None"),
    (lambda p: quantization.quantize(p.llama, "int3"), "method must be one of .* got 'int3'"),
    (
        lambda p: quantization.quantize(p.llama, skip=None),
        "skip must be a collection of layer names, got None",
    ),
    (lambda p: quantization.quantize(p.llama, "nf4", bits=8), "method 'nf4' has 4 bits, got bits=8"),
    (lambda p: quantization.model_size_bytes({}), "model must be a torch module, got {}"),
    (lambda p: save_quantized(None, "q"), "model must be a torch module, got None"),
    (lambda p: load_quantized(None), "folder must be a path, got None"),
]

K4 = torch.zeros(1, 2, 1, 4)
INFERENCE = [
    (lambda p: inference.SamplingParams(max_tokens=0), "max_tokens must be at least 1, got 0"),
    (lambda p: inference.SamplingParams(temperature=-1), "temperature must be at least 0.0, got -1"),
    (lambda p: inference.SamplingParams(top_p=0), "top_p must be above 0"),
    (lambda p: inference.SamplingParams(top_p="0.9"), "top_p must be a finite number, got '0.9'"),
    (lambda p: inference.SamplingParams(stop=[""]), "stop must not hold an empty string"),
    (lambda p: inference.SamplingParams(n=True), "n must be an integer, got True"),
    (
        lambda p: inference.generate(None, [1], p.params),
        "model must be a language model with a config of ours, got None",
    ),
    (
        lambda p: inference.generate(p.llama, "hello", p.params),
        "ids must be a list of token ids, got 'hello'",
    ),
    (lambda p: inference.generate(p.llama, [], p.params), "ids must hold at least one token id, got none"),
    (
        lambda p: inference.generate(p.llama, [270], p.params),
        "every id of ids must be between 0 and 269, got 270",
    ),
    (lambda p: inference.generate(p.llama, [1], {"max_tokens": 1}), "params must be SamplingParams, got {"),
    (
        lambda p: inference.generate(p.llama, [1], p.params, cache="no"),
        "cache must be True or False, got 'no'",
    ),
    (lambda p: inference.generate(p.llama, [1], p.params, tokenizer="x"), "tokenizer must be .* got 'x'"),
    (lambda p: inference.stream(p.llama, [1] * 16, p.params), "ids has 16 tokens and max_tokens is 1"),
    (lambda p: inference.KVCache(None, 1, 4), "config must have num_layers, kv_heads and head_dim, got None"),
    (lambda p: inference.KVCache(p.llama.config, 1, 0), "max_length must be at least 1, got 0"),
    (
        lambda p: inference.KVCache(p.llama.config, 1, 4, dtype=torch.int8),
        "dtype must be a float torch.dtype",
    ),
    (lambda p: inference.KVCache(p.llama.config, 1, 4, device="warp"), "device must be cpu, .* got 'warp'"),
    (
        lambda p: inference.KVCache(p.llama.config, 1, 4).update(9, K4, K4),
        "layer must be between 0 and 0, got 9",
    ),
    (
        lambda p: inference.KVCache(p.llama.config, 1, 4).update(0, K4, None),
        "k and v must be float tensors .* and None",
    ),
    (lambda p: inference.kv_cache_bytes(p.llama.config, -1, 4), "batch_size must be at least 0, got -1"),
    (
        lambda p: inference.kv_cache_bytes(p.llama.config, 1, 4, "fp16"),
        "dtype must be a torch.dtype, got 'fp16'",
    ),
]

PAIRS = torch.ones(2, 4)
SEARCH = [
    (lambda p: search.BM25(k1=HUGE), "k1 must be a finite number"),
    (lambda p: search.BM25(b=2), "b must be between 0 and 1, got 2"),
    (lambda p: search.BM25(variant="bm25+"), r"variant must be one of 'lucene', 'okapi', got 'bm25\+'"),
    (lambda p: search.BM25().fit([]), "corpus must hold at least one text, got none"),
    (lambda p: search.BM25().fit(torch.tensor(1)), "corpus must be a list of str, got Tensor"),
    (lambda p: search.BM25().fit(["a", "b"], ids=torch.zeros(2, 3)), "ids must hold str or int only, got Tensor"),
    (lambda p: p.bm25.remove([7]), "ids must be in the index, got 7 which is not"),
    (lambda p: p.bm25.add(["a"], [0]), "ids must be new, got 0 which is already there"),
    (lambda p: p.bm25.scores(["cat"]), r"query must hold str only, got \['cat'\]"),
    (lambda p: p.bm25.search("cat"), "queries must be a list of str, got 'cat'"),
    (lambda p: p.bm25.search(["cat"], k=0), "k must be at least 1, got 0"),
    (lambda p: p.bm25.save(None), "path must be a path, got None"),
    (lambda p: search.BM25.load({}), "BM25 index must be a path, got {}"),
    (lambda p: p.bm25.document_frequency(["cat"]), r"word must be a str, got \['cat'\]"),
    (lambda p: search.standard_scores([1.0, NAN]), "scores must be finite numbers of one dimension, got "),
    (lambda p: search.standard_scores(np.ones((2, 2))), "scores must be finite numbers of one dimension, got ndarray"),
    (lambda p: search.share_named("the cat", ["cat"], len), "query must be a list of str, got 'the cat'"),
    (lambda p: search.hold_out(["a text"]), "passages must be a list of Passages, got "),
    (lambda p: search.hold_out([data.Passage("a#0", "a", "A", "")] * 2), "passage ids must differ, 'a#0' came twice"),
    (lambda p: search.choose({"bm25": np.ones(40)}), "places must hold an array .* for each of bm25, dense"),
    (lambda p: search.rrf([["a"]], weights=3), "weights must be a list of numbers, got 3"),
    (lambda p: search.rrf([["a", "a"]]), r"rankings\[0\] must list every id once, got 'a' more than once"),
    (lambda p: search.group_ranking([1], str), r"ranking must be a list of \(id, score\), got \[1\]"),
    (lambda p: search.group_ranking([], None), "group_of must be a function from id to id, got None"),
    (lambda p: search.HybridSearch(p.bm25, None), "dense must have a method search"),
    (lambda p: search.HybridSearch(p.bm25, p.bm25).search(5), "query must be a list of str, got 5"),
    (lambda p: p.index.search(np.eye(4), 10**10), "k must leave room for a table of 4 rows, got 10000000000"),
    (lambda p: search.ExactIndex(4, metric="l1"), "metric must be one of 'l2', 'cosine', 'ip', got 'l1'"),
    (lambda p: p.index.add(np.full((1, 4), NAN)), "vectors must be finite in float32, got NaN or infinity"),
    (lambda p: p.index.add(np.ones((1, 3))), r"must be numbers of shape \(N, 4\), got ndarray of shape \(1, 3\)"),
    (lambda p: p.index.search(None), r"queries must be numbers of shape \(N, 4\), got None"),
    (lambda p: p.index.search(np.ones((1, 4)), filter=5), "filter must be a function, a list of ids or a bool array"),
    (lambda p: p.index.remove(""), "ids must be integers >= 0 in one dimension, got ''"),
    (lambda p: p.index.save([]), r"path must be a path, got \[\]"),
    (lambda p: search.StaticEncoder(None, p.encoder.embeddings), "tokenizer must be a trained BPETokenizer, got None"),
    (lambda p: search.StaticEncoder(p.tok, np.zeros((2, 4), np.float32)), "a row for each of 270 tokens, got 2"),
    (lambda p: p.encoder.encode("one"), "texts must be a list of str, got 'one'"),
    (lambda p: p.encoder.encode([SURROGATE]), "lone surrogate"),
    (lambda p: p.encoder.encode(["a"], normalize=None), "normalize must be True or False, got None"),
    (lambda p: search.DenseRetriever(p.tok), "encoder must have encode"),
    (lambda p: search.DenseRetriever.load(None), "folder must be a path, got None"),
    (lambda p: search.train_encoder(p.documents * 2, tokenizer="gpt2"), "tokenizer must be a BPETokenizer or None"),
    (lambda p: search.cooccurrence_vectors([[0.5, 1.5]], 4), r"must be a list of token ids, got \[0.5, 1.5\]"),
    (lambda p: search.OneHot().fit("one"), "words must be a list of str, got 'one'"),
    (lambda p: search.BagOfWords(min_df=NAN), "min_df must be a finite number, got nan"),
    (lambda p: search.BagOfWords().fit(["개 눈 물"]), "found none .the usual one leaves out words of one character"),
    (lambda p: search.BagOfWords().fit([None]), "texts must hold str only, got None at position 0"),
    (lambda p: search.TfIdf(vocabulary=5), "vocabulary must list words, at least one, got 5"),
    (lambda p: search.TfIdf().transform(["a"]), r"this TfIdf has counted no texts: call fit\(texts\) first"),
    (lambda p: search.Word2Vec(dim=HUGE), "dim must fit into 64 bits"),
    (lambda p: search.Word2Vec().fit(5), "sentences must be lists of words, got 5"),
    (lambda p: search.Word2Vec.load([]), r"word2vec model must be a path, got \[\]"),
    (lambda p: search.WordVectors(["a"], [[1.0, NAN]]), "vectors must be finite in float32, got NaN or infinity"),
    (lambda p: search.WordVectors.load_word2vec_format(""), "file of word vectors must be a path, got ''"),
    (lambda p: search.mnr_loss(PAIRS, PAIRS[:1]), "anchors and positives must be pairs, got 2 and 1 rows"),
    (lambda p: search.mnr_loss(PAIRS, PAIRS.double()), "positives must be of torch.float32"),
    (lambda p: search.mnr_loss(PAIRS, PAIRS, PAIRS.half()), "negatives must be of torch.float32"),
    (lambda p: search.mnr_loss(PAIRS, PAIRS, torch.ones(3, 2, 4)), "a row for each of 2 anchors, got Tensor of shape"),
    (lambda p: search.contrastive_loss(PAIRS, PAIRS, torch.tensor([0.0, 2.0])), "labels must lie between 0 and 1"),
    (lambda p: search.triplet_loss(PAIRS, PAIRS, PAIRS, margin=NAN), "margin must be a finite number, got nan"),
    (lambda p: search.mine_hard_negatives("pairs"), "pairs must be a list of pairs, got 'pairs'"),
    (lambda p: search.fine_tune(p.encoder, [("a", None)]), "must hold an anchor, a positive and negatives, all str"),
    (lambda p: search.fine_tune(None, [("a", "b"), ("c", "d")]), "encoder must be a SentenceEncoder or a StaticEnc"),
    (lambda p: search.train_cross_encoder(p.encoder, []), "encoder must be a CrossEncoder, got "),
    (lambda p: search.TwoStageSearch(p.bm25, None, []), "cross_encoder must have a method score, got None"),
    (lambda p: search.InformationRetrievalEvaluator({}, {}, {}), "queries must be a dict that holds something, got {}"),
    (lambda p: search.EmbeddingSimilarityEvaluator(["a"], ["b"], 1), "scores must be a list of numbers, got 1"),
    (lambda p: search.unique_batches([0], [frozenset("a")], 0), "size must be at least 1, got 0"),
    (lambda p: search.open_encoder("no/such/folder/here"), "no/such/folder/here"),
    (lambda p: search.cosine_similarity_loss(PAIRS.long(), PAIRS, PAIRS[:, 0]), "first must be a float tensor"),
]  # fmt: skip

DATA = [
    (lambda p: data.Document("a", None, "b"), "title of a Document must be a str, got None"),
    (lambda p: data.Question("a", "gold"), "gold of a Question must be a tuple of str, got 'gold'"),
    (lambda p: data.split_passages(np.array(3)), "documents must be a list of Documents, got ndarray"),
    (lambda p: data.split_passages(p.documents * 2), "document ids must differ, 'one' came twice"),
    (lambda p: data.split_passages(p.documents, max_words=1), "max_words must be at least 8, got 1"),
    (lambda p: data.korean_documents(n=0), "n must be between 1 and"),
    (lambda p: data.korean_questions(n=2.0), "n must be an integer, got 2.0"),
    (lambda p: data.load_dataset("klu"), "no data set is named 'klu'; there are alpaca"),
    (lambda p: data.load_dataset("nsmc", "dev"), "split of 'nsmc' must be one of .* got 'dev'"),
    (
        lambda p: data.load_dataset("nsmc", "train", progress="bar"),
        "progress must be a function or None, got 'bar'",
    ),
    (lambda p: data.train_and_held_out(p.documents, held_out=HUGE), "held_out must be a finite number"),
    (lambda p: data.read_documents(None), "path must be a file or a folder, got None"),
    (lambda p: data.read_questions(None), "question file must be a path, got None"),
    (
        lambda p: data.small_tasks(3, "dev"),
        "part must be one of 'all', 'train', 'validation', 'test', got 'dev'",
    ),
    (
        lambda p: data.instruction_rows([{"text": "a"}]),
        r"row 1: expected instruction .* its keys are \['text'\]",
    ),
    (lambda p: data.read_preferences(None), "data file must be a path, got None"),
]

RANKED = [["a", "b"]]
EVALUATION = [
    (lambda p: evaluation.perplexity(None, [1, 2], 2), "model must be a language model to call, got None"),
    (lambda p: evaluation.perplexity(p.llama, [1], 2), "at least two ids"),
    (lambda p: evaluation.perplexity(p.llama, [1, 2], 2, stride=3), "stride must be between 1 and 2, got 3"),
    (lambda p: evaluation.bits_per_byte(p.llama, [1, 2], 0, 2), "num_bytes must be at least 1, got 0"),
    (lambda p: evaluation.recall_at_k(RANKED, [set()]), r"gold\[0\] must name at least one right id"),
    (lambda p: evaluation.hit_at_k(RANKED, [["a"]], k=0), "k must be at least 1, got 0"),
    (
        lambda p: evaluation.mrr(np.array(3), [["a"]]),
        "rankings must be a list with one item a query, got ndarray",
    ),
    (lambda p: evaluation.map_score(RANKED, []), "got 1 rankings and 0 gold"),
    (lambda p: evaluation.ndcg(RANKED, [{"a": NAN}]), "grade of 'a' must be a finite number, got nan"),
    (lambda p: evaluation.precision_at_k(RANKED, [["a"]], HUGE), "k must fit into 64 bits"),
    (
        lambda p: evaluation.retrieval_metrics(RANKED, [["a"]], ndcg_at_k=[0]),
        "ndcg_at_k must be at least 1, got 0",
    ),
    (lambda p: evaluation.spearman([1, NAN], [1, 2]), "x must be a list of finite numbers"),
]

COURSE = [
    (lambda p: course.show(len), "show .*built-in function len"),
    (lambda p: course.check("2-1-a", 1), "exercise id looks like .*, got '2-1-a'"),
    (lambda p: course.exercise("99-1-a", points=0), "points must be at least 1, got 0"),
    (lambda p: course.setup(seed=-1), "seed must be between 0 and 4294967295, got -1"),
    (lambda p: course.plot_lines({}), "series must be a dict with str names and at least one entry, got {}"),
    (lambda p: course.plot_lines({"a": [1, 2]}, ax="left"), "ax must be matplotlib Axes or None, got 'left'"),
    (lambda p: course.plot_loss([1]), r"history must be a list of dicts .* got \[1\]"),
    (lambda p: course.plot_bars({"a": HUGE}), "a must be numbers"),
    (lambda p: course.plot_points([[1, 2]], labels=np.array(3)), "labels must be 1 names"),
    (lambda p: course.plot_heatmap([[1, 2]], columns=[1, 2]), "columns must hold str only, got 1"),
    (lambda p: course.plot_heatmap([[1, 2]], limits=5), "limits must be non-empty"),
    (lambda p: course.plot_attention([[1.0]], ["a"], per_row=0), "per_row must be at least 1, got 0"),
    (lambda p: course.plot_tokens({"a": 1}), "row 'a' must be a list of str, one a piece, got 1"),
    (lambda p: course.figure_png("plot"), "plot must be a function or None, got 'plot'"),
]

ROOMS = {
    "tokenizer": TOKENIZER,
    "nn": NN,
    "models": MODELS,
    "training": TRAINING,
    "quantization": QUANTIZATION,
    "inference": INFERENCE,
    "search": SEARCH,
    "data": DATA,
    "evaluation": EVALUATION,
    "course": COURSE,
}
CALLS = [
    pytest.param(call, message, id=f"{room}-{number:02}")
    for room, calls in ROOMS.items()
    for number, (call, message) in enumerate(calls)
]


@pytest.mark.parametrize(("call", "message"), CALLS)
def test_bad_arguments_are_refused_with_words(call, message):
    with pytest.raises(ValueError, match=message):
        call(parts())


# --- files -----------------------------------------------------------------------------------------------------------


def quantized_folder(folder: Path) -> None:
    save_quantized(quantization.quantize(parts().llama, skip=()), folder)


def shards(folder: Path) -> None:
    """A model folder of two weight files and their index, as transformers writes large models."""
    parts().llama.save_pretrained(folder)
    weights = models.Llama.to_hugging_face(parts().llama, parts().llama.state_dict())
    names = sorted(weights)
    where = {name: f"shard-{i % 2}.safetensors" for i, name in enumerate(names)}
    for file in set(where.values()):
        save_file({name: weights[name].contiguous() for name in names if where[name] == file}, folder / file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def checkpoint(folder: Path) -> None:
    config = training.TrainerConfig(
        max_steps=1, batch_size=1, context_length=4, progress=False, checkpoint_folder=folder, seed=1
    )
    training.Trainer(models.GPT2(parts().gpt2.config), config, list(range(20))).train()


def resume(folder: Path) -> None:
    config = training.TrainerConfig(max_steps=1, batch_size=1, context_length=4, progress=False, seed=1)
    model = models.GPT2(parts().gpt2.config)
    training.Trainer(model, config, list(range(20))).train(resume_from_checkpoint=folder / "checkpoint-1")


def old_pair(folder: Path) -> None:
    content = json.loads(parts().tok.save(folder / "whole.json").read_text("utf-8"))
    (folder / "vocab.json").write_text(json.dumps(content["model"]["vocab"]))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *content["model"]["merges"]]), "utf-8")


def llama2c_model(folder: Path) -> None:
    """Seven integers and the weights of one layer of width 2 with a vocabulary of 3."""
    numbers = 3 * 2 + 2 + 4 * 4 + 2 + 3 * 4 + 2 + 2 * 4 * 1
    header = np.array([2, 2, 1, 1, 1, 3, 4], "<i4").tobytes()
    (folder / "model.bin").write_bytes(header + np.linspace(-1, 1, numbers, dtype="<f4").tobytes())


def llama2c_tokenizer(folder: Path) -> None:
    names = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % byte for byte in range(256))]
    names += [f"piece{i}".encode() for i in range(512 - len(names))]
    sizes = np.array([max(map(len, names))], "<i4").tobytes()
    rows = (np.float32(-i).tobytes() + np.int32(len(name)).tobytes() + name for i, name in enumerate(names))
    (folder / "tok512.bin").write_bytes(sizes + b"".join(rows))


def dataset(kind: str, content: bytes, name: str):
    def make(folder: Path) -> None:
        (folder / name).write_bytes(content)

    def load(folder: Path) -> None:
        read_source([folder / name], kind, {"add": [{}], "types": {"label": "int"}})

    return make, load, name


def without_checksums(make):
    """The same folder as others write it: what is in a file must then be judged by reading it."""

    def write(folder: Path) -> None:
        make(folder)
        (folder / "checksums.json").unlink()

    return write


def tokenizer_folder(folder: Path) -> None:
    parts().tok.save(folder)


def llama_folder(folder: Path) -> None:
    parts().llama.save_pretrained(folder)


def gpt2_folder(folder: Path) -> None:
    parts().gpt2.save_pretrained(folder)


STEP = "checkpoint-1/"
SQUAD = {"data": [{"paragraphs": [{"context": "c", "qas": [{"id": "1", "question": "q", "answers": []}]}]}]}


# (make, load, file, sealed: a checksum notices every flipped bit)
def filled(index, folder):
    """Save an approximate index of a few vectors."""
    if len(index) == 0:
        index.add(np.random.default_rng(0).normal(size=(30, 4)))
    index.save(folder / "i")


FILES = {
    "tokenizer": (tokenizer_folder, tokenizer.load_tokenizer, "tokenizer.json", True),
    "open tokenizer": (without_checksums(tokenizer_folder), tokenizer.load_tokenizer, "tokenizer.json", False),
    "vocabulary": (old_pair, tokenizer.load_tokenizer, "vocab.json", False),
    "merges": (old_pair, tokenizer.load_tokenizer, "merges.txt", False),
    "llama2c tokenizer": (llama2c_tokenizer, lambda f: tokenizer.load_tokenizer(f / "tok512.bin"), "tok512.bin", False),
    "config": (llama_folder, models.load_model, "config.json", True),
    "checksums": (llama_folder, models.load_model, "checksums.json", False),
    "open config": (without_checksums(llama_folder), models.load_model, "config.json", False),
    "open gpt2 config": (without_checksums(gpt2_folder), models.load_model, "config.json", False),
    "weights": (llama_folder, models.load_model, "model.safetensors", True),
    "shard": (shards, models.load_model, "shard-1.safetensors", False),
    "weight index": (shards, models.load_model, "model.safetensors.index.json", False),
    "llama2c model": (llama2c_model, lambda f: load_llama2c(f / "model.bin"), "model.bin", False),
    "training state": (checkpoint, resume, STEP + "training.state", True),
    "checkpoint weights": (checkpoint, resume, STEP + "model.safetensors", True),
    "quantized": (quantized_folder, load_quantized, "quantized.state", True),
    "bm25": (lambda f: parts().bm25.save(f / "i"), lambda f: search.BM25.load(f / "i"), "i", True),
    "exact index": (lambda f: parts().index.save(f / "i"), lambda f: search.ExactIndex.load(f / "i"), "i", True),
    "ivf index": (partial(filled, search.IVFIndex(4, n_lists=2)), lambda f: search.IVFIndex.load(f / "i"), "i", True),
    "hnsw index": (partial(filled, search.HNSWIndex(4, m=2)), lambda f: search.HNSWIndex.load(f / "i"), "i", True),
    "encoder weights": (
        lambda f: parts().encoder.save_pretrained(f), search.StaticEncoder.from_pretrained, "model.safetensors", True
    ),
    "encoder settings": (
        lambda f: parts().encoder.save_pretrained(f), search.StaticEncoder.from_pretrained, "modules.json", True
    ),
    "dense documents": (lambda f: parts().dense.save(f), search.DenseRetriever.load, "documents.json", False),
    "json data": (*dataset("json", b'[{"text": "a", "label": 1}, {"text": "b"}]', "rows.json"), False),
    "squad data": (*dataset("squad", json.dumps(SQUAD).encode(), "squad.json"), False),
}  # fmt: skip


@pytest.fixture(scope="module", params=list(FILES))
def saved(request, tmp_path_factory):
    """(folder with a whole file, its loader, the file, whether it is sealed)"""
    make, load, name, sealed = FILES[request.param]
    folder = tmp_path_factory.mktemp("whole")
    make(folder)
    load(folder)
    return folder, load, folder / name, sealed


def loads_or_names(load, folder: Path, path: Path, content: bytes) -> bool:
    """Whether `load` takes the folder with this content in the file; if not, it must say which folder is bad."""
    whole = path.read_bytes()
    path.write_bytes(content)
    refusal = None
    try:
        load(folder)
    except ValueError as error:
        refusal = error
    finally:
        path.write_bytes(whole)
    named = refusal is None or (isinstance(refusal, BadFileError) and str(folder) in str(refusal))
    assert named, f"{refusal!r} for {content[:60]!r}..."
    return refusal is None


def test_a_file_cut_anywhere_is_refused_by_name(saved):
    folder, load, path, _ = saved
    whole = path.read_bytes()
    for length in cuts(whole, 30):
        assert not loads_or_names(load, folder, path, whole[:length]), (
            f"cut at {length} of {len(whole)} bytes"
        )


def test_flipped_bits_are_refused_or_read_but_never_crash(saved):
    folder, load, path, sealed = saved
    whole = path.read_bytes()
    for number, place in enumerate(cuts(whole, 40)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << number % 8
        taken = loads_or_names(load, folder, path, bytes(damaged))
        assert not (sealed and taken), f"bit {number % 8} of byte {place} is flipped and nobody noticed"


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b"5", b'"text"', b"[" * 100_000, b"9" * 5000, b"\xff\xfe"]
)
def test_a_json_file_of_another_shape_is_refused_by_name(saved, content):
    folder, load, path, _ = saved
    if path.suffix == ".json" and not (content == b"[]" and path.name == "rows.json"):  # no rows are rows too
        assert not loads_or_names(load, folder, path, content)


@pytest.mark.parametrize(
    ("kind", "load"),
    [
        ("BM25 index", search.BM25.load),
        ("exact index", search.ExactIndex.load),
        ("IVF index", search.IVFIndex.load),
        ("HNSW index", search.HNSWIndex.load),
        ("NSW index", search.NSWIndex.load),
    ],
)
@pytest.mark.parametrize("meta", [None, {}, [], {"k1": 1}])
def test_a_sealed_file_that_lacks_its_parts_is_refused_by_name(tmp_path, kind, load, meta):
    path = save_arrays(tmp_path / "i", kind, {"other": np.zeros(3)}, meta)
    with pytest.raises(BadFileError, match=re.escape(str(path))):
        load(path)


def test_a_refused_checkpoint_changes_nothing(tmp_path):
    checkpoint(tmp_path)
    model = models.GPT2(parts().gpt2.config, seed=7)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    config = training.TrainerConfig(max_steps=1, batch_size=1, context_length=4, progress=False, seed=1)
    run = partial(training.Trainer(model, config, list(range(20))).train, tmp_path / "checkpoint-1")
    state = tmp_path / "checkpoint-1" / "model.safetensors"
    state.write_bytes(state.read_bytes()[:-3])
    with pytest.raises(BadFileError, match=re.escape(str(state))):
        run()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    shutil.rmtree(tmp_path / "checkpoint-1")
    with pytest.raises(BadFileError, match=r"training\.state"):
        run()
