"""A RAG agent (RAG 에이전트): it searches a folder, reads what it found, and searches again for what is still open.

    open = words of the question
    search(open)           -> of all that was found, the sentence that says most of `open`; its new words lead on
    until nothing is open  -> the sentences and their files
    or nothing new is read -> "I do not know"

A RAG pipeline searches once. "The telephone of the leader of the Heron project" needs two searches, and the second can
only be written when the first one has been read: that is what the loop is for. The policy needs no model; a chat model
uses the same tool. A search looks at the bytes of all files first, so that an answer is never older than its file.

Book: 15.4.2 RAG 에이전트. Papers: Trivedi et al. 2023, "IRCoT"; Yang et al. 2018, "HotpotQA". Peer: AutoGen's
RetrieveUserProxyAgent. Left out: other words for the same thing, which a policy of words cannot know.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minillm._checks import check_choice, check_flag, check_int, check_path, describe
from minillm._files import BadFileError
from minillm.apps.agents.policies.action import Action, Done, Tools
from minillm.apps.agents.policies.spans import PARTICLES, tokens
from minillm.apps.agents.toolkit import files_of, inside_of, quiet_about
from minillm.apps.agents.tools import MOST, Tool, tool_from
from minillm.apps.rag.index import MODES, VectorStoreIndex, open_reader
from minillm.apps.rag.query_engine import unknown
from minillm.apps.rag.sentences import sentence_spans
from minillm.apps.rag.splitter import SentenceSplitter
from minillm.data import Document
from minillm.data.text_files import INDEX_SUFFIXES, MAX_BYTES, read_text_file
from minillm.search import HashedWords
from minillm.search.words import content_words, singular

ENDS = ("입니다", "입니까", "이에요", "예요", "인가요", *PARTICLES)
LONGEST, MOST_NOTES = 700, 10_000  # characters of a passage that is shown; files of a folder
IS = frozenset(("is", "are", "was", "were"))
COMMON = IS | {"be", "it", "there"}
Sentence = tuple[str, str]  # and its file


class FolderIndex:
    """The text files of a folder as a RAG index in memory: `.search(query)`, of what the files say now.

    encoder: one, or its name ("e5"); None: HashedWords, which needs no file. words: of a passage. No link is
    followed and nothing outside is read. refused: name -> why it could not be read.
    """

    def __init__(
        self,
        folder: str | Path,
        encoder: Any = None,
        top_k: int = 4,
        mode: str = "hybrid",
        words: int = 60,
    ) -> None:
        self.root = check_path("folder", folder).resolve()
        self.top_k, self.mode = check_int("top_k", top_k, 1, 20), check_choice("mode", mode, MODES)
        if not self.root.is_dir():
            raise ValueError(f"folder must be a folder that is there, got {describe(str(folder))}")
        self.index = VectorStoreIndex.open(
            None, HashedWords() if encoder is None else open_reader(encoder), SentenceSplitter(words, 0)
        )
        self.refused: dict[str, str] = {}
        self.sums: dict[str, str] = {}  # of the files that were read
        self.said: dict[str, frozenset[str]] = {}  # a document's words

    def refresh(self) -> list[str]:
        """Read the folder, if a byte of it has changed; the documents that are new, changed or gone."""
        sums = {name: checksum_of(file) for name, file in self.files().items()}
        if sums == self.sums:
            return []
        documents = self.documents()
        ids = [one.id for one in documents]
        gone = sorted(set(self.index.ref_docs()) - set(ids))
        changed = [id for id, new in zip(ids, self.index.refresh_ref_docs(documents)) if new] if ids else []
        for id in gone:
            self.index.delete_ref_doc(id)
            self.said.pop(id, None)
        new = {one.id: one for one in documents if one.id in set(changed)}
        self.said |= {id: frozenset(said_words(f"{one.title}\n{one.text}")) for id, one in new.items()}
        self.sums = sums
        return sorted([*changed, *gone])

    def files(self) -> dict[str, Path]:
        """name -> file of what `minillm index` reads, without hidden files and without links."""
        found = {
            one.relative_to(self.root).as_posix(): one for one in files_of(self.root, most=MOST_NOTES + 1)
        }
        if len(found) > MOST_NOTES:
            raise ValueError(f"folder must hold at most {MOST_NOTES:,} files, it holds more")
        return {
            name: file
            for name, file in found.items()
            if file.suffix.lower() in INDEX_SUFFIXES and not any(part[0] == "." for part in name.split("/"))
        }

    def documents(self) -> list[Document]:
        """The texts of the files."""
        found, self.refused = [], {}
        for name in self.files():
            try:
                found += read_text_file(name, inside_of(self.root, name), MAX_BYTES).documents
            except (BadFileError, ValueError) as error:
                self.refused[name] = str(error).replace(str(self.root), "")
        return found

    def search(self, query: str) -> dict[str, Any]:
        """{"found": [{"source", "text"}, ...], "nowhere": words of the query that stand in no file}."""
        with quiet_about(self.root):
            self.refresh()
        nowhere = [
            word for word in said_words(query) if not any(word in words for words in self.said.values())
        ]
        found = (
            self.index.as_retriever(similarity_top_k=self.top_k, mode=self.mode).retrieve(query)
            if len(self.index)
            else []
        )
        shown = [{"source": one.node.document_id, "text": one.node.text[:LONGEST]} for one in found]
        while shown and len(json.dumps([shown, nowhere], ensure_ascii=False)) > MOST - 40:
            shown.pop()  # a longer observation would be cut in the middle
        return {"found": shown, "nowhere": nowhere}


def checksum_of(file: Path) -> str:
    """Of a file's bytes; of one that is too large, its size; of one that cannot be read, ""."""
    try:
        size = file.stat().st_size
        return str(size) if size > MAX_BYTES else hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def notes_tool(index: FolderIndex) -> Tool:
    """The search of a folder as a tool."""

    def search_notes(query: str) -> dict:
        """Search the user's notes for a query; says what was found, and in which file."""
        return index.search(query)

    return tool_from(search_notes, seconds=60)


