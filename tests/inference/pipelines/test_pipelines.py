"""Pipelines: batches, streams, refusals, what a folder is for. tests/parity/test_pipelines.py holds the numbers."""

import copy
import math
from types import GeneratorType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm._files import BadFileError
from minillm.inference import SamplingParams, generate_batch, pipeline
from minillm.inference.pipelines import TASKS
from minillm.inference.pipelines.answers import Window, best_spans, span_scores, summed
from minillm.inference.pipelines.base import Row, batches, collate
from minillm.inference.pipelines.classes import label_scores, ranked
from minillm.inference.pipelines.entities import (
    Piece,
    Tagged,
    grouped,
    without_overlaps,
    word_scores,
    words_of,
)
from tests.helpers import needs_model, soak_count
from tests.inference.pipelines.tiny import TAGS, TEXTS, bytes_, decoder, encoder, wordpiece

MASKED = [text.replace("가 ", " [MASK] ").replace("the last", "[MASK] last") + " [MASK]" for text in TEXTS]
QUESTIONS = [{"question": "어디?", "context": text} for text in TEXTS]


def made(task, **options):
    if task == "text-generation":
        return pipeline(task, decoder(), bytes_(), max_tokens=6, **options)
    head = {
        "text-classification": "ForSequenceClassification", "token-classification": "ForTokenClassification",
        "question-answering": "ForQuestionAnswering", "fill-mask": "ForMaskedLM",
        "feature-extraction": "ForMaskedLM",
    }[task]  # fmt: skip
    labels = {"id2label": TAGS} if task.endswith("classification") else {}
    return pipeline(task, encoder(head, **labels), wordpiece(), **options)


def inputs_of(task):
    return {"fill-mask": MASKED, "question-answering": QUESTIONS}.get(task, TEXTS)


