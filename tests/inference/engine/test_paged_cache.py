"""Pages against one piece of memory: the same logits, text by text, whatever stands beside it."""

import pytest
import torch

from minillm.inference import PagedKVCache
from minillm.inference.engine import Chunk
from minillm.inference.engine.paged_attention import attend_gathered, decode_plain
from minillm.nn.attention import attention
from tests.inference.test_generation_loop import gpt2, llama

MODELS = {
    "gpt2": gpt2,
    "llama": llama,
    "mistral": lambda: llama(model_type="mistral", sliding_window=5),
    "qwen3": lambda: llama(model_type="qwen3", head_dim=8),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [1, 3, 4])
def test_mixed_steps_give_the_logits_of_each_text_alone(name, size):
    model = MODELS[name]()
    cache = PagedKVCache(model.config, 44, size, model.dtype, model.device, model.body.windows)
    texts = [torch.randint(50, (n,), generator=torch.Generator().manual_seed(n)) for n in (24, 7, 9)]
    order = torch.randperm(44, generator=torch.Generator().manual_seed(0)).tolist()
    tables = [[order.pop() for _ in range(-(-len(text) // size))] for text in texts]
    # (text, start, count), short pieces first
    steps = [
        [(1, 0, 1), (2, 0, 2), (0, 0, 11)],
        [(0, 11, 1), (1, 1, 3), (2, 2, 5)],
        [(2, 7, 1), (1, 4, 3), (0, 12, 12)],
        [(2, 8, 1)],
    ]
    got = [torch.empty(len(text), 50) for text in texts]
    with torch.inference_mode():
        for step in steps:
            positions = cache.begin([Chunk(tables[i], start, count) for i, start, count in step])
            ids = torch.cat([texts[i][start : start + count] for i, start, count in step])[:, None]
            logits = model(ids, cache=cache, position_ids=positions).logits[:, 0]
            for i, start, count in step:
                got[i][start : start + count], logits = logits[:count], logits[count:]
        for text, found in zip(texts, got):
            torch.testing.assert_close(found, model(text[None]).logits[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("window", [None, 1, 6, 50])
@pytest.mark.parametrize("heads", [(4, 4), (6, 2), (3, 1)])
def test_reading_blocks_in_place_is_attention_over_one_piece(window, heads):
    (H, K), B, D, size = heads, 3, 16, 4
    generator = torch.Generator().manual_seed(H)
    keys, values = (torch.randn(20, size, K, D, generator=generator) for _ in range(2))
    tables = torch.randperm(20, generator=generator)[: 3 * 5].view(3, 5).int()
    lengths, q = torch.tensor([1, 11, 20], dtype=torch.int32), torch.randn(B, H, D, generator=generator)
    got = decode_plain(q, keys, values, tables, lengths, 0.3, window)
    for b, length in enumerate(lengths.tolist()):
        piece = [x[tables[b]].flatten(0, 1)[:length].transpose(0, 1)[None] for x in (keys, values)]
        if window is not None:
            piece = [x[:, :, -window:] for x in piece]
        expected = attention(q[b][None, :, None], *piece, scale=0.3, backend="plain")[0, :, 0]
        torch.testing.assert_close(got[b], expected, rtol=1e-5, atol=1e-5)
        gathered = attend_gathered(q[b : b + 1], keys, values, tables[b], length, 0.3, window)
        torch.testing.assert_close(gathered[0], expected, rtol=1e-5, atol=1e-5)


def test_a_copied_block_goes_its_own_way():
    cache = PagedKVCache(llama().config, 4, 2)
    cache.keys[:, 1] = 5
    cache.copy([(1, 2), (2, 3)])
    cache.keys[:, 1] = 7
    assert (cache.keys[:, 2:] == 5).all()


def test_what_does_not_fit_is_named():
    model = llama()
    cache = PagedKVCache(model.config, 4, 2)
    with pytest.raises(ValueError, match="does not fit into its blocks of 2"):
        cache.begin([Chunk([0], 1, 2)])
    with pytest.raises(ValueError, match="those of 8 tokens at most first"):
        PagedKVCache(model.config, 4, 12).begin([Chunk([0], 0, 9), Chunk([1], 0, 8)])
    bad = [
        None,
        "글",
        [[0]],
        [Chunk([0], 0.0, 1)],
        [Chunk([0.0], 0, 1)],
        [Chunk((0,), 0, 1)],
        [Chunk("글", 0, 1)],
    ]
    for chunks in bad:
        with pytest.raises(ValueError, match="does not fit into its blocks"):
            cache.begin(chunks)
    for block in (-1, 4):
        with pytest.raises(ValueError, match="blocks must be numbered from 0 to 3"):
            cache.begin([Chunk([block], 0, 1)])
        with pytest.raises(ValueError, match="of blocks 0 to 3"):
            cache.copy([(0, 1), (1, block)])
    for pairs in (None, [1], [(0, 1.0)], "글"):
        with pytest.raises(ValueError, match="of blocks 0 to 3"):
            cache.copy(pairs)
    for windows in ((1,) * 9, "글", (0,) * model.config.num_layers, (1.5,) * model.config.num_layers):
        with pytest.raises(ValueError, match="window"):
            PagedKVCache(model.config, 4, 2, windows=windows)
    with pytest.raises(ValueError, match="config must have num_layers, kv_heads and head_dim, got None"):
        PagedKVCache(None, 4)
    cache.begin([Chunk([0], 0, 1)])
    for ids in (torch.tensor([[1, 2]]), torch.tensor([[1], [2]])):
        with pytest.raises(ValueError, match="as `begin` announced"):
            model(ids, cache=cache)
    for call in (lambda: cache.crop(0), lambda: cache.select([0]), lambda: cache.of_context(0, None, None)):
        with pytest.raises(ValueError, match="pages"):
            call()


def test_pages_that_do_not_fit_are_refused_before_memory_is_read():
    q, keys, values = torch.zeros(2, 4, 8), torch.zeros(5, 4, 2, 8), torch.zeros(5, 4, 2, 8)
    tables, lengths = (
        torch.tensor([[0, 1], [4, 9]], dtype=torch.int32),
        torch.tensor([8, 3], dtype=torch.int32),
    )
    good = {"q": q, "keys": keys, "values": values, "tables": tables, "lengths": lengths}
    assert (
        decode_plain(**good, scale=None, window=None).shape == q.shape
    )  # 9 lies behind the second text's end
    empty = good | {"q": q[:0], "tables": tables[:0], "lengths": lengths[:0]}
    assert decode_plain(**empty, scale=None, window=None).shape == (0, 4, 8)
    shapes = [
        {"q": q[0]}, {"q": q[..., :4]}, {"q": q[:, :3]}, {"q": q.double()}, {"keys": keys[0]}, {"keys": keys[..., :4]},
        {"values": values[:4]}, {"values": values.half()}, {"tables": tables[0]}, {"tables": tables.float()},
        {"tables": tables[:1]}, {"lengths": lengths[:1]}, {"lengths": lengths.float()}, {"q": None},
        {"lengths": [8, 3]}, {"keys": keys[:, :, :0], "values": values[:, :, :0]},
    ]  # fmt: skip
    for changes in shapes:
        with pytest.raises(ValueError, match=r"q \(B, H, D\) needs keys and values .* got"):
            decode_plain(**good | changes, scale=None, window=None)
    for wrong in ([8, 0], [9, 3], [-1, 3]):
        with pytest.raises(ValueError, match="a length must be at least 1, and no more than its row"):
            decode_plain(
                **good | {"lengths": torch.tensor(wrong, dtype=torch.int32)}, scale=None, window=None
            )
    for wrong in ([[0, 1], [5, 0]], [[0, -1], [0, 0]]):
        with pytest.raises(ValueError, match="a table must hold numbers of blocks"):
            decode_plain(**good | {"tables": torch.tensor(wrong, dtype=torch.int32)}, scale=None, window=None)
