"""Bodies that no client would send: each is refused with an error object, and the server answers on."""

import random
import socket

import httpx
import pytest

from tests.serve.asking import ask, decoded

MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}
REFUSED = (400, 413, 415, 422)


def part(name: str, data: bytes = b"1", *more: str, file: str | None = None) -> bytes:
    filename = "" if file is None else f'; filename="{file}"'
    head = "\r\n".join([f'Content-Disposition: form-data; name="{name}"{filename}', *more])
    return b"--x\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n"


END = b"--x--\r\n"


def images(parts: dict[str, bytes], file: str = "f.png") -> bytes:
    return b"".join(part(name, data, file=file) for name, data in parts.items())


def refused(answer: httpx.Response) -> None:
    assert answer.status_code in REFUSED, (answer.status_code, answer.text[:300])
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]


ODD = {
    "nothing": b"",
    "no part": END,
    "garbage": b"garbage",
    "no end": part("query", b"x", file="q"),
    "no head": b"--x\r\n\r\n\r\n" + END,
    "no name": b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n" + END,
    "empty name": part("") + END,
    "no disposition": b"--x\r\nX: y\r\n\r\n1\r\n" + END,
    "endless head": b"--x\r\n" + b"X: y\r\n" * 20_000,
    "long head": b"--x\r\nX: " + b"y" * 500_000,
    "other boundary": part("seed").replace(b"--x", b"--y") + END,
    "1001 fields": part("seed") * 1001 + END,
    "1001 files": part("query", file="q") * 1001 + END,
    "long field": part("seed", b"1" * 200_000) + END,
    "bare newlines": part("seed").replace(b"\r\n", b"\n") + END,
    "nested": part("query", b"--y\r\n\r\n--y--", "Content-Type: multipart/mixed; boundary=y") + END,
    "bytes that are no text": part("instruction", b"\xff\xfe\x00\xd8") + END,
    "name that is no text": b'--x\r\nContent-Disposition: form-data; name="\xff\x00"\r\n\r\n1\r\n' + END,
    "null name": part("seed\0") + END,
}


@pytest.mark.parametrize("path", ["/v1/analogies", "/v1/images/edits"])
@pytest.mark.parametrize("name", ODD)
def test_odd_bodies_are_refused(server, path, name):
    refused(server.post(path, content=ODD[name], headers=MULTIPART))


@pytest.mark.parametrize(
    "kind",
    ["multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary="', "multipart/mixed",
     "multipart/form-data; boundary=" + "y" * 5000, "application/x-www-form-urlencoded", "application/json", "x", "",
     "multipart/form-data; boundary=x; charset=utf-7", "multipart/form-data; boundary=x; charset=\\x00"],
)  # fmt: skip
def test_odd_types_are_refused(server, kind):
    refused(server.post("/v1/analogies", content=part("seed") + END, headers={"Content-Type": kind}))


@pytest.mark.parametrize(
    "file", ["../../../etc/passwd", "\\\\host\\share", "q\0.png", "CON", "x" * 500, "", "üö.png", 'a;b\\"c']
)
def test_filenames_mean_nothing(server, parts, file):
    answer = server.post("/v1/analogies", content=images(parts, file) + END, headers=MULTIPART)
    assert answer.status_code == 200 or file == "", answer.text


def test_declared_types_of_parts_mean_nothing(server, parts):
    body = b"".join(part(name, data, "Content-Type: application/x-evil", file="x.exe") for name, data in parts.items())
    assert server.post("/v1/analogies", content=body + END, headers=MULTIPART).status_code == 200


def test_field_that_comes_twice_is_one_of_the_two(server, parts):
    body = images(parts) + part("seed", b"1") + part("seed", b"2") + END
    answer = server.post("/v1/analogies", content=body, headers=MULTIPART)
    assert answer.status_code == 200 and answer.json()["viral"]["seed"] in (1, 2)


def test_random_damage_is_refused_or_harmless(server, parts):
    whole = images(parts) + part("seed", b"1") + part("steps", b"1") + END
    rng = random.Random(0)
    for _ in range(150):
        body = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(body))
            damage = rng.choice(["flip", "cut", "insert", "repeat"])
            if damage == "flip":
                body[at] ^= 1 << rng.randrange(8)
            elif damage == "cut":
                del body[at : at + rng.randint(1, 200)]
            elif damage == "insert":
                body[at:at] = rng.randbytes(rng.randint(1, 50))
            else:
                body[at:at] = body[at : at + 100]
        answer = server.post("/v1/analogies", content=bytes(body), headers=MULTIPART)
        if answer.status_code != 200:
            refused(answer)


@pytest.mark.parametrize("length", ["-1", "abc", "99999999999999999999", "10, 20"])
def test_lies_about_the_length_do_no_harm(server, parts, length):
    with socket.create_connection((server.base_url.host, server.base_url.port), 20) as wire:
        head = "POST /v1/analogies HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        wire.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode() + part("seed"))
        assert wire.recv(4096).split(b" ")[1] in (b"400", b"413")
    decoded(ask(server, parts))