def near(found, expected, tolerance=1e-6):
    if isinstance(expected, float):
        return abs(found - expected) <= tolerance * max(1, abs(expected))
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(near(found[key], expected[key]) for key in expected)
    if isinstance(expected, list) and all(
        isinstance(one, float) for one in expected
    ):  # a vector, by its size
        largest = max(map(abs, [1, *expected]))
        return len(found) == len(expected) and all(
            abs(one - other) <= 2 * tolerance * largest for one, other in zip(found, expected)
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(near(*pair) for pair in zip(found, expected))
    return found == expected


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_gives_what_its_texts_give_one_by_one(task):
    pipe, inputs = made(task), inputs_of(task)
    alone = [pipe([one, one])[0] for one in inputs]
    for size in (1, 2, 4, 100):
        assert near(pipe(inputs, batch_size=size), alone)
    assert near(pipe(inputs[::-1], batch_size=3), alone[::-1])
    assert len({repr(one) for one in alone}) > 2


def test_texts_drawn_with_a_seed_do_not_depend_on_the_batches():
    pipe = made("text-generation", temperature=1.0, top_k=0, seed=3, n=2)
    expected = pipe(TEXTS, batch_size=1)
    assert pipe(TEXTS, batch_size=4) == expected == list(pipe(iter(TEXTS), batch_size=4))
    assert expected[0][0] != expected[0][1]


@pytest.mark.parametrize("task", TASKS)
def test_a_stream_is_read_a_batch_at_a_time(task):
    pipe, inputs, read = made(task), inputs_of(task), []

    def source():
        for one in inputs:
            read.append(one)
            yield one

    stream = pipe(source(), batch_size=2)
    assert isinstance(stream, GeneratorType)
    assert not read
    first = next(stream)
    assert len(read) == 2
    assert near([first, *stream], pipe(inputs))
    assert len(read) == len(inputs)


def test_an_endless_stream():
    def source():
        while True:
            yield "비가 온다"

    stream = made("text-classification")(source())
    assert next(stream) == next(stream)


def test_columns_of_a_dataset():
    from minillm.data import Dataset

    rows = Dataset.from_dict(
        {"label": [0] * len(TEXTS), "text": TEXTS, "question": ["어디?"] * 6, "context": TEXTS}
    )
    pipe = made("text-classification")
    assert near(list(pipe(rows, batch_size=4)), pipe(TEXTS))
    answers = made("question-answering")
    assert near(list(answers(rows)), answers(QUESTIONS))
    with pytest.raises(ValueError, match=r"needs the columns text.*got.*label"):
        pipe(rows.remove_columns(["text"]))


def test_a_dataset_of_torch_and_a_column():
    from minillm.data import Dataset

    class Texts(torch.utils.data.Dataset):  # no __iter__, as torch's own have none
        def __len__(self):
            return len(TEXTS)

        def __getitem__(self, place):
            return TEXTS[place]

    pipe = made("text-classification")
    expected = pipe(TEXTS)
    found = pipe(Texts(), batch_size=4)
    assert isinstance(found, GeneratorType)
    assert near(list(found), expected)
    rows = Dataset.from_dict({"text": TEXTS})
    assert near(pipe(rows["text"], batch_size=8), expected)
    assert rows.map(lambda row: {"topic": pipe(row["text"])[0]["label"]})["topic"] == [
        one["label"] for one in expected
    ]


def test_pairs_of_a_dataset():
    from minillm.data import Dataset

    rows = Dataset.from_dict({"text": TEXTS, "text_pair": TEXTS[::-1]})
    pipe = made("text-classification")
    assert near(list(pipe(rows)), pipe(list(zip(TEXTS, TEXTS[::-1]))))


def test_the_model_keeps_its_mode_and_is_not_trained():
    model = encoder(hidden_dropout_prob=0.5)
    expected = pipeline("text-classification", model, wordpiece())(TEXTS)
    model.train()
    model.body.blocks[0].eval()
    pipe = pipeline("text-classification", model, wordpiece())
    assert pipe(TEXTS) == expected == pipe(TEXTS)
    assert model.training
    assert not model.body.blocks[0].training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("task", TASKS)
def test_no_inputs(task):
    assert made(task)([]) == []
    assert list(made(task)(iter([]))) == []


# Folders


@pytest.mark.parametrize("task", [task for task in TASKS if task != "feature-extraction"])
def test_the_task_is_read_off_the_folder(task, tmp_path):
    pipe = made(task)
    pipe.model.save_pretrained(tmp_path)
    pipe.tokenizer.save(tmp_path)
    found = pipeline(model=tmp_path, **({"max_tokens": 6} if task == "text-generation" else {}))
    assert found.task == task
    assert near(found(inputs_of(task)), pipe(inputs_of(task)))
    others = [other for other in TASKS if other not in (task, "feature-extraction")]
    for other in others:
        with pytest.raises(ValueError, match=rf"{tmp_path.name}.*{type(pipe.model).__name__}.*{other}"):
            pipeline(other, tmp_path)
        with pytest.raises(ValueError, match=f"{type(pipe.model).__name__}.*{other}"):
            pipeline(other, pipe.model, pipe.tokenizer)


def test_a_body_alone_gives_features_only(tmp_path):
    model = encoder().body
    model.save_pretrained(tmp_path)
    wordpiece().save(tmp_path)
    assert pipeline(model=str(tmp_path)).task == "feature-extraction"
    with pytest.raises(ValueError, match="BERT, which has no head for the task 'text-classification'"):
        pipeline("text-classification", tmp_path)


def test_a_folder_is_refused_before_its_weights_are_read(tmp_path, monkeypatch):
    encoder().save_pretrained(tmp_path)
    wordpiece().save(tmp_path)
    monkeypatch.setattr("minillm.inference.pipelines.load_model", lambda *a: pytest.fail("weights were read"))
    with pytest.raises(ValueError, match="fill-mask"):
        pipeline("fill-mask", tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"colour": 1}, {"batch_size": 0}, {"truncation": "somewhere"}, {"top_k": 0}]
)
def test_options_are_refused_before_anything_is_opened(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        pipeline("fill-mask", "nowhere", **wrong)


@needs_model("smollm2")
@needs_model("e5")
def test_real_models_by_name():
    write = pipeline("text-generation", "smollm2", dtype="bfloat16")
    text = write("The capital of France is", max_new_tokens=4, do_sample=False)[0]["generated_text"]
    assert "Paris" in text
    states = pipeline("feature-extraction", "e5")("query: 서울의 날씨", return_tensors=True)
    assert states.shape[0] == 1
    assert states.shape[2] == 384
    with pytest.raises(ValueError, match="model 'e5' holds a BERT, which has no head"):
        pipeline("fill-mask", "e5")


def test_folders_that_cannot_be_opened(tmp_path):
    for nowhere in (tmp_path / "nowhere" / "deep" / "down", "e6"):
        with pytest.raises(BadFileError, match="model config"):
            pipeline("text-classification", nowhere)
    encoder().save_pretrained(tmp_path)
    with pytest.raises(BadFileError, match="tokenizer"):
        pipeline("text-classification", tmp_path)
    assert pipeline("text-classification", tmp_path, wordpiece())("비가 온다")


def test_dtype_and_device(tmp_path):
    encoder().save_pretrained(tmp_path)
    wordpiece().save(tmp_path)
    exact = pipeline(model=tmp_path)(TEXTS, top_k=None)
    for device in ("cpu", -1, torch.device("cpu")):
        assert pipeline(model=tmp_path, device=device)(TEXTS, top_k=None) == exact
    half = pipeline(model=tmp_path, torch_dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    half = pipeline(model=tmp_path, dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    assert half.device.type == "cpu"
    found = half(TEXTS, top_k=None)
    assert sum(one["score"] for one in found[0]) == pytest.approx(1, abs=1e-6)
    assert found != exact
    for wrong in (
        {"device": "nowhere"},
        {"device": 99},
        {"dtype": "int7"},
        {"dtype": torch.int64},
        {"dtype": "bfloat16", "torch_dtype": "bfloat16"},
        {"batch_size": 0},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            pipeline(model=tmp_path, **wrong)


# Bad input


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "wrong",
    [None, 5, b"bytes", [None], ["비", 3], [["a", "b", "c"]], ("a", "b", "c"), {"no": "text"}],
)
def test_what_is_no_text(task, wrong):
    pipe = made(task)
    pipe.model.forward = lambda *a, **k: pytest.fail("the model ran")
    with pytest.raises(ValueError, match=f"{task}|question"):
        pipe(wrong)


@pytest.mark.parametrize("task", TASKS)
def test_options_that_a_task_does_not_have(task):
    pipe = made(task)
    for call in (lambda: pipe(inputs_of(task), colour="red"), lambda: made(task, colour="red")):
        with pytest.raises(ValueError, match=f"{task} has no option 'colour'; it has "):
            call()
    with pytest.raises(ValueError, match="batch_size"):
        pipe(inputs_of(task), batch_size=0)


def test_options_of_older_days_say_what_is_said_today():
    with pytest.raises(ValueError, match=r"return_all_scores.*top_k=None"):
        made("text-classification")(TEXTS, return_all_scores=True)
    with pytest.raises(ValueError, match=r"grouped_entities.*aggregation_strategy"):
        made("token-classification", grouped_entities=True)


@pytest.mark.parametrize("task", [task for task in TASKS if task != "text-generation"])
def test_padding_changes_nothing(task):
    pipe = made(task)
    for padding in (True, False, "longest", "max_length"):
        assert pipe(inputs_of(task), padding=padding, batch_size=3) == pipe(inputs_of(task), batch_size=3)
    with pytest.raises(ValueError, match="padding"):
        pipe(inputs_of(task), padding="left")


def test_a_total_length_of_a_text():
    pipe = made("text-generation", temperature=0.0)
    for text in TEXTS[1:2] + TEXTS[3:5]:
        length = len(pipe.tokenizer.encode(text))
        assert pipe(text, max_length=length + 5) == pipe(text, max_new_tokens=5)
        with pytest.raises(
            ValueError, match=f"max_length is {length}, which a prompt of {length} tokens fills"
        ):
            pipe(text, max_length=length)
    with pytest.raises(ValueError, match="give one of them"):
        pipe(TEXTS[1], max_length=30, max_new_tokens=5)
    short = pipeline("text-generation", decoder(), bytes_(), max_length=60, temperature=0.0)
    assert short(TEXTS[1], max_tokens=2) == pipe(TEXTS[1], max_tokens=2)
    assert short(TEXTS[1], max_length=50) == pipe(TEXTS[1], max_length=50)


def test_none_says_nothing_of_a_text():
    pipe = made("text-generation")
    silent = {"temperature": None, "top_p": None, "top_k": None, "seed": None, "stop": None}
    assert pipe(TEXTS, do_sample=False, **silent) == pipe(TEXTS, do_sample=False)


BAD_OPTIONS = [
    ("text-classification", {"top_k": 0}),
    ("text-classification", {"top_k": "all"}),
    ("text-classification", {"function_to_apply": "tanh"}),
    ("text-classification", {"truncation": "somewhere"}),
    ("text-classification", {"max_length": 49, "truncation": True}),
    ("text-classification", {"max_length": 0}),
    ("fill-mask", {"top_k": 301}),
    ("fill-mask", {"top_k": True}),
    ("fill-mask", {"targets": []}),
    ("fill-mask", {"targets": "an unheard-of word"}),
    ("text-generation", {"max_new_tokens": 0}),
    ("text-generation", {"max_new_tokens": 3, "max_tokens": 3}),
    ("text-generation", {"do_sample": "yes"}),
    ("text-generation", {"max_length": 0}),
    ("text-generation", {"temperature": -1}),
    ("text-generation", {"max_tokens": 100}),
    ("text-generation", {"logprobs": 2}),
    ("question-answering", {"top_k": 0}),
    ("question-answering", {"max_answer_len": 0}),
    ("question-answering", {"max_seq_len": 49}),
    ("question-answering", {"max_seq_len": 20, "doc_stride": 20}),
    ("question-answering", {"max_seq_len": 5}),
    ("question-answering", {"handle_impossible_answer": 1}),
    ("token-classification", {"aggregation_strategy": "median"}),
    ("token-classification", {"stride": 3}),
    ("token-classification", {"stride": -1, "aggregation_strategy": "first"}),
    ("token-classification", {"ignore_labels": "O"}),
    ("feature-extraction", {"return_tensors": "np"}),
]


@pytest.mark.parametrize(("task", "options"), BAD_OPTIONS)
def test_options_out_of_range(task, options):
    pipe, inputs = made(task), inputs_of(task)
    before, expected = pipe.options, pipe(inputs)
    pipe.model.forward = lambda *a, **k: pytest.fail("the model ran")
    with pytest.raises(ValueError):
        pipe([*inputs, *inputs], **options)
    del pipe.model.forward
    assert pipe.options == before
    assert pipe(inputs) == expected


@pytest.mark.parametrize("task", TASKS)
def test_a_text_that_is_too_long(task):
    long = " ".join(TEXTS * 3) + " [MASK]"
    pipe = made(task)
    if task == "question-answering":  # read in windows
        return
    with pytest.raises(ValueError, match=r"fit|room|context"):
        pipe(long)
    if task == "text-generation":
        return
    options = {"truncation": True}
    if task == "fill-mask":
        with pytest.raises(ValueError, match=r"text with \[MASK\]"):
            pipe(long, **options)
        long = "[MASK] " + long
    assert pipe(long, **options) == pipe(long, tokenizer_kwargs={"truncation": True})


def test_unknown_tasks_and_models():
    for task in ("translation", "", 5):
        with pytest.raises(ValueError, match="task must be one of text-classification"):
            pipeline(task, encoder(), wordpiece())
    for model in (None, 5, torch.nn.Linear(2, 2)):
        with pytest.raises(ValueError, match="model must be a path"):
            pipeline("text-classification", model)
    with pytest.raises(ValueError, match="needs its tokenizer"):
        pipeline("text-classification", encoder())
    with pytest.raises(ValueError, match="tokenizer must be"):
        pipeline("text-classification", encoder(), object())
    with pytest.raises(ValueError, match="tokenizer with a mask"):
        pipeline("fill-mask", encoder("ForMaskedLM"), bytes_())
    assert pipeline("ner", encoder("ForTokenClassification"), wordpiece()).task == "token-classification"


def test_questions_in_every_form():
    pipe = made("question-answering")
    question, context = "어디?", TEXTS[0]
    expected = pipe({"question": question, "context": context})
    assert expected == pipe(question, context) == pipe(question=question, context=context)
    assert expected == pipe((question, context)) == pipe([(question, context)])
    both = pipe(question=[question, "누가?"], context=context)
    assert near(both, [expected, pipe("누가?", context)])
    assert near(both, pipe(question=[question, "누가?"], context=[context] * 2))
    for wrong in (
        {"question": question},
        {"question": "", "context": "x"},
        {"question": "x", "context": None},
    ):
        with pytest.raises(ValueError, match="question"):
            pipe(wrong)
    with pytest.raises(ValueError, match="as many"):
        pipe(question=["a", "b"], context=["c"])


# The small functions


def test_rows_of_like_length_stand_together():
    assert list(batches([3, 9, 4, 8], 2)) == [[1, 3], [2, 0]]
    assert list(batches([], 4)) == []


def test_collate():
    found = collate([Row([5, 6], [0, 1]), Row([7], [0])], 9)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "input_ids": [[5, 6], [7, 9]],
        "attention_mask": [[1, 1], [1, 0]],
        "token_type_ids": [[0, 1], [0, 0]],
    }


@settings(max_examples=soak_count(200))
@given(st.integers(0, 2**32), st.integers(2, 12), st.integers(1, 12), st.integers(1, 30))
def test_spans_are_the_best_of_all_pairs(seed, length, longest, count):
    generator = torch.Generator().manual_seed(seed)
    start, end = torch.randn(2, length, generator=generator, dtype=torch.float64) * 3
    inside = torch.rand(length, generator=generator) < 0.7
    inside[0] = False
    allowed = inside.clone()
    allowed[0] = True  # [CLS]
    sums = [sum(math.exp(x[i]) for i in range(length) if allowed[i]) for x in (start, end)]
    pairs = sorted(
        (
            (math.exp(start[i]) / sums[0] * math.exp(end[j]) / sums[1], i, j)
            for i in range(length) for j in range(i, min(length, i + longest)) if inside[i] and inside[j]
        ),
        reverse=True,
    )  # fmt: skip
    found = best_spans(span_scores(start, end, allowed, longest), inside, count)
    assert [(i, j) for _, i, j in found] == [(i, j) for _, i, j in pairs[:count]]
    for (score, _, _), (expected, _, _) in zip(found, pairs):
        assert score == pytest.approx(expected, rel=1e-9)


def test_no_answer_is_what_the_first_token_gets():
    start, end = torch.tensor([2.0, 1.0, 0.0, 3.0]), torch.tensor([1.0, 0.0, 2.0, 3.0])
    allowed = torch.tensor([True, False, True, False])
    scores = span_scores(start, end, allowed, 5)
    assert scores[0, 0].item() == pytest.approx((1 / (1 + math.exp(-2))) * (1 / (1 + math.exp(1))))
    assert scores.sum().item() <= 1 + 1e-6
    assert scores[1].sum() == scores[:, 3].sum() == 0


def test_where_no_answer_is_sure_the_rest_still_has_an_order():
    """In float32 all these products are 0, and no answer was left."""
    logits = torch.tensor([100.0, 0.0, 1.0, 0.0])
    inside = torch.tensor([False, True, True, True])
    (found,) = best_spans(span_scores(logits, logits, torch.ones(4, dtype=torch.bool), 3), inside, 1)
    assert found[1:] == (2, 2)
    assert found[0] == pytest.approx(math.exp(-198), rel=1e-4)


def test_windows_add_the_scores_of_the_same_words():
    """Three weak windows win over a strong one; a word in capitals is the same word, at the place of the first."""
    context = "Ann met bob. Bob left."
    names, words = [(4, 7), (8, 11), (13, 16)], [(4, 7), (8, 12), (13, 16)]  # met, bob, Bob
    window = Window(names, BOOLS, words, BOOLS, context)
    spans = [[(0.5, 0, 0)], [(0.2, 1, 1)], [(0.2, 2, 2), (0.1, 0, 1)], [(0.2, 1, 1)]]
    found = summed(spans, [window] * 4)
    assert [(one["answer"], one["start"], one["end"]) for one in found] == [
        ("met", 4, 7),
        ("bob", 8, 11),
        ("met bob", 4, 11),
    ]
    assert [one["score"] for one in found] == pytest.approx([0.5, 0.6, 0.1])
    grown = summed(spans, [window] * 4, whole_words=True)
    assert {one["answer"]: one["score"] for one in grown} == pytest.approx(
        {"met": 0.5, "bob.": 0.4, "Bob": 0.2, "met bob.": 0.1}
    )
    assert summed([], []) == []


def test_a_damaged_model_is_said(tmp_path):
    for task in ("text-classification", "question-answering", "token-classification"):
        pipe = made(task)
        model = copy.deepcopy(pipe.model)
        with torch.no_grad():
            next(model.parameters()).fill_(math.nan)
        with pytest.raises(ValueError, match="gives NaN in place of scores"):
            pipeline(task, model, pipe.tokenizer)(inputs_of(task)[0])


ONES, BOOLS = torch.ones(3), torch.ones(3, dtype=torch.bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: collate([], 0), "at least one Row"),
        (lambda: collate([[5, 6]], 0), "at least one Row"),
        (lambda: collate([Row([5]), Row([6])], None), "pad_id must be an integer"),
        (lambda: collate([Row([5], [0]), Row([6])], 0), "a token type for each id"),
        (lambda: list(batches([3, 1], 0)), "batch_size must be at least 1"),
        (lambda: list(batches([3, 1], -1)), "batch_size must be at least 1"),
        (lambda: label_scores(ONES, "sofmax"), "function must be one of"),
        (lambda: label_scores([1.0, 2.0], "softmax"), "scores must be a float tensor"),
        (lambda: label_scores(torch.tensor([1, 2]), "softmax"), "scores must be a float tensor"),
        (lambda: ranked(ONES, {0: "a", 1: "b", 2: "c"}, 0), "top_k must be at least 1"),
        (lambda: ranked(ONES, {0: "a", 1: "b", 2: "c"}, -1), "top_k must be at least 1"),
        (lambda: ranked(ONES, {0: "a", 2: "c"}, None), "label 1 has none"),
        (lambda: span_scores(ONES, ONES[:2], BOOLS, 2), "allowed must be a bool tensor"),
        (lambda: span_scores(ONES, ONES, ONES.long(), 2), "allowed must be a bool tensor"),
        (lambda: span_scores(ONES, ONES, ~BOOLS, 2), "at least one True"),
        (lambda: span_scores(ONES, ONES, BOOLS, 0), "max_answer_len must be at least 1"),
        (lambda: span_scores(ONES[None], ONES[None], BOOLS, 2), "a float tensor of 1 axes"),
        (lambda: best_spans(torch.ones(3, 3), BOOLS[:2], 1), "inside must be a bool tensor"),
        (lambda: best_spans(torch.ones(3, 3), BOOLS, 0), "count must be at least 1"),
        (lambda: word_scores([piece("a", False)], "frist"), "strategy must be one of"),
        (lambda: word_scores([], "max"), "at least one piece"),
    ],
)
def test_what_the_steps_of_a_pipeline_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def piece(name, goes_on):
    return Piece(name, torch.tensor([0.5, 0.5]), 0, 1, 0, goes_on)


