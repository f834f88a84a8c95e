"""Secrets do not reach the file, by the name of their field and by their form; other text is left as it is."""

import random
import string
import time

import pytest

from minillm.apps.tracing import Tracer, mask_secrets, recorded
from minillm.apps.tracing.masking import MASKED, names_a_secret

LETTERS = string.ascii_letters + string.digits


def drawn(rng, length, letters=LETTERS):
    return "".join(rng.choice(letters) for _ in range(length))


KOREAN = ("비밀번호: ", "비번: ", "패스워드 = ", "비밀번호：")
# what is kept around the secret, by form
FORMS = {
    "OpenAI": lambda rng: ("", "sk-" + drawn(rng, 48), ""),
    "Anthropic": lambda rng: ("", "sk-ant-api03-" + drawn(rng, 40) + "-_" + drawn(rng, 5), ""),
    "Stripe": lambda rng: ("", "sk_live_" + drawn(rng, 24), ""),
    "GitHub": lambda rng: ("", "ghp_" + drawn(rng, 36), ""),
    "GitHub, fine": lambda rng: ("", "github_pat_" + drawn(rng, 22) + "_" + drawn(rng, 40), ""),
    "GitLab": lambda rng: ("", "glpat-" + drawn(rng, 20), ""),
    "Hugging Face": lambda rng: ("", "hf_" + drawn(rng, 34), ""),
    "Slack": lambda rng: ("", f"xoxb-{drawn(rng, 12, string.digits)}-{drawn(rng, 24)}", ""),
    "AWS": lambda rng: ("", "AKIA" + drawn(rng, 16, string.ascii_uppercase + string.digits), ""),
    "Google": lambda rng: ("", "AIza" + drawn(rng, 35), ""),
    "JWT": lambda rng: ("", f"eyJ{drawn(rng, 30)}.eyJ{drawn(rng, 60)}.{drawn(rng, 43)}", ""),
    "bearer": lambda rng: ("Bearer ", drawn(rng, 20) + "1", ""),
    "basic": lambda rng: ("Authorization: Basic ", drawn(rng, 20) + "==", ""),
    "address": lambda rng: ("postgres://reader:", drawn(rng, 12), "@db:5432/shop"),
    "field": lambda rng: ("password = ", drawn(rng, 12), ""),
    "JSON": lambda rng: ('{"api_key": ', f'"{drawn(rng, 12)} {drawn(rng, 3)}"', "}"),
    "JSON in JSON": lambda rng: ('{\\"secret\\": \\', f'"{drawn(rng, 12)}"', "}"),
    "Authorization without a scheme": lambda rng: ("Authorization: ", drawn(rng, 20) + "1", ""),
    "Django": lambda rng: ("SECRET_KEY = ", f"'django-{drawn(rng, 12)}'", ""),
    "Azure": lambda rng: ("AccountName=shop;AccountKey=", drawn(rng, 20) + "==", ";Suffix=x"),
    "query of an address": lambda rng: ("https://shop.kr/a?x=1&token=", drawn(rng, 16), "&y=2"),
    "한국어": lambda rng: (rng.choice(KOREAN), "열려라" + drawn(rng, 6), ""),
    "key file": lambda rng: ("", f"-----BEGIN PRIVATE KEY-----\n{drawn(rng, 64)}\n-----END PRIVATE KEY-----", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_secret_of_this_form_goes_and_the_words_around_it_stay(name):
    rng = random.Random(name)
    for _ in range(40):
        before, secret, after = FORMS[name](rng)
        front, back = rng.choice(
            [("", ""), ("see ", " please"), ("보세요, ", " 입니다"), ("(", ")"), ("x\n", "\ny")]
        )
        if (
            name in ("field", "한국어", "bearer", "basic", "key file", "Authorization without a scheme")
            and back == ")"
        ):
            front, back = "", ""  # the bracket could be the password's
        assert mask_secrets(front + before + secret + after + back) == front + before + MASKED + after + back


ORDINARY = [
    "The bearer certificates are kept; basic understanding of tokens is enough.",
    "input_tokens: 12, output_tokens = 40, the key idea, a secretary, a keyboard",
    "risk-adjusted returns of tasks, desk-based work, ask-me-anything sessions and disk_space_left_on_device",
    "https://example.com:8080/path@here, http://한국.kr/검색?q=열쇠",
    "비밀번호를 잊었어요. 암호화란 무엇인가요?",
    "오늘은 비번이라 쉽니다. 패스워드를 바꾸는 방법은?",
    "eyJ is how a token begins. AKIA is a prefix. hf_ too, and xoxb-.",
    "SELECT password FROM users",
    "Authorization is required for this page, authorization by token: see below",
    "sk-learn-compatible-estimator, pk-based-authentication-scheme, pypi-upload-instructions-page",
    "ALTER TABLE o ADD CONSTRAINT pk_order_items_product_2024 PRIMARY KEY; hf_hub_download_to_cache(x)",
    "https://shop.kr/?q=token&page=2, compass=north, bypass = 5",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_left_as_it_is(text):
    assert mask_secrets(text) == text


@pytest.mark.parametrize(
    "name",
    ["api_key", "apiKey", "X-Api-Key", "OPENAI_API_KEY", "access_token", "accessToken", "token", "db.password",
     "_passwd", "client_secret", "Authorization", "cookie", "private-key", "pin", "비밀번호", "비번", "패스워드"],
)  # fmt: skip
def test_fields_that_name_a_secret(name):
    assert names_a_secret(name)
    assert recorded({name: "open sesame", "other": 1}) == {name: MASKED, "other": 1}
    assert recorded({name: {"deep": ["x"]}}) == {name: MASKED}


@pytest.mark.parametrize(
    "name",
    [
        "input_tokens",
        "gen_ai.usage.output_tokens",
        "token_ids",
        "tokenizer",
        "key",
        "author",
        "pinned",
        "max_tokens",
    ],
)
def test_fields_that_do_not(name):
    assert not names_a_secret(name)


def test_a_pair_whose_first_names_a_secret():
    headers = [("Authorization", "Basic abcd=="), ("x-api-key", "abcdef"), ("Accept", "text/html")]
    kept = [["Authorization", MASKED], ["x-api-key", MASKED], ["Accept", "text/html"]]
    assert recorded({"headers": headers}) == {"headers": kept}
    assert recorded(["token", "the"]) == ["token", "the"]


def test_the_name_of_a_span_is_masked():
    tracer = Tracer()
    with tracer.trace("GET https://kim:hunter2@shop.kr/?token=abc1234567"):
        pass
    assert tracer.kept[0].name == f"GET https://kim:{MASKED}@shop.kr/?token={MASKED}"


def test_the_number_of_a_token_is_none():
    assert recorded({"token": 17, "next_token": 4}) == {"token": 17, "next_token": 4}
    assert recorded({"token": "abc", "password": 1234}) == {"token": MASKED, "password": MASKED}


def test_a_secret_on_the_edge_of_what_is_kept_leaves_no_half_of_it():
    secret = "sk-" + "a1B2" * 12
    for at in range(50):
        text = "x" * (100 - at) + " " + secret + " " + "y" * 9000
        kept = recorded(text, limit=100)
        assert "sk-a1" not in kept
        assert kept.startswith("x" * min(99, 100 - at))


def test_no_secret_is_anywhere_in_the_file(tmp_path):
    secrets = ["sk-" + "q7" * 20, "hunter2hunter2", "ghp_" + "Zz9" * 12, "열려라참깨"]
    tracer = Tracer(tmp_path / "run.jsonl")

    @tracer.trace
    def login(user, password, headers):
        tracer.open_span.event("asked", note=f"key {secrets[0]}")
        raise ValueError(f"the server refused api_key={secrets[2]}")

    with pytest.raises(ValueError, match="refused"):
        login("나", secrets[1], headers={"x": [{"Authorization": f"Bearer {secrets[0]}"}]})
    with tracer.trace("ask", url=f"https://me:{secrets[1]}@host/", memo=f"암호={secrets[3]}"):
        pass
    written = (tmp_path / "run.jsonl").read_text("utf-8")
    assert written.count(MASKED) >= 6
    assert not [secret for secret in secrets if secret in written]


def test_time_is_linear_in_the_text():
    """Texts on which careless patterns search quadratically: 20 times the text may not take 400 times as long."""
    for seed in (
        "eyJ-",
        "eyJaaaaaaaaa.",
        "sk-",
        "bearer ",
        "://a",
        "password",
        "-----BEGIN ",
        "a:b@",
        "비밀번호:",
        "key",
    ):
        times = []
        for count in (3_000, 60_000):
            text = (seed * count)[:count]
            begun = time.process_time()
            mask_secrets(text)
            times.append(time.process_time() - begun)
        assert times[1] < 100 * max(times[0], 2e-3), (seed, times)
