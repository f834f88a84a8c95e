"""Random schedules for the engine: who arrives when, asks for what, and hangs up when; each drawn from one seed."""

import random
from collections import Counter

from minillm.inference import Engine, SamplingParams, generate_batch
from minillm.tokenizer import BPETokenizer
from tests.inference.test_generation_loop import llama

PROMPTS = [
    [7],
    [1, 2, 3],
    [1, 2, 3, 4],  # exactly one block of four, two blocks of two
    [1, 2, 3, 4, 5, 6, 7, 8],
    [1, 2, 3, 4, 5, 6, 7, 9],  # the same but for the last token
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    [30, 1, 2, 3, 4, 5, 6],  # the same tokens one place on: nothing in common
    [9] * 12,
    list(range(20, 35)),
]
PARAMS = [
    SamplingParams(max_tokens=9, temperature=0),
    SamplingParams(max_tokens=1, temperature=0),
    SamplingParams(max_tokens=7, seed=1),
    SamplingParams(max_tokens=9, seed=2, top_k=9, top_p=0.9, min_tokens=2, stop_token_ids=[*range(20)]),
    SamplingParams(max_tokens=8, seed=3, repetition_penalty=1.3, frequency_penalty=0.4, presence_penalty=0.2),
    SamplingParams(max_tokens=6, seed=4, n=3, logprobs=2, stop=[(3,), (4, 4), 5]),
    SamplingParams(max_tokens=6, seed=4, n=3, stop_token_ids=[*range(0, 50, 4)]),
    SamplingParams(max_tokens=5, seed=5, n=2, best_of=4),
    SamplingParams(max_tokens=8, beams=3, n=2, temperature=0),
    SamplingParams(max_tokens=8, beams=4, stop_token_ids=[*range(0, 50, 5)], logprobs=1),
    SamplingParams(max_tokens=4, temperature=0, prompt_logprobs=2, logprobs=0),
    SamplingParams(max_tokens=6, temperature=0, no_repeat_ngram_size=2, logit_bias={3: 5.0, 4: -100}),
]
_alone: dict = {}


def spelling(**options):
    """A model of 280 tokens and its tokenizer."""
    tokenizer = BPETokenizer.train(["hello there, 안녕하세요 여러분, hello again"] * 3, vocab_size=280)
    return llama(vocab_size=tokenizer.vocab_size, max_position_embeddings=128, **options), tokenizer


def alone(model, prompt, params):
    """What generate_batch makes of the request by itself; worked out once."""
    key = (id(model), tuple(prompt), PARAMS.index(params) if params in PARAMS else params)
    if key not in _alone:
        _alone[key] = model, generate_batch(model, [prompt], params)
    return _alone[key][1]


def close(said, expected):
    """Whether two lists of log probabilities say the same of the same tokens."""
    if said is None or expected is None:
        return said is expected
    pairs = list(zip(said, expected, strict=True))
    return all((a is None) == (b is None) for a, b in pairs) and all(
        abs(a[i] - b[i]) < 1e-3 for a, b in pairs if a is not None for i in a.keys() & b.keys()
    )


def audit(engine):
    """Every block is in as many tables as its count says, and free exactly if it is in none."""
    blocks, scheduler = engine.blocks, engine.scheduler
    tables = [
        s.table
        for r in (*scheduler.running, *scheduler.waiting)
        for s in (*r.sequences, *r.kept)
        if s.table is not None
    ]
    named = Counter(block for table in tables for block in table.blocks)
    assert [named[block] for block in range(blocks.num_blocks)] == blocks.references
    assert blocks.free_blocks == blocks.references.count(0)
    seats = [seat for seats in scheduler.seats.values() for seat in seats]
    assert len(seats) == len(set(seats)) <= scheduler.max_batch_size
    assert set(scheduler.seats) == set(scheduler.running)


def random_engine(model, rng, batching, draft=None, slots=None):
    """An engine so small that requests push one another out."""
    size = rng.choice([1, 2, 3, 4, 8])
    width = rng.randint(4, 7)
    return Engine(
        model,
        block_size=size,
        num_blocks=slots
        or rng.randint(*{1: (26, 60), 2: (14, 30), 3: (10, 22), 4: (8, 18), 8: (5, 10)}[size]),
        max_batch_size=width,
        max_batch_tokens=rng.choice([width, width + 3, 16, 64]),
        batching=batching,
        prefix_caching=rng.random() < 0.7,
        draft=draft,
        k=rng.choice([1, 2, 4, 9]),
    )


def run_schedule(model, seed, batching="continuous", draft=None, slots=None):
    """One schedule from arrival to the last token; every completion is compared with the request alone.

    draft: of the engine; the request alone has none. slots: of a model with a state of fixed size.
    """
    rng = random.Random(seed)
    engine = random_engine(model, rng, batching, draft, slots)
    coming = []
    for _ in range(rng.randint(2, 9)):
        at = rng.choice([0, 0, 0, rng.randint(0, 20)])
        coming.append(
            (at, rng.choice(PROMPTS), rng.choice(PARAMS), rng.randint(1, 25) if rng.random() < 0.2 else None)
        )
    coming.sort(key=lambda one: one[0])
    asked, tokens, said, ended, gone, began, order = {}, {}, {}, {}, {}, {}, []
    for step in range(4000):
        while coming and coming[0][0] <= step:
            _, prompt, params, patience = coming.pop(0)
            try:
                name = engine.add_request(prompt, params)
            except ValueError as error:
                if "may need" not in str(error):  # more blocks than this engine has
                    raise
                continue
            asked[name] = prompt, params
            order.append(name)
            if patience:
                gone[name] = step + patience
        for name in [name for name, when in gone.items() if when == step]:
            if engine.abort(name):
                del asked[name]
            audit(engine)
        for out in engine.step():
            key = out.request_id, out.index
            began.setdefault(out.request_id, step)
            tokens.setdefault(key, []).extend(out.token_ids)
            said.setdefault(key, []).extend(out.logprobs or [])
            if out.finished:
                ended[key] = out.finish_reason
        audit(engine)
        if not coming and not engine.unfinished:
            break
    assert not engine.unfinished, f"schedule {seed} does not end"
    stats = engine.stats()
    assert stats["free_blocks"] == stats["num_blocks"]
    assert not any(engine.blocks.references)
    assert stats["running"] == stats["waiting"] == 0
    for name, (prompt, params) in asked.items():
        for i, one in enumerate(alone(model, prompt, params)):
            assert tokens[name, i] == one.token_ids, f"schedule {seed}, request {name}, completion {i}"
            assert ended[name, i] == one.finish_reason
            assert params.logprobs is None or close(said[name, i], one.logprobs)
    return [began[name] for name in order if name in asked and not _late(asked[name][1])], stats


def _late(params):
    return params.beams > 1 or params.best_of is not None
