"""Pipelines against transformers' on the same folders: labels, scores, words, spans, texts; Korean and English."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from minillm.inference import pipeline
from minillm.models import load_model
from tests.parity.pipeline_folders import KOREAN, LABELS, TAGS, TEXTS, WINDOW, write
from tests.parity.record_question_answering import CALLS, CONTEXTS, SEEDS

transformers = pytest.importorskip("transformers", reason="the peer: pip install -e '.[parity]'")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(task, family, head, options of both pipelines, config) -> (transformers' pipeline, ours), each made once."""
    made = {}

    def get(task, family, head, defaults=None, **config):
        key = repr((family, head, config))
        if key not in made:
            made[key] = write(tmp_path_factory.mktemp("pipe"), family, head, **config)
        folder = made[key]
        theirs = transformers.pipeline(task, model=str(folder), device="cpu", **(defaults or {}))
        return theirs, pipeline(task, folder, **(defaults or {}))

    return get


def same(found, expected, tolerance=1e-5):
    """Equal shapes, words and places; numbers to the tolerance, relative to 1."""
    assert type(found) is type(expected) or (isinstance(found, float) and hasattr(expected, "item"))
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            same(found[key], expected[key], tolerance)
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for pair in zip(found, expected):
            same(*pair, tolerance)
    elif isinstance(found, float):
        assert found == pytest.approx(float(expected), abs=tolerance, rel=tolerance)
    else:
        assert found == expected


def clear(scores, gap=1e-4):
    """No two neighbours of ranked scores are nearly equal, so that two right programs rank alike."""
    assert all(a - b > gap * max(a, 1e-3) for a, b in pairwise(scores))


CLASSIFIERS = ("Bert", "Roberta", "GPT2", "Llama")


