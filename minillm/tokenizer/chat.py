"""A conversation as the one text that a chat model was trained on (채팅 템플릿).

    [{"role": "user", "content": "Hi"}]   ->   "<|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\n"

Each family of models has a form of its own. The form is a jinja template that comes with the tokenizer: in
tokenizer_config.json, in chat_template.jinja, or among a GGUF file's metadata. A tokenizer may have several, by name.
How a template is kept from doing harm stands in chat_sandbox.py.

Book: 1.2.3 챗GPT의 등장, 3.3.2. Held against: transformers' apply_chat_template.
Leaves out: masks of what the assistant said (training/alignment/chat_examples.py has them), pictures in messages, tools
given as Python functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minillm._checks import check_flag, describe
from minillm._files import BadFileError, read_bytes, read_json

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
REASONING = ("reasoning_content", "thinking", "reasoning")  # a message's reasoning, by the names it goes by
_END = "CONTINUE_FINAL_MESSAGE_TAG "
CONFIG, OWN_FILE, MORE_FILES = "tokenizer_config.json", "chat_template.jinja", "additional_chat_templates"


def apply_chat_template(
    tokenizer: Any,
    messages: Sequence[Any],
    add_generation_prompt: bool = True,
    tokenize: bool = False,
    tools: Sequence[Mapping[str, Any]] | None = None,
    documents: Sequence[Mapping[str, Any]] | None = None,
    chat_template: str | None = None,
    continue_final_message: bool = False,
    **variables: Any,
) -> Any:
    """A conversation as the text its model expects, or with `tokenize` as its ids.

    Args:
        messages: dicts with a role and a content, as many keys more as the template reads.
        add_generation_prompt: the text ends where the assistant begins to answer.
        tools: JSON schemas of functions, dicts.
        documents: dicts with a title and a text.
        chat_template: a template, or the name of one of the tokenizer's; None takes the tokenizer's own, of several
            "tool_use" where there are tools and "default" else.
        continue_final_message: the text ends where the last message ends, so that a model goes on writing it.
        variables: whatever else the template asks for (`enable_thinking=False`).

    Raises ValueError for messages that are none, a tokenizer without a template, and a template that is refused, fails,
    or refuses the messages itself; see `chat_sandbox.render`.
    """
    for name, flag in (("add_generation_prompt", add_generation_prompt), ("tokenize", tokenize)):
        check_flag(name, flag)
    if check_flag("continue_final_message", continue_final_message) and add_generation_prompt:
        raise ValueError(
            "continue_final_message goes on with a message, add_generation_prompt begins one: name one"
        )
    template = find_template(tokenizer, chat_template, tools is not None)
    chat = _checked(messages)
    for name, values in (("tools", tools), ("documents", documents)):
        if values is not None and not (_is_list(values) and all(isinstance(one, Mapping) for one in values)):
            raise ValueError(f"{name} must be a list of dicts, got {describe(values)}")
    given = {
        "tools": plain(tools),
        "documents": plain(documents),
        **known_roles(tokenizer),
        **plain(variables),
    }
    text = _rendered(
        template, chat, {**given, "add_generation_prompt": add_generation_prompt}, continue_final_message
    )
    return tokenizer.encode(text) if tokenize else text


class Chats:
    """What a tokenizer of a chat model has: `chat_template`, a template or {name: template}, and `roles`, what its
    special tokens are there for ({"eos_token": "<|im_end|>"}). Both come from its files, and are yours to set."""

    chat_template: str | dict[str, str] | None = None
    roles: Mapping[str, str] = {}

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = True,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        return_dict: bool = True,
        **variables: Any,
    ) -> Any:
        """transformers' method of this name, with its defaults: one conversation, or a list of them, to a batch.

        tokenize=False gives texts, return_dict=False the input_ids alone. The others, and what is raised: as in
        `apply_chat_template` of this file and in calling the tokenizer.
        """
        several = _is_list(conversation) and len(conversation) > 0 and _is_list(conversation[0])
        texts = [
            apply_chat_template(
                self, chat, add_generation_prompt, False, tools, documents, chat_template, continue_final_message,
                **variables,
            )
            for chat in (conversation if several else [conversation])
        ]  # fmt: skip
        given: Any = texts if several else texts[0]
        if not check_flag("tokenize", tokenize):
            return given
        batch = self(  # type: ignore[operator]  # a Tokenizer is called
            given, None, padding, truncation, max_length, return_tensors, add_special_tokens=False
        )
        return batch if check_flag("return_dict", return_dict) else batch["input_ids"]


# --- the parts -------------------------------------------------------------------------------------------------------


def find_template(tokenizer: Any, asked: str | None, with_tools: bool) -> str:
    """The template that is meant; ValueError where there is none."""
    own = getattr(tokenizer, "chat_template", None)
    if asked is not None and not isinstance(asked, str):
        raise ValueError(f"chat_template must be a template or the name of one, got {describe(asked)}")
    if isinstance(own, Mapping):
        if asked is not None:
            return own.get(asked, asked)
        name = "tool_use" if with_tools and "tool_use" in own else "default"
        if name not in own:
            raise ValueError(
                f"this tokenizer has the chat templates {', '.join(map(repr, own))}: name one of them"
            )
        return own[name]
    if asked is not None:
        return asked
    if not isinstance(own, str):
        raise ValueError(f"{describe(tokenizer)} has no chat template: its model may be no chat model")
    return own


def known_roles(tokenizer: Any) -> dict[str, str]:
    """What the special tokens are there for, as the tokenizer's files say, else by the names that are usual."""
    usual = {USUAL[name]: name for name in getattr(tokenizer, "special_tokens", ()) if name in USUAL}
    return {**usual, **getattr(tokenizer, "roles", {})}


