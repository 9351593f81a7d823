"""One picture in, one clean RGB picture out: what photographs and uploads pass before anything else sees them."""

import io
import re
import struct
import zlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL import TiffImagePlugin as _tiff  # noqa: F401 - not registered by Pillow beforehand

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Decoders that may run."""
SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
MAX_PIXELS = 64_000_000
MAX_SIDE_RATIO = 8.0

# What Pillow's decoders raise on damaged bytes besides its own errors.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, OverflowError, struct.error, zlib.error)


def decode(
    data: bytes,
    name: str,
    max_pixels: int = MAX_PIXELS,
    max_side_ratio: float = MAX_SIDE_RATIO,
    least_side: int | None = None,
) -> Image.Image:
    """An upright 8-bit sRGB picture without metadata: the first frame, transparency laid on white.

    With `least_side` a JPEG may come out smaller by a power of two, both sides at least that long: for who shrinks it
    further, as embedders do, it is decoded in a fraction of the time.
    `ValueError` starts with `name` and says what is wrong: empty, no image, too large, too narrow, truncated, damaged.
    """
    if not data:
        raise ValueError(f"{name}: empty file (0 bytes); save or download it again")
    image = _open(data, name)
    _check_size(image, name, max_pixels, max_side_ratio)
    try:
        if least_side is not None:
            image.draft(None, (least_side, least_side))
        image.load()
        upright = _upright(image)
        return Image.fromarray(np.ascontiguousarray(_rgb(upright, name)))
    except _Refused:
        raise
    except _DAMAGE as error:
        raise ValueError(f"{name}: truncated or damaged {image.format} ({error}); save or download it again") from None


def short_reason(message: str) -> str:
    """What kind of trouble a message tells of, without its figures: what rejected rows are counted by."""
    return re.split(r"[:;(]", message)[0].strip()


def encode_png(pixels: UInt8[np.ndarray, "y x 3"] | UInt8[np.ndarray, "y x"]) -> bytes:
    """PNG bytes without metadata: equal pixels give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pixels_of(data: bytes) -> UInt8[np.ndarray, "y x 3"]:
    """The RGB pixels of an image that our own tables hold."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return np.asarray(image.convert("RGB"))


class _Refused(ValueError):
    """Bytes that decode, but to nothing that is a picture in our sense."""


def _open(data: bytes, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise ValueError(f"{name}: not an image of a known kind ({kinds}); convert it to PNG or JPEG") from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name}: too large ({error}); scale it down") from None
    except _DAMAGE as error:
        raise ValueError(f"{name}: truncated or damaged ({error}); save or download it again") from None


def _check_size(image: Image.Image, name: str, max_pixels: int, max_side_ratio: float) -> None:
    """Judge the size in the header, before the pixels take any memory."""
    width, height = image.size
    if width * height > max_pixels:
        raise ValueError(f"{name}: too large: {width}x{height}, at most {max_pixels} pixels are taken; scale it down")
    if max(width, height) > max_side_ratio * min(width, height):
        raise ValueError(f"{name}: too narrow: {width}x{height}, sides may differ {max_side_ratio:g} times; crop it")


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF says; unreadable EXIF turns nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except _DAMAGE:
        return image


def _rgb(image: Image.Image, name: str) -> UInt8[np.ndarray, "y x 3"]:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips 16-bit grey at 255
        grey = (np.asarray(image).astype(np.float32) / 257).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise _Refused(f"{name}: 32-bit pixels: they have no agreed white; convert it to 8 or 16 bits a channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(_srgb(image))


def _srgb(image: Image.Image) -> Image.Image:
    """Through the embedded colour profile if there is a usable one."""
    if (profile := image.info.get("icc_profile")) and image.mode in ("RGB", "CMYK", "L", "LAB"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, *_DAMAGE):
            return image.convert("RGB")
    return image.convert("RGB")
