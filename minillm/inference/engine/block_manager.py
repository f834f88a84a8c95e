"""Pages of the KV cache (페이지어텐션): which block of memory holds which tokens of which text.

    text     a b c d | e f g h | i j          block_size 4
    table    [  7,        2,      5  ]         token n lies in block table[n // 4], at place n % 4

Blocks are taken one by one as a text grows, from anywhere. A block may stand in several tables: it has a reference
count. Copies of a text (n > 1, beams) share all their blocks; who writes into a shared one copies it first
(copy-on-write). A full block is known by the digest of everything up to its end,

    digest(block i) = hash(digest(block i-1), its tokens)          the chain begins with a salt

so a new text whose beginning was seen before takes the blocks that are there (prefix cache, 프리픽스 캐싱). A block
that no table names any more keeps its content until its memory is needed; the one unused for the longest time goes
first.

A state of fixed size (a state-space model's) is one block that is never full: block_size = the window, no prefix
cache; sharing and copy-on-write are the same (slots.py). Book 8.3.2 페이지어텐션. Papers: Kwon et al. 2023
(PagedAttention), Zheng et al. 2024 (prefix sharing). The model: nano-vllm's block_manager. Leaves out: swapping blocks
to other memory.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from minillm._checks import check_flag, check_int, describe

MOST = 2**31 - 1  # blocks: their numbers are int32 in the tables that a kernel reads


@dataclass
class BlockTable:
    """Where one text lies. length: its tokens that are in the blocks, or will be when the running step has ended."""

    blocks: list[int] = field(default_factory=list)
    length: int = 0
    digests: list[bytes] = field(default_factory=list)  # of the first blocks, as far as full and sealed
    drafts_read: int | None = None  # tokens that a draft model has read here; None: as many as `length`
    salt: bytes = (
        b""  # texts of another salt never share a block: what computes their keys differs (an adapter)
    )


def check_table(table: BlockTable) -> None:
    """ValueError for what is no table."""
    if not isinstance(table, BlockTable):
        raise ValueError(f"table must be a BlockTable, as open() gives it, got {describe(table)}")


def check_length(length: int) -> None:
    """ValueError for what is no number of tokens."""
    if type(length) is not int or length < 0:  # the quick question first: it comes before every token
        check_int("length", length, 0)


def check_written(table: BlockTable, ids: Sequence[int], block_size: int) -> None:
    """ValueError where blocks are full that have no name yet, and the ids do not reach to their end."""
    full = table.length // block_size
    if full <= len(table.digests):
        return
    if len(check_ids(ids)) < full * block_size or len(table.blocks) < full:
        raise ValueError(
            f"{full} blocks of {block_size} tokens are to be sealed, got {len(ids)} ids in {len(table.blocks)} blocks"
        )


def check_ids(ids: Sequence[int]) -> array:
    """Token ids in one piece of memory, which is quick to cut and to hash; ValueError for anything else."""
    try:
        if isinstance(ids, (str, bytes, bytearray)):  # array() would read their bytes
            raise TypeError
        return array("q", ids)
    except (TypeError, OverflowError):
        raise ValueError(f"ids must be a sequence of token ids, got {describe(ids)}") from None


class BlockManager:
    """Hands out `num_blocks` blocks of `block_size` tokens; it knows numbers, PagedKVCache has the memory.

    prefix_caching: whether full blocks are found again by their content. salt: texts of another salt never meet (one
    for each thing that changes the keys of the same tokens). Raises ValueError for sizes below one, and in every method
    for what is no table, no list of token ids or no length; nothing has changed then.
    """

    def __init__(self, num_blocks: int, block_size: int = 16, prefix_caching: bool = True, salt: bytes = b""):
        self.num_blocks = check_int("num_blocks", num_blocks, 1, MOST)
        self.block_size = check_int("block_size", block_size, 1)
        self.prefix_caching = check_flag("prefix_caching", prefix_caching)
        if not isinstance(salt, bytes):
            raise ValueError(f"salt must be bytes, got {describe(salt)}")
        self.salt = salt
        self.references = [0] * self.num_blocks  # tables that name the block
        self._free = list(range(self.num_blocks))[::-1]  # nothing of use in them; the last is taken first
        self._idle: OrderedDict[int, None] = OrderedDict()  # in no table, content kept: oldest first
        self._found: dict[bytes, int] = {}  # digest -> block
        self._digest: dict[int, bytes] = {}  # block -> digest
        self._unwritten: list[int] = []  # sealed in the running step
        self.asked_tokens = self.hit_tokens = 0  # of texts opened, and how many of them were there already

    @property
    def free_blocks(self) -> int:
        """Blocks in no table, those that keep a prefix included."""
        return len(self._free) + len(self._idle)

    @property
    def kept(self) -> list[int]:
        """Blocks in no table that keep a prefix; the one unused for the longest time comes first."""
        return list(self._idle)

    def blocks_for(self, tokens: int) -> int:
        """Blocks that so many tokens take."""
        check_length(tokens)
        return -(-tokens // self.block_size)

    # A text's life

    def open(self, ids: Sequence[int], reuse: bool = True, salt: bytes = b"") -> BlockTable:
        """A table for a text, with the blocks of its beginning that are known: all but its last token at most.

        reuse=False: without them (every token has to be computed). salt: only texts of the same one share blocks.
        """
        ids = check_ids(ids)
        if not isinstance(salt, bytes):
            raise ValueError(f"salt must be bytes, got {describe(salt)}")
        table = BlockTable(salt=salt)
        self.asked_tokens += len(ids)
        if not (self.prefix_caching and reuse):
            return table
        parent = self.salt + salt
        for i in range((len(ids) - 1) // self.block_size):  # never the last token: its scores are wanted
            parent = self.chained(parent, ids, i)
            block = self._found.get(parent)
            if block is None:
                break
            self._refer(block)
            table.blocks.append(block)
            table.digests.append(parent)
        table.length = len(table.blocks) * self.block_size
        self.hit_tokens += table.length
        return table

    def needed(self, table: BlockTable, length: int) -> int:
        """Free blocks that `reserve(table, length)` takes: new ones, and copies of shared ones."""
        check_table(table)
        check_length(length)
        if self._in_own_block(table, length):
            return 0
        new = max(0, self.blocks_for(length) - len(table.blocks))
        return new + len(self._shared(table) if length > table.length else ())

    def reserve(self, table: BlockTable, length: int) -> list[tuple[int, int]]:
        """Make room for tokens up to `length`; the (from, to) whose memory has to be copied before it is written to.

        ValueError, and nothing changed, where there are too few free blocks.
        """
        check_table(table)
        check_length(length)
        if self._in_own_block(table, length):
            return []
        if self.needed(table, length) > self.free_blocks:
            raise ValueError(
                f"{self.needed(table, length)} blocks are needed for {length} tokens, {self.free_blocks} are free"
            )
        copies = []
        for i in self._shared(table) if length > table.length else ():
            old, table.blocks[i] = table.blocks[i], self._take()
            self._drop(old)
            copies.append((old, table.blocks[i]))
        if table.length % self.block_size and length > table.length:  # written to again after a crop
            self._forget(table.blocks[table.length // self.block_size])
        while len(table.blocks) < self.blocks_for(length):
            table.blocks.append(self._take())
        return copies

    def seal(self, table: BlockTable, ids: Sequence[int]) -> None:
        """table.length tokens of the text `ids` are in the blocks: name those that are full by their content.

        Their keys are written in the running step at the latest: a text opened from now on may share them, because
        every layer writes all new keys before any token of the step looks back.
        """
        check_table(table)
        if not self.prefix_caching:
            return
        check_written(table, ids, self.block_size)
        for i in range(len(table.digests), table.length // self.block_size):
            digest = self.chained(table.digests[-1] if i else self.salt + table.salt, ids, i)
            table.digests.append(digest)
            block = table.blocks[i]
            if digest not in self._found and block not in self._digest:
                self._found[digest], self._digest[block] = block, digest
                self._unwritten.append(block)

    def fork(self, table: BlockTable, length: int | None = None) -> BlockTable:
        """A second table of the same text, or of its first `length` tokens: shared blocks, nothing copied yet."""
        check_table(table)
        length = table.length if length is None else check_int("length", length, 0, table.length)
        blocks = table.blocks[: self.blocks_for(length)]
        for block in blocks:
            self._refer(block)
        return BlockTable(blocks, length, table.digests[: length // self.block_size], salt=table.salt)

    def crop(self, table: BlockTable, length: int) -> None:
        """Forget what follows the first `length` tokens (drafts that were refused). ValueError if there are fewer."""
        check_table(table)
        table.length = check_int("length", length, 0, table.length)
        del table.digests[length // self.block_size :]
        for block in table.blocks[self.blocks_for(length) :][::-1]:
            self._drop(block)
        del table.blocks[self.blocks_for(length) :]

    def release(self, table: BlockTable) -> None:
        """The text is done: its blocks are free, and keep what is in them as long as nobody needs the memory."""
        self.crop(table, 0)  # the last first: a beginning is of use without its end, not the other way round

    # A step's end

    def commit(self) -> None:
        """What was sealed in this step is written."""
        self._unwritten.clear()

    def rollback(self) -> None:
        """The step failed: what was sealed in it is not to be found."""
        for block in self._unwritten:
            self._forget(block)
        self._unwritten.clear()

    def clear_prefixes(self) -> None:
        """Forget all content, as after a change of the model's weights."""
        for block in list(self._digest):
            self._forget(block)

    # One block

    def chained(self, parent: bytes, ids: Sequence[int], i: int) -> bytes:
        """The name of block i of the text `ids`, behind a block of the name `parent`."""
        tokens = array("q", ids[i * self.block_size : (i + 1) * self.block_size])
        return blake2b(parent + tokens.tobytes(), digest_size=20).digest()

    def _in_own_block(self, table: BlockTable, length: int) -> bool:
        """Whether the text goes on in the block that it is in, which is its own and has no name: nothing is to do."""
        i = table.length // self.block_size
        if i >= len(table.blocks) or length > len(table.blocks) * self.block_size:
            return False
        block = table.blocks[i]
        return i == len(table.blocks) - 1 and self.references[block] == 1 and block not in self._digest

    def _shared(self, table: BlockTable) -> list[int]:
        """Places in the table, from where its next token goes on, whose block others name, too."""
        first = table.length // self.block_size
        return [i for i in range(first, len(table.blocks)) if self.references[table.blocks[i]] > 1]

    def _take(self) -> int:
        if self._free:
            block = self._free.pop()
        else:
            block, _ = self._idle.popitem(last=False)  # the one unused for the longest time
            del self._found[self._digest.pop(block)]
        self.references[block] = 1
        return block

    def _refer(self, block: int) -> None:
        self._idle.pop(block, None)
        self.references[block] += 1

    def _drop(self, block: int) -> None:
        self.references[block] -= 1
        if self.references[block] == 0:
            if block in self._digest:
                self._idle[block] = None
            else:
                self._free.append(block)

    def _forget(self, block: int) -> None:
        """Take the block's name away."""
        digest = self._digest.pop(block, None)
        if digest is None:
            return
        del self._found[digest]
        if block in self._idle:
            del self._idle[block]
            self._free.append(block)
