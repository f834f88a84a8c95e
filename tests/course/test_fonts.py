"""Hangul is drawn with the font that the core brings: in figures, and on a web page with the letters it needs."""

import base64
import io
import re
import sys

import pytest
from fontTools.ttLib import TTFont
from matplotlib import font_manager

from minillm.course import figure_png, plot_lines
from minillm.course.page import style, web_font
from tests.helpers import pyproject


def test_the_font_is_a_file_of_the_core_and_the_packages_code_never_runs():
    assert any(line.startswith("koreanize-matplotlib") for line in pyproject()["project"]["dependencies"])
    assert style.hangul_font() == "NanumGothic"
    assert style.font_file().name == "NanumGothic.ttf"
    assert style.font_file("Bold").name == "NanumGothicBold.ttf"
    assert "koreanize_matplotlib" not in sys.modules


def test_matplotlib_draws_with_exactly_that_file():
    style.hangul_font()
    found = font_manager.findfont(font_manager.FontProperties(family="NanumGothic"))
    assert TTFont(found)["name"].getDebugName(6) == "NanumGothic"


def test_hangul_letters_are_drawn_and_differ():
    """Three syllables drawn with the course's fonts are three pictures; missing glyphs would be the same box."""
    pictures = {figure_png(plot_lines, {"a": [1, 2]}, title=syllable) for syllable in "가각힣"}
    assert len(pictures) == 3


def embedded(css):
    data = re.search(r"base64,([A-Za-z0-9+/=]+)", css)[1]
    return TTFont(io.BytesIO(base64.b64decode(data)))


def test_a_page_carries_the_glyphs_of_its_own_hangul_and_no_others():
    text = "학습 손실: loss, 硏 🙂 ㅋㅋ"
    cut = embedded(web_font.hangul_css(text))
    assert {chr(code) for code in cut.getBestCmap()} == set("학습손실ㅋ")
    whole = TTFont(style.font_file())
    for letter in "학습손실ㅋ":  # the outlines are the font's own
        name = whole.getBestCmap()[ord(letter)]
        assert (
            cut["glyf"][cut.getBestCmap()[ord(letter)]].getCoordinates(cut["glyf"])[0]
            == (whole["glyf"][name].getCoordinates(whole["glyf"])[0])
        )
    assert len(web_font.hangul_css(text)) < 6_000


def test_cutting_says_nothing(caplog, capfd):
    web_font.hangul_css("조용히")
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_the_same_text_gives_the_same_rule():
    assert web_font.hangul_css("가나다") == web_font.hangul_css("다나가 나")


@pytest.mark.parametrize("text", ["", "plain", "漢字 カナ"])
def test_a_page_without_hangul_carries_no_font(text):
    assert web_font.hangul_css(text) == ""


def test_without_the_font_nothing_breaks(monkeypatch):
    monkeypatch.setattr(web_font, "font_file", lambda: None)
    assert web_font.hangul_css("가") == ""
    monkeypatch.setattr(style.importlib.util, "find_spec", lambda name: None)
    style.hangul_font.cache_clear()
    style.font_file.cache_clear()
    try:
        assert style.hangul_font() is None
        assert style.style()["font.family"] == ["DejaVu Sans"]
    finally:
        style.hangul_font.cache_clear()
        style.font_file.cache_clear()


def test_text_must_be_text():
    with pytest.raises(ValueError, match="text must be a str, got"):
        web_font.hangul_css(None)