def test_words_and_names():
    pieces = [piece("김", False), piece("##민수", True), piece("는", False)]
    assert [[one.name for one in word] for word in words_of(pieces)] == [["김", "##민수"], ["는"]]
    assert [[one.name for one in word] for word in words_of(pieces[1:])] == [["##민수"], ["는"]]

    labels = ["B-PER", "I-PER", "B-PER", "O", "O", "I-LOC", "B-LOC", "PER", "PER"]
    groups = grouped(Tagged(label, 1.0, [], 0, 1) for label in labels)
    expected = [["B-PER", "I-PER"], ["B-PER"], ["O", "O"], ["I-LOC"], ["B-LOC"], ["PER", "PER"]]
    assert [[one.label for one in group] for group in groups] == expected


def test_the_longer_of_two_names_that_overlap():
    def entity(start, end, score):
        return {"start": start, "end": end, "score": score}

    first, longer, surer, apart = entity(0, 3, 0.9), entity(2, 8, 0.5), entity(2, 8, 0.6), entity(8, 9, 0.1)
    assert without_overlaps([apart, longer, first, surer]) == [surer, apart]


def test_stop_strings_are_cut_off():
    pipe = made("text-generation", temperature=0)
    whole = pipe(TEXTS[2], return_full_text=False, max_tokens=12)[0]["generated_text"]
    stop = whole[3:5]
    found = pipe(TEXTS[2], return_full_text=False, max_tokens=12, stop_strings=stop)[0]["generated_text"]
    assert found == whole[: whole.index(stop)]


