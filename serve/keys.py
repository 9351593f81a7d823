"""API keys: who may ask, how often and how many at once. The file holds hashes, never a key.

    python -m serve.keys keys.yaml alice --per-minute 60 --concurrent 4    # prints the new key, once

Deleting an entry revokes its key at once, without a restart.
"""

import argparse
import hmac
import os
import secrets
from hashlib import sha256
from ipaddress import ip_address
from math import ceil
from pathlib import Path
from uuid import uuid4

import yaml
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.errors import Refusal
from serve.journal import Journal

OPEN = ("/", "/health", "/ready", "/openapi.json", "/docs")
"""Paths that need no key; so does everything below `OPEN_FOLDER`."""
OPEN_FOLDER = "/page/"


class Key(BaseModel):
    """An entry of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Owner of the key, whose jobs and limits these are."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Keys are random, so a plain hash hides them."""
    per_minute: int | None = Field(None, ge=1)
    """Edits that may begin within a minute."""
    concurrent: int | None = Field(None, ge=1)
    """Edits that may be under way at a time."""


_KEYS = TypeAdapter(list[Key])


class Keys:
    """The keys of a file, read anew when it changes; `ValueError` where it is missing or no list of keys."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read()

    def find(self, given: str) -> Key | None:
        """The entry of a key. Takes the same time whichever it is, and whether it is one."""
        if self._state() != self._seen:
            self._read()
        digest, found = sha256(given.encode()).hexdigest(), None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def _state(self) -> tuple[int, int, int]:
        try:
            stat = self._file.stat()
        except FileNotFoundError:
            raise ValueError(
                f"keys: there is no file {self._file}; make one with: python -m serve.keys {self._file} NAME"
            ) from None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _read(self) -> None:
        self._seen = self._state()
        try:
            self._keys = _KEYS.validate_python(yaml.safe_load(self._file.read_text()) or [])
        except (yaml.YAMLError, ValidationError) as error:
            raise ValueError(f"keys: {self._file} is no list of keys: {error}") from None


def demand_keys(file: str | None, host: str) -> Keys | None:
    """The keys of `file`; `ValueError` for a server without one that listens where other machines reach it."""
    if file is not None:
        return Keys(Path(file))
    if host != "localhost" and not _is_loopback(host):
        raise ValueError(
            f"keys: the server listens on {host}, where others can reach it, and asks nobody for a key; make one with "
            "python -m serve.keys keys.yaml NAME and start with keys=keys.yaml, or listen on 127.0.0.1"
        )
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False  # a name may mean any address


class Gate:
    """Middleware: asks for a key before a body is read, and counts edits against their owner's limits."""

    def __init__(self, app: ASGIApp, keys: Keys | None, journal: Journal) -> None:
        """Without `keys` everybody may ask."""
        self._app, self._keys, self._journal = app, keys, journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._keys is None or scope["type"] != "http" or _is_open(scope):
            return await self._app(scope, receive, send)
        try:
            key = _authenticated(self._keys, Headers(scope=scope))
            visit = await self._admit(key) if scope["method"] == "POST" else None
        except Refusal as refusal:
            return await refusal.response()(scope, receive, send)
        scope.setdefault("state", {})["owner"] = key.name
        try:
            await self._app(scope, receive, send)
        finally:
            if visit is not None:
                await self._journal.leave(visit)

    async def _admit(self, key: Key) -> str | None:
        if key.per_minute is None and key.concurrent is None:
            return None
        visit = uuid4().hex
        if wait := await self._journal.admit(visit, key.name, key.per_minute, key.concurrent):
            limits = f"{key.per_minute or 'any number of'} edits a minute, {key.concurrent or 'any number'} at once"
            raise Refusal(
                429, f"this key allows {limits}; try again", code="rate_limit_exceeded", retry_after=ceil(wait)
            )
        return visit


def owner(request: Request) -> str:
    """Name of the key that a request came with; empty where none is needed."""
    return getattr(request.state, "owner", "")


def add_key(file: Path, name: str, per_minute: int | None, concurrent: int | None) -> str:
    """A new key, whose hash is added to `file`; `ValueError` for a name that is taken or no name."""
    keys = _KEYS.validate_python(yaml.safe_load(file.read_text()) or []) if file.exists() else []
    if name in [key.name for key in keys]:
        raise ValueError(f"{file} has a key of the name {name}; delete that entry, or take another name")
    secret = f"viral-{secrets.token_urlsafe(32)}"
    digest = sha256(secret.encode()).hexdigest()
    entry = Key(name=name, sha256=digest, per_minute=per_minute, concurrent=concurrent)
    fresh = file.with_name(f"{file.name}.tmp")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        yaml.safe_dump([key.model_dump(exclude_none=True) for key in [*keys, entry]], out, sort_keys=False)
    fresh.replace(file)
    return secret


def _is_open(scope: Scope) -> bool:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return path in OPEN or path.startswith(OPEN_FOLDER)


def _authenticated(keys: Keys, headers: Headers) -> Key:
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not given.strip():
        raise Refusal(
            401, "this server asks for an API key; send it as Authorization: Bearer KEY", code="missing_api_key"
        )
    if (key := keys.find(given.strip())) is None:
        raise Refusal(401, "this API key is unknown or was revoked; ask for a new one")
    return key


def main() -> None:
    """Add a key and print it."""
    parser = argparse.ArgumentParser(description="Make an API key; only its hash is kept.")
    parser.add_argument("file", type=Path)
    parser.add_argument("name")
    parser.add_argument("--per-minute", type=int, help="edits that may begin within a minute")
    parser.add_argument("--concurrent", type=int, help="edits that may be under way at a time")
    asked = parser.parse_args()
    try:
        print(add_key(asked.file, asked.name, asked.per_minute, asked.concurrent))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
