"""SentenceEncoder on its own: poolings by hand, batches, prompts, and folders that it refuses by their name."""

import json
import shutil

import numpy as np
import pytest
import torch

from minillm._files import BadFileError
from minillm.data import Passage
from minillm.models import BERT, BERTConfig, BERTForMaskedLM, RoBERTa, RoBERTaConfig
from minillm.search import DenseRetriever, PassageIndex, SentenceEncoder
from minillm.search.sentence_encoder import POOLINGS
from minillm.tokenizer import BPETokenizer, WordPieceTokenizer
from tests.e5s1 import WIDTH, e5s1_bytes

VOCABULARY = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] query passage : cat cats dog dogs ##s a the runs "
    "sleeps 고양이 강아지 가 ##가 . 🚀"
)
WORDS = VOCABULARY.split()
TEXTS = ["the cat sleeps.", "", "dogs", "고양이가 a dog " * 9, "🚀 cats", "강아지 runs the dog."]
ROUNDING = 2e-5  # of hidden states up to 2 in float32, after layers whose products processors sum in different orders


def tiny(seed=0, **changes):
    config = BERTConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=24, initializer_range=0.5, **changes,
    )  # fmt: skip
    return BERT(config, seed)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text("\n".join(WORDS), encoding="utf-8")
    return WordPieceTokenizer.from_vocab(path)


@pytest.fixture
def encoder(tokenizer):
    return SentenceEncoder(tiny(), tokenizer)


@pytest.fixture
def folder(encoder, tmp_path):
    return encoder.save_pretrained(tmp_path / "encoder")


def test_poolings_by_hand():
    hidden = torch.tensor([[[1.0, -5.0], [3.0, -1.0], [50.0, 50.0]], [[2.0, 4.0], [4.0, 0.0], [6.0, 2.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])  # the third token of the first text is padding
    expected = {
        "cls": [[1.0, -5.0], [2.0, 4.0]],
        "mean": [[2.0, -3.0], [4.0, 2.0]],
        "max": [[3.0, -1.0], [6.0, 4.0]],
    }
    assert {name: pool(hidden, mask).tolist() for name, pool in POOLINGS.items()} == expected


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("normalize", [True, False])
def test_a_vector_is_the_pooled_hidden_states(tokenizer, pooling, normalize):
    encoder = SentenceEncoder(tiny(), tokenizer, pooling)
    found = encoder.encode(TEXTS, normalize=normalize)
    assert found.shape == (len(TEXTS), encoder.dim) == (6, 16)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    for text, vector in zip(TEXTS, found):
        ids = torch.tensor([tokenizer(text, truncation=True, max_length=24)["input_ids"]])
        with torch.no_grad():
            hidden = encoder.model(ids).last_hidden_state[0].numpy()
        expected = {"cls": hidden[0], "mean": hidden.mean(0), "max": hidden.max(0)}[pooling]
        if normalize:
            expected = expected / np.linalg.norm(expected)
        np.testing.assert_allclose(vector, expected, atol=ROUNDING)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_batch_and_the_order_change_nothing(tokenizer, pooling):
    encoder = SentenceEncoder(tiny(), tokenizer, pooling)
    single = np.concatenate([encoder.encode([text]) for text in TEXTS])
    for size in (1, 2, 4, 32):
        np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=size), single, atol=ROUNDING)
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1]), single[::-1], atol=ROUNDING)
    assert encoder.encode([]).shape == (0, 16)


def test_roberta_counts_its_places_from_the_padding(tokenizer, tmp_path):
    config = RoBERTaConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=26, initializer_range=0.5, pad_token_id=0, type_vocab_size=1, bos_token_id=None,
        eos_token_id=None,
    )  # fmt: skip
    encoder = SentenceEncoder(RoBERTa(config), tokenizer)
    assert encoder.max_length == config.max_length
    single = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode(TEXTS), single, atol=ROUNDING)
    again = SentenceEncoder.from_pretrained(encoder.save_pretrained(tmp_path / "r"))
    assert type(again.model) is RoBERTa
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