def said_words(text: str) -> list[str]:
    """The words that count, each once: English in the singular, Korean without particles or "is".

    회의는, 회의에서 -> 회: what is left is no word of a dictionary, but the same for all forms; 씁니까 -> 씁니다.
    """
    found = []
    for token in tokens(text):
        word = token.text.casefold()
        if token.kind == "word" and not word.isascii():
            word = without_ends(word) if content_words(word) and token.text not in ENDS else ""
        elif token.kind == "word":
            word = singular(word) if content_words(word) and word not in COMMON else ""
        if token.kind != "mark" and word:
            found.append(word)
    return list(dict.fromkeys(found))


def without_ends(word: str) -> str:
    """A Korean word without all that may be a particle at its end: applied twice, it is the same."""
    while end := next((one for one in ENDS if word.endswith(one) and len(word) > len(one)), ""):
        word = word.removesuffix(end)
    return f"{word[:-1]}다" if word.endswith("니까") else word


class ReaderPolicy:
    """hops: searches at most. 1 is a RAG pipeline; what the question leaves open then is not known.

    careful: a sentence that leaves words open leads on only where all it speaks of was asked, or led to it. "The leader
    of the Heron project is Mara" does not help with "the telephone of the Heron project": no leader was asked for.
    """

    def __init__(self, hops: int = 3, careful: bool = True) -> None:
        self.hops, self.careful = check_int("hops", hops, 1, 20), check_flag("careful", careful)

    def decide(self, request: str, steps: Sequence[Done], tools: Tools) -> Action:
        """Search, search again, or answer: read off the steps alone."""
        still, link, read = self.follow(request, steps)
        if steps:
            stuck = len(read) == len(self.follow(request, steps[:-1])[2])
            if stuck or not still or len(steps) >= self.hops:
                return Action(None, answer=unknown(request) if still or not read else in_sentences(read))
        return Action("search_notes", {"query": " ".join([*still, *link]) if steps else request})

    def follow(self, request: str, steps: Sequence[Done]) -> tuple[list[str], list[str], list[Sentence]]:
        """(words still open, words of the last sentence that lead on, the sentences so far with their files)."""
        asked = said_words(request)
        still, link, read, found = asked, [], [], []
        for step in steps:
            told = told_by(step)
            if not told or set(told["nowhere"]) & set(still):
                break
            found += sentences_of(told["found"])
            while best := best_sentence(self.helpful(found, still, [*asked, *link]), still, link):
                words = said_words(best[0])
                link = [word for word in words if word not in asked]
                still = [word for word in still if word not in words]
                read.append(best)
        return still, link, read

    def helpful(
        self, sentences: Sequence[Sentence], still: Sequence[str], known: Sequence[str]
    ) -> Sequence[Sentence]:
        """The sentences that say all that is open, or speak of known things only."""
        if not self.careful:
            return sentences
        return [
            one
            for one in sentences
            if set(still) <= set(said_words(one[0])) or set(subject(one[0])) <= set(known)
        ]


def told_by(step: Done) -> dict[str, Any]:
    """What a search said; {} for an error, and for what was cut."""
    try:
        told = {} if step.failed else json.loads(step.observation)
    except ValueError:
        return {}
    return told if isinstance(told, dict) and {"found", "nowhere"} <= {*told} else {}


def subject(sentence: str) -> list[str]:
    """The words of what a sentence speaks of: those before "is", or up to the one with 은 or 는; else all of them."""
    found = tokens(sentence)
    for place, token in enumerate(found):
        word = token.text.casefold()
        if word in IS or (len(word) > 1 and word[-1] in "은는"):
            return said_words(" ".join(one.text for one in found[: place + 1]))
    return said_words(sentence)


def sentences_of(found: Sequence[dict[str, str]]) -> list[Sentence]:
    """(sentence, file) of what was found."""
    return [
        (" ".join(one["text"][start:end].split()), one["source"])
        for one in found
        for start, end in sentence_spans(one["text"])
    ]


def best_sentence(
    sentences: Sequence[Sentence], still: Sequence[str], link: Sequence[str]
) -> Sentence | None:
    """The sentence that says most of what is open, then of what leads on, then least besides; None without both."""
    best, value = None, (0, 0, 0)
    for one in sentences:
        words = set(said_words(one[0]))
        score = len(words & set(still)), len(words & set(link)), -len(words)
        if score[0] and (score[1] or not link) and score > value:
            best, value = one, score
    return best


def in_sentences(read: Sequence[Sentence]) -> str:
    """ "The room of Mara is B2. [people.txt]", the last sentence first."""
    return " ".join(f"{sentence} [{source}]" for sentence, source in reversed(read))