@pytest.mark.parametrize("family", CLASSIFIERS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_text_classification(both, family, batch_size):
    theirs, ours = both("text-classification", family, "ForSequenceClassification", id2label=LABELS)
    expected = theirs(TEXTS)
    same(ours(TEXTS, batch_size=batch_size), expected)
    same(ours(TEXTS[0]), theirs(TEXTS[0]))
    for top_k in (1, 2, None):
        every = theirs(TEXTS, top_k=top_k)
        same(ours(TEXTS, top_k=top_k, batch_size=batch_size), every)
        same(ours(TEXTS[1], top_k=top_k), theirs(TEXTS[1], top_k=top_k))
        for ranked in every:
            clear([one["score"] for one in ranked])
    for function in ("softmax", "sigmoid", "none"):
        same(
            ours(TEXTS, function_to_apply=function, top_k=None),
            theirs(TEXTS, function_to_apply=function, top_k=None),
        )
    assert len({one["label"] for one in expected}) > 1


@pytest.mark.parametrize("family", ["Bert", "Roberta"])
def test_pairs(both, family):
    theirs, ours = both("text-classification", family, "ForSequenceClassification", id2label=LABELS)
    pairs = [{"text": a, "text_pair": b} for a, b in zip(TEXTS, reversed(TEXTS))]
    expected = theirs(pairs)
    same(ours(pairs, batch_size=4), expected)
    same(ours([(pair["text"], pair["text_pair"]) for pair in pairs]), expected)
    same(ours(pairs[0]), theirs(pairs[0]))
    # the second text counts
    assert ours(pairs[0])["score"] != pytest.approx(ours({"text": TEXTS[0]})["score"], abs=1e-4)


@pytest.mark.parametrize("kind", ["multi_label_classification", "single_label_classification", "regression"])
def test_the_config_says_what_makes_scores(both, kind):
    theirs, ours = both(
        "text-classification", "Bert", "ForSequenceClassification", problem_type=kind, num_labels=3
    )
    same(ours(TEXTS, top_k=None), theirs(TEXTS, top_k=None))


def test_one_label(both):
    theirs, ours = both("sentiment-analysis", "Roberta", "ForSequenceClassification", num_labels=1)
    same(ours(TEXTS), theirs(TEXTS))


def test_defaults_of_the_pipeline(both):
    options = {"top_k": 2}
    theirs, ours = both("text-classification", "Bert", "ForSequenceClassification", options, id2label=LABELS)
    same(ours(TEXTS[0]), theirs(TEXTS[0]))
    same(ours(TEXTS), theirs(TEXTS))
    same(ours(TEXTS[0], top_k=1), theirs(TEXTS[0], top_k=1))


@pytest.mark.parametrize("family", ["Bert", "Roberta", "GPT2"])
def test_truncation(both, family):
    theirs, ours = both("text-classification", family, "ForSequenceClassification", id2label=LABELS)
    texts = [" ".join(TEXTS) * 3, TEXTS[0]]
    both_said = {"padding": True, "truncation": True, "max_length": 20}
    same(ours(texts, batch_size=2, **both_said), theirs(texts, **both_said))
    for length in (8, 40):
        options = {"truncation": True, "max_length": length}
        same(ours(texts, **options), theirs(texts, **options))
    with pytest.raises(ValueError, match="does not fit"):
        ours(texts)


@pytest.mark.parametrize("family", ["Bert", "Roberta"])
def test_fill_mask(both, family):
    theirs, ours = both("fill-mask", family, "ForMaskedLM")
    mask = theirs.tokenizer.mask_token
    texts = [
        f"대한민국의 수도는 {mask}이다.",
        f"The capital of {mask} is Seoul.",
        f"{mask} 경기에서 한국이 이겼다!",
    ]
    for options in ({}, {"top_k": 1}, {"top_k": 7}):
        same(ours(texts, batch_size=2, **options), theirs(texts, **options))
        same(ours(texts[0], **options), theirs(texts[0], **options))
        same(ours(texts[:1], **options), theirs(texts[:1], **options))
    clear([one["score"] for one in ours(texts[0], top_k=8)])
    several = f"{mask}의 수도는 {mask}이다."
    same(ours(several), theirs(several))
    same(ours([several, texts[0]]), theirs([several, texts[0]]))
    words = [theirs.tokenizer.convert_ids_to_tokens(i) for i in (20, 133, 400, 20)]
    for targets in (words, words[0]):
        for top_k in (2, 5):
            same(ours(texts, targets=targets, top_k=top_k), theirs(texts, targets=targets, top_k=top_k))


GENERATORS = {"GPT2": "LMHeadModel", "Llama": "ForCausalLM"}


@pytest.mark.parametrize("family", GENERATORS)
def test_text_generation(both, family):
    theirs, ours = both("text-generation", family, GENERATORS[family], scale=0.6)
    greedy = {"do_sample": False, "max_new_tokens": 12}
    expected = theirs(TEXTS, **greedy)
    same(ours(TEXTS, batch_size=3, **greedy), expected)
    same(ours(TEXTS, max_tokens=12, temperature=0), expected)
    same(ours(TEXTS[0], **greedy), theirs(TEXTS[0], **greedy))
    same(
        ours(TEXTS[:2], return_full_text=False, **greedy), theirs(TEXTS[:2], return_full_text=False, **greedy)
    )
    assert len({one[0]["generated_text"][-5:] for one in expected}) > 2


@pytest.mark.parametrize("family", GENERATORS)
def test_a_total_length(both, family):
    theirs, ours = both("text-generation", family, GENERATORS[family], scale=0.6)
    for text in TEXTS[:4]:
        length = len(ours.tokenizer.encode(text)) + 7
        greedy = {"do_sample": False, "max_length": length}
        same(ours(text, **greedy), theirs(text, **greedy))
        same(ours(text, top_p=None, temperature=None, **greedy), theirs(text, **greedy))


def test_a_repetition_penalty_as_transformers_has_it(both):
    theirs, ours = both("text-generation", "GPT2", "LMHeadModel", scale=0.6)
    options = {"do_sample": False, "max_new_tokens": 12, "repetition_penalty": 1.7}
    same(ours(TEXTS, batch_size=4, **options), theirs(TEXTS, **options))


@pytest.mark.parametrize(
    ("family", "head"),
    [("Bert", "ForMaskedLM"), ("Roberta", "Model"), ("GPT2", "LMHeadModel"), ("Llama", "Model")],
)
def test_feature_extraction(both, family, head):
    theirs, ours = both("feature-extraction", family, head)
    same(ours(TEXTS, batch_size=3), theirs(TEXTS), 2e-5)
    same(ours(TEXTS[0]), theirs(TEXTS[0]), 2e-5)
    expected = theirs(TEXTS[0], return_tensors=True)
    torch.testing.assert_close(ours(TEXTS[0], return_tensors=True), expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["Bert", "Roberta"])
@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
def test_token_classification(both, family, strategy):
    theirs, ours = both("token-classification", family, "ForTokenClassification", id2label=TAGS)
    options = {"aggregation_strategy": strategy}
    texts = (
        TEXTS if family == "Bert" else TEXTS[4:]
    )  # transformers decodes a word twice, and breaks Hangul by it
    expected = theirs(texts, **options)
    same(ours(texts, batch_size=3, **options), expected)
    same(ours(texts[0], **options), theirs(texts[0], **options))
    assert sum(map(len, expected)) > 10
    same(
        ours(texts, ignore_labels=["LOC", "B-LOC"], **options),
        theirs(texts, ignore_labels=["LOC", "B-LOC"], **options),
    )


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
def test_names_in_korean_bytes(both, strategy):
    theirs, ours = both("ner", "Roberta", "ForTokenClassification", id2label=TAGS)
    options = {"aggregation_strategy": strategy}
    for expected, found in zip(theirs(KOREAN, **options), ours(KOREAN, **options)):
        for one in (*expected, *found):
            del one["word"]
        same(found, expected)


@pytest.mark.parametrize("stride", [0, 5, 20])
def test_token_classification_in_windows(both, stride):
    theirs, ours = both("ner", "Bert", "ForTokenClassification", id2label=TAGS)
    theirs.tokenizer.model_max_length = WINDOW
    text = " ".join(TEXTS * 4)
    options = {"aggregation_strategy": "simple", "stride": stride}
    assert len(ours.tokenizer.encode(text)) > 2 * WINDOW
    same(ours(text, **options), theirs(text, **options))


RECORDED = json.loads((Path(__file__).parent / "question_answering.json").read_text("utf-8"))


@pytest.mark.parametrize("family", ["Bert", "Roberta"])
@pytest.mark.parametrize("number", range(len(CALLS)))
def test_question_answering_as_recorded(both, tmp_path, family, number):
    """transformers 5 has no such pipeline: these are answers of version 4, recorded by the file beside this one."""
    ours = pipeline("question-answering", write(tmp_path, family, "ForQuestionAnswering", seed=SEEDS[family]))
    questions = [{"question": question, "context": context} for question, context in CONTEXTS]
    expected = RECORDED[family][number]
    found = [ours(question, **CALLS[number]) for question in questions]
    same(found, expected)
    same(ours(questions, batch_size=3, **CALLS[number]), expected)
    for item, answers in zip(questions, found):
        for one in answers if isinstance(answers, list) else [answers]:
            assert item["context"][one["start"] : one["end"]] == one["answer"]


@pytest.mark.parametrize("family", ["Bert", "Roberta"])
def test_the_best_span_of_every_pair_of_tokens(both, tmp_path, family):
    """Against transformers' model, its tokenizer, and a search through all pairs."""
    folder = write(tmp_path, family, "ForQuestionAnswering", seed=5)
    ours = pipeline("question-answering", folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder)
    for context in TEXTS:
        batch = tokenizer("어디?", context, return_tensors="pt", return_offsets_mapping=True)
        places, texts = batch.pop("offset_mapping")[0].tolist(), batch.sequence_ids()
        with torch.no_grad():
            out = model(**batch)
        mine = [i for i, text in enumerate(texts) if text == 1]
        both_ends = [x[0].double()[[0, *mine]].softmax(0)[1:] for x in (out.start_logits, out.end_logits)]
        score, i, j = max(
            ((both_ends[0][a] * both_ends[1][b]).item(), a, b)
            for a in range(len(mine)) for b in range(a, min(a + 7, len(mine)))
        )  # fmt: skip
        found = ours(question="어디?", context=context, align_to_words=False, max_answer_len=7)
        assert (found["start"], found["end"]) == (places[mine[i]][0], places[mine[j]][1])
        assert found["score"] == pytest.approx(score, abs=1e-5)


def test_a_pipeline_on_a_model_that_is_open(both):
    theirs, ours = both("text-classification", "Bert", "ForSequenceClassification", id2label=LABELS)
    model = load_model(Path(theirs.model.name_or_path))
    same(pipeline("text-classification", model, ours.tokenizer)(TEXTS), theirs(TEXTS))


TEMPLATE = (
    "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)
CHATS = [
    [{"role": "user", "content": "서울은 어디에 있나?"}],
    [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Who won?"}],
    [{"role": "user", "content": "Who won?"}, {"role": "assistant", "content": "They"}],
]


def test_chats_through_the_template(both):
    theirs, ours = both("text-generation", "Llama", "ForCausalLM", scale=0.6)
    theirs.tokenizer.chat_template = ours.tokenizer.chat_template = TEMPLATE
    greedy = {"do_sample": False, "max_new_tokens": 8}
    for chat in CHATS:
        same(ours(chat, **greedy), theirs(chat, **greedy))
        same(ours(chat, return_full_text=False, **greedy), theirs(chat, return_full_text=False, **greedy))
    same(ours(CHATS, batch_size=2, **greedy), theirs(CHATS, **greedy))


def test_a_chat_without_a_template(both):
    _, ours = both("text-generation", "GPT2", "LMHeadModel")
    with pytest.raises(ValueError, match="template"):
        ours(CHATS[0])
