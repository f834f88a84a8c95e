"""Versions of data: what was added comes back exactly, the version is the checksum, nothing leaves the folder."""

import hashlib
import os
import subprocess
import sys
import unicodedata

import pytest

from minillm._files import BadFileError
from minillm.apps.ops import DataVersions, ModelRegistry, Prompts, Records, Runs
from minillm.apps.ops.data_versions import folder_version


def fill(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


FILES = {
    "이름/가나다.txt": "김철수\n".encode(),
    "a b.csv": b"1,2\r\n",
    "empty": b"",
    "deep/x/y/z.bin": bytes(range(256)),
}


def test_restore_gives_back_names_and_bytes(tmp_path, records):
    files = dict(FILES)
    if sys.platform == "linux":  # elsewhere the file system makes one name of the two
        files |= {unicodedata.normalize(form, "각.txt"): form.encode() for form in ("NFC", "NFD")}
    versions = DataVersions(records)
    version = versions.add(fill(tmp_path / "data", files))
    assert contents(versions.restore(version, tmp_path / "back")) == files
    assert folder_version(tmp_path / "back") == version == versions.add(tmp_path / "back")
    assert len(versions.log()) == 1


def test_the_version_is_the_checksum_of_checksums(tmp_path, records):
    version = DataVersions(records).add(fill(tmp_path / "data", {"b": b"two", "a": b"one"}))
    one, two = hashlib.sha256(b"one").hexdigest(), hashlib.sha256(b"two").hexdigest()
    assert version == hashlib.sha256(f'[["a","{one}"],["b","{two}"]]'.encode()).hexdigest()


def test_diff_and_what_is_shared(tmp_path, records):
    versions = DataVersions(records)
    old = versions.add(fill(tmp_path / "data", FILES))
    (tmp_path / "data" / "empty").unlink()
    fill(tmp_path / "data", {"a b.csv": b"1,3\r\n", "새 파일": b"new"})
    new = versions.add(tmp_path / "data")
    assert versions.diff(old, new) == (["새 파일"], ["empty"], ["a b.csv"])
    assert versions.diff(new, old) == (["empty"], ["새 파일"], ["a b.csv"])
    # 4 files + 2 of the new version + 2 manifests
    assert len(contents(records.objects)) == 8
    assert contents(versions.restore(old, tmp_path / "back")) == FILES


def test_refusals_leave_no_version(tmp_path, records):
    versions = DataVersions(records)
    data = fill(tmp_path / "data", {"a": b"1"})
    if hasattr(os, "symlink") and sys.platform != "win32":
        (data / "link").symlink_to("/etc/hostname")
        with pytest.raises(ValueError, match="link"):
            versions.add(data)
        (data / "link").unlink()
        fill(data, {"a:b": b""})
        with pytest.raises(ValueError, match="a:b"):
            versions.add(data)
        (data / "a:b").unlink()
    with pytest.raises(ValueError, match="folder that is there"):
        versions.add(tmp_path / "nothing")
    assert versions.log() == []
    version = versions.add(data)
    with pytest.raises(ValueError, match="new or empty"):
        versions.restore(version, data)
    with pytest.raises(ValueError, match="no data version"):
        versions.restore("0" * 64, tmp_path / "back")


def test_a_damaged_object_is_refused_and_mended(tmp_path, records):
    versions = DataVersions(records)
    version = versions.add(fill(tmp_path / "data", {"a": b"content"}))
    name = versions.files(version)["a"]
    (records.objects / name[:2] / name[2:]).write_bytes(b"contenT")
    with pytest.raises(BadFileError, match="damaged"):
        versions.restore(version, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    versions.add(tmp_path / "data")
    assert contents(versions.restore(version, tmp_path / "back")) == {"a": b"content"}


def test_a_manifest_that_leads_outside_is_refused(tmp_path, records):
    evil = records.put(f'[["../outside","{records.put(b"x")}"]]'.encode())
    with records.transaction(write=True) as rows:
        rows.execute("INSERT INTO data (version, message) VALUES (?, '')", (evil,))
    with pytest.raises(BadFileError, match="outside"):
        DataVersions(records).restore(evil, tmp_path / "back")
    assert not (tmp_path / "outside").exists()


def test_a_folder_that_holds_the_records_is_refused(tmp_path):
    records = Records(fill(tmp_path, {"a": b"1"}) / "deep" / "ops")
    with pytest.raises(ValueError, match="records lie in"):
        DataVersions(records).add(tmp_path)
    assert DataVersions(records).log() == []
    records.close()


def test_two_names_that_are_one_here_are_not_restored_as_one(tmp_path, records, monkeypatch):
    versions = DataVersions(records)
    version = versions.add(fill(tmp_path / "data", {"A": b"1", "B": b"2"}))
    monkeypatch.setattr(versions, "files", lambda _: {"A": records.put(b"1"), "./A": records.put(b"2")})
    with pytest.raises(ValueError, match="cannot be restored here"):
        versions.restore(version, tmp_path / "back")
    assert not (tmp_path / "back").exists()


WRITER = """
import sys
from pathlib import Path
from minillm.apps.ops import DataVersions, ModelRegistry, Prompts, Records, Runs
records = Records(sys.argv[1])
models, prompts = ModelRegistry(records), Prompts(records)
run = Runs(records).start("killed")
print(run.id, flush=True)
for step in range(100_000):
    run.log_metric("loss", step / 7, step)
    (Path(sys.argv[2]) / "a").write_text(str(step))
    version = DataVersions(records).add(sys.argv[2])
    made = models.register("m", b"weights %d" % step, run.id).version
    models.move("m", made, "Staging", "tests pass"), models.move("m", made, "Production", "asked for")
    models.set_alias("m", "champion", made)
    prompts.score("p", prompts.add("p", f"ask {step}"), "v", [step, 1])
    print(step, version, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_what_was_acknowledged_survives_kill_9(tmp_path):
    (tmp_path / "data").mkdir()
    command = [sys.executable, "-c", WRITER, str(tmp_path / "ops"), str(tmp_path / "data")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    id = process.stdout.readline().strip()
    said = [process.stdout.readline().split() for _ in range(12)]
    process.kill()
    said += [line.split() for line in process.stdout.read().splitlines() if len(line.split()) == 2]
    process.wait(30)
    process.stdout.close()
    records = Records(tmp_path / "ops")
    points = Runs(records).get(id).history["loss"]
    assert [(p.step, p.value) for p in points][: len(said)] == [(i, i / 7) for i in range(len(said))]
    assert len(points) - len(said) in (0, 1)
    versions = DataVersions(records)
    known = [version for version, _ in versions.log()]
    whole = [(int(step), version) for step, version in said if len(version) == 64]
    assert len(whole) >= 12
    assert {version for _, version in whole} <= set(known)
    for step, version in (whole[0], whole[-1]):
        assert contents(versions.restore(version, tmp_path / f"back{step}")) == {"a": str(step).encode()}
    for version in known:  # also the one that was not acknowledged: it is whole
        assert all(records.get(kept) for kept in versions.files(version).values())
    models, steps = ModelRegistry(records), len(said)
    stages = {}
    for number, old, new, _ in models.moves(
        "m"
    ):  # the log tells the stages, also after a move that was cut off
        assert stages.get(number, "None") == old
        stages[number] = new
    assert steps <= len(stages) <= steps + 1
    for stage in ("None", "Staging", "Production", "Archived"):
        for one in models.in_stage("m", stage):
            assert (stages.get(one.version, "None"), one.run) == (stage, id)
            assert records.get(one.object) == f"weights {one.version - 1}".encode()
    assert len(models.in_stage("m", "Production")) == 1
    assert models.get("m", "champion").version in (steps, steps + 1)
    prompts = Prompts(records)
    for step in range(steps):
        assert prompts.get("p", step + 1) == f"ask {step}"
        assert prompts.scores("p", step + 1, "v") == [step, 1]
    records.close()
