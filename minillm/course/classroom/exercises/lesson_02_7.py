"""Checkers of lesson 02_7, architectures."""

import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    ATTENTION,
    Inputs,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    packages_of,
    plain,
    shown,
)
from minillm.course.page.instruments import watch
from minillm.models import (
    BERT,
    BERTConfig,
    LlamaBody,
    LlamaConfig,
    RoBERTa,
    RoBERTaConfig,
    T5Body,
    T5Config,
    T5Encoder,
)

READY_MADE = (
    "minillm.models.encoder.EncoderBody.forward",
    "minillm.nn.blocks.EncoderBlock.forward",
    "minillm.nn.blocks.FeedForward.forward",
    "minillm.nn.attention.MultiHeadAttention.forward",
    *ATTENTION,
    "torch.nn.TransformerEncoderLayer.forward",
)

# what torch's operations that hold a whole attention, or a whole block, have in their names
FUSED = ("scaled_dot_product", "multi_head_attention", "transformer_encoder_layer")


def small_bert(vocab, width, layers, heads, hidden, places, types, seed=0):
    """A BERT of these sizes."""
    return BERT(
        BERTConfig(
            vocab_size=vocab,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=hidden,
            max_position_embeddings=places,
            type_vocab_size=types,
            initializer_range=0.5,
        ),
        seed,
    )


@exercise("02-7-a", points=2)
def count(answer):
    """The parameters of a BERT, against one that is built."""
    copied = copied_library(answer)
    assert not copied, f"count by arithmetic: your answer uses {copied}"
    for case in cases(
        vocab=(1, 11, 50),
        width=(1, 2, 3, 5),
        layers=(1, 2, 3),
        heads=(1, 2, 4),
        hidden=(1, 7, 16),
        places=(1, 9, 40),
        types=(1, 2, 4),
        most=24,
    ):
        sizes = {**vars(case), "width": case.width * case.heads}
        del sizes["seed"]
        expected = sum(p.numel() for p in small_bert(**sizes).parameters())
        with forbid("plain arithmetic, nothing is built", "torch.nn.Module.__init__", answer=answer):
            found = answer(*sizes.values())
        expect(found, expected, hint=f"{', '.join(f'{name}={size}' for name, size in sizes.items())}")


def body_case(case):
    """A BERT's tensors in any order, what the answer is asked, and the library's output."""
    inputs, B, T = Inputs(case.seed), case.B, case.T
    model = small_bert(9, case.heads * case.D, case.layers, case.heads, case.hidden, T + 2, case.types)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # small tables: there ε is seen; biases and norms that are not 0 and 1
            parameter.copy_(inputs.tensor(*parameter.shape, scale=0.4 if "blocks" in name else 0.01))
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1.0)
        model.pooler.weight.copy_(inputs.tensor(*model.pooler.weight.shape))
        ids = torch.tensor([inputs.integers(T, 1, 8) for _ in range(B)])
        types = torch.tensor([inputs.integers(T, 0, case.types - 1) for _ in range(B)])
        lengths = torch.tensor(
            [[T] if case.padding == "none" else inputs.integers(1, 1, T) for _ in range(B)]
        )
        places = torch.arange(T)
        mask = (places >= T - lengths if case.padding == "left" else places < lengths).long()
        out = model(ids, mask, types)
    tensors = {name: tensor.clone() for name, tensor in model.to_hugging_face(model.state_dict()).items()}
    tensors = {name: tensors[name] for name in inputs.shuffled(sorted(tensors))}
    return (tensors, ids.clone(), types.clone(), mask.clone(), case.heads), mask, out


@exercise("02-7-b", points=4)
def read(answer):
    """BERT's body from its tensors, against the library's."""
    copied = copied_library(answer)
    copied = copied or packages_of(answer, "transformers")
    assert not copied, f"build the body yourself: your answer uses {copied}"
    sizes = {"B": (1, 3), "T": (1, 2, 6), "layers": (1, 2, 3, 11), "heads": (1, 2, 3), "D": (2, 3, 5)}
    every = [*cases(**sizes, hidden=(5, 16), types=(1, 2, 3), padding=("none", "left", "right"), most=24)]
    prepared = [body_case(case) for case in every]
    with torch.no_grad(), forbid("build the body yourself", *READY_MADE, answer=answer), watch() as seen:
        answers = [answer(*given) for given, _, _ in prepared]
    ready = [one.name for one in seen.operations if any(part in one.name for part in FUSED)]
    assert not ready, f"build the attention yourself: your answer runs PyTorch's {ready[0]}"
    for case, found, (_, mask, out) in zip(every, answers, prepared):
        parts = [*found] if type(found) in (tuple, list) else []
        wish = "return two tensors, the vectors and what the pooler gives"
        assert len(parts) == 2, f"{wish}, got {shown(found)}"
        for name, one, wanted, words in zip(
            ("the vectors", "the pooler's"),
            parts,
            (out.last_hidden_state, out.pooler_output),
            (mask == 1, mask[:, 0] == 1),
        ):
            assert isinstance(one, torch.Tensor), f"{case}: {name} must be a tensor, got {type(one).__name__}"
            shape = tuple(torch.Tensor.size(one))
            assert shape == tuple(wanted.shape), f"{case}: {name} must be {tuple(wanted.shape)}, got {shape}"
            hint = f"{case}: {name}, where there is a token: "
            hint += "is padding hidden, is each norm on the sum, are the biases, types and places added?"
            expect(torch.Tensor.__getitem__(one, words), wanted[words], 1e-4, hint)


