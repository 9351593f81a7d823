"""Where tables lie: a local folder or an object store, through pyarrow's file systems, and the manifest of a table."""

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from pyarrow import NativeFile, fs
from pydantic import BaseModel, ConfigDict, ValidationError

MANIFEST = "manifest.json"
PENDING = ".tmp"
LOCK = ".lock"

_WITHOUT_FOLDERS = ("s3", "gcs", "abfs")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class Storage:
    """A folder, or an address like s3://bucket/prefix, whose files are only ever seen whole.

    A relative folder is made absolute here, so that a worker with another working directory means the same one.
    """

    uri: str
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if "://" not in self.uri:
            object.__setattr__(self, "uri", str(Path(self.uri).expanduser().resolve()))

    def __str__(self) -> str:
        """For messages: the address without the keys and options it may carry."""
        if "://" not in self.uri:
            return "/".join((self.uri, *self.names))
        parts = urlsplit(self.uri)
        return "/".join((f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}", *self.names))

    def join(self, *names: str) -> "Storage":
        """The place `names` below this one."""
        return Storage(self.uri, (*self.names, *names))

    def exists(self, name: str) -> bool:
        return self._info(name).type == fs.FileType.File

    def read(self, name: str) -> bytes:
        """All bytes of a file; `ValueError` where there is none."""
        with self.open(name) as file:
            return file.read()

    def open(self, name: str) -> NativeFile:
        """A file to read at random; `ValueError` where there is none."""
        if not self.exists(name):
            raise ValueError(f"{self}/{name} does not exist; run the job that makes it, or correct the address")
        return self._files.open_input_file(f"{self._root}/{name}")

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place whole or not at all; `ValueError` where there is no room or no right to write."""
        with _told(self):
            if self.is_local:
                _write_whole(Path(self._root), name, data)
            else:
                if self._files.type_name not in _WITHOUT_FOLDERS:
                    self._files.create_dir(self._root, recursive=True)
                with self._files.open_output_stream(f"{self._root}/{name}") as file:
                    file.write(data)

    def stamp(self, name: str) -> tuple[int, int]:
        """Size and time of change of a file: other than before where it was written anew."""
        info = self._info(name)
        return info.size, info.mtime_ns

    def walk(self) -> list[str]:
        """Names of all files here and below, relative and sorted, without hidden ones; `ValueError` if no folder."""
        if not self.is_folder:
            raise ValueError(f"{self} is not a folder; correct the path or address")
        infos = self._files.get_file_info(fs.FileSelector(self._root, recursive=True))
        paths = [PurePosixPath(info.path).relative_to(self._root) for info in infos if info.type == fs.FileType.File]
        return sorted(str(path) for path in paths if not any(part.startswith(".") for part in path.parts))

    def list(self) -> list[str]:
        """Names of the files here, sorted; an unfinished write is not among them."""
        infos = self._files.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        names = [info.base_name for info in infos if info.type == fs.FileType.File]
        return sorted(name for name in names if name != LOCK and not name.endswith(PENDING))

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self.exists(name):
            self._files.delete_file(f"{self._root}/{name}")

    def sweep(self) -> None:
        """Remove what killed writers left unfinished here and below; a table has one writer at a time."""
        if self.is_local and Path(self._root).is_dir():
            for path in Path(self._root).rglob(f".*{PENDING}"):
                path.unlink(missing_ok=True)

    def local(self, name: str, sha256: str) -> Path:
        """A verified local path: the file itself in a local folder, else this node's copy; `ValueError` if damaged."""
        if self.is_local:
            path = Path(self._root) / name
            if not path.is_file():
                raise ValueError(f"{self}/{name} does not exist; run the job that makes it again")
            return _verified(path, sha256, f"{self}/{name}")
        path = _cache() / sha256
        if not path.is_file() or file_sha256(path) != sha256:
            _write_whole(path.parent, path.name, self.read(name))
        return _verified(path, sha256, f"{self}/{name}")

    def folder(self) -> Path:
        """This place as a local folder, made if missing; `ValueError` for an object store."""
        if not self.is_local:
            raise ValueError(f"{self} is an object store and this step needs a folder; set storage to a local folder")
        with _told(self):
            Path(self._root).mkdir(parents=True, exist_ok=True)
        return Path(self._root)

    @property
    def filesystem(self) -> tuple[fs.FileSystem, str]:
        """Arrow's file system and the path of this place in it, for libraries that take these."""
        return self._files, self._root

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep a local folder to this process for the length of the block; `ValueError` while another one has it.

        The lock goes with the process, however it ends. An object store has none.
        """
        if not self.is_local:
            yield
            return
        with (self.folder() / LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"{self} is being written by another process; wait for it, stop it, or set another storage"
                ) from None
            yield

    @property
    def is_local(self) -> bool:
        return isinstance(self._files, fs.LocalFileSystem)

    @property
    def is_folder(self) -> bool:
        """Whether there is anything here yet."""
        return self._files.get_file_info(self._root).type == fs.FileType.Directory

    @property
    def _files(self) -> fs.FileSystem:
        return _open(self.uri)[0]

    @property
    def _root(self) -> str:
        return "/".join((_open(self.uri)[1], *self.names))

    def _info(self, name: str) -> fs.FileInfo:
        return self._files.get_file_info(f"{self._root}/{name}")


@contextmanager
def local_folder(place: Storage) -> Iterator[Path]:
    """A place of small files as a local folder: itself, or a copy for the length of the block."""
    if place.is_local:
        yield Path(str(place))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in place.list():
            (Path(folder) / name).write_bytes(place.read(name))
        yield Path(folder)


class Shard(BaseModel):
    """One finished file of a table."""

    model_config = ConfigDict(frozen=True)

    name: str
    rows: int
    size: int
    sha256: str
    rejected: dict[str, int] = {}
    """Rows of this shard without a result, by reason."""


class Manifest(BaseModel):
    """What a table holds and what it was made from."""

    model_config = ConfigDict(frozen=True)

    fingerprint: str
    complete: bool = False
    """False while shards are still missing."""
    shards: tuple[Shard, ...] = ()
    counts_in: dict[str, int] = {}
    counts_out: dict[str, int] = {}
    rejected: dict[str, int] = {}
    """What gave no result, by reason."""
    notes: dict[str, str] = {}


def read_manifest(storage: Storage) -> Manifest | None:
    """The manifest of the table at `storage`, or none; `ValueError` if it is damaged."""
    if not storage.exists(MANIFEST):
        return None
    try:
        return Manifest.model_validate_json(storage.read(MANIFEST))
    except ValidationError as error:
        raise ValueError(
            f"{storage}/{MANIFEST} is not a manifest ({error.errors()[0]['msg']}); delete {storage} and run again"
        ) from None


def write_manifest(storage: Storage, manifest: Manifest) -> None:
    """Put the manifest in place: the last write of a step."""
    storage.write(MANIFEST, manifest_file(manifest))


def manifest_file(manifest: Manifest) -> bytes:
    """The bytes of the file that holds a manifest."""
    return (manifest.model_dump_json(indent=1) + "\n").encode()


def describe_shard(name: str, rows: int, data: bytes, rejected: dict[str, int]) -> Shard:
    """The manifest's entry for a file of `data`."""
    return Shard(name=name, rows=rows, size=len(data), sha256=hashlib.sha256(data).hexdigest(), rejected=rejected)


def is_intact(storage: Storage, shard: Shard) -> bool:
    """Whether the shard is there with the bytes that were committed."""
    return storage.exists(shard.name) and hashlib.sha256(storage.read(shard.name)).hexdigest() == shard.sha256


@lru_cache(maxsize=16)
def _open(uri: str) -> tuple[fs.FileSystem, str]:
    if "://" not in uri:
        return fs.LocalFileSystem(), uri
    try:
        return fs.FileSystem.from_uri(uri)
    except (ValueError, OSError) as error:
        cure = "give a folder or an address like s3://bucket/name"
        shown = str(Storage(uri))
        raise ValueError(f"{shown} cannot be opened ({str(error).replace(uri, shown)}); {cure}") from None


def _write_whole(folder: Path, name: str, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    handle, pending = tempfile.mkstemp(prefix=f".{name}.", suffix=PENDING, dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(pending, 0o644)  # mkstemp's 0600 would hide the table from other users
        os.replace(pending, folder / name)
    except BaseException:
        Path(pending).unlink(missing_ok=True)
        raise
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _told(storage: Storage) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            cure = "no room is left there; free some or set storage to another place, then run the same command again"
        elif error.errno in _NO_RIGHT:
            cure = "you may not write there; set storage to a folder of your own"
        elif error.errno in (errno.ENOTDIR, errno.EEXIST):
            cure = "a file stands where a folder should be; set storage to another folder"
        else:
            raise
        raise ValueError(f"cannot write to {storage} ({error.strerror or error}): {cure}") from error


def _cache() -> Path:
    """This node's copies of remote files, named by sha256; TMPDIR moves it."""
    return Path(tempfile.gettempdir()) / f"viral-cache-{os.getuid()}"


def _verified(path: Path, sha256: str, address: str) -> Path:
    found = file_sha256(path)
    if found != sha256:
        raise ValueError(
            f"{address} is damaged: {path.stat().st_size} bytes, sha256 {found[:12]} where the manifest says "
            f"{sha256[:12]}; run the job that makes it again"
        )
    return path


def file_sha256(path: Path) -> str:
    """Read in pieces, so that a file may be larger than the memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
