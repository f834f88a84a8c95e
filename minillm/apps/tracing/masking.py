"""Secrets in a trace: keys, tokens and passwords are replaced by [masked], by the name of a field and by their form.

    {"api_key": "abc"}                  the name says it: the whole value goes
    "Authorization: Bearer abc..."      the form says it: only the secret goes, the words around it stay

A trace is read by more people than the program is run by, and kept for longer. Masking by form is a net with holes: a
password in plain words passes, and the word after "password:" goes even if it is none. What must never be on disk is
left out with `Tracer(content=False)`. Personal data (names, numbers of residents and cards) is not looked for here.
Every pattern is bounded: time is linear in the text. Book 9.4 데이터 로깅.
"""

from __future__ import annotations

import re
from functools import lru_cache

from minillm._checks import check_text

MASKED = "[masked]"
LONGEST = 4096  # characters of a secret

# Keys whose beginning says who gave them out. A digit or a capital tells sk-abc1... from sk-learn-compatible.
ISSUED_KEYS = r"""
      (?:sk|pk|rk)-(?=[a-z_-]{0,64}[0-9A-Z])[A-Za-z0-9_-]{16,4096}           # OpenAI, Anthropic, Langfuse
    | (?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{10,4096}                        # Stripe; pk_orders is a name in SQL
    | (?:gh[pousr]_|hf_)[A-Za-z0-9]{16,4096} | github_pat_[A-Za-z0-9_]{16,4096}
    | (?:glpat-|pypi-)(?=[a-z_-]{0,64}[0-9A-Z])[A-Za-z0-9_-]{16,4096}
    | xox[a-z]-[A-Za-z0-9-]{10,4096}                                         # Slack
    | (?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])                               # AWS
    | AIza[0-9A-Za-z_-]{35}                                                  # Google
    | eyJ[A-Za-z0-9_-]{8,1024}\.[A-Za-z0-9_-]{8,2048}\.[A-Za-z0-9_-]{0,1024}  # JSON web token
"""
_FORMS = re.compile(
    rf"""
    -----BEGIN\ [A-Z\ ]{{0,30}}PRIVATE\ KEY-----[A-Za-z0-9+/=\s\\]{{0,16384}}
      (?:-----END\ [A-Z\ ]{{0,30}}PRIVATE\ KEY-----)?
  | (?<![A-Za-z0-9])(?:{ISSUED_KEYS}
    | (?P<scheme>(?i:authorization["'\\]{{0,4}}[\ \t]{{0,8}}[:=][\ \t"'\\]{{0,8}}
      (?:[a-z]{{1,16}}[\ \t]{{1,8}}|(?=\S{{0,63}}\d))))[^\s"']{{4,4096}}
    | (?P<bearer>(?i:bearer)[\ \t]{{1,8}})(?=\S{{0,63}}(?:[0-9_=/+]|[.-][A-Za-z]))[A-Za-z0-9._~+/-]{{8,4096}}={{0,2}})
  | (?P<user>://[^\s/:@]{{0,64}}:)[^\s/@]{{1,128}}(?=@)                          # https://user:password@host
  | (?P<query>[?&](?i:token|key|sig|signature|auth|pwd|pass)=)[^\s"'&\#]{{3,4096}}
  | (?P<field>(?i:passw(?:or)?d|passphrase|(?<![a-z])pwd|(?<![a-z])pass(?==)|secret(?:[_\ -]?key)?|api[_\ -]?key
      |(?:access|account|private|signing|encryption)[_-]?key|(?:access|auth|refresh)[_-]?token
      |비밀번호|비번|패스워드|암호)["'\\]{{0,4}}[\ \t]{{0,8}}[:=：][\ \t]{{0,8}}\\?)
    (?:"[^"\n]{{1,4096}}"?|'[^'\n]{{1,4096}}'?|[^\s"',;}}&]{{3,4096}})
    """,
    re.VERBOSE,
)
# Every form holds one of these: a text without them, as most are, need not be searched (7 times as fast).
_HINTS = (
    "----", "sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "_pat_", "glpat-", "hf_",
    "pypi-", "xox", "akia", "asia", "aiza", "eyj", "bearer", "authorization", "://", "passw", "passphrase", "secret",
    "key", "token", "pwd", "pass=", "sig", "auth=", "비밀번호", "비번", "패스워드", "암호",
)  # fmt: skip
_NAMES = re.compile(
    r"(?:^|_)(?:token|pwd|pin|cookies?|authorization|auth|credentials?|session_key|jwt|otp)$"
    r"|secret|passw|passphrase|api_?key|access_?key|private_?key|signing_?key|client_?key|bearer|비밀번호|비번|패스워드|암호"
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def mask_secrets(text: str) -> str:
    """The text, what looks like a secret replaced. ValueError for what is no text."""
    lower = check_text("text", text).lower()
    return _FORMS.sub(_masked, text) if any(hint in lower for hint in _HINTS) else text


def _masked(found: re.Match[str]) -> str:
    kept = next((found[name] for name in ("scheme", "bearer", "user", "query", "field") if found[name]), "")
    return kept + MASKED


@lru_cache(maxsize=4096)
def names_a_secret(name: str) -> bool:
    """Whether a field of this name holds one: accessToken, X-Api-Key, db.password; not input_tokens, token_ids."""
    plain = _HUMP.sub("_", name[:200]).lower().replace("-", "_").replace(".", "_").replace(" ", "_")
    return _NAMES.search(plain) is not None
