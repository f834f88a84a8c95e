"""The pages of a PDF as documents, through pypdf (the extra `pdf`): "paper.pdf:3" is what stands on the third page.

A PDF says where letters stand on paper, not what belongs together: columns, tables and headers come in the order in
which they were drawn. Pictures of text (a scan) hold none, and are refused by name.

Book: 9.1.1 데이터 저장. Left out: text recognition, layout, passwords.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minillm.data.documents import Document

MOST_PAGES = 5000


def pdf_documents(data: bytes, name: str, title: str) -> list[Document]:
    """A Document for every page that holds text; the page's number is its metadata. ValueError, saying why, for a file
    that is no PDF, is damaged or locked, holds no text at all, and where pypdf is not installed."""
    try:
        import pypdf
    except ImportError:
        raise ValueError("it is a PDF, which is read by pypdf: pip install 'minillm[pdf]'") from None
    with _silent("pypdf"):
        try:
            reader = pypdf.PdfReader(io.BytesIO(data))
            pages = _pages(reader)
        except ValueError:
            raise
        except Exception as error:  # a damaged file fails anywhere in the reader, with any kind of error
            raise ValueError(
                f"it is no whole PDF ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            ) from None
    texts = [text.encode("utf-8", "replace").decode().replace("\r\n", "\n").strip() for text in pages]
    if not any(texts):
        raise ValueError(
            f"its {len(texts)} pages hold no text: a scan needs text recognition first (ocrmypdf in.pdf out.pdf)"
        )
    return [
        Document(f"{name}:{number}", f"{title}, page {number}", text, {"page": number})
        for number, text in enumerate(texts, 1)
        if text
    ]


def _pages(reader: Any) -> list[str]:
    if reader.is_encrypted and not reader.decrypt(""):
        raise ValueError("it is locked by a password: save it without one")
    if len(reader.pages) > MOST_PAGES:
        raise ValueError(f"it has {len(reader.pages):,} pages, a PDF may have {MOST_PAGES:,}: split it")
    return [page.extract_text() or "" for page in reader.pages]


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """A library that warns about every oddity of a file says nothing for a while."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
