"""Blocks: taken, shared, copied before they are written to, found again, and given back."""

import pytest

from minillm.inference import BlockManager


def filled(blocks, ids):
    """A table whose text is written and sealed."""
    table = blocks.open(ids)
    blocks.reserve(table, len(ids))
    table.length = len(ids)
    blocks.seal(table, ids)
    blocks.commit()
    return table


def test_a_text_takes_blocks_as_it_grows_and_gives_them_back():
    blocks = BlockManager(5, block_size=4)
    table = filled(blocks, list(range(9)))
    assert (len(table.blocks), blocks.free_blocks) == (3, 2)
    assert blocks.needed(table, 12) == 0
    assert blocks.needed(table, 13) == 1
    assert blocks.reserve(table, 13) == []
    blocks.release(table)
    assert blocks.free_blocks == 5
    assert not any(blocks.references)


def test_too_few_blocks_change_nothing():
    blocks = BlockManager(3, block_size=2)
    table = filled(blocks, [1, 2, 3])
    before = list(table.blocks)
    with pytest.raises(ValueError, match="2 blocks are needed for 7 tokens, 1 are free"):
        blocks.reserve(table, 7)
    assert table.blocks == before
    assert blocks.free_blocks == 1


def test_a_shared_block_is_copied_by_who_writes_first():
    blocks = BlockManager(8, block_size=4)
    one = filled(blocks, [1, 2, 3, 4, 5])
    two = blocks.fork(one)
    assert two.blocks == one.blocks
    assert [blocks.references[b] for b in one.blocks] == [2, 2]
    [(source, target)] = blocks.reserve(two, 6)
    assert (source, target) == (one.blocks[1], two.blocks[1])
    assert one.blocks[0] == two.blocks[0]  # full: never written to again
    assert blocks.reserve(one, 6) == []  # now it is alone with its own


def test_a_fork_at_a_block_s_end_copies_nothing():
    blocks = BlockManager(8, block_size=4)
    one = filled(blocks, [1, 2, 3, 4])
    two = blocks.fork(one)
    assert blocks.reserve(one, 5) == blocks.reserve(two, 5) == []
    assert one.blocks[0] == two.blocks[0]
    assert one.blocks[1] != two.blocks[1]


@pytest.mark.parametrize(("ids", "known"), [
    ([1, 2, 3, 4, 5, 6, 7, 8], 4),  # exactly two blocks: the last token must be computed
    ([1, 2, 3, 4, 5, 6, 7, 8, 9], 8),
    ([1, 2, 3, 4, 9, 9, 9, 9, 9], 4),
    ([2, 1, 3, 4, 5, 6, 7, 8, 9], 0),
    ([5, 6, 7, 8, 9], 0),  # the second block's tokens, with another beginning
    ([1], 0),
])  # fmt: skip
def test_what_is_known_of_a_beginning(ids, known):
    blocks = BlockManager(8, block_size=4)
    first = filled(blocks, [1, 2, 3, 4, 5, 6, 7, 8])
    table = blocks.open(ids)
    assert table.length == known
    assert table.blocks == first.blocks[: known // 4]
    blocks.release(first)
    blocks.release(table)
    assert blocks.open(ids).length == known  # free, and still known
    assert BlockManager(8, block_size=4, salt=b"another").open(ids).length == 0


def test_the_beginning_that_was_unused_longest_goes_first_its_end_before_its_start():
    blocks = BlockManager(4, block_size=2)
    old, new = [1, 2, 3, 4, 5], [6, 7, 8]
    for ids in (old, new):
        blocks.release(filled(blocks, ids))
    assert blocks.kept == [1, 0, 2]  # block 2, half full at first, became the full one of the new text
    assert (blocks.open(old).length, blocks.free_blocks) == (4, 2)
    assert blocks.kept == [2]
    blocks = BlockManager(4, block_size=2)
    for ids in (old, new):
        blocks.release(filled(blocks, ids))
    table = blocks.open([9])
    blocks.reserve(table, 4)  # one block was never named, the other is the oldest
    found = blocks.open(old)
    assert found.length == 2
    assert blocks.open(new).length == 2


def test_what_a_failed_step_sealed_is_not_found():
    blocks = BlockManager(4, block_size=2)
    table = blocks.open([1, 2, 3])
    blocks.reserve(table, 3)
    table.length = 3
    blocks.seal(table, [1, 2, 3])
    assert blocks.open([1, 2, 3]).length == 2  # in the same step it is
    blocks.rollback()
    assert blocks.open([1, 2, 3]).length == 0


def test_tokens_taken_back_are_written_over():
    blocks = BlockManager(4, block_size=2)
    table = filled(blocks, [1, 2, 3, 4])
    blocks.crop(table, 3)
    assert len(table.blocks) == 2
    blocks.reserve(table, 4)
    table.length = 4
    blocks.seal(table, [1, 2, 3, 9])
    assert blocks.open([1, 2, 3, 4, 5]).length == 2
    assert blocks.open([1, 2, 3, 9, 5]).length == 4


@pytest.mark.parametrize(
    "options", [{"num_blocks": 0}, {"num_blocks": 1, "block_size": 0}, {"num_blocks": 1.0}]
)
def test_sizes_are_checked(options):
    with pytest.raises(ValueError, match="must be"):
        BlockManager(**options)


def test_what_is_no_table_no_ids_and_no_length_is_refused_and_nothing_changes():
    manager = BlockManager(6, 4)
    known = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    table = manager.open(known)
    manager.reserve(table, 9)
    table.length = 9
    with pytest.raises(ValueError, match="2 blocks of 4 tokens are to be sealed, got 3 ids in 3 blocks"):
        manager.seal(table, known[:3])
    manager.seal(table, known)
    before = manager.references[:], table.blocks[:]
    for ids in (
        None,
        3,
        "아홉 글자의 문장",
        b"123456789",
        [1, 2, 3, 4, "5"],
        [1, 2, 3, 4, 5.0],
        [1, 2, 3, 4, 2**70],
    ):
        with pytest.raises(ValueError, match="ids must be a sequence of token ids"):
            manager.open(ids)
    with pytest.raises(ValueError, match="salt must be bytes, got '소금'"):
        manager.open(known, salt="소금")
    calls = [manager.release, manager.fork, lambda x: manager.reserve(x, 1), lambda x: manager.crop(x, 0)]
    calls.append(lambda x: manager.needed(x, 1))
    for call in [*calls, lambda x: manager.seal(x, known)]:
        with pytest.raises(
            ValueError, match=r"table must be a BlockTable, as open\(\) gives it, got \[0, 1\]"
        ):
            call([0, 1])
    for length in (None, -1, 2.5, True, "셋", known):
        with pytest.raises(ValueError, match="length must be"):
            manager.reserve(table, length)
    assert (manager.references, table.blocks) == before
    assert manager.open(known).length == 8
    with pytest.raises(ValueError, match="num_blocks must be between 1 and 2147483647"):
        BlockManager(10**12)
