"""Who may use a namespace (접근 관리): an access token, of which only a salted hash is kept.

    kept = (salt, sha256(salt + token))         a copy of the file does not give the token away
    compare_digest                              takes as long for a wrong first byte as for a wrong last one

Tokens are random and long, so one round of SHA-256 is enough; a password that people choose would need scrypt. A token
guards the verbs of the store. Whoever can read the file can read the vectors: guard that with the file's permissions.

Book: 12.1 벡터 데이터베이스란 (access management as what sets a database apart from a library).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

SHORTEST = 16  # characters of a token

Token = str | Mapping[str, str] | None  # one token, or namespace -> token


def new_token() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(32)


def hashed(token: Any) -> tuple[bytes, bytes]:
    """(salt, hash) of a token to keep. Raises ValueError for one that is no str or is too short."""
    if not isinstance(token, str) or len(token) < SHORTEST:
        came = (
            f"one of {len(token)}" if isinstance(token, str) else f"a {type(token).__name__}"
        )  # never the token
        raise ValueError(f"token must be a str of at least {SHORTEST} characters, got {came}")
    salt = secrets.token_bytes(16)
    return salt, _hash(salt, token)


def opens(namespace: str, salt: bytes | None, kept: bytes | None, token: Token) -> bool:
    """Whether `token` opens a namespace whose token is kept as (salt, kept); None where it has none."""
    if salt is None or kept is None:
        return True
    given = token.get(namespace) if isinstance(token, Mapping) else token
    return isinstance(given, str) and hmac.compare_digest(_hash(salt, given), kept)


def _hash(salt: bytes, token: str) -> bytes:
    return hashlib.sha256(salt + token.encode("utf-8", "surrogatepass")).digest()
