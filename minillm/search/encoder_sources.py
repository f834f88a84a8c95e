"""Any encoder that this library has written or knows: a StaticEncoder's folder, or what SentenceEncoder opens."""

from __future__ import annotations

from pathlib import Path

from minillm._files import read_json
from minillm.search.sentence_encoder import SentenceEncoder
from minillm.search.static_encoder import MODULES, StaticEncoder


def open_encoder(source: str | Path) -> SentenceEncoder | StaticEncoder:
    """The encoder of a folder, of "owner/name" on the hub, or of the name "e5" or "minilm".

    Raises ValueError and BadFileError as SentenceEncoder.from_pretrained does.
    """
    modules = Path(source) / "modules.json"
    static = modules.is_file() and read_json(modules, "list of modules") == MODULES
    return (StaticEncoder if static else SentenceEncoder).from_pretrained(source)
