"""Who may ask, how often, and whose work is whose."""

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import httpx
import pytest

from serve.keys import Keys, add_key, demand_keys
from tests.serve.asking import ask, decoded, error

ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def test_key_is_found_and_only_its_hash_is_kept(file: Path):
    secret = add_key(file, "alice", 60, 4)
    key = Keys(file).find(secret)
    assert key is not None and (key.name, key.per_minute, key.concurrent) == ("alice", 60, 4)
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_no_other_key_is_found(file: Path):
    secret = add_key(file, "alice", None, None)
    add_key(file, "bob", None, None)
    for other in ("", secret[:-1], secret + "x", secret.upper(), "viral-", Keys(file).find(secret).sha256):
        assert Keys(file).find(other) is None


def test_every_entry_is_compared_whether_one_fits_or_not(file: Path, monkeypatch: pytest.MonkeyPatch):
    import hmac

    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(a) or a == b)
    secrets = [add_key(file, name, None, None) for name in ("alice", "bob", "carol")]
    for given in (*secrets, "none"):
        compared.clear()
        Keys(file).find(given)
        assert len(compared) == 3


def test_keys_come_and_go_without_a_restart(file: Path):
    first = add_key(file, "alice", None, None)
    keys = Keys(file)
    second = add_key(file, "bob", None, None)
    assert keys.find(first) and keys.find(second)
    file.write_text("\n".join(file.read_text().splitlines()[:2]))
    assert keys.find(first) and keys.find(second) is None


def test_name_is_taken_once(file: Path):
    add_key(file, "alice", None, None)
    with pytest.raises(ValueError, match="has a key of the name alice"):
        add_key(file, "alice", None, None)


@pytest.mark.parametrize("text", ["alice: secret", "- name: alice\n  sha256: abc", "- name: ../x", "[", "- 1"])
def test_file_that_is_no_list_of_keys_is_refused(file: Path, text: str):
    file.write_text(text)
    with pytest.raises(ValueError, match="is no list of keys"):
        Keys(file)


def test_missing_file_says_how_to_make_one(file: Path):
    with pytest.raises(ValueError, match="python -m serve.keys"):
        Keys(file)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_keys(host: str):
    assert demand_keys(None, host) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org"])
def test_listening_to_others_needs_keys(host: str, file: Path):
    with pytest.raises(ValueError, match="asks nobody for a key"):
        demand_keys(None, host)
    secret = add_key(file, "alice", None, None)
    keys = demand_keys(str(file), host)
    assert keys is not None and keys.find(secret)


def test_command_prints_a_key_that_works(file: Path):
    words = [sys.executable, "-m", "serve.keys", str(file), "alice", "--per-minute", "3"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    key = Keys(file).find(done.stdout.strip())
    assert key is not None and key.per_minute == 3
    again = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert again.returncode == 2 and "take another name" in again.stderr


@pytest.fixture(scope="module")
def guarded(
    server: httpx.Client, tiny_base: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict]:
    """A second application on the same server, below /guarded, that asks for keys; and four keys."""
    from ray import serve

    from serve.app import build_app
    from serve.arguments import AppArgs

    folder = tmp_path_factory.mktemp("guarded")
    file = folder / "keys.yaml"
    limits = {"alice": (None, None), "bob": (None, None), "slow": (2, None), "single": (None, 1)}
    keys = {name: add_key(file, name, *limit) for name, limit in limits.items()}
    args = AppArgs(storage=str(folder), base=str(tiny_base), adapter=str(adapter), steps=2, keys=str(file))
    serve.run(build_app(args), name="guarded", route_prefix="/guarded")
    yield {"url": f"{server.base_url}/guarded", "file": file, **keys}
    serve.delete("guarded")


def client(guarded: dict, key: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}".strip()} if key is not None else {}
    return httpx.Client(base_url=guarded["url"], headers=headers, timeout=60)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/jobs/x", "/metrics", "/v1/nothing"])
@pytest.mark.parametrize("key", [None, "", "viral-wrong"])
def test_without_a_key_nothing_is_told(guarded, path, key):
    answer = client(guarded, key).get(path)
    assert error(answer, 401)["code"] in ("missing_api_key", "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Token x", "Bearer\tx"])
def test_other_ways_to_authenticate_are_refused(guarded, header):
    error(httpx.get(f"{guarded['url']}/v1/models", headers={"Authorization": header}), 401)


def test_body_is_not_read_without_a_key(guarded):
    answer = client(guarded, None).post("/v1/analogies", content=bytes(40_000_000))
    error(answer, 401)


@pytest.mark.parametrize("path", ["/", "/page/page.js", "/health", "/ready", "/openapi.json"])
def test_page_and_probes_need_no_key(guarded, path):
    assert client(guarded, None).get(path).status_code == 200


def test_interface_says_that_it_asks_for_keys(guarded):
    document = client(guarded, None).get("/openapi.json").json()
    assert document["paths"]["/v1/analogies"]["post"]["security"] == [{"HTTPBearer": []}]


def test_owner_of_a_key_may_ask(guarded, parts):
    decoded(ask(client(guarded, guarded["alice"]), parts))


def test_jobs_of_others_are_not_there(guarded, parts):
    alice, bob = client(guarded, guarded["alice"]), client(guarded, guarded["bob"])
    headers = {"Prefer": "respond-async", "Idempotency-Key": "the-same"}
    taken = [ask(who, parts, headers) for who in (alice, bob)]
    assert [answer.status_code for answer in taken] == [202, 202], [answer.text for answer in taken]
    first, second = (answer.json()["id"] for answer in taken)
    assert first != second
    assert alice.get(f"/v1/jobs/{first}").status_code == 200
    error(bob.get(f"/v1/jobs/{first}"), 404)
    error(bob.delete(f"/v1/jobs/{first}"), 404)


def test_requests_beyond_the_rate_wait(guarded, parts):
    slow = client(guarded, guarded["slow"])
    assert [ask(slow, parts).status_code for _ in range(2)] == [200, 200]
    answer = ask(slow, parts)
    assert error(answer, 429)["code"] == "rate_limit_exceeded"
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert slow.get("/v1/models").status_code == 200
    decoded(ask(client(guarded, guarded["alice"]), parts))


def test_requests_beyond_those_at_once_wait(guarded, parts):
    single = client(guarded, guarded["single"])
    answers: list[httpx.Response] = []
    threads = [Thread(target=lambda: answers.append(ask(single, parts, steps="60"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted({answer.status_code for answer in answers}) == [200, 429]
    decoded(ask(single, parts))


def test_revoked_key_is_refused_at_once(guarded, parts):
    secret = add_key(guarded["file"], "brief", None, None)
    brief = client(guarded, secret)
    assert brief.get("/v1/models").status_code == 200
    kept = guarded["file"].read_text().split("- name: brief")[0]
    guarded["file"].write_text(kept)
    error(brief.get("/v1/models"), 401)
