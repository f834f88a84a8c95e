"""A page inside a lesson: it reaches the browser as it is, and stays in its frame."""

from html.parser import HTMLParser

import pytest

from minillm.course import show_page

PAGE = """<!doctype html>
<html><title>A &amp; B 쪽</title><style>p { color: red }</style>
<p title='"quoted"'>1 &lt; 2 &amp;&amp; "3"</p></iframe><script>alert(1)</script></html>
"""


class Frames(HTMLParser):
    """The attributes of every tag that a notebook's page would get."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_page_comes_whole_and_nothing_of_it_leaves_the_frame():
    [(tag, attrs)] = Frames(show_page(PAGE, height=200)._repr_html_()).tags
    assert tag == "iframe"
    assert attrs["srcdoc"] == PAGE
    assert (attrs["sandbox"], attrs["height"]) == ("", "200")


def test_where_frames_are_cut_out_a_line_of_text_is_left():
    assert ">Run this cell to see the page here.</iframe>" in show_page(PAGE)._repr_html_()


def test_printed_it_is_its_title():
    assert repr(show_page(PAGE)) == "a web page: A & B 쪽"
    assert repr(show_page("<p>x</p>")) == "a web page: without a title"


@pytest.mark.parametrize(
    ("page", "height", "says"),
    [("pages/notes.html", 320, "no tag"), (b"<p>", 320, "page must be a str"), ("<p>", 20, "height must be")],
)
def test_a_name_of_a_file_is_no_page(page, height, says):
    with pytest.raises(ValueError, match=says):
        show_page(page, height)