SMALL = {"vocab_size": 10, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
         "max_position_embeddings": 16, "initializer_range": 0.5}  # fmt: skip
T5_SMALL = {"vocab_size": 10, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 2, "num_heads": 2}


def padding_gap(model, ids, mask):
    """How far the vectors of tokens are, at most, from those of the row's tokens read alone."""
    gaps = [0.0]
    with torch.no_grad():
        together = model(ids, mask).last_hidden_state
        for row, words, vectors in zip(ids, mask == 1, together):
            alone = model(row[words][None]).last_hidden_state[0]
            gaps.append((alone - vectors[words]).abs().max().item())
    return max(gaps)


@exercise("02-7-c", points=3)
def padded(answer):
    """A batch whose padding matters to BERT only."""
    parts = as_list(answer, "the batch", 2)
    ids, mask = (
        [as_list(row, f"a row of {name}") for row in as_list(part, name)]
        for name, part in zip(("ids", "mask"), parts)
    )
    B, T = len(ids), len(ids[0]) if ids else 0
    assert {B, T} <= set(range(1, 9)), f"B and T must be 1 to 8, got {B} rows, the first of {T} ids"
    for name, rows, top in (("ids", ids, 9), ("mask", mask, 1)):
        assert [len(row) for row in rows] == B * [T], (
            f"ids and mask must both have {B} rows of {T} numbers, got {shown(rows)} as {name}"
        )
        for one in (one for row in rows for one in row):
            assert one in (*range(top + 1),), (
                f"{name} must hold whole numbers from 0 to {top}, got {shown(one)}"
            )
    ids, mask = (torch.tensor(part).long() for part in (ids, mask))
    assert mask.any(1).all(), f"every row must have a token, got the mask {shown(mask)}"
    assert not mask.all(), "no place of the mask is 0: the batch has no padding"
    for seed in range(3):
        gaps = {
            "RoBERTa": padding_gap(RoBERTa(RoBERTaConfig(**SMALL, pad_token_id=0), seed), ids, mask),
            "T5": padding_gap(T5Encoder(T5Config(**T5_SMALL), seed), ids, mask),
        }
        for name, gap in gaps.items():
            assert gap < 1e-3, (
                f"{name} must give the same vectors with and without padding, they differ by {gap:.3f}"
            )
        gap = padding_gap(BERT(BERTConfig(**SMALL), seed), ids, mask)
        assert gap > 1e-3, (
            f"BERT gives the same vectors with this padding as without it (difference {gap:.3f})"
        )


def what_changes():
    """The six cases, tried."""

    def changed(run, place):
        """Whether the vector that `run` gives for six ids changes with the id at `place`."""
        ids = torch.tensor([[1, 2, 3, 4, 5, 6]])
        other = ids.clone()
        other[0, place] = 9
        with torch.no_grad():
            return bool((run(ids) - run(other)).abs().max() > 1e-4)

    def llama(layers, **options):
        sizes = {"vocab_size": 10, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
        body = LlamaBody(LlamaConfig(**sizes, num_hidden_layers=layers, initializer_range=0.5, **options))
        return lambda ids, place: body(ids).last_hidden_state[0, place]

    bert, t5 = BERT(BERTConfig(**SMALL)), T5Body(T5Config(**T5_SMALL))
    plain_llama = llama(2)
    one, two = (llama(layers, model_type="mistral", sliding_window=2) for layers in (1, 2))
    half = slice(0, 3), slice(3, 6)  # the first text and the second

    def t5_run(ids):
        return t5(ids[:, half[0]], decoder_input_ids=ids[:, half[1]])

    return [
        changed(lambda ids: bert(ids).last_hidden_state[0, 0], 5),
        changed(lambda ids: plain_llama(ids, 4), 5),
        changed(lambda ids: t5_run(ids).encoder_last_hidden_state[0, 0], 3),
        changed(lambda ids: t5_run(ids).last_hidden_state[0, 0], 2),
        changed(lambda ids: one(ids, 2), 0),
        changed(lambda ids: two(ids, 2), 0),
    ]


@exercise("02-7-d", points=2)
def changes(answer):
    """Six times True or False, against small models."""
    found = as_list(plain(answer, "changes"), "changes", 6)
    for one in found:
        assert one in (0, 1), f"changes must hold True and False, got {shown(one)}"
    right = sum(bool(one) == wanted for one, wanted in zip(found, what_changes()))
    assert right == 6, f"{right} of your 6 answers are right"