USUAL = {
    "<|endoftext|>": "eos_token", "<s>": "bos_token", "</s>": "eos_token", "[CLS]": "cls_token", "[SEP]": "sep_token",
    "<unk>": "unk_token", "[UNK]": "unk_token", "<pad>": "pad_token", "[PAD]": "pad_token", "<mask>": "mask_token",
    "[MASK]": "mask_token",
}  # fmt: skip


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _checked(messages: Any) -> list[dict[str, Any]]:
    """Messages as dicts of plain values, without the keys whose value is None, as transformers hands them on."""
    if not _is_list(messages) or not messages:
        raise ValueError(
            f"messages must be a list of at least one dict with role and content, got {describe(messages)}"
        )
    chat = []
    for number, message in enumerate(messages):
        one = plain(message)
        if not isinstance(one, dict) or not one:
            raise ValueError(
                f"message {number} must be a dict with role and content, got {describe(message)}"
            )
        one = {name: value for name, value in one.items() if value is not None}
        thought = next((one[name] for name in REASONING if name in one), None)
        if thought is not None:
            one = {"thinking": thought, **one, "reasoning_content": thought}
        chat.append(one)
    return chat


def plain(value: Any) -> Any:
    """A value rebuilt of dicts, lists, tuples, texts and numbers; anything else is the name of its kind, "<Tensor>".

    What has methods of its own (an array writes files) never meets a template. ValueError for what holds itself.
    """
    try:
        return _plain(value)
    except RecursionError:
        raise ValueError("messages are nested without end") from None


