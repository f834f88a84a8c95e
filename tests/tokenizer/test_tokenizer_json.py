"""Saving and opening: the same ids again, custom patterns kept, and refusals that name the reason."""

import copy
import json

import pytest

from minillm._files import BadFileError
from minillm.tokenizer import GPT2_PATTERN, GPT4_PATTERN, BPETokenizer, load_tokenizer
from minillm.tokenizer.tokenizer_json import from_json
from tests.helpers import cuts
from tests.tokenizer.samples import KOREAN, SAMPLES

END = "<|endoftext|>"


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer.train([*SAMPLES, KOREAN] * 3, 330, special_tokens=(END, "<|한국어 끝|>"))


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, GPT4_PATTERN, r"\w+|\W"])
@pytest.mark.parametrize("name", ["tokenizer.json", "other.json", "folder"])
def test_a_saved_tokenizer_opens_as_it_was(tmp_path, pattern, name):
    ours = BPETokenizer.train([*SAMPLES, KOREAN] * 3, 330, (END, "<|한국어 끝|>"), pattern)
    path = ours.save(tmp_path / name)
    assert path == (tmp_path / name / "tokenizer.json" if name == "folder" else tmp_path / name)
    for where in {path, tmp_path / name}:
        again = load_tokenizer(where)
        assert (again.vocab, again.merges, again.special_tokens, again.pattern) == (
            ours.vocab, ours.merges, ours.special_tokens, pattern,
        )  # fmt: skip
        for text in [*SAMPLES, f"a{END}b<|한국어 끝|>"]:
            assert again.encode(text) == ours.encode(text)


def test_a_file_cut_anywhere_is_refused_by_name(tokenizer, tmp_path):
    data = tokenizer.save(tmp_path / "tokenizer.json").read_bytes()
    bad = tmp_path / "bad.json"
    for length in cuts(data, 300):
        bad.write_bytes(data[:length])
        with pytest.raises(BadFileError, match=r"bad\.json"):
            load_tokenizer(bad)


def test_a_changed_layout_leaves_the_tokenizer_as_it_is(tokenizer):
    ours = from_json(tokenizer.to_json())
    before = copy.deepcopy(ours.to_json())
    layout = ours.to_json()
    other = BPETokenizer.from_parts(ours.model, ours.added_tokens.values(), layout)
    layout["model"]["vocab"].clear()
    layout["added_tokens"][0]["content"] = "another"
    for name in ("pre_tokenizer", "decoder"):
        layout[name]["type"] = "another"
    assert ours.to_json() == other.to_json() == before


def test_what_is_not_there_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "none.json", tmp_path / "none.bin", tmp_path / "none"):
        with pytest.raises(BadFileError, match=r"tokenizer.* cannot be read"):
            load_tokenizer(path)
    for path in (None, 3, "", ["a"]):
        with pytest.raises(ValueError, match="path must be a path"):
            load_tokenizer(path)