def test_a_long_text_is_cut(encoder, tokenizer):
    short = SentenceEncoder(encoder.model, tokenizer, max_length=5)
    assert [len(row) for row in short.tokens(["cat " * 50, "cat"])] == [5, 3]
    np.testing.assert_allclose(short.encode(["cat " * 50]), short.encode(["cat cat cat"]), atol=ROUNDING)
    assert SentenceEncoder(encoder.model, tokenizer, max_length=10_000).max_length == 24
    same = SentenceEncoder(encoder.model, tokenizer)
    same.max_seq_length = 5  # the peer's way
    assert same.tokens(["cat " * 50]) == short.tokens(["cat " * 50])
    for wrong in (0, 1, "5"):  # 1: not even the special tokens
        with pytest.raises(ValueError, match="length"):
            same.max_seq_length = wrong
    assert same.max_seq_length == 5
    same.max_seq_length = 10_000
    assert same.max_seq_length == 24


def test_prompts(tokenizer):
    prompts = {"query": "query: ", "passage": "passage: "}
    encoder = SentenceEncoder(tiny(), tokenizer, prompts=prompts)
    plain, asked = encoder.encode(["query: the cat"]), encoder.encode(["the cat"], prompt_name="query")
    np.testing.assert_array_equal(asked, plain)
    np.testing.assert_array_equal(encoder.encode(["the cat"], prompt="query: "), plain)
    np.testing.assert_array_equal(encoder.encode(["the cat"], prompt_name="passage", prompt="query: "), plain)
    np.testing.assert_array_equal(encoder.encode_query(["the cat"]), plain)
    np.testing.assert_array_equal(encoder.encode_document(["the cat"]), encoder.encode(["passage: the cat"]))
    by_default = SentenceEncoder(tiny(), tokenizer, prompts=prompts, default_prompt_name="query")
    np.testing.assert_array_equal(by_default.encode(["the cat"]), plain)
    np.testing.assert_array_equal(by_default.encode(["the cat"], prompt=""), encoder.encode(["the cat"]))
    assert not np.allclose(encoder.encode(["the cat"]), plain)


