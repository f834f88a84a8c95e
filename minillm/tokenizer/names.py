"""Tokens by name, as users of transformers write them (토큰의 이름).

    tok.convert_ids_to_tokens([2, 505])   ["[CLS]", "토"]       tok.tokenize("토끼")     ["토", "##끼"]
    tok.convert_tokens_to_ids("[SEP]")    3                    tok.sep_token_id        3

What a special token is there for (cls_token, sep_token, ...) stands in its files; else the usual names tell. Yours to
set: `tok.eos_token = "<|im_end|>"` and `tok.pad_token_id = 0` are what calls, chat templates and saved files then say.
Book: 3.3.2 토크나이저 활용하기. Held against: transformers.PreTrainedTokenizerFast. Left out: adding tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minillm._checks import check_flag, check_text, describe, is_listing
from minillm.tokenizer.batch import check_ids
from minillm.tokenizer.chat import known_roles


class Role:
    """`cls_token` and the like: the name of the special token with this role, None if there is none.

    Set to None, the usual names tell again. ValueError for what is no token here: none can be added.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, tokenizer: Any, owner: type | None = None) -> str | None:
        return None if tokenizer is None else known_roles(tokenizer).get(self.name)

    def __set__(self, tokenizer: Any, token: str | None) -> None:
        if token is not None and tokenizer.token_to_id(check_text(self.name, token)) is None:
            raise ValueError(f"{self.name} must be a token of this vocabulary, got {describe(token)}")
        others = {role: name for role, name in tokenizer.roles.items() if role != self.name}
        tokenizer.roles = others if token is None else {**others, self.name: token}


class RoleId(Role):
    """`cls_token_id` and the like: the id of that token, None if there is none."""

    def __get__(self, tokenizer: Any, owner: type | None = None) -> int | None:
        name = None if tokenizer is None else getattr(tokenizer, self.name.removesuffix("_id"))
        return None if name is None else tokenizer.token_to_id(name)

    def __set__(self, tokenizer: Any, index: int | None) -> None:
        token = None if index is None else tokenizer.id_to_token(index)
        setattr(tokenizer, self.name.removesuffix("_id"), token)


class PadId(RoleId):
    """`pad_token_id`, what fills a batch: the id of `pad_token`; without one, that of the special token `<pad>`,
    `<|pad|>` or `[PAD]`, else that of the first special token."""

    def __get__(self, tokenizer: Any, owner: type | None = None) -> int | None:
        if tokenizer is None:
            return None
        if (name := tokenizer.roles.get("pad_token")) is not None:
            return tokenizer.token_to_id(name)
        special = tokenizer.special_tokens
        return next((special[one] for one in ("<pad>", "<|pad|>", "[PAD]", *special) if one in special), None)


class Named:
    """The names of tokens; a tokenizer brings `vocab`, `special_tokens`, `encode`, `token_to_id` and `id_to_token`."""

    cls_token, sep_token, mask_token, unk_token, bos_token, eos_token, pad_token = (Role() for _ in range(7))
    cls_token_id, sep_token_id, mask_token_id, unk_token_id, bos_token_id, eos_token_id = (
        RoleId() for _ in range(6)
    )
    pad_token_id = PadId()

    @property
    def all_special_tokens(self) -> list[str]:
        """The names of `special_tokens`, in the order of their ids."""
        return sorted(self.special_tokens, key=self.special_tokens.__getitem__)

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `special_tokens`, in order."""
        return sorted(self.special_tokens.values())

    def __len__(self) -> int:
        """How many ids there are, as `vocab_size`."""
        return self.vocab_size

    def get_vocab(self) -> dict[str, int]:
        """Token as files spell it -> id: `vocab` under its older name."""
        return self.vocab

    def save_pretrained(self, folder: str | Path) -> Path:
        """`save` under transformers' name: writes into a folder, and returns the path of its tokenizer.json."""
        return self.save(folder)

    def tokenize(self, text: str) -> list[str]:
        """The tokens of `encode`, as files spell them; ValueError for what is no text."""
        return [self.id_to_token(index) for index in self.encode(text)]

    def convert_ids_to_tokens(
        self, ids: int | Iterable[int], skip_special_tokens: bool = False
    ) -> str | list[str]:
        """How files spell an id, or each of several. Raises ValueError for an id out of range."""
        if not is_listing(ids):
            return self.id_to_token(ids)
        known, special = check_ids(ids, self.vocab_size), set(self.special_tokens.values())
        skipped = special if check_flag("skip_special_tokens", skip_special_tokens) else ()
        return [self.id_to_token(index) for index in known if index not in skipped]

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> int | list[int | None] | None:
        """The id of a token, or of each of several; of one that the vocabulary lacks, that of the unknown token, or
        None if there is no such token either. Raises ValueError for what is no text."""
        if not isinstance(tokens, str) and not is_listing(tokens):
            raise ValueError(f"tokens must be a str or a list of such, got {describe(tokens)}")
        names = [tokens] if isinstance(tokens, str) else [check_text("token", token) for token in tokens]
        found = [self.token_to_id(name) for name in names]
        ids = [self.unk_token_id if index is None else index for index in found]
        return ids[0] if isinstance(tokens, str) else ids