def test_a_failed_save_leaves_the_old_file(tokenizer, tmp_path, monkeypatch):
    path = tokenizer.save(tmp_path / "tokenizer.json")
    before = path.read_bytes()
    monkeypatch.setattr("minillm._files.os.fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        BPETokenizer.train([KOREAN], 280).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


B = {"Sequence": {"id": "B", "type_id": 1}}
A = {"Sequence": {"id": "A", "type_id": 0}}


def sequence_of(*normalizers):
    return {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": list(normalizers)}]}


def template(single):
    return {"type": "TemplateProcessing", "single": single, "pair": [A, B], "special_tokens": {}}


def split_by(pattern):
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


TRUNCATION = {"direction": "Left", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
PADDING = {
    "strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
    "pad_token": END,
}  # fmt: skip
CHANGES = {
    "model.type": (lambda c: c["model"].update(type="WordLevel"), "WordLevel"),
    "another model": (lambda c: c["model"].update(type="Unigram"), "model.byte_fallback|model.merges|model"),
    "WordPiece": (
        lambda c: c["model"].update(type="WordPiece"),
        "model.byte_fallback False is not supported",
    ),
    "WordPiece's unknown": (
        lambda c: c.update(model={"type": "WordPiece", "vocab": c["model"]["vocab"]}),
        r"unk_token '\[UNK\]' is not in the vocabulary",
    ),
    "Unigram's pieces": (
        lambda c: c.update(model={"type": "Unigram", "vocab": [["a", "b"]]}),
        "piece 0 must be",
    ),
    "Unigram's unknown": (
        lambda c: c.update(model={"type": "Unigram", "unk_id": 7, "vocab": [["a", 1.0]]}),
        "unk_id must be between 0 and 0",
    ),
    "Unigram's option": (
        lambda c: c.update(model={"type": "Unigram", "vocab": [["a", 1.0]], "alpha": 0.1}),
        "model.alpha",
    ),
    "no model": (lambda c: c.pop("model"), "model must be an object"),
    "dropout": (lambda c: c["model"].update(dropout=0.1), "dropout"),
    "unknown": (lambda c: c["model"].update(unk_token="<unk>"), "unk_token"),
    "a flag": (lambda c: c["model"].update(byte_fallback="yes"), "byte_fallback"),
    "a new option": (lambda c: c["model"].update(new_option=1), "model.new_option"),
    "normalizer": (lambda c: c.update(normalizer={"type": "Nmt2"}), "normalizer Nmt2"),
    "normalizer's option": (
        lambda c: c.update(normalizer={"type": "NFC", "x": 1}),
        "NFC with the option 'x'",
    ),
    "normalizer lacks": (
        lambda c: c.update(normalizer={"type": "Strip"}),
        "Strip lacks its option 'strip_left'",
    ),
    "nested": (lambda c: c.update(normalizer=sequence_of({"type": "Precompiled"})), "Precompiled"),
    "truncation": (lambda c: c.update(truncation={"max_length": 5}), "truncation"),
    "padding": (lambda c: c.update(padding={"pad_id": 5}), "padding"),
    "truncation's side": (
        lambda c: c.update(truncation={**TRUNCATION, "direction": "Up"}),
        "truncation.direction",
    ),
    "truncation's length": (
        lambda c: c.update(truncation={**TRUNCATION, "max_length": 0}),
        "truncation.max_length",
    ),
    "padding's id": (lambda c: c.update(padding={**PADDING, "pad_id": 9999}), "padding.pad_id"),
    "padding's token": (lambda c: c.update(padding={**PADDING, "pad_token": "?"}), "padding"),
    "padding's type": (lambda c: c.update(padding={**PADDING, "pad_type_id": 1}), "padding"),
    "decoder": (lambda c: c.update(decoder={"type": "CTC"}), "decoder CTC"),
    "a table": (
        lambda c: c.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        "Precompiled: the table of normalisations is cut short or damaged",
    ),
    "no table": (
        lambda c: c.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "?"}),
        "Precompiled: precompiled_charsmap is no base64",
    ),
    "template": (lambda c: c.update(post_processor={"type": "TemplateProcessing"}), "TemplateProcessing"),
    "template's token": (
        lambda c: c.update(post_processor=template([{"SpecialToken": {"id": "<s>", "type_id": 0}}, A])),
        "'<s>' of a template",
    ),
    "template without A": (lambda c: c.update(post_processor=template([])), "must hold A"),
    "template's id": (
        lambda c: c.update(post_processor={"type": "BertProcessing", "sep": ["a", 5], "cls": ["b", 9999]}),
        "adds id 9999",
    ),
    "huge id": (lambda c: c["model"]["vocab"].update({"!": 1 << 70}), "ids 0 to"),
    "half a character": (lambda c: c["model"]["vocab"].update({"\ud800": 330}), "lone surrogate"),
    "half an added token": (lambda c: c["added_tokens"][0].update(content="\ud800"), "lone surrogate"),
    "two templates": (
        lambda c: c.update(post_processor={"type": "Sequence", "processors": [template([A])] * 2}),
        "more than one template",
    ),
    "scripts": (lambda c: c.update(pre_tokenizer={"type": "UnicodeScripts"}), "pre_tokenizer UnicodeScripts"),
    "pattern": (
        lambda c: c.update(pre_tokenizer=split_by({"Regex": r"(a)\1"})),
        "Split: pattern .*is not a regular",
    ),
    "behaviour": (
        lambda c: c.update(pre_tokenizer={**split_by({"String": "a"}), "behavior": "x"}),
        "behavior",
    ),
    "no pattern": (lambda c: c.update(pre_tokenizer=split_by({"String": ""})), "empty String"),
    "metaspace": (
        lambda c: c.update(
            pre_tokenizer={"type": "Metaspace", "replacement": "▁", "add_prefix_space": False}
        ),
        "contradicts",
    ),
    "metaspace's sign": (
        lambda c: c.update(pre_tokenizer={"type": "Metaspace", "replacement": "ab"}),
        "one character",
    ),
    "a token's flag": (lambda c: c["added_tokens"][0].update(lstrip=1), "lstrip"),
    "a token's new flag": (lambda c: c["added_tokens"][0].update(bold=True), "bold"),
    "a token twice": (lambda c: c["added_tokens"].append(c["added_tokens"][0]), "listed twice"),
    "added id": (lambda c: c["added_tokens"][0].update(id=7), "two ids"),
    "added text": (lambda c: c["added_tokens"][0].update(content=None), "content"),
    "hole": (lambda c: c["model"]["vocab"].update({"Ġzz": 5000}), "ids 0 to"),
    "same id": (lambda c: c["model"]["vocab"].update({"Ġzz": 5}), "ids 0 to"),
    "text id": (lambda c: c["model"]["vocab"].update({"Ġzz": "5"}), "integer ids"),
    "no vocab": (lambda c: c["model"].pop("vocab"), "vocab"),
    "no merges": (lambda c: c["model"].pop("merges"), "merges"),
    "merge of three": (lambda c: c["model"]["merges"].append("a b c"), "two tokens"),
    "merge of a number": (lambda c: c["model"]["merges"].append(["a", 1]), "two tokens"),
    "merge of nothing": (lambda c: c["model"]["merges"].append(" "), "two tokens"),
    "merge unknown": (lambda c: c["model"]["merges"].append("Q Q"), "needs a token"),
    "merges a dict": (lambda c: c["model"].update(merges={}), "must be a list"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_cannot_be_honoured_is_refused_by_its_name(tokenizer, tmp_path, change):
    content = copy.deepcopy(tokenizer.to_json())
    alter, message = CHANGES[change]
    alter(content)
    with pytest.raises(ValueError, match=message):
        from_json(content)
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BadFileError, match=r"changed\.json"):
        load_tokenizer(path)


def test_parts_nested_without_end_are_refused(tokenizer, tmp_path):
    deep = '{"type": "Sequence", "normalizers": [' * 400 + '{"type": "NFC"}' + "]}" * 400
    path = tmp_path / "deep.json"
    path.write_text(
        json.dumps({**tokenizer.to_json(), "normalizer": "?"}).replace('"?"', deep), encoding="utf-8"
    )
    with pytest.raises(BadFileError, match=r"deep\.json"):
        load_tokenizer(path)


@pytest.mark.parametrize("as_lists", [False, True])
def test_merges_are_strings_or_lists(tokenizer, as_lists):
    content = tokenizer.to_json()
    if as_lists:
        content["model"]["merges"] = [merge.split(" ") for merge in content["model"]["merges"]]
    again = from_json(content)
    assert again.merges == tokenizer.merges
    assert again.encode(KOREAN) == tokenizer.encode(KOREAN)


def test_a_special_token_that_a_merge_also_makes(tokenizer):
    """As in tokenizers: the added token wins where it is allowed, elsewhere the merge makes the same id."""
    content = tokenizer.to_json()
    name = max(
        content["model"]["vocab"],
        key=lambda token: len(token) if token.isascii() and token not in (END,) else 0,
    )
    index = content["model"]["vocab"][name]
    content["added_tokens"].append({"id": index, "content": name, "special": True})
    ours = from_json(content)
    assert ours.special_tokens[name] == index
    assert ours.encode(f"!{name}x") == [*tokenizer.encode("!"), index, *tokenizer.encode("x")]
    assert ours.encode(KOREAN + name, ()) == tokenizer.encode(KOREAN + name)
    assert index in ours.encode(name, ())


@pytest.mark.parametrize("content", [[], None, 3, "text", {}, {"model": []}])
def test_other_json_is_refused(content):
    with pytest.raises(ValueError, match="must be an object"):
        from_json(content)


@pytest.mark.parametrize("merges", [b"#version: 0.2\na b\nab", b"a b c\n", b"\xff\n", b"Q Q\n"])
def test_vocab_and_merges_that_do_not_fit_are_refused(tokenizer, tmp_path, merges):
    vocab = tmp_path / "vocab.json"
    vocab.write_text(json.dumps(tokenizer.vocab), encoding="utf-8")
    (tmp_path / "merges.txt").write_bytes(merges)
    with pytest.raises(BadFileError, match=r"merges\.txt"):
        BPETokenizer.from_files(vocab, tmp_path / "merges.txt", tokenizer.special_tokens)
    with pytest.raises(BadFileError, match="cannot be read"):
        BPETokenizer.from_files(vocab, tmp_path / "none.txt")


def test_merges_cut_anywhere_are_refused(tmp_path):
    tokenizer = BPETokenizer.train([KOREAN, "the theory of the thing"] * 3, 275)
    (tmp_path / "vocab.json").write_text(json.dumps(tokenizer.vocab), encoding="utf-8")
    lines = "\n".join(["#version: 0.2", *tokenizer.to_json()["model"]["merges"]]).encode()
    for length in range(len(lines)):  # also between two lines, where each line is whole
        (tmp_path / "merges.txt").write_bytes(lines[:length])
        with pytest.raises(BadFileError, match=r"merges\.txt"):
            BPETokenizer.from_files(
                tmp_path / "vocab.json", tmp_path / "merges.txt", tokenizer.special_tokens
            )


def test_vocab_and_merges_open(tokenizer, tmp_path):
    vocab = tmp_path / "vocab.json"
    vocab.write_text(json.dumps(tokenizer.vocab), encoding="utf-8")
    lines = "".join(f"{merge}\n" for merge in tokenizer.to_json()["model"]["merges"])
    (tmp_path / "merges.txt").write_text(
        "#version: 0.2\r\n" + lines.replace("\n", "\r\n"), encoding="utf-8", newline=""
    )
    again = BPETokenizer.from_files(vocab, tmp_path / "merges.txt", tokenizer.special_tokens)
    assert again.vocab == tokenizer.vocab
    assert again.encode(KOREAN) == tokenizer.encode(KOREAN)
    more = BPETokenizer.from_files(vocab, tmp_path / "merges.txt", [*tokenizer.special_tokens, "<|new|>"])
    assert more.special_tokens["<|new|>"] == tokenizer.vocab_size
    bare = BPETokenizer.train([KOREAN] * 3, 300, special_tokens=(END,))
    vocab.write_text(json.dumps(bare.vocab), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("\n".join(bare.to_json()["model"]["merges"]), encoding="utf-8")
    assert load_tokenizer(tmp_path).vocab == bare.vocab  # the folder GPT-2 came in


def test_what_a_file_says_of_calls_waits_until_they_ask(tokenizer, tmp_path):
    content = {**tokenizer.to_json(), "truncation": TRUNCATION, "padding": PADDING}
    ours = from_json(content)
    ids = tokenizer.encode("a b c d e")
    assert ours("a b c d e")["input_ids"] == ids
    assert ours("a b c d e", truncation=True)["input_ids"] == ids[-3:]
    assert ours(["a b", "a"], padding=True)["attention_mask"][1][0] == 0
    assert ours.pad_token_id == 0
    assert json.loads(ours.save(tmp_path / "x.json").read_text(encoding="utf-8")) == content
