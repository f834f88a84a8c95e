"""The 256 bytes as 256 printable characters (바이트 알파벳), GPT-2's way of writing tokens in a text file.

A token is a byte string, and vocab.json can only hold text. So every byte gets one visible character: the 188 bytes
that print well in Latin-1 stand for themselves, and the other 68 (blanks, controls) get U+0100, U+0101, ... in order:

    b" the" -> "Ġthe"        b"\\n" -> "Ċ"        "한".encode() = b"\\xed\\x95\\x9c" -> "íķľ"

`ALPHABET` lists the bytes by the order of their characters; it is the order of the first 256 ordinary ids.
Book: 2.2.1 토큰화. Paper: Radford et al. 2019 (GPT-2), section 2.2. Held against: tokenizers' ByteLevel.
"""

from __future__ import annotations


def _byte_characters() -> list[str]:
    printable = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    }
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


BYTE_TO_CHARACTER: list[str] = _byte_characters()
CHARACTER_TO_BYTE: dict[str, int] = {character: byte for byte, character in enumerate(BYTE_TO_CHARACTER)}
ALPHABET: bytes = bytes(byte for _, byte in sorted(CHARACTER_TO_BYTE.items()))

_TO_CHARACTERS = dict(enumerate(BYTE_TO_CHARACTER))


def to_characters(token: bytes) -> str:
    """The printable form of a byte string: `b" a"` -> `"Ġa"`."""
    return token.decode("latin-1").translate(_TO_CHARACTERS)


def to_bytes(token: str) -> bytes:
    """The byte string of a printable form: `"Ġa"` -> `b" a"`.

    Raises:
        ValueError: a character that stands for no byte.
    """
    try:
        return bytes([CHARACTER_TO_BYTE[character] for character in token])
    except KeyError as error:
        raise ValueError(
            f"{token!r} is not a byte-level token: {error.args[0]!r} stands for no byte"
        ) from None
