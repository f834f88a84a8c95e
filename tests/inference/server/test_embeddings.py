"""/v1/embeddings by the unmodified openai client: the vectors are the encoder's own."""

import base64
import threading

import httpx
import numpy as np
import pytest
from openai import BadRequestError, NotFoundError

from minillm.inference.server import Server
from minillm.inference.server.embeddings import PASS
from minillm.models import BERT, BERTConfig
from minillm.search import SentenceEncoder, StaticEncoder, open_encoder
from minillm.tokenizer import BPETokenizer, WordPieceTokenizer
from tests.inference.server.tiny import SHORT, all_free, client_of, tiny_engine

pytestmark = pytest.mark.timeout(120)
TEXTS = ["the cat sat", "a dog", "고양이가 앉았다", "the mat and the cat"]
CLOSE = 1e-5  # beside longer texts, in other batches


@pytest.fixture(scope="module")
def encoder():
    tokenizer = WordPieceTokenizer.train([*TEXTS, "query passage : "], 200)
    config = BERTConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=24,
    )  # fmt: skip
    return SentenceEncoder(BERT(config, seed=3), tokenizer, prompts={"query": "query: "})


@pytest.fixture(scope="module")
def server(encoder):
    engine = tiny_engine()
    with Server(engine, port=0, model_name="tiny", encoder=encoder, encoder_name="mini") as server:
        yield server
        assert all_free(server, engine)


@pytest.fixture(scope="module")
def client(server):
    with client_of(server) as client:
        yield client


@pytest.mark.parametrize(
    "more", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}, {"dimensions": 16}]
)
def test_vectors_are_the_encoders(client, encoder, more):
    """Without encoding_format the client asks for base64, and reads it back."""
    got = client.embeddings.create(model="mini", input=TEXTS, **more)
    assert (got.object, got.model, [one.index for one in got.data]) == ("list", "mini", [0, 1, 2, 3])
    vectors = [one.embedding for one in got.data]
    if more.get("encoding_format") == "base64":
        vectors = [np.frombuffer(base64.b64decode(one), "<f4") for one in vectors]
    np.testing.assert_allclose(np.array(vectors), encoder.encode(TEXTS), atol=CLOSE)
    counts = sum(map(len, encoder.tokens(TEXTS)))
    assert (got.usage.prompt_tokens, got.usage.total_tokens) == (counts, counts)


def test_one_text_ids_and_a_prompt(client, encoder):
    def vector(**asked):
        [one] = client.embeddings.create(model="mini", **asked).data
        return one.embedding

    plain = encoder.encode("the cat sat")
    np.testing.assert_allclose(vector(input="the cat sat"), plain, atol=CLOSE)
    ids = encoder.tokenizer.encode("the cat sat")
    np.testing.assert_allclose(vector(input=ids), plain, atol=CLOSE)
    np.testing.assert_allclose(vector(input=[ids]), plain, atol=CLOSE)
    asked = encoder.encode("the cat sat", prompt_name="query")
    np.testing.assert_allclose(
        vector(input="the cat sat", extra_body={"prompt_name": "query"}), asked, atol=CLOSE
    )
    assert np.abs(asked - plain).max() > 0.01


def test_an_encoder_without_layers_is_served_as_it_is(tmp_path):
    tokenizer = BPETokenizer.train([f" {text}" for text in TEXTS], 280)
    table = np.random.default_rng(0).standard_normal((tokenizer.vocab_size, 8)).astype(np.float32)
    static = open_encoder(StaticEncoder(tokenizer, table).save_pretrained(tmp_path / "static"))
    texts = ["THE Cat", "고양이가 앉았다", "<|endoftext|> " + "the mat " * 5000]
    with (
        Server(tiny_engine(), port=0, model_name="tiny", encoder=static, encoder_name="static") as server,
        client_of(server) as client,
    ):
        found = client.embeddings.create(model="static", input=texts)
        np.testing.assert_allclose([one.embedding for one in found.data], static.encode(texts), atol=CLOSE)
        assert found.usage.prompt_tokens == sum(len(static.tokens(text)) for text in texts)
        ids = client.embeddings.create(model="static", input=static.tokens("the cat sat"))
        np.testing.assert_allclose([ids.data[0].embedding], static.encode(["the cat sat"]), atol=CLOSE)
        with pytest.raises(BadRequestError, match="prompt_name must be one of none"):
            client.embeddings.create(model="static", input="a", extra_body={"prompt_name": "query"})
        assert "max_model_len" not in client.models.retrieve("static").to_dict()
    plain = static.encode(["query: the cat"])
    np.testing.assert_array_equal(static.encode(["the cat"], prompt="query: "), plain)


def test_models_and_who_does_what(client):
    assert [one.id for one in client.models.list().data] == ["tiny", "mini"]
    assert client.models.retrieve("mini").max_model_len == 24
    with pytest.raises(NotFoundError, match="there is 'mini'"):
        client.embeddings.create(model="tiny", input="a")
    with pytest.raises(NotFoundError, match="there is 'tiny'"):
        client.completions.create(model="mini", prompt="a")


