"""tour.html as a reader meets it: facts, links, a phone's width, Hangul, and words that promise nothing."""

from __future__ import annotations

import base64
import datetime
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from fontTools.ttLib import TTFont
from PIL import Image

from minillm._machine import cpu_model
from minillm.course.paths import checkout
from minillm.course.tour import report

STAGES = [
    {
        "name": "tokenizer", "lesson": "02_1", "file": "minillm/tokenizer/bpe.py", "seconds": 1.25,
        "figure": "3.49 bytes <per> token", "meaning": "one line\na second line", "figures": {},
    },
    {
        "name": "training", "lesson": "01_1", "file": "minillm/training/trainer.py", "seconds": 61.7,
        "figure": "1.6 bits", "meaning": "small", "figures": {"parameters": 2_164_416},
    },
]  # fmt: skip
RESULT = {
    "stages": STAGES, "seconds": 80.0, "peak_memory_bytes": 812_000_000, "prompt": "The <b>with</b>",
    "question": "왜 a < b 인가?",
    "answer": {"id": "with#1", "title": "with & as", "text": "<script>quoted</script>", "declined": False},
    "real_answer": None,
    "sample": "The with 문장 & more",
    "settings": {"vocab_size": 2048, "steps": 1600, "seed": 17, "threads": 2},
    "corpus": {
        "name": "Python's language reference", "documents": 79, "training_characters": 336_345,
        "held_out_characters": 36_842,
    },
}  # fmt: skip
HISTORY = [{"step": 1, "train_loss": 7.0, "eval_loss": 7.1}, {"step": 2, "train_loss": 6.0}]
CURVES = {"with cache": [0.1, 0.2], "without cache": [0.1, 0.4]}
SIZES = {"fp32": (8_000_000, 57.0), "int8": (3_000_000, 57.1)}
QUALITY = {"bm25": {"hit@1": 0.5, "hit@5": 0.75}}


