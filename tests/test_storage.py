"""Storage: whole files or none, and messages that say where and what to do."""

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from viral.storage import (
    Manifest,
    Storage,
    describe_shard,
    is_intact,
    local_folder,
    read_manifest,
    write_manifest,
)

WRITE_WITH_LITTLE_ROOM = """
import resource, sys
from viral.storage import Storage

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
storage = Storage(sys.argv[1])
storage.write("shard", b"old")
try:
    storage.write("shard", bytes(5000))
except ValueError as error:
    print(error)
"""
"""For a process of its own, whose files may grow to 1000 bytes, as on a disk that fills up."""


def test_a_file_is_read_as_written(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path)).join("table")
    storage.write("b", b"two")
    storage.write("a", b"one")
    storage.write("a", b"three")
    assert storage.list() == ["a", "b"]
    assert storage.read("a") == b"three"
    storage.delete("a")
    assert not storage.exists("a")


def test_a_full_disk_names_the_folder_and_keeps_the_old_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE_WITH_LITTLE_ROOM, str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "no room is left" in told and str(tmp_path) in told
    assert Storage(str(tmp_path)).read("shard") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["shard"]


HOLD = """
import sys
from viral.storage import Storage

with Storage(sys.argv[1]).alone():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_belongs_to_one_process_until_that_ends_however_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another process"), Storage(str(tmp_path)).alone():
            pass
        other.kill()
    with Storage(str(tmp_path)).alone():
        assert Storage(str(tmp_path)).list() == []


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "table").write_text("not a folder")
    with pytest.raises(ValueError, match="a file stands where a folder should be"):
        Storage(str(tmp_path)).join("table").write("shard", b"x")


def test_an_unfinished_write_is_not_listed_and_is_swept(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("shard", b"x")
    (tmp_path / ".other.k3.tmp").write_bytes(b"half")
    assert storage.list() == ["shard"]
    storage.sweep()
    assert [path.name for path in tmp_path.iterdir()] == ["shard"]


def test_a_relative_folder_means_the_same_one_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(Storage("runs").join("pairs"))
    monkeypatch.chdir("/")
    assert str(pickle.loads(sent)) == str(tmp_path / "runs" / "pairs")


def test_a_missing_file_and_a_bad_address_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        Storage(str(tmp_path)).read("nothing")
    with pytest.raises(ValueError, match="cannot be opened"):
        Storage("gopher://somewhere").read("nothing")
    with pytest.raises(ValueError, match="is not a folder"):
        Storage(str(tmp_path)).join("nowhere").walk()


def test_keys_in_an_address_never_reach_a_message() -> None:
    storage = Storage("s3://key:secret@bucket/run?endpoint_override=host:9000").join("pairs")
    assert str(storage) == "s3://bucket/run/pairs"


def test_a_truncated_file_is_refused_with_its_name(tmp_path: Path) -> None:
    storage, sha256 = Storage(str(tmp_path)), hashlib.sha256(b"whole").hexdigest()
    storage.write("shard", b"whole")
    assert storage.local("shard", sha256) == tmp_path / "shard"
    storage.write("shard", b"who")
    with pytest.raises(ValueError, match="shard is damaged: 3 bytes"):
        storage.local("shard", sha256)


def test_an_object_store_is_read_through_a_local_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    storage = Storage("mock:///bucket").join("latents")
    storage.write("shard", b"remote")
    sha256 = hashlib.sha256(b"remote").hexdigest()
    path = storage.local("shard", sha256)
    assert path.read_bytes() == b"remote" and path.is_relative_to(tmp_path)
    storage.delete("shard")
    assert storage.local("shard", sha256) == path  # read once
    path.write_bytes(b"broken")
    storage.write("shard", b"remote")
    assert storage.local("shard", sha256).read_bytes() == b"remote"  # a broken copy is fetched again
    with pytest.raises(ValueError, match="object store"):
        storage.folder()


def test_a_bucket_holds_what_a_folder_holds(bucket: str) -> None:
    storage = Storage(bucket).join("table")
    assert storage.list() == [] and not storage.exists("a")
    storage.write("a", b"one")
    storage.write("a", b"three")
    storage.join("deeper").write("b", bytes(6 << 20))  # more than one part of an upload
    assert storage.read("a") == b"three" and storage.list() == ["a"] and storage.walk() == ["a", "deeper/b"]
    with storage.open("a") as file:
        file.seek(2)
        assert file.read() == b"ree"
    with local_folder(storage) as folder:
        assert (folder / "a").read_bytes() == b"three"
    shard = describe_shard("a", 1, b"three", {})
    write_manifest(storage, Manifest(fingerprint="f", shards=(shard,)))
    assert is_intact(storage, shard) and read_manifest(storage).fingerprint == "f"
    storage.delete("a")
    assert not is_intact(storage, shard)
    with pytest.raises(ValueError, match="s3://bucket/run/table/a does not exist"):
        storage.read("a")


READ = """
import sys
from viral.storage import Storage

print(Storage(sys.argv[1]).local("shard", sys.argv[2]))
"""


def test_each_node_keeps_its_own_copy_and_needs_the_bucket_once(bucket: str, tmp_path: Path) -> None:
    storage, data = Storage(bucket), bytes(range(256)) * 99
    storage.write("shard", data)
    sha256 = hashlib.sha256(data).hexdigest()

    def on_node(name: str) -> Path:
        """The path a process on a machine with folders of its own reads from."""
        (tmp_path / name).mkdir(exist_ok=True)
        command = [sys.executable, "-c", READ, bucket, sha256]
        environment = os.environ | {"TMPDIR": str(tmp_path / name)}
        return Path(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip())

    first, second = on_node("first"), on_node("second")
    assert first.is_relative_to(tmp_path / "first") and second.is_relative_to(tmp_path / "second")
    assert first.read_bytes() == second.read_bytes() == data
    storage.delete("shard")
    assert on_node("second") == second


def test_a_manifest_returns_as_written_and_a_broken_one_is_told(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    assert read_manifest(storage) is None
    storage.write("shard", b"x")
    shard = describe_shard("shard", 1, b"x", {})
    manifest = Manifest(fingerprint="f", shards=(shard,), rejected={"too small": 2})
    write_manifest(storage, manifest)
    assert read_manifest(storage) == manifest and is_intact(storage, shard)
    storage.write("manifest.json", b"{")
    with pytest.raises(ValueError, match="is not a manifest"):
        read_manifest(storage)
