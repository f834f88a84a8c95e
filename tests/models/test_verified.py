"""Checksums that are remembered: every way a file can change is noticed, and nothing but the cache is written."""

import json
import os
import time

import pytest

from minillm.models import verified
from minillm.models.verified import forget, picture

SIZE = 1 << 12
remembers = pytest.mark.skipif(os.name == "nt", reason="Windows has no time of change: nothing is remembered")


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(verified, "LARGE", SIZE)
    path = tmp_path / "weights"
    save(path, b"a" * SIZE)
    return path


def save(path, content):
    """Write a file as ours are written: what is done to it last moves the time of its change alone."""
    path.write_bytes(content)
    time.sleep(0.02)
    path.chmod(0o644)


def holds(path, expected, digest, **options):
    return verified.holds(path, expected, digest, picture(path), **options)


class Digest:
    """Stands for the sum of a file, and counts how often it is taken."""

    def __init__(self, path):
        self.path, self.taken = path, 0

    def __call__(self):
        self.taken += 1
        return self.path.read_bytes()[:8].hex()


GOOD = (b"a" * 8).hex()


def later(monkeypatch, seconds):
    now = time.time
    monkeypatch.setattr(verified.time, "time", lambda: now() + seconds)


@remembers
def test_a_file_that_does_not_change_is_read_once(file, monkeypatch):
    later(monkeypatch, 60)
    digest = Digest(file)
    assert all(holds(file, GOOD, digest) for _ in range(5))
    assert digest.taken == 1
    forget(file)
    forget(file)
    assert holds(file, GOOD, digest)
    assert digest.taken == 2
    assert not holds(file, "other", digest)  # another file's sum is another question
    assert digest.taken == 3


def test_a_fresh_file_is_read_each_time(file):
    """A change within one tick of the file system's clock would leave the times as they are."""
    digest = Digest(file)
    assert all(holds(file, GOOD, digest) for _ in range(3))
    assert digest.taken == 3


@remembers
def test_a_flipped_byte_is_found_although_size_and_time_are_put_back(file, monkeypatch):
    later(monkeypatch, 60)
    digest = Digest(file)
    assert holds(file, GOOD, digest)
    before = os.stat(file)
    time.sleep(0.05)
    with file.open("r+b") as opened:
        opened.write(b"b")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(file).st_mtime_ns == before.st_mtime_ns
    assert not holds(file, GOOD, digest)


@remembers
@pytest.mark.parametrize("content", [b"b" + b"a" * (SIZE - 1), b"a" * (SIZE + 1), b"a" * (SIZE - 1)])
def test_another_file_in_its_place_is_read(file, tmp_path, monkeypatch, content):
    later(monkeypatch, 60)
    digest = Digest(file)
    assert holds(file, GOOD, digest)
    time.sleep(0.05)
    save(tmp_path / "new", content)
    os.replace(tmp_path / "new", file)
    assert holds(file, GOOD, digest) == (content[:8].hex() == GOOD)
    assert digest.taken == 2


@remembers
def test_what_was_just_written_is_known_until_it_changes(file):
    digest = Digest(file)
    if not os.stat(file).st_ctime_ns % 1_000_000:
        pytest.skip(
            "the clock of this file system shows no parts of a millisecond: nothing is remembered at once"
        )
    verified.wrote(file, GOOD)
    assert all(holds(file, GOOD, digest) for _ in range(3))
    assert digest.taken == 0
    assert not holds(file, "other", digest)  # another's checksum is no answer to this question
    verified.wrote(file, GOOD)
    before = os.stat(file)
    with file.open("r+b") as opened:
        opened.write(b"b")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not holds(file, GOOD, digest)


@remembers
@pytest.mark.parametrize("parts", [0, 1])
def test_a_coarse_clock_is_not_trusted_at_once(file, monkeypatch, parts):
    shown = {"size": SIZE, "written": 1, "changed": 5_000_000 + parts, "inode": 7, "device": 1}
    monkeypatch.setattr(verified, "picture", lambda path: shown)
    digest = Digest(file)
    verified.wrote(file, GOOD)
    assert verified.holds(file, GOOD, digest, shown)
    assert digest.taken == 1 - parts