def _plain(value: Any) -> Any:
    if value is None or type(value) in (str, int, float, bool):
        return value
    for kind in (str, int, float):  # numpy's numbers and enums are such, too
        if isinstance(value, kind):
            return getattr(kind, f"__{kind.__name__}__")(value)
    if isinstance(value, Mapping):
        return {_plain(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else [*map(_plain, value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if callable(getattr(value, "model_dump", None)):  # messages of the OpenAI client
        return _plain(value.model_dump())
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0 and hasattr(value, "dtype"):
        number = value.item()
        return number if type(number) in (int, float, bool, str) else f"<{type(value).__name__}>"
    return f"<{type(value).__name__}>"


def _rendered(template: str, chat: list[dict[str, Any]], given: Mapping[str, Any], goes_on: bool) -> str:
    """The text; where the last message is to go on, up to where its content ends."""
    from minillm.tokenizer.chat_sandbox import render  # jinja is read when a chat is

    if not goes_on:
        return render(template, {**given, "messages": chat})
    last = dict(chat[-1])
    content = last.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    at = next(
        (i for i in reversed(range(len(parts))) if isinstance(parts[i], dict) and "text" in parts[i]), None
    )
    final = None if at is None else parts[at]["text"]
    if not isinstance(final, str):
        raise ValueError(f"the last message has no text to continue: {describe(chat[-1])}")
    marked = [{**part, "text": final + _END} if i == at else part for i, part in enumerate(parts)]
    last["content"] = marked if isinstance(content, list) else final + _END
    text = render(template, {**given, "messages": [*chat[:-1], last]})
    if final.strip() not in text or _END.strip() not in text:
        raise ValueError("the chat template leaves out or changes the last message: it cannot be continued")
    at = text.rindex(_END.strip())
    return text[:at] if text[at : at + len(_END)] == _END else text[:at].rstrip()


# --- files -----------------------------------------------------------------------------------------------------------


def read_roles(tokenizer: Any, folder: Path) -> None:
    """Give a tokenizer of a folder its `roles`, `model_input_names` and `chat_template`, as tokenizer_config.json and
    the files beside it say them."""
    path = folder / CONFIG
    found = read_json(path, "tokenizer config") if path.exists() else {}
    if not isinstance(found, dict):
        raise BadFileError(f"tokenizer config {str(path)!r} must hold a JSON object, got {describe(found)}")
    named = {role: found.get(role) for role in ROLES}
    named = {role: t.get("content") if isinstance(t, dict) else t for role, t in named.items()}
    found_roles = {role: token for role, token in named.items() if isinstance(token, str)}
    tokenizer.roles = {**tokenizer.roles, **found_roles}  # tokenizer.json may have named what fills up
    names = found.get("model_input_names")
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        tokenizer.model_input_names = names
    files = {"default": folder / OWN_FILE} | {
        one.stem: one for one in sorted((folder / MORE_FILES).glob("*.jinja")) if one.is_file()
    }
    kept = {
        name: _text(file) for name, file in files.items() if file.exists()
    }  # since 2025 transformers writes these
    tokenizer.chat_template = one_or_named(kept or found.get("chat_template"))


def _text(path: Path) -> str:
    try:
        return read_bytes(path, "chat template").decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFileError(f"chat template {str(path)!r} is no UTF-8 at byte {error.start}") from None


def one_or_named(value: Any) -> str | dict[str, str] | None:
    """Templates of a file, a text, a list of {name, template} or a dict: a text if there is but a default one."""
    if isinstance(value, list):
        pairs = [(one.get("name"), one.get("template")) for one in value if isinstance(one, dict)]
        value = dict(pair for pair in pairs if all(isinstance(part, str) for part in pair))
    if isinstance(value, Mapping):
        named = {name: one for name, one in value.items() if isinstance(one, str)}
        return named.get("default") if set(named) <= {"default"} else named
    return value if isinstance(value, str) else None


def drop_template_files(folder: Path) -> None:
    """Remove the templates of a tokenizer that was saved here before: they would win over tokenizer_config.json."""
    for path in (folder / OWN_FILE, *(folder / MORE_FILES).glob("*.jinja")):
        path.unlink(missing_ok=True)


def saved_roles(tokenizer: Any) -> dict[str, Any]:
    """What stands in a tokenizer_config.json for `roles` and `chat_template`; transformers reads both there."""
    values: dict[str, Any] = dict(known_roles(tokenizer))
    if isinstance(template := tokenizer.chat_template, Mapping):
        values["chat_template"] = [{"name": name, "template": one} for name, one in template.items()]
    elif template:
        values["chat_template"] = template
    return values