@pytest.mark.parametrize(("asked", "words"), [
    ({"input": ""}, "no empty text"),
    ({"input": []}, "1 to 2,048 texts, got 0"),
    ({"input": ["a", ""]}, "no empty text"),
    ({"input": [[1], []]}, "no empty text"),
    ({"input": ["a"] * 2049}, "got 2049"),
    ({"input": [9999]}, "token ids must be below"),
    ({"input": "cat " * 30}, "24 tokens here, got"),
    ({"input": "a", "dimensions": 8}, "dimensions must be 16"),
    ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
    ({"input": "a", "extra_body": {"prompt_name": "nope"}}, "prompt_name must be one of query"),
    ({"input": "a", "extra_body": {"truncate": True}}, "truncate"),
    ({"input": 5}, "input"),
    ({"input": [1.5]}, "input"),
])  # fmt: skip
def test_what_is_wrong_is_named(client, asked, words):
    with pytest.raises(BadRequestError, match=words) as raised:
        client.embeddings.create(model="mini", **asked)
    assert set(raised.value.body) == {"message", "type", "param", "code"}


class Slow:
    """The encoder, held up until it may go on; `sizes` of its passes."""

    def __init__(self, encoder):
        self.encoder, self.sizes, self.go, self.begun = encoder, [], threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self.encoder, name)

    def encode(self, texts, *rest, **options):
        self.sizes.append(len(texts))
        self.begun.set()
        assert self.go.wait(SHORT)
        return self.encoder.encode(texts, *rest, **options)


def in_line(server, count):
    """Wait until so many requests have a place."""
    end = threading.Event()
    for _ in range(int(SHORT / 0.02)):
        if server.app.active >= count and server.app.embeddings.loop._inbox.qsize() >= count - 1:
            return
        end.wait(0.02)
    raise AssertionError("they do not come")


def test_texts_of_many_clients_go_through_the_encoder_together(encoder):
    """One with 100 texts, nine with one each, all waiting behind a first: three passes, each gets its own vectors."""
    slow = Slow(encoder)
    engine = tiny_engine()
    asks = [["the cat"], [f"the cat sat {n}" for n in range(100)], *([f"dog {n}"] for n in range(9))]
    found = [None] * len(asks)
    with Server(engine, port=0, model_name="tiny", encoder=slow) as server:

        def ask(number):
            body = {"model": "encoder", "input": asks[number]}
            got = httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=SHORT)
            found[number] = [one["embedding"] for one in got.json()["data"]]

        threads = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(len(asks))]
        threads[0].start()
        assert slow.begun.wait(SHORT)
        for thread in threads[1:]:
            thread.start()
        in_line(server, len(asks))
        slow.go.set()
        for thread in threads:
            thread.join(SHORT)
        page = httpx.get(f"{server.url}/metrics", timeout=SHORT).text
        assert "minillm_encoder_texts_total 110.0" in page
    assert slow.sizes[0] == 1
    assert max(slow.sizes) <= PASS
    assert slow.sizes[1] > 9  # the single ones are in the first pass, beside a share of the hundred
    assert len(slow.sizes) < 7
    for texts, vectors in zip(asks, found):
        np.testing.assert_allclose(np.array(vectors), encoder.encode(texts), atol=CLOSE)


def test_a_client_that_goes_away_takes_its_texts_out_of_the_line(encoder):
    slow = Slow(encoder)
    with Server(tiny_engine(), port=0, model_name="tiny", encoder=slow) as server:
        body = {"model": "encoder", "input": ["the cat"] * 2000}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=httpx.Timeout(SHORT, read=0.5))
        assert slow.begun.wait(SHORT)
        wait = threading.Event()
        for _ in range(int(SHORT / 0.02)):
            if not server.app.active:
                break
            wait.wait(0.02)
        assert not server.app.active
        slow.go.set()
        got = httpx.post(f"{server.url}/v1/embeddings", json=body | {"input": "a dog"}, timeout=SHORT)
        assert got.status_code == 200
        assert len(slow.sizes) == 2  # of the 32 that its texts would have taken


def test_a_failed_pass_is_500_and_an_end_is_503(encoder):
    slow = Slow(encoder)
    real, failed = slow.encode, []

    def failing(*arguments, **options):
        if not failed:
            failed.append(1)
            raise RuntimeError("on fire")
        return real(*arguments, **options)

    slow.encode = failing
    server = Server(tiny_engine(), port=0, model_name="tiny", encoder=slow, end_seconds=0.2).start()
    body = {"model": "encoder", "input": ["the cat"] * (PASS + 1)}
    got = httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=SHORT)
    assert (got.status_code, got.json()["error"]["message"]) == (500, "the encoder failed: on fire")
    heard = []
    asking = threading.Thread(
        target=lambda: heard.append(httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=SHORT))
    )
    asking.start()
    assert slow.begun.wait(SHORT)
    threading.Timer(0.6, slow.go.set).start()
    server.stop()
    asking.join(SHORT)
    assert (heard[0].status_code, heard[0].json()["error"]["code"]) == (503, "shutting_down")


def test_a_server_without_an_encoder_and_what_is_none(encoder):
    with Server(tiny_engine(), port=0, model_name="tiny") as server:
        got = httpx.post(f"{server.url}/v1/embeddings", json={"model": "mini", "input": "a"}, timeout=SHORT)
        assert got.status_code == 404
        assert "none that does this" in got.json()["error"]["message"]
    with pytest.raises(ValueError, match="must be a SentenceEncoder"):
        Server(tiny_engine(), port=0, encoder="e5")
    with pytest.raises(ValueError, match="encoder_name"):
        Server(tiny_engine(), port=0, model_name="a", encoder=encoder, encoder_name="a")
