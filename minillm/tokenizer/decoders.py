"""Decoders (디코더): tokens back to text.

    ByteLevel   "ĠíķľìĿ" -> bytes -> " 한..."       Metaspace   "▁a" "▁b" -> "a" " b"
    ByteFallback   "<0xED>" "<0x95>" "<0x9C>" -> "한"       Fuse   all tokens become one       Strip   its blanks go

A decoder sees the whole list, because the first token may lose its blank and a character may lie in several tokens.
`inside(token)` is what one token adds in the middle of a text: its bytes, whatever stands around it.

Book: 2.2.1 토큰화. Held against: tokenizers.decoders. Left out: CTC.
"""

from __future__ import annotations

import re
from typing import Any

from minillm._checks import check_flag, check_int, check_text
from minillm.tokenizer.byte_alphabet import CHARACTER_TO_BYTE
from minillm.tokenizer.parts import ByteLevelOptions, Finder, MetaspaceOptions, as_list, build, one_character

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2}|\+[0-9A-Fa-f])>")


class Decoder:
    """Tokens in, tokens out; joined, the last ones are the text."""

    def __call__(self, tokens: list[str]) -> list[str]:
        return [self.one(token) for token in tokens]

    def one(self, token: str) -> str:
        """A token for itself, where its neighbours do not matter."""
        return token

    def inside(self, token: str) -> bytes:
        """The bytes of one token in the middle of a text."""
        return self.one(token).encode("utf-8", "surrogateescape")


class ByteLevel(ByteLevelOptions, Decoder):
    """Printable characters back to bytes; a token with another character (an added one) stands for itself."""

    def __call__(self, tokens: list[str]) -> list[str]:
        return [b"".join(map(self.inside, tokens)).decode("utf-8", "replace")]

    def inside(self, token: str) -> bytes:
        try:
            return bytes([CHARACTER_TO_BYTE[character] for character in token])
        except KeyError:
            return token.encode("utf-8", "surrogateescape")


class Metaspace(MetaspaceOptions, Decoder):
    """▁ back to blanks; the first token's go, if the pre-tokenizer put one in front."""

    def __call__(self, tokens: list[str]) -> list[str]:
        decoded = super().__call__(tokens)
        if decoded and self.scheme != "never":
            decoded[0] = tokens[0].replace(self.sign, "")
        return decoded

    def one(self, token: str) -> str:
        return token.replace(self.sign, " ")


class Replace(Decoder):
    """Each match of a pattern, inside each token, becomes `content`."""

    def __init__(self, pattern: Any, content: str) -> None:
        self.find, self.content = Finder(pattern), check_text("content", content)

    def one(self, token: str) -> str:
        return self.find.replace(token, self.content)


class ByteFallback(Decoder):
    """Runs of byte tokens become text; each byte of a run that is no UTF-8 becomes U+FFFD."""

    def __call__(self, tokens: list[str]) -> list[str]:
        decoded: list[str] = []
        run = b""
        for token in [*tokens, None]:
            match = _BYTE_TOKEN.fullmatch(token) if token is not None else None
            if match:
                run += bytes([int(match[1], 16)])
                continue
            try:
                decoded += [run.decode("utf-8")] if run else []
            except UnicodeDecodeError:
                decoded += ["\ufffd"] * len(run)
            run = b""
            decoded += [token] if token is not None else []
        return decoded

    def inside(self, token: str) -> bytes:
        match = _BYTE_TOKEN.fullmatch(token)
        return bytes([int(match[1], 16)]) if match else super().inside(token)


class Fuse(Decoder):
    """All tokens become one, so that what follows sees the whole text."""

    def __call__(self, tokens: list[str]) -> list[str]:
        return ["".join(tokens)]


class Strip(Decoder):
    """Up to `start` times `content` goes from the front of each token, up to `stop` times from its end."""

    def __init__(self, content: str, start: int, stop: int) -> None:
        self.content = one_character("content", content)
        self.start, self.stop = check_int("start", start, 0), check_int("stop", stop, 0)

    def one(self, token: str) -> str:
        front = len(token) - len(token.lstrip(self.content))
        token = token[min(front, self.start) :]
        end = len(token) - len(token.rstrip(self.content))
        return token[: len(token) - min(end, self.stop)]


class WordPiece(Decoder):
    """A blank in front of every token but the first, unless it goes on with a word ("##able"); `cleanup` then draws
    punctuation and English contractions to the word before them."""

    _CLEAN = (
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
        (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    )  # fmt: skip

    def __init__(self, prefix: str = "##", cleanup: bool = True) -> None:
        self.prefix, self.cleanup = check_text("prefix", prefix), check_flag("cleanup", cleanup)

    def __call__(self, tokens: list[str]) -> list[str]:
        return [*map(self._clean, tokens[:1]), *map(self.one, tokens[1:])]

    def one(self, token: str) -> str:
        inside = token.startswith(self.prefix)
        return self._clean(token[len(self.prefix) :] if inside else f" {token}")

    def _clean(self, token: str) -> str:
        for dirty, clean in self._CLEAN if self.cleanup else ():
            token = token.replace(dirty, clean)
        return token


class BPEDecoder(Decoder):
    """The sign at the end of a word becomes a blank, and nothing behind the last word."""

    def __init__(self, suffix: str = "</w>") -> None:
        self.suffix = check_text("suffix", suffix)

    def __call__(self, tokens: list[str]) -> list[str]:
        return [*super().__call__(tokens[:-1]), *(token.replace(self.suffix, "") for token in tokens[-1:])]

    def one(self, token: str) -> str:
        return token.replace(self.suffix, " ")


class Sequence(Decoder):
    """One after another."""

    def __init__(self, decoders: list) -> None:
        self.steps: list[Decoder] = [
            build("decoder", layout, KINDS) for layout in as_list("decoders", decoders)
        ]

    def __call__(self, tokens: list[str]) -> list[str]:
        for step in self.steps:
            tokens = step(tokens)
        return tokens

    def inside(self, token: str) -> bytes:
        for step in self.steps:
            if isinstance(step, Fuse):  # what follows it concerns the ends of the text
                break
            token = step.inside(token).decode(
                "utf-8", "surrogateescape"
            )  # a part of a character keeps its bytes
        return token.encode("utf-8", "surrogateescape")


KINDS = {
    kind.__name__: kind
    for kind in (ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip, WordPiece, BPEDecoder, Sequence)
}


def build_decoder(layout: Any) -> Decoder | None:
    """The decoder of a tokenizer.json (None: none); ValueError naming what is not supported."""
    return None if layout is None else build("decoder", layout, KINDS)