class Page(HTMLParser):
    """Every tag with its attributes, and the words between them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in {"meta", "img", "wbr"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def write(folder, **changes):
    result = RESULT | changes
    path = report.write_report(folder / "tour.html", result, HISTORY, CURVES, SIZES, QUALITY)
    html = path.read_text(encoding="utf-8")
    return html, Page(html)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write(tmp_path_factory.mktemp("tour"))


def test_it_says_when_where_on_what_and_how(made):
    text = made[1].text
    made_on = datetime.date.fromisoformat(re.search(r"date\s*(\d{4}-\d\d-\d\d) \d\d:\d\d", text)[1])
    assert abs(datetime.date.today() - made_on) <= datetime.timedelta(days=1)
    assert cpu_model() in text
    assert "79 documents, 336,345 characters to learn from, 36,842 held out" in text
    assert re.search(r"seed\s*17", text)
    assert "vocab_size 2048, steps 1600, threads 2" in text
    assert "0.8 GB of memory used at most" in text
    assert re.search(r"minillm 0\.\d+\.\d+, Python 3\.\d+\.\d+, PyTorch 2\.", text)


def test_a_machine_that_does_not_tell_its_memory_says_nothing_of_it(tmp_path):
    assert "of memory" not in write(tmp_path, peak_memory_bytes=None)[1].text


def test_lessons_and_files_are_relative_links_that_lead_somewhere(tmp_path):
    folder = tmp_path / "a folder" / "tour"
    folder.mkdir(parents=True)
    _, page = write(folder)
    links = [attributes["href"] for attributes in page.of("a")]
    assert len(links) == 2 * len(STAGES)
    for link in links:
        assert not Path(link).is_absolute()
        assert (folder / unquote(link)).resolve().is_file(), link
    targets = [(folder / link).resolve().relative_to(checkout()).as_posix() for link in links]
    assert targets[1] == STAGES[0]["file"]
    assert targets[0].startswith("notebooks/02_1_")


def test_without_a_checkout_names_stand_as_plain_text(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "find_checkout", lambda: None)
    _, page = write(tmp_path)
    assert page.of("a") == []
    assert "02_1" in page.text
    assert "minillm/training/trainer.py" in page.text
    assert "minillm study" not in page.text


def test_two_drives_have_no_relative_path(tmp_path, monkeypatch):
    def refuse(*_):
        raise ValueError("path is on mount 'C:', start on mount 'D:'")

    monkeypatch.setattr(report.os.path, "relpath", refuse)
    _, page = write(tmp_path)
    assert all(attributes["href"].startswith("file:///") for attributes in page.of("a"))


def test_it_needs_no_network_and_runs_no_script(made):
    html, page = made
    assert page.of("script") == page.of("link") == []
    assert all(attributes["src"].startswith("data:image/png;base64,") for attributes in page.of("img"))
    assert not re.search(r"https?:", html)


def test_text_of_the_user_stays_text(made):
    html, page = made
    assert "<script>quoted</script>" in page.text
    assert "3.49 bytes <per> token" in page.text
    assert "“The <b>with</b>”" in page.text
    assert "왜 a < b 인가?" in page.text
    assert "&lt;script&gt;" in html


def test_the_sample_is_introduced_for_what_it_is(made):
    text = made[1].text
    intro = text[text.index("What the model writes") : text.index("The with 문장")]
    assert "A model of 2,164,416 weights, trained for 62 seconds, continued it." in intro
    assert "not expected to make sense" in intro


def test_a_phone_gets_cards_with_the_columns_names(made):
    html, page = made
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.of("meta")
    labels = [attributes["data-label"] for attributes in page.of("td")]
    assert labels == list(report.COLUMNS) * len(STAGES)
    narrow = html[html.index("@media (max-width") :]
    assert "tr, td { display: block; }" in narrow
    assert "attr(data-label)" in narrow


def test_paper_and_dark_screens_have_their_own_colours(made):
    for medium in ("@media print", "@media (prefers-color-scheme: dark)"):
        rule = made[0][made[0].index(medium) :]
        assert all(name in rule[:400] for name in ("--ink", "--paper"))


def test_every_hangul_letter_of_the_page_is_in_its_own_font(made):
    html, page = made
    letters = set(re.findall(r"[가-힣]", page.text))
    assert set("왜인가문장학습손실") <= letters
    font = TTFont(io.BytesIO(base64.b64decode(re.search(r"data:font/woff;base64,([^\"]+)", html)[1])))
    assert letters <= {chr(code) for code in font.getBestCmap()}
    assert html.count('font: 16px/1.5 "Hangul"') == 1


def test_the_figures_speak_both_languages(made, monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(
        report, "figure_png", lambda plot, values, **options: drawn.append((values, options)) or picture()
    )
    write(tmp_path)
    words = str(drawn)
    assert all(word in words for word in ("학습", "검증", "스텝", "생성한 토큰", "초"))
    assert len(made[1].of("img")) == 4
    assert all(attributes["alt"] for attributes in made[1].of("img"))


def picture():
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    return buffer.getvalue()


def test_no_questions_no_search_figure_and_no_answer_is_said(tmp_path):
    path = report.write_report(
        tmp_path / "t.html",
        RESULT | {"answer": {"question": "x", "declined": True}},
        HISTORY,
        CURVES,
        SIZES,
        None,
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert len(page.of("img")) == 3
    assert "Nothing in the index matches well." in page.text


def test_a_declined_passage_is_not_shown_as_the_answer(made, tmp_path):
    assert "The best passage in the index is from with & as" in made[1].text
    _, page = write(tmp_path, answer=RESULT["answer"] | {"declined": True})
    assert (
        "Nothing in the index matches well. The nearest passage in the index is from with & as" in page.text
    )
    assert "best passage" not in page.text


def test_the_words_of_a_real_model_are_introduced_for_what_they_are(made, tmp_path):
    assert "SmolLM2" not in made[1].text
    asked = STAGES[1] | {"name": "real model", "figure": "135M weights", "meaning": "Copper."}
    _, page = write(tmp_path, stages=[*STAGES, asked], real_answer={"text": "Copper <and>\nwood."})
    told = page.text[
        page.text.index("SmolLM2, a real model of 135M weights that went through the same code") :
    ]
    assert (
        "It reads English only, and a model of its size is often wrong: check it against the passage." in told
    )
    assert "Copper <and> wood." in told
