"""Decoding: every odd file becomes a clean RGB picture or a message with its name."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from viral.data.images import decode, encode_png, pixels_of, short_reason


def _bytes(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _gradient(width: int = 40, height: int = 24) -> Image.Image:
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    return Image.fromarray(np.stack([np.tile(ramp, (height, 1))] * 3, axis=2))


def test_a_truncated_jpeg_is_told() -> None:
    data = _bytes(_gradient(400, 300), "JPEG")
    with pytest.raises(ValueError, match=r"^cut\.jpg: truncated or damaged JPEG"):
        decode(data[: len(data) // 2], "cut.jpg")


@pytest.mark.parametrize("length", [1, 20, 40])
def test_a_png_of_a_few_bytes_is_told(length: int) -> None:
    with pytest.raises(ValueError, match=r"^cut\.png: (not an image|truncated or damaged)"):
        decode(_bytes(_gradient(), "PNG")[:length], "cut.png")


def test_a_zero_byte_file_is_told() -> None:
    with pytest.raises(ValueError, match=r"^empty\.jpg: empty file \(0 bytes\)"):
        decode(b"", "empty.jpg")


def test_a_text_file_named_png_is_told() -> None:
    with pytest.raises(ValueError, match=r"^notes\.png: not an image of a known kind \(PNG, JPEG"):
        decode(b"Dear diary, today I was saved as a picture.", "notes.png")


def test_sixteen_bits_keep_their_brightness() -> None:
    ramp = np.tile(np.linspace(0, 65535, 40).astype(np.uint16), (24, 1))
    pixels = np.asarray(decode(_bytes(Image.fromarray(ramp), "PNG"), "deep.png"))
    assert np.abs(pixels[0, :, 0] - np.linspace(0, 255, 40)).max() <= 1
    assert (pixels == pixels[..., :1]).all()


def test_cmyk_keeps_its_colours() -> None:
    red = Image.new("RGB", (16, 16), (220, 30, 30)).convert("CMYK")
    for kind in ("JPEG", "TIFF"):
        pixels = np.asarray(decode(_bytes(red, kind), "print.jpg"))
        assert pixels.shape == (16, 16, 3)
        assert pixels[8, 8, 0] > 180 and pixels[8, 8, 1] < 80


def test_an_animated_gif_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    data = _bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(decode(data, "moving.gif"))[8, 8].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied_and_forgotten(orientation: int) -> None:
    upright = Image.new("RGB", (32, 16), "black")
    upright.paste("white", (0, 0, 16, 8))  # top left is bright
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # transpositions that EXIF's orientation takes back
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode(_bytes(stored, "PNG", exif=exif), "turned.png")
    assert picture.size == (32, 16)
    assert np.asarray(picture)[2, 2, 0] == 255 and np.asarray(picture)[13, 29, 0] == 0
    assert not picture.getexif() and "exif" not in picture.info


def test_a_long_strip_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^strip\.png: too narrow: 1x20000"):
        decode(_bytes(Image.new("RGB", (1, 20000)), "PNG"), "strip.png")


@pytest.mark.parametrize("side", [9000, 13000, 20000])
def test_a_bomb_is_refused_before_it_takes_memory(side: int) -> None:
    small = _bytes(Image.new("1", (8, 8)), "PNG")
    header = b"IHDR" + struct.pack(">II", side, side) + small[24:29]
    bomb = small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]
    with pytest.raises(ValueError, match=r"^bomb\.png: too large"):
        decode(bomb, "bomb.png")


def test_a_phones_jpeg_with_a_second_picture_gives_its_first() -> None:
    second = Image.new("RGB", (40, 24), "blue")
    data = _bytes(_gradient(), "MPO", save_all=True, append_images=[second])
    assert np.abs(np.asarray(decode(data, "phone.jpg")).astype(int) - np.asarray(_gradient())).max() < 20


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert np.asarray(decode(_bytes(clear, "PNG"), "clear.png"))[4, 4].tolist() == [255, 255, 255]


def test_an_embedded_profile_is_applied_and_a_broken_one_ignored() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for embedded in (profile, b"no profile at all"):
        picture = decode(_bytes(_gradient(), "PNG", icc_profile=embedded), "profiled.png")
        assert np.abs(np.asarray(picture).astype(int) - np.asarray(_gradient())).max() <= 2
        assert "icc_profile" not in picture.info


def test_thirty_two_bit_pixels_are_refused() -> None:
    data = _bytes(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF")
    with pytest.raises(ValueError, match=r"^depth\.tif: 32-bit pixels"):
        decode(data, "depth.tif")


def test_damaged_bytes_always_end_in_a_message() -> None:
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"):
        whole = _bytes(_gradient(), kind)
        for _ in range(40):
            data = bytearray(whole)
            for place in rng.integers(0, len(data), 6):
                data[place] = rng.integers(256)
            try:
                assert decode(bytes(data), "noise").mode == "RGB"
            except ValueError as error:
                assert str(error).startswith("noise: ")


def test_a_jpeg_that_will_be_shrunk_comes_out_smaller_and_the_same_after() -> None:
    smooth = _gradient(1000, 800)
    data = _bytes(smooth, "JPEG", quality=95)
    small = decode(data, "wide.jpg", least_side=224)
    assert small.size == (500, 400)
    shrunk = [np.asarray(image.resize((224, 224))).astype(float) for image in (small, decode(data, "wide.jpg"))]
    assert np.abs(shrunk[0] - shrunk[1]).mean() < 1


def test_small_jpegs_and_other_kinds_keep_their_size() -> None:
    assert decode(_bytes(_gradient(440, 300), "JPEG"), "small.jpg", least_side=224).size == (440, 300)
    assert decode(_bytes(_gradient(1000, 800), "PNG"), "large.png", least_side=224).size == (1000, 800)


def test_png_bytes_return_the_pixels() -> None:
    pixels = np.asarray(_gradient())
    assert np.array_equal(pixels_of(encode_png(pixels)), pixels)


def test_reasons_are_counted_without_their_figures() -> None:
    assert short_reason("too narrow: 1x20000, sides may differ") == "too narrow"
    assert short_reason("empty file (0 bytes); save it again") == "empty file"
