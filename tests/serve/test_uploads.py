"""What may come in: three kinds of image within their limits, judged before any pixel takes memory."""

import asyncio
import io
import resource
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from fastapi import UploadFile
from PIL import Image, ImageCms
from starlette.types import Message, Receive, Scope, Send

from serve import uploads
from serve.admission import Admission
from serve.arguments import Limits
from serve.errors import Refusal
from serve.uploads import BodyLimit, Room, Uploads

LIMITS = Limits(max_pixels=100_000, max_side_ratio=8, max_body_bytes=1_000_000)


def read(*images: bytes) -> list[bytes]:
    parts = [(f"image{i}", UploadFile(io.BytesIO(image), filename="../../x")) for i, image in enumerate(images)]
    return asyncio.run(Uploads(LIMITS).read(parts))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(side: int) -> bytes:
    """A PNG of a few kilobytes that is side x side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PLAIN = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8))
CLEAR = Image.new("RGBA", (32, 24), (255, 0, 0, 0))
ODD = {
    "grey": encoded(PLAIN.convert("L")),
    "grey with alpha": encoded(PLAIN.convert("LA")),
    "one bit": encoded(PLAIN.convert("1")),
    "16 bit": encoded(Image.fromarray(np.arange(768, dtype=np.uint16).reshape(24, 32) * 80)),
    "palette with alpha": encoded(PLAIN.quantize(8), transparency=0),
    "transparent": encoded(CLEAR),
    "transparent WebP": encoded(CLEAR, "WEBP"),
    "CMYK JPEG": encoded(PLAIN.convert("CMYK"), "JPEG"),
    "grey JPEG": encoded(PLAIN.convert("L"), "JPEG"),
    "progressive JPEG": encoded(PLAIN, "JPEG", progressive=True),
    "animated WebP": encoded(PLAIN, "WEBP", save_all=True, append_images=[PLAIN.rotate(180)]),
    "animated PNG": encoded(PLAIN, save_all=True, append_images=[PLAIN.rotate(180)]),
    "colour profile": encoded(PLAIN, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
    "broken profile": encoded(PLAIN, icc_profile=b"no profile"),
    "turned": encoded(PLAIN, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    "broken EXIF": encoded(PLAIN, "JPEG", exif=b"Exif\0\0nonsense"),
    "one pixel": encoded(Image.new("RGB", (1, 1))),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_images_are_taken(name):
    assert read(ODD[name]) == [ODD[name]]


def damaged(start: int, stop: int | None = None) -> bytes:
    data = encoded(PLAIN)
    return data[:start] + b"\xff" * ((stop or start) - start) + (data[stop:] if stop else b"")


REFUSED = {
    "empty": (b"", 400),
    "one byte": (b"\x89", 415),
    "truncated": (damaged(300), 400),
    "only a signature": (b"\x89PNG\r\n\x1a\n", 400),
    "damaged header": (damaged(12, 30), 400),
    "damaged pixels": (damaged(60, 200), 400),
    "truncated JPEG": (encoded(PLAIN, "JPEG")[:200], 400),
    "WebP cut off": (encoded(PLAIN, "WEBP")[:20], 400),
    "wide": (encoded(Image.new("RGB", (400, 10))), 400),
    "one row": (encoded(Image.new("RGB", (2000, 1))), 400),
    "large": (encoded(Image.new("RGB", (400, 300))), 400),
    "bomb": (bomb(9000), 400),
    "larger bomb": (bomb(12000), 400),
    "GIF": (encoded(PLAIN, "GIF"), 415),
    "BMP": (encoded(PLAIN, "BMP"), 415),
    "TIFF": (encoded(PLAIN, "TIFF"), 415),
    "TIFF that has WEBP where WebP has it": (b"II*\0\x10\0\0\0WEBP" + bytes(200), 415),
    "BMP that has WEBP where WebP has it": (b"BM......WEBP" + bytes(200), 415),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
    "text": (b"not an image", 415),
    "pickle": (b"\x80\x04\x95", 415),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_in_our_sense_is_refused_by_name(name):
    data, status = REFUSED[name]
    with pytest.raises(Refusal) as refused:
        read(encoded(PLAIN), data)
    assert (refused.value.status_code, refused.value.param) == (status, "image1")


def test_bombs_are_refused_by_their_header():
    packed = bomb(12000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Refusal, match="too large"):
        read(packed)
    assert len(packed) < 500_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB; its pixels would be 137 MB


def test_nobody_lifted_pillows_own_limits():
    import serve.ingress  # noqa: F401 - and all it brings

    assert Image.MAX_IMAGE_PIXELS is not None
    from PIL import ImageFile

    assert not ImageFile.LOAD_TRUNCATED_IMAGES


class Client:
    """An ASGI client that sends `chunks`, then waits for ever."""

    def __init__(self, chunks: list[bytes], headers: dict[str, str] | None = None, method: str = "POST") -> None:
        self.chunks, self.sent = chunks, []
        raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        self.scope: Scope = {"type": "http", "method": method, "path": "/", "headers": raw}

    async def receive(self) -> Message:
        if self.chunks:
            return {"type": "http.request", "body": self.chunks.pop(0), "more_body": True}
        return await asyncio.Future()

    async def send(self, message: Message) -> None:
        self.sent.append(message)


async def swallow(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass


def test_body_that_declares_too_much_is_refused_unread():
    client = Client([b"x"] * 3, {"content-length": "2000000000"})
    with pytest.raises(Refusal) as refused:
        asyncio.run(BodyLimit(swallow, 1000)(client.scope, client.receive, client.send))
    assert refused.value.status_code == 413 and len(client.chunks) == 2


def test_body_that_declares_too_little_is_refused_as_it_grows():
    client = Client([b"x" * 400] * 9, {"content-length": "10"})
    with pytest.raises(Refusal) as refused:
        asyncio.run(BodyLimit(swallow, 1000)(client.scope, client.receive, client.send))
    assert refused.value.status_code == 413 and len(client.chunks) == 6


def test_body_that_trickles_in_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "UPLOAD_S", 0.05)
    client = Client([b"x"])
    with pytest.raises(Refusal) as refused:
        asyncio.run(BodyLimit(swallow, 1000)(client.scope, client.receive, client.send))
    assert refused.value.status_code == 408


def test_bodies_beyond_the_room_are_refused_unread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "ROOM", 2)
    clients = [Client([b"x"]) for _ in range(3)]

    async def crowd() -> Callable[[], None]:
        room = Room(swallow, Admission())
        visits = [asyncio.ensure_future(room(c.scope, c.receive, c.send)) for c in clients]
        await visits[2]
        visits[0].cancel()
        await asyncio.wait([visits[0]])
        late = Client([], method="POST")
        entered = asyncio.ensure_future(room(late.scope, late.receive, late.send))
        await asyncio.sleep(0)
        assert not entered.done() and not late.sent
        return [visit.cancel() for visit in (visits[1], entered)]

    asyncio.run(crowd())
    start = clients[2].sent[0]
    assert start["status"] == 429 and (b"retry-after", b"5") in start["headers"]
    assert clients[2].chunks, "its body was read"


@pytest.mark.parametrize(("header", "status"), [(b"accept", 429), (b"prefer", None), (b"idempotency-key", None)])
def test_a_body_that_no_editor_has_a_place_for_is_refused_unread_unless_it_is_a_job(header: bytes, status: int | None):
    admission, client = Admission(), Client([b"x"])
    admission.refused()
    client.scope["headers"] = [*client.scope["headers"], (header, b"respond-async")]

    async def visit() -> None:
        entered = asyncio.ensure_future(Room(swallow, admission)(client.scope, client.receive, client.send))
        await asyncio.sleep(0)
        entered.cancel()

    asyncio.run(visit())
    assert [message["status"] for message in client.sent if "status" in message] == ([status] if status else [])