def test_new_tokens_fill_the_window_where_nobody_says_how_many(tmp_path):
    pipe = pipeline("text-generation", decoder(), bytes_(), ignore_eos=True)
    ids = bytes_().encode(TEXTS[0])
    params = SamplingParams(max_tokens=64 - len(ids), temperature=0, ignore_eos=True)
    [expected] = generate_batch(pipe.model, [ids], params)
    text = bytes_().decode(expected.token_ids, skip_special_tokens=True)
    assert pipe(TEXTS[0])[0]["generated_text"] == TEXTS[0] + text
    assert pipe(TEXTS[:2], batch_size=2)[0] == pipe(TEXTS[0])


def test_a_model_with_more_rows_than_words():
    model = encoder("ForMaskedLM", vocab_size=wordpiece().vocab_size + 40)
    with torch.no_grad():
        model.head.output.bias[-40:] += 100  # rows that mean nothing score best
    found = pipeline("fill-mask", model, wordpiece())("비가 [MASK]")
    assert all(one["token"] < wordpiece().vocab_size and one["score"] < 1e-6 for one in found)


def test_the_settings_of_the_folder(tmp_path):
    model = decoder()
    model.generation_config = {"do_sample": True, "temperature": 0.5, "top_k": 7, "max_new_tokens": 9}
    pipe = pipeline("text-generation", model, bytes_())
    assert pipe.params(pipe.options, 50) == SamplingParams(max_tokens=9, temperature=0.5, top_k=7)
    greedy = pipe.params(pipe.settle({"do_sample": False}), 50)
    assert greedy.temperature == 0
    assert pipe.params(pipe.settle({"temperature": 2.0}), 50).temperature == 2
