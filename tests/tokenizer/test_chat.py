"""Chat templates that do harm, or try: they end soon with the reason, everywhere, and no object of Python is reached."""

# ruff: noqa: E501 - a template is one line

import dataclasses
import json
import threading
import time
from datetime import datetime

import numpy as np
import pytest

from minillm._files import BadFileError
from minillm.tokenizer import BPETokenizer, apply_chat_template, load_tokenizer
from minillm.tokenizer.chat_sandbox import CHARACTERS, REFUSED_FILTERS, render, size_of

HI = [{"role": "user", "content": "Hi"}]
BIG = "{% set ns = namespace(x='ab') %}{% for i in range(99999) %}"
ENDLESS = {
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
    "loops that write": "{% for i in range(99999) %}" + "x" * 1000 + "{% endfor %}",
    "a range that is too long": "{% for i in range(10**9) %}{% endfor %}",
    "a macro that calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "a recursive loop": "{% for i in range(9) recursive %}{% for j in range(9) %}{{ loop([1, 2]) }}{% endfor %}{{ loop([i]) }}{% endfor %}",
    "doubling by +": BIG + "{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "doubling by ~": BIG + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "doubling by *": BIG + "{% set ns.x = ns.x * 2 %}{% endfor %}",
    "doubling by %": BIG + "{% set ns.x = '%s%s' % (ns.x, ns.x) %}{% endfor %}",
    "doubling by format": BIG + "{% set ns.x = '{0}{0}'.format(ns.x) %}{% endfor %}",
    "doubling by the filter": BIG + "{% set ns.x = '%s%s' | format(ns.x, ns.x) %}{% endfor %}",
    "doubling by replace": BIG + "{% set ns.x = ns.x.replace('a', 'aa').replace('b', 'bb') %}{% endfor %}",
    "doubling by replace, a filter": BIG + "{% set ns.x = ns.x | replace('a', 'aba') %}{% endfor %}",
    "doubling by join": BIG + "{% set ns.x = ns.x.join([ns.x, ns.x, ns.x]) %}{% endfor %}",
    "doubling by join, a filter": BIG + "{% set ns.x = [ns.x, ns.x] | join(ns.x) %}{% endfor %}",
    "doubling by join of a generator": BIG + "{% set ns.x = ns.x | map('replace', 'a', 'ab') | join %}{% endfor %}",
    "doubling by a block": BIG + "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}",
    "doubling by a macro": "{% macro d(s) %}{{ s }}{{ s }}{% endmacro %}" + BIG + "{% set ns.x = d(ns.x) %}{% endfor %}",
    "doubling by a filter block": BIG + "{% set y %}{% filter upper %}{{ ns.x }}{{ ns.x }}{% endfilter %}{% endset %}{% set ns.x = y %}{% endfor %}",
    "doubling lists": BIG + "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "2**60 of one list, as JSON": "{% set ns = namespace(x=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson | length }}",
    "2**60 of one list, written": "{% set ns = namespace(x=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "2**60 of one list, compared": "{% set ns = namespace(x=[], y=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
    "2**60 of one list, found": "{% set ns = namespace(x=[], y=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ [ns.x].index(ns.y) }}",
    "2**60 of one list, tested": "{% set ns = namespace(x=[], y=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ [ns.x] | select('equalto', ns.y) | list | length }}",
    "2**60 of one tuple, hashed": "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} | length }}",
    "2**60 of one tuple, as a key": "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = ns.x + (ns.x, ns.x) %}{% endfor %}{{ {}[ns.x] }}",
    "a list that holds itself": "{% set ns = namespace() %}{% set ns.x = [ns] %}{% set ns.y = [ns.x, ns.x] %}{% for i in range(99999) %}{% set ns.y = ns.y + ns.y %}{% endfor %}",
    "a large power": "{{ 10 ** (10 ** 10) }}",
    "powers in a row": "{% set ns = namespace(x=3) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "a long text at once": "{{ 'a' * 10000000000 }}",
    "a long list at once": "{{ 10000000000 * [1] }}",
    "a wide number": "{{ '%1000000000d' % 7 }}",
    "a width of its own": "{{ '%*d' % (1000000000, 7) }}",
    "a wide field": "{{ '{:1000000000}'.format(7) }}",
    "a width within": "{{ '{:{}}'.format(7, 1000000000) }}",
    "many wide numbers": "{{ ('%9999d' * 5000) % ((1,) * 5000) }}",
    "a deep indent": "{{ ('\n' * 5000) | indent(10000) }}",
    "a deeper indent": "{{ 'a\nb' | indent(1000000000) }}",
    "JSON with a deep indent": "{{ [[1] * 5000] | tojson(indent=9999) }}",
    "many slices": "{{ [1] | slice(1000000000) | list }}",
    "a filled row": "{{ [1] | batch(1000000000, 0) | list }}",
    "many digits behind the point": "{{ 1.5 | round(1000000000, 'ceil') }}",
    "many digits": "{{ ('9' * 4000000) | int }}",
    "a date without end": "{{ strftime_now('%1000000000d') }}",
    "lists in lists, found": "{% set b = range(9999) | list %}{{ range(99999) | select('in', b) | list | length }}",
    "generators of generators": "{% for i in range(99999) %}{% set x = range(99999) | map('string') | list %}{% endfor %}",
    "nested brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "a sum of very many": "{{ 1" + "+1" * 20000 + " }}",
    "nested ifs": "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "a long template": "x" * (1 << 18),
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ENDLESS)
def test_endless_work_ends_soon(name):
    start = time.thread_time()  # of this thread: other work on the machine does not count
    with pytest.raises(ValueError, match=r"^chat template (is refused|fails): ") as error:
        render(ENDLESS[name], {"messages": HI})
    assert time.thread_time() - start < 15  # STEPS and CHARACTERS end them sooner
    assert len(str(error.value)) < 300


def test_it_ends_in_any_thread():
    found = []

    def work():
        with pytest.raises(ValueError, match="loops, calls or grows without end") as error:
            render(ENDLESS["nested loops"], {})
        found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    assert found


ESCAPES = {
    "{{ ''.__class__ }}": "access to attribute '__class__' of 'str' object is unsafe",
    "{{ ''['__class__'].__mro__ }}": "'__class__'",
    "{{ messages | map(attribute='__class__') | list }}": "'__class__'",
    "{{ ''|attr('__class__') }}": "No filter named 'attr'",
    "{{ raise_exception.__globals__ }}": "'__globals__'",
    "{{ namespace.__init__.__globals__ }}": "'__init__'",
    "{{ self._TemplateReference__context }}": "_TemplateReference__context",
    "{{ '{0.__class__}'.format(1) }}": "'__class__'",
    "{{ '{x.__class__}'.format_map({'x': 1}) }}": "'__class__'",
    "{% set f = ''.format %}{{ f.__globals__ }}": "__globals__",
    "{{ ''.encode('idna') }}": "attribute 'encode' of 'str'",
    "{{ ''.translate({}) }}": "attribute 'translate' of 'str'",
    "{{ (5).to_bytes(1000000000, 'big') }}": "attribute 'to_bytes' of 'int'",
    "{{ messages.append(1) }}": "attribute 'append' of 'list'",
    "{{ messages[0].update({}) }}": "attribute 'update' of 'dict'",
    "{{ messages[0].clear() }}": "attribute 'clear' of 'dict'",
    "{{ (messages | map('upper')).gi_frame }}": "gi_frame",
    "{{ cycler(1).__class__ }}": "'__class__'",
    "{% set ns = namespace(_x=1) %}": "begins with _",
    "{% set ns = namespace() %}{% set ns['__class__'] = 1 %}": "",
    "{% include 'x' %}": "line 1: include is not allowed here",
    "\n{% import 'os' as os %}": "line 2: import is not allowed here",
    "{% from 'os' import path %}": "fromimport is not allowed here",
    "{% extends 'x' %}": "extends is not allowed here",
    "{% block x %}{{ self.x() }}{% endblock %}": "block is not allowed here",
    "{{ lipsum() }}": "'lipsum' is undefined",
    "{{ open('/etc/passwd') }}": "'open' is undefined",
    "{% for x in y %}": "line 1: ",
    "{{ 1 / 0 }}": "ZeroDivisionError",
    "{{ nothing.at.all }}": "'nothing' is undefined",
}


@pytest.mark.parametrize("template", ESCAPES)
def test_there_is_no_way_out(template):
    messages = json.loads(json.dumps(HI))
    with pytest.raises(ValueError, match=r"^chat template (is refused|fails): ") as error:
        render(template, {"messages": messages})
    assert ESCAPES[template] in str(error.value)
    assert messages == HI


def test_only_plain_values_reach_a_template():
    class Loud(str):
        def write(self):
            raise AssertionError("called")

    @dataclasses.dataclass
    class Message:
        role: str
        content: object

    messages = [
        {"role": Loud("user"), "content": [{"image": np.zeros(3), "n": np.float32(1.5)}, ("a", 1)]},
        Message("assistant", {"x": object()}),
    ]
    tokenizer = BPETokenizer.train(["a"], 260)
    shown = apply_chat_template(tokenizer, messages, chat_template="{{ messages }}")
    assert "[{'image': '<ndarray>', 'n': 1.5}, ('a', 1)]" in shown
    assert "{'x': '<object>'}" in shown
    with pytest.raises(ValueError, match="write"):
        apply_chat_template(tokenizer, messages, chat_template="{{ messages[0].role.write() }}")


def test_long_conversations_are_no_endless_work():
    """A thousand messages and a megabyte of text pass through a template that looks at everything several times."""
    template = (
        "{% for m in messages %}{% if '<x>' in m.content and m.content.startswith('a') %}{% endif %}"
        "{% set c = m.content.split('</think>')[-1] | trim %}{% if loop.last or m.role != messages[loop.index].role %}"
        "{{ '<' + m.role + '>' ~ c.lstrip('\\n') + '\\n' }}{% else %}{{ m | tojson }}{% endif %}{% endfor %}"
    )
    messages = [{"role": "ua"[i % 2], "content": "words " * 200} for i in range(1000)]
    assert len(render(template, {"messages": messages})) == 1000 * len("<u>" + "words " * 200) + 0
    one = [{"role": "user", "content": "x" * (2 * CHARACTERS)}]
    assert (
        len(render("{% for m in messages %}{{ m.content | trim }}{% endfor %}", {"messages": one}))
        == 2 * CHARACTERS
    )


def test_what_is_asked_wrongly_is_said():
    tokenizer = BPETokenizer.train(["a"], 260)
    with pytest.raises(ValueError, match="has no chat template"):
        apply_chat_template(tokenizer, HI)
    tokenizer.chat_template = "{{ messages | length }}"
    assert apply_chat_template(tokenizer, HI) == "1"
    for messages in ("Hi", [], None, ["Hi"], [{}], [None], {"role": "user"}):
        with pytest.raises(ValueError, match=r"messages must be a list|message 0 must be a dict"):
            apply_chat_template(tokenizer, messages)
    loop = [{"role": "user"}]
    loop[0]["content"] = loop
    with pytest.raises(ValueError, match="nested without end"):
        apply_chat_template(tokenizer, loop)
    for options, message in (
        ({"tools": "x"}, "tools must be a list of dicts, got 'x'"), ({"tools": [print]}, "tools must be a list of dicts"),
        ({"documents": [1]}, "documents must be"), ({"chat_template": 7}, "chat_template must be a template or"),
        ({"tokenize": 1}, "tokenize"), ({"continue_final_message": True}, "name one"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            apply_chat_template(tokenizer, HI, **options)
    with pytest.raises(ValueError, match="refuses the messages: only 2 roles"):
        apply_chat_template(tokenizer, HI, chat_template="{{ raise_exception('only 2 roles') }}")
    with pytest.raises(ValueError, match="leaves out or changes the last message"):
        apply_chat_template(tokenizer, HI, False, continue_final_message=True)
    with pytest.raises(ValueError, match="no text to continue"):
        apply_chat_template(tokenizer, [{"role": "user", "content": [1]}], False, continue_final_message=True)
    tokenizer.chat_template = {"a": "x", "b": "y"}
    with pytest.raises(ValueError, match="has the chat templates 'a', 'b': name one"):
        apply_chat_template(tokenizer, HI)
    assert apply_chat_template(tokenizer, HI, chat_template="b") == "y"


def test_the_date_is_todays():
    tokenizer = BPETokenizer.train(["a"], 260)
    today = datetime.now().year
    shown = int(apply_chat_template(tokenizer, HI, chat_template="{{ strftime_now('%Y') }}"))
    assert today <= shown <= datetime.now().year


def test_filters_that_are_left_out_are_jinjas():
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    theirs = ImmutableSandboxedEnvironment().filters
    assert set(REFUSED_FILTERS) < set(theirs)
    for name in REFUSED_FILTERS:
        with pytest.raises(ValueError, match=f"No filter named '{name}'"):
            render("{{ 'x' | " + name + " }}", {})


def test_sizes():
    assert size_of("abc", 100) == 4
    assert size_of([1, "ab", {"x": [None]}], 100) > 8
    one: list = []
    one += [one, one]
    assert 1000 < size_of(one, 1000) < 1100
    for _ in range(60):
        one = [one, one]
    assert size_of(one, 1000) < 1100


def test_templates_that_make_no_text(tmp_path):
    tokenizer = BPETokenizer.train(["a"], 260)
    tokenizer.save(tmp_path)
    (tmp_path / "checksums.json").unlink()
    assert load_tokenizer(tmp_path).chat_template is None
    (tmp_path / "chat_template.jinja").write_bytes(b"caf\xe9")
    with pytest.raises(BadFileError, match=r"chat template .* is no UTF-8 at byte 3"):
        load_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "tokenizer_config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(BadFileError, match="must hold a JSON object"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(
        '{"chat_template": [{"name": 1}, 2], "bos_token": 3}', encoding="utf-8"
    )
    assert load_tokenizer(tmp_path).chat_template is None
