"""Tool calls by the unmodified openai client, and the same by ChatModel; arguments are held against jsonschema."""

import json
import threading
from typing import Literal

import pytest
from jsonschema import validate
from openai import APITimeoutError, BadRequestError, pydantic_function_tool
from pydantic import BaseModel

from minillm.inference import LocalChat, OpenAIChat, Reply, SamplingParams, ScriptedChat
from minillm.inference.call_reader import CallReader
from minillm.inference.server import Server
from minillm.inference.tool_calls import PLAIN, Caller, ToolChoice, checked_tools
from tests.inference.server.tiny import (
    SHORT,
    TEMPLATE,
    TOOLS_TEMPLATE,
    all_free,
    client_of,
    tiny_engine,
    tiny_model,
)

pytestmark = pytest.mark.timeout(120)
PLACE = {
    "type": "object",
    "properties": {
        "city": {"enum": ["서울", "Paris"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather.", "parameters": PLACE},
}
NOW = {"type": "function", "function": {"name": "now"}}
TOOLS = [WEATHER, NOW]
ASKED = [{"role": "user", "content": "안녕?"}]


class Weather(BaseModel):
    """The weather."""

    city: Literal["서울", "Paris"]


@pytest.fixture(scope="module", params=[TEMPLATE, TOOLS_TEMPLATE], ids=["plain", "own"])
def server(request):
    engine = tiny_engine(2048, request.param, num_blocks=1000)
    with Server(engine, port=0, model_name="tiny") as server:
        yield server
        assert all_free(server, engine)


@pytest.fixture(scope="module")
def client(server):
    with client_of(server) as client:
        yield client


def marker_first(server, more=100):
    """A bias that makes the model write a call: what "auto" would do once a model wants to."""
    return {str(server.loop.engine.tokenizer.token_to_id("<tool_call>")): more}


def held(calls):
    """Every call's arguments parse and validate."""
    for call in calls:
        schema = {"weather": PLACE, "now": {"type": "object", "maxProperties": 0}}[call.function.name]
        validate(json.loads(call.function.arguments), schema)
    return calls


@pytest.mark.parametrize("temperature", [0, 1.0, 5.0])
def test_a_required_call_is_whole_at_any_temperature(client, temperature):
    got = client.chat.completions.create(
        model="tiny", messages=ASKED, tools=TOOLS, tool_choice="required", parallel_tool_calls=False,
        temperature=temperature, seed=3, n=1 if temperature == 0 else 3,
    )  # fmt: skip
    for choice in got.choices:
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
        assert len(held(choice.message.tool_calls)) == 1


def test_a_function_asked_for_by_name_is_called(client):
    named = {"type": "function", "function": {"name": "now"}}
    got = client.chat.completions.create(
        model="tiny", messages=ASKED, tools=TOOLS, tool_choice=named
    ).choices[0]
    assert [one.function.model_dump() for one in got.message.tool_calls] == [
        {"name": "now", "arguments": "{}"}
    ]
    assert got.finish_reason == "stop"


def test_plain_text_does_not_wait_while_a_grammar_is_made(server, client):
    made = threading.Event()
    server.app.grammars.submit(made.wait, 60)  # stands for one that takes its time
    asked = {"model": "tiny", "messages": ASKED, "max_tokens": 300}
    try:
        assert client.completions.create(model="tiny", prompt="안녕", max_tokens=2).choices
        assert client.chat.completions.create(**asked).choices
        with pytest.raises(APITimeoutError):
            client.with_options(timeout=0.3).chat.completions.create(
                **asked, tools=TOOLS, tool_choice="required"
            )
    finally:
        made.set()


def test_several_calls_are_made_unless_only_one_may(client):
    asked = {"model": "tiny", "messages": ASKED, "tools": TOOLS, "tool_choice": "required", "seed": 1, "n": 8}
    many = client.chat.completions.create(**asked, temperature=3).choices
    assert max(len(held(one.message.tool_calls)) for one in many) > 1
    assert len({call.id for one in many for call in one.message.tool_calls}) == sum(
        len(one.message.tool_calls) for one in many
    )
    single = client.chat.completions.create(**asked, temperature=3, parallel_tool_calls=False).choices
    assert {len(one.message.tool_calls) for one in single} == {1}


def test_auto_is_the_models_own_choice(server, client):
    asked = {"model": "tiny", "messages": ASKED, "tools": TOOLS, "max_tokens": 300, "seed": 2}
    words = client.chat.completions.create(**asked, logit_bias=marker_first(server, -100)).choices[0]
    assert words.message.content
    assert words.message.tool_calls is None
    assert words.finish_reason in ("stop", "length")
    call = client.chat.completions.create(
        **asked, logit_bias=marker_first(server), tool_choice="auto", parallel_tool_calls=False
    ).choices[0]
    assert (call.finish_reason, call.message.content) == ("tool_calls", None)
    held(call.message.tool_calls)
    both = client.chat.completions.create(**asked, logit_bias=marker_first(server, 3), n=8).choices
    assert any(one.message.content and held(one.message.tool_calls or ()) for one in both)
    none = client.chat.completions.create(
        **asked, logit_bias=marker_first(server), tool_choice="none"
    ).choices[0]
    assert none.message.tool_calls is None
    assert none.message.content.startswith("<tool_call>")  # it is text where nothing may be called


def test_a_stream_joined_is_the_whole_answer(server, client):
    asked = {
        "model": "tiny", "messages": ASKED, "tools": TOOLS, "seed": 4, "n": 4, "max_tokens": 200, "logprobs": True,
        "logit_bias": marker_first(server, 3),
    }  # fmt: skip
    whole = client.chat.completions.create(**asked)
    found = [{"content": "", "calls": {}, "tokens": []} for _ in range(4)]
    ends = [None] * 4
    for event in client.chat.completions.create(**asked, stream=True):
        for choice in event.choices:
            one = found[choice.index]
            one["content"] += choice.delta.content or ""
            one["tokens"] += [x.token for x in choice.logprobs.content] if choice.logprobs else []
            ends[choice.index] = choice.finish_reason
            for delta in choice.delta.tool_calls or ():
                if delta.id:
                    assert (delta.type, delta.index in one["calls"]) == ("function", False)
                    one["calls"][delta.index] = [delta.function.name, ""]
                one["calls"][delta.index][1] += delta.function.arguments
    assert any(one["calls"] for one in found)
    for one, choice, end in zip(found, whole.choices, ends):
        assert (one["content"], end) == (choice.message.content or "", choice.finish_reason)
        calls = [[c.function.name, c.function.arguments] for c in choice.message.tool_calls or ()]
        assert [one["calls"][i] for i in sorted(one["calls"])] == calls
        assert one["tokens"] == [x.token for x in choice.logprobs.content]


def test_the_clients_own_helpers(client):
    tools = [pydantic_function_tool(Weather)]
    got = client.chat.completions.parse(model="tiny", messages=ASKED, tools=tools, tool_choice="required")
    parsed = got.choices[0].message.tool_calls[0].function.parsed_arguments
    assert isinstance(parsed, Weather)
    with client.chat.completions.stream(
        model="tiny", messages=ASKED, tools=tools, tool_choice="required", parallel_tool_calls=False, seed=1
    ) as stream:
        kinds = {event.type for event in stream}
        last = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    assert isinstance(last.choices[0].message.tool_calls[0].function.parsed_arguments, Weather)


def test_a_conversation_goes_on_behind_a_call(server, client):
    asked = {"model": "tiny", "tools": TOOLS, "max_tokens": 20, "seed": 1}
    said = (
        client.chat.completions.create(messages=ASKED, tool_choice="required", **asked | {"max_tokens": 300})
        .choices[0]
        .message
    )
    results = [{"role": "tool", "tool_call_id": c.id, "content": "맑음"} for c in said.tool_calls]
    got = client.chat.completions.create(messages=[*ASKED, said, *results], **asked)
    assert got.usage.completion_tokens > 0
    text = Caller(server.loop.engine.tokenizer).prompt(
        [*ASKED, said.model_dump(), *results], checked_tools(TOOLS)
    )
    assert got.usage.prompt_tokens == len(server.loop.engine.tokenizer.encode(text))
    assert text.count("<tool_response>\n맑음\n</tool_response>") == len(results)
    assert said.tool_calls[0].function.name in text.partition("<|im_start|>assistant")[2]


def test_a_call_that_is_cut_off_says_so(server, client):
    note = {"name": "note", "parameters": {"type": "object", "properties": {"text": {"type": "string"}},
            "required": ["text"]}}  # fmt: skip
    [quote] = server.loop.engine.tokenizer.encode('"')
    asked = {"model": "tiny", "messages": ASKED, "tools": [{"type": "function", "function": note}]}
    got = client.chat.completions.create(
        **asked, tool_choice="required", max_tokens=150, logit_bias={str(quote): -100}, seed=1
    ).choices[0]
    assert got.finish_reason == "length"  # the string never ends
    assert got.message.tool_calls[0].function.name == "note"
    with pytest.raises(BadRequestError, match="max_tokens must be at least"):
        client.chat.completions.create(**asked, tool_choice="required", max_tokens=3)


@pytest.mark.parametrize(("more", "words"), [
    ({"tools": [WEATHER, WEATHER]}, "comes twice"),
    ({"tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice names other"),
    ({"stop": "x"}, "stop does not go with"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]}, "of type object"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters":
        {"type": "object", "properties": {"a": {"type": "strange"}}}}}]}, "function 'f' will not do"),
    ({"messages": [*ASKED, {"role": "assistant", "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}]}]}, "must be a JSON object"),
])  # fmt: skip
def test_what_will_not_do_is_named(client, more, words):
    with pytest.raises(BadRequestError, match=words):
        client.chat.completions.create(**{"model": "tiny", "messages": ASKED, "tools": TOOLS} | more)


def test_an_answer_under_a_schema_or_a_call(server, client):
    kind = {
        "type": "json_schema",
        "json_schema": {"name": "a", "strict": True, "schema": {"enum": [{"a": 1}]}},
    }
    asked = {"model": "tiny", "messages": ASKED, "tools": TOOLS, "response_format": kind, "seed": 1}
    [brace] = server.loop.engine.tokenizer.encode("{")
    words = client.chat.completions.create(**asked, logit_bias={str(brace): 100}).choices[0].message
    assert (words.content, words.tool_calls) == ('{"a": 1}', None)
    call = client.chat.completions.create(**asked, logit_bias=marker_first(server)).choices[0].message
    assert held(call.tool_calls)


def test_chat_models_call_functions_alike(server):
    here = LocalChat(tiny_engine(2048, server.loop.engine.tokenizer.chat_template, num_blocks=1000))
    there = OpenAIChat(f"{server.url}/v1", "tiny", timeout=SHORT)
    params = SamplingParams(max_tokens=300, seed=6, temperature=0.9)
    replies = [m.chat(ASKED, params, tools=TOOLS, tool_choice="required") for m in (here, there)]
    ours, theirs = ([call["function"] for call in one.tool_calls] for one in replies)
    assert ours == theirs != []
    assert [one.finish_reason for one in replies] == ["tool_calls"] * 2
    assert replies[0].usage == replies[1].usage
    results = [{"role": "tool", "tool_call_id": c["id"], "content": "9"} for c in replies[0].tool_calls]
    chat = [*ASKED, replies[0].message, *results]
    assert here.chat(chat, params, tools=TOOLS).text == there.chat(chat, params, tools=TOOLS).text
    assert here.chat(chat, params).usage == there.chat(chat, params, tools=TOOLS, tool_choice="none").usage
    assert here.chat(ASKED, params, tools=TOOLS, tool_choice="none").tool_calls == ()


def test_a_script_calls_functions():
    call = {"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    model = ScriptedChat([Reply("", {}, "tool_calls", (call,)), "done"])
    reply = model.chat(ASKED, tools=TOOLS)
    assert reply.message == {"role": "assistant", "content": "", "tool_calls": [call]}
    assert (
        model.chat([*ASKED, reply.message, {"role": "tool", "tool_call_id": "1", "content": "9"}]).text
        == "done"
    )
    with pytest.raises(ValueError, match="comes twice"):
        model.chat(ASKED, tools=[NOW, NOW])


# Forms of templates, each as its model's makers write it

LLAMA = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if tools and loop.first %}{{ tools | tojson }}\n{% endif %}"
    "{% if m.tool_calls %}{% if m.tool_calls | length != 1 %}{{ raise_exception('one call at a time') }}{% endif %}"
    '{% set f = m.tool_calls[0].function %}{{ \'{"name": "\' + f.name + \'", "parameters": \' }}'
    "{{ f.arguments | tojson }}{{ '}' }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FUNCTION = TOOLS_TEMPLATE
for ours, theirs in (
    ('\n<tool_call>\n{"name": "', "\n<function="), ('", "arguments": ', ">"), ("}\n</tool_call>", "</function>"),
):  # fmt: skip
    assert ours in FUNCTION
    FUNCTION = FUNCTION.replace(ours, theirs)
SPECIAL = TOOLS_TEMPLATE.replace("\n<tool_call>\n", "\n<|im_start|>")


def form_of(template):
    _, tokenizer = tiny_model(128, template)
    return Caller(tokenizer)


@pytest.mark.parametrize(("template", "own", "expected"), [
    (TOOLS_TEMPLATE, True, ("<tool_call>", '<tool_call>\n{"name": "', '", "arguments": ', "}\n</tool_call>", True)),
    (LLAMA, True, ('{"name": "', '{"name": "', '", "parameters": ', "}", False)),
    (FUNCTION, True, ("<function=", "<function=", ">", "</function>", True)),
    (TEMPLATE, False, (PLAIN.marker, PLAIN.before, PLAIN.middle, PLAIN.after, True)),
    (SPECIAL, False, (PLAIN.marker, PLAIN.before, PLAIN.middle, PLAIN.after, True)),
])  # fmt: skip
def test_the_form_of_a_call_is_read_from_the_template(template, own, expected):
    caller = form_of(template)
    form = caller.form
    assert caller.own == own
    assert (form.marker, form.before, form.middle, form.after, form.anywhere) == expected


@pytest.mark.parametrize("template", [TOOLS_TEMPLATE, LLAMA, FUNCTION, TEMPLATE], ids=range(4))
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_call_that_is_written_is_read_again(template, size):
    """What the template writes for a call of the history is what the reader makes the same call of."""
    caller = form_of(template)
    tools = checked_tools(TOOLS)
    calls = caller.calls(tools, ToolChoice.of(None, tools))
    made = [{"type": "function", "id": "123456789", "function": {"name": "weather", "arguments":
             {"city": "a}\"{\\", "more": [{"x": "</tool_call>"}]}}}]  # fmt: skip
    if caller.form.between is not None:
        made.append({"type": "function", "id": "2", "function": {"name": "now", "arguments": {}}})
    start = caller.prompt(ASKED, tools)
    chat = [*ASKED, {"role": "assistant", "content": "", "tool_calls": made}]
    text = caller.prompt(chat, tools, add_generation_prompt=False)[len(start) :].partition("<|im_end|>")[0]
    reader = CallReader(calls)
    events = [e for at in range(0, len(text), size) for e in reader.feed(text[at : at + size])]
    events += reader.feed("", last=True)
    assert [json.loads(c["function"]["arguments"]) for c in reader.calls] == [
        one["function"]["arguments"] for one in made
    ]
    assert [c["function"]["name"] for c in reader.calls] == [one["function"]["name"] for one in made]
    assert not [e for e in events if e[0] == "text"]


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("text", ["", "a < b", "<tool_cal", "<tool_<tool_", '{"name', 'x {"name": "f", '])
@pytest.mark.parametrize("template", [TOOLS_TEMPLATE, LLAMA], ids=["marked", "unmarked"])
def test_text_without_a_call_comes_out_as_it_went_in(template, text, size):
    tools = checked_tools(TOOLS)
    caller = form_of(template)
    reader = CallReader(caller.calls(tools, ToolChoice.of(None, tools)))
    events = [e for at in range(0, len(text), size) for e in reader.feed(text[at : at + size])]
    events += reader.feed("", last=True)
    assert "".join(e[1] for e in events) == text
    assert not reader.calls


def test_functions_are_told_where_a_template_takes_no_system_message():
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE
    text = form_of(refusing).prompt(ASKED, checked_tools([NOW]))
    assert text.startswith("<|im_start|>user\n안녕?\n\nYou may call")