def test_small_files_are_read_each_time(file, monkeypatch):
    later(monkeypatch, 60)
    monkeypatch.setattr(verified, "LARGE", SIZE + 1)
    digest = Digest(file)
    assert all(holds(file, GOOD, digest) for _ in range(3))
    assert digest.taken == 3


@remembers
def test_a_cache_that_is_damaged_or_cannot_be_written_costs_time_only(file, tmp_path, monkeypatch):
    later(monkeypatch, 60)
    digest = Digest(file)
    assert holds(file, GOOD, digest)
    [note] = (tmp_path / "cache" / "verified").iterdir()
    for content in (b"", b"\xff", b"[]", b"{}", json.dumps({"size": SIZE}).encode(), b"[" * 9000):
        note.write_bytes(content)
        assert holds(file, GOOD, digest)
        assert not holds(file, "other", digest)
    monkeypatch.setenv("MINILLM_CACHE", str(file))  # a file where the folder should be
    assert holds(file, GOOD, digest)
    assert holds(file, GOOD, digest)
    assert [path for path in tmp_path.iterdir() if path.is_file()] == [file]


def test_a_sum_that_does_not_hold_is_not_remembered(file, monkeypatch):
    later(monkeypatch, 60)
    digest = Digest(file)
    assert not holds(file, "other", digest)
    assert not holds(file, "other", digest)
    assert digest.taken == 2


@remembers
@pytest.mark.parametrize("changed", [0, -1_000_000_000])
def test_a_file_system_without_a_time_of_change_is_not_trusted(file, monkeypatch, changed):
    """sshfs shows the time of writing there, FAT that of the making: a program can put both back."""
    later(monkeypatch, 60)
    stat = os.stat

    def shown(path, **options):
        found = stat(path, **options)
        if os.fspath(path) != os.fspath(file):
            return found
        values = {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}
        return type("Found", (), values | {"st_ctime_ns": found.st_mtime_ns + changed})

    digest = Digest(file)
    monkeypatch.setattr(verified.os, "stat", shown)
    assert all(holds(file, GOOD, digest) for _ in range(2))
    assert digest.taken == 2


@remembers
def test_a_file_that_is_replaced_while_it_is_opened_is_not_remembered(file, tmp_path, monkeypatch):
    """The old file is open, and its checksum holds; that says nothing of the new one, which claims the same."""
    later(monkeypatch, 60)
    before, digest = picture(file), lambda: GOOD
    save(tmp_path / "new", b"b" * SIZE)
    os.replace(tmp_path / "new", file)
    assert verified.holds(file, GOOD, digest, before)
    assert not holds(file, GOOD, Digest(file))


@remembers
def test_a_bit_that_the_disk_lost_is_found_when_it_is_asked_for_and_not_forgotten(file, monkeypatch):
    later(monkeypatch, 60)
    digest = Digest(file)
    assert holds(file, GOOD, digest)
    assert not holds(file, GOOD, lambda: "lost", anew=True)
    assert not holds(file, GOOD, lambda: "lost")


@remembers
def test_a_link_is_remembered_as_what_it_leads_to(file, tmp_path, monkeypatch):
    later(monkeypatch, 60)
    save(tmp_path / "other", b"b" * SIZE)
    link = tmp_path / "link"
    link.symlink_to(file)
    digest = Digest(link)
    assert all(holds(one, GOOD, digest) for one in (link, file))
    assert digest.taken == 1
    link.unlink()
    link.symlink_to(tmp_path / "other")
    assert not holds(link, GOOD, digest)


@remembers
def test_without_a_home_folder_the_checksum_is_taken(file, monkeypatch):
    later(monkeypatch, 60)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(verified, "cache_folder", homeless)
    digest = Digest(file)
    assert all(holds(file, GOOD, digest) for _ in range(2))
    assert digest.taken == 2
