"""An image says that it was generated, by what and from which adapter, in every format."""

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from viral.provenance import Kind, convert, encode_png, read_trace

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
TRACE = {"base": "tiny", "adapter": 'viral-adapter@champion <"&', "seed": 7, "instruction": "größer 更亮"}


@pytest.fixture
def image() -> Image.Image:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    return Image.fromarray(np.stack([np.tile(ramp, (48, 1))] * 3, axis=2))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_every_format_carries_trace_and_label(image: Image.Image, kind: Kind):
    data = convert(encode_png(image, TRACE), kind, 90)
    assert read_trace(data) == TRACE
    with Image.open(io.BytesIO(data)) as opened:
        assert (opened.format, opened.size) == (kind.upper(), image.size)
        (said,) = ElementTree.fromstring(opened.info["xmp"]).iter(f"{RDF}Description")
    xmp = {name.partition("}")[2]: value for name, value in said.items()}
    assert xmp["DigitalSourceType"].endswith("compositeWithTrainedAlgorithmicMedia")
    assert xmp["CreatorTool"] == f"VIRAL tiny {TRACE['adapter']}"
    assert '"Label": "1"' in xmp["AIGC"]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_equal_images_give_equal_bytes(image: Image.Image, kind: Kind):
    assert convert(encode_png(image, TRACE), kind, 90) == convert(encode_png(image, TRACE), kind, 90)


def test_conversion_keeps_the_picture(image: Image.Image):
    for kind in ("jpeg", "webp"):
        with Image.open(io.BytesIO(convert(encode_png(image, TRACE), kind, 95))) as opened:
            assert np.abs(np.asarray(opened, int) - np.asarray(image, int)).mean() < 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_image_of_others_has_no_trace(image: Image.Image, kind: str):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    with pytest.raises(ValueError, match="carries no trace"):
        read_trace(buffer.getvalue())