def test_a_model_in_training_is_left_in_training(tokenizer):
    encoder = SentenceEncoder(tiny(hidden_dropout_prob=0.5), tokenizer)
    expected = encoder.encode(TEXTS)
    encoder.model.train()
    np.testing.assert_array_equal(encoder.encode(TEXTS), expected)
    assert encoder.model.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5,), "texts must be a list of str, got 5"),
        ((["cat", 3],), "got 3 at position 1"),
        ((["cat"], 0), "batch_size must be at least 1"),
        ((["cat"], 8, 1), "normalize must be True or False"),
        ((["cat"], 8, True, "question"), "prompt_name must be one of"),
        ((["cat"], 8, True, None, 5), "prompt must be a str"),
    ],
)
def test_encode_says_what_it_needs(encoder, arguments, message):
    with pytest.raises(ValueError, match=message):
        encoder.encode(*arguments)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_text_without_any_token_is_zero_and_disturbs_no_other(pooling):
    bare = BPETokenizer.train(["the cat sat"] * 3, 270, special_tokens=("<pad>",))  # no token around a text
    bare.pad_token = "<pad>"
    config = BERTConfig(
        vocab_size=270, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    encoder = SentenceEncoder(BERT(config), bare, pooling, max_length=16)
    found = encoder.encode(["", "the cat", ""])
    np.testing.assert_array_equal(found[::2], 0)
    np.testing.assert_allclose(found[1], encoder.encode("the cat"), atol=1e-6)
    np.testing.assert_array_equal(encoder.encode([""]), np.zeros((1, 16)))


def test_one_text_in_place_of_a_list_is_not_read_letter_by_letter(encoder):
    for ask in (encoder.tokens, encoder.count_tokens):
        with pytest.raises(ValueError, match="texts must be a list of str, got '고양이'"):
            ask("고양이")
    assert encoder.count_tokens(iter(["the cat"])) == encoder.count_tokens(["the cat"])


def test_it_takes_what_a_user_of_the_peer_types(encoder, capsys):
    plain = encoder.encode(["the cat", "a dog"])
    one = encoder.encode("the cat")
    assert one.shape == (16,)
    np.testing.assert_allclose(one, plain[0], atol=1e-6)
    found = encoder.encode(
        ["the cat", "a dog"],
        normalize_embeddings=False,
        convert_to_tensor=True,
        show_progress_bar=True,
        device="cpu",
    )
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(
        found.numpy(), encoder.encode(["the cat", "a dog"], normalize=False), atol=1e-6
    )
    assert "Batches" in capsys.readouterr().err
    np.testing.assert_allclose(encoder.similarity(found, plain), plain @ plain.T, atol=1e-6)
    assert encoder.similarity(one, list(plain)).shape == (1, 2)
    np.testing.assert_allclose(
        encoder.similarity(plain[::-1], plain).flip(0)[1:], plain[1:] @ plain.T, atol=1e-6
    )
    assert encoder.encode_query("the cat", convert_to_tensor=True).shape == (16,)
    assert encoder.encode([], convert_to_tensor=True).shape == (0, 16)
    np.testing.assert_array_equal(encoder.encode(["the cat", "a dog"], convert_to_numpy=True), plain)
    listed = encoder.encode(["the cat", "a dog"], convert_to_numpy=False)
    assert [(type(row), row.shape) for row in listed] == [(torch.Tensor, (16,))] * 2
    assert encoder.encode("the cat", convert_to_numpy=False).shape == (16,)
    assert encoder.device == torch.device("cpu")
    with pytest.raises(ValueError, match="device must be auto"):
        encoder.encode(["cat"], device="gpu")
    with pytest.raises(ValueError, match="equally wide"):
        encoder.similarity(plain, plain[:, :3])
    with pytest.raises(ValueError, match="a must be vectors, got 'cat'"):
        encoder.similarity("cat", plain)


def test_parts_that_do_not_fit_are_refused(tokenizer):
    model = tiny()
    head = BERTForMaskedLM(model.config)
    for arguments, message in (
        ((head, tokenizer), "without a head, got 'BERTForMaskedLM'"),
        ((model, None), "tokenizer must be a Tokenizer"),
        ((model, tokenizer, "sum"), "pooling must be one of 'cls', 'mean', 'max', got 'sum'"),
        ((model, tokenizer, "mean", 1), "room for 2 special tokens"),
        ((model, tokenizer, "mean", None, {"query": 3}), "prompt 'query' must be a str"),
        ((model, tokenizer, "mean", None, ["query: "]), "prompts must be a dict from name to text, got "),
        ((model, tokenizer, "mean", None, {}, "query"), "default_prompt_name must be one of"),
        (
            (BERT(BERTConfig(**{**model.config.to_dict(), "vocab_size": 9})), tokenizer),
            "do not belong together",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            SentenceEncoder(*arguments)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_is_saved_comes_back(tokenizer, tmp_path, pooling):
    encoder = SentenceEncoder(tiny(), tokenizer, pooling, 9, {"query": "query: "}, "query")
    again = SentenceEncoder.from_pretrained(encoder.save_pretrained(tmp_path / "x"))
    assert (again.pooling, again.max_length, again.prompts) == (pooling, 9, {"query": "query: "})
    assert again.default_prompt_name == "query"
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


def test_a_folder_without_modules_is_averaged(folder, encoder):
    for name in (
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "checksums.json",
    ):
        (folder / name).unlink()
    shutil.rmtree(folder / "1_Pooling")
    found = SentenceEncoder.from_pretrained(folder)
    assert (found.pooling, found.max_length, found.prompts) == ("mean", 24, {})
    np.testing.assert_array_equal(found.encode(TEXTS), encoder.encode(TEXTS))


def test_the_body_of_a_folder_with_a_head_is_taken(encoder, tokenizer, tmp_path):
    model = BERTForMaskedLM(encoder.model.config)
    model.body.load_state_dict(encoder.model.state_dict(), strict=False)
    model.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    np.testing.assert_allclose(
        SentenceEncoder.from_pretrained(tmp_path).encode(TEXTS), encoder.encode(TEXTS), atol=1e-6
    )


def test_an_older_folder_keeps_its_transformer_inside(folder, encoder, tmp_path):
    inside = tmp_path / "old" / "0_Transformer"
    inside.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "sentence_bert_config.json"):
        shutil.move(folder / name, inside / name)
    for name in ("modules.json", "1_Pooling"):
        shutil.move(folder / name, inside.parent / name)
    edit(inside.parent / "modules.json", lambda modules: modules[0].update(path="0_Transformer"))
    np.testing.assert_array_equal(
        SentenceEncoder.from_pretrained(inside.parent).encode(TEXTS), encoder.encode(TEXTS)
    )


def edit(path, change):
    """Change a JSON file of a folder, and delete the checksums, as the refusal advises."""
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    for folder in (path.parent, path.parent.parent):
        (folder / "checksums.json").unlink(missing_ok=True)


M, P, L, C = (
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)
REFUSED = [
    (
        M,
        lambda v: v.append({"type": "sentence_transformers.models.Dense", "path": "3_Dense"}),
        "it lists .*Dense; we",
    ),
    (M, lambda v: v.reverse(), "it lists Normalize, Pooling, Transformer"),
    (M, lambda v: v[0].update(type="os.system"), "is no module of sentence-transformers"),
    (M, lambda v: v[0].update(path="../elsewhere"), "'../elsewhere' is no folder inside it"),
    (M, lambda v: v[1].update(path=".."), r"'\.\.' is no folder inside it"),
    (M, lambda v: v[1].update(path=None), "None is no folder inside it"),
    (M, lambda v: v.clear(), "it lists ; we have"),
    (
        P,
        lambda v: v.update(pooling_mode_cls_token=True),
        r"asks for \['cls', 'mean'\]; we have cls, mean, max",
    ),
    (
        P,
        lambda v: v.update(pooling_mode_mean_tokens=False, pooling_mode_lasttoken=True),
        r"asks for \['lasttoken'\]",
    ),
    (P, lambda v: v.update(pooling_mode="weightedmean"), r"asks for \['weightedmean'\]"),
    (P, lambda v: v.update(pooling_mode={"mean": 1}), "we have cls, mean, max"),
    (P, lambda v: v.update(include_prompt=False), "include_prompt false is not built here"),
    (P, lambda v: v.update(word_embedding_dimension=17), "expects vectors of 17 numbers, its model makes 16"),
    (P, lambda v: v.update(word_embedding_dimension="16"), "embedding_dimension must be an integer"),
    (L, lambda v: v.update(max_seq_length=0), "the longest text must be at least 1"),
    (L, lambda v: v.update(max_seq_length="many"), "the longest text must be an integer"),
    (L, lambda v: v.update(max_seq_length=1), "room for 2 special tokens"),
    (L, lambda v: v.update(do_lower_case=True), "do_lower_case is not built here"),
    (C, lambda v: v.update(prompts={"query": 3}), "prompts must map names to texts"),
    (C, lambda v: v.update(prompts=["query: "]), "prompts must map names to texts"),
    (C, lambda v: v.update(default_prompt_name="query"), "no prompt is called 'query'"),
]


@pytest.mark.parametrize(("name", "change", "message"), REFUSED)
def test_what_is_not_built_is_refused_by_name(folder, name, change, message):
    edit(folder / name, change)
    with pytest.raises(BadFileError, match=message):
        SentenceEncoder.from_pretrained(folder)


def test_files_that_are_gone_cut_or_changed_are_refused(folder, tmp_path):
    for name in (M, P, L, C, "config.json", "tokenizer.json", "model.safetensors"):
        copy = tmp_path / "copy"
        for harm in ("gone", "cut", "list"):
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy)
            if harm == "gone":
                (copy / name).unlink()
            elif harm == "cut":
                (copy / name).write_bytes((copy / name).read_bytes()[:-1])
            else:
                (copy / name).write_text("[3]", encoding="utf-8")
            with pytest.raises(BadFileError, match=name.rpartition("/")[2]):
                SentenceEncoder.from_pretrained(copy)
    with pytest.raises(BadFileError, match="no such folder"):
        SentenceEncoder.from_pretrained(tmp_path / "nowhere")


def test_a_real_model_that_is_not_here_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    monkeypatch.delenv("MINILLM_DATA", raising=False)
    for name in ("e5", "minilm"):
        with pytest.raises(ValueError, match=rf"`minillm fetch {name}` \(\d+ MB\)"):
            SentenceEncoder.from_pretrained(name)


def test_a_file_of_the_e5s1_format(tmp_path):
    path = tmp_path / "small.bin"
    path.write_bytes(e5s1_bytes())
    encoder = SentenceEncoder.from_pretrained(path)
    assert (encoder.dim, encoder.pooling, encoder.max_length) == (WIDTH, "mean", 20)
    np.testing.assert_array_equal(encoder.encode_query(["서울"]), encoder.encode(["query: 서울"]))
    np.testing.assert_array_equal(encoder.encode_document(["서울"]), encoder.encode(["passage: 서울"]))
    again = SentenceEncoder.from_pretrained(encoder.save_pretrained(tmp_path / "folder"))
    np.testing.assert_array_equal(again.encode(["hello ①"]), encoder.encode(["hello ①"]))


def test_it_is_an_encoder_of_a_retriever_and_an_index(tokenizer, tmp_path):
    encoder = SentenceEncoder(tiny(), tokenizer, prompts={"query": "query: ", "passage": "passage: "})
    texts = [text for text in TEXTS if text]
    retriever = DenseRetriever(encoder).fit(texts)
    expected = encoder.encode_document(texts) @ encoder.encode_query(["cat dog"])[0]
    np.testing.assert_allclose(retriever.scores("cat dog"), expected, atol=1e-6)
    ((found, score), *_) = retriever.search(["cat dog"], 3)[0]
    assert found == expected.argmax()
    assert score == pytest.approx(expected.max(), abs=1e-6)
    again = DenseRetriever.load(retriever.save(tmp_path / "dense"))
    assert again.search(["cat dog"], 3) == retriever.search(["cat dog"], 3)

    passages = [Passage(f"p{i}", f"d{i}", f"text {i}", text) for i, text in enumerate(texts)]
    index = PassageIndex.build(passages, encoder=encoder)
    assert index.dense.encoder is encoder
    loaded = PassageIndex.load(index.save(tmp_path / "index"))
    assert loaded.rankings(["the cat"], 3, "dense") == index.rankings(["the cat"], 3, "dense")
    with pytest.raises(ValueError, match="an encoder that is given is not trained: steps"):
        PassageIndex.build(passages, encoder=encoder, steps=3)


def test_a_retriever_writes_the_name_of_a_real_model_and_not_its_weights(tokenizer, tmp_path, monkeypatch):
    encoder = SentenceEncoder(tiny(), tokenizer)
    texts = [text for text in TEXTS if text]
    DenseRetriever(encoder).fit(texts).save(tmp_path)
    assert (tmp_path / "encoder" / "model.safetensors").exists()
    encoder.name = "e5"
    folder = DenseRetriever(encoder).fit(texts).save(tmp_path / "named")
    assert not (folder / "encoder").exists()
    monkeypatch.setattr(SentenceEncoder, "from_pretrained", {"e5": encoder}.__getitem__)
    again = DenseRetriever.load(folder)
    assert again.search(["cat dog"], 3) == DenseRetriever(encoder).fit(texts).search(["cat dog"], 3)
    for content in ('{"name": "other"}', "[]", '{"name": 3}', "{"):
        (folder / "encoder.json").write_text(content, encoding="utf-8")
        with pytest.raises(BadFileError, match=r"encoder\.json"):
            DenseRetriever.load(folder)
