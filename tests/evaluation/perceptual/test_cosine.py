import numpy as np
import pytest

from tests.evaluation.perceptual.cases import case, noise
from viral.data_config import EMBEDDED_CLIP
from viral.evaluation.perceptual.cosine import CaptionCosine, ImageCosine, StepCosine
from viral.evaluation.perceptual.measure import pictures
from viral.sampling.embedder import ClipEmbedder


@pytest.fixture(scope="module")
def embedder() -> ClipEmbedder:
    return ClipEmbedder.load(str(EMBEDDED_CLIP))


CASES = [case(1), case(2)]
OUTPUTS = [noise(7), noise(8)]


def by_numpy(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def test_images_are_compared_by_the_angle_between_their_vectors(embedder: ClipEmbedder) -> None:
    of = lambda images: embedder(pictures(images)).numpy()
    for against, others in (("truth", [c.truth for c in CASES]), ("query", [c.query for c in CASES])):
        expected = by_numpy(of(OUTPUTS), of(others))
        assert ImageCosine(embedder, against)(CASES, OUTPUTS)[:, 0] == pytest.approx(expected, abs=1e-5)
        distance = ImageCosine(embedder, against, distance=True)(CASES, OUTPUTS)[:, 0]
        assert distance == pytest.approx(1 - expected, abs=1e-5)


def test_the_truth_is_as_like_itself_as_can_be(embedder: ClipEmbedder) -> None:
    assert ImageCosine(embedder, "truth")(CASES, [c.truth for c in CASES]) == pytest.approx(1, abs=1e-5)


def test_a_caption_is_compared_in_the_space_of_images(embedder: ClipEmbedder) -> None:
    words = embedder.words([c.caption for c in CASES]).numpy()
    expected = by_numpy(embedder(pictures(OUTPUTS)).numpy(), words)
    assert CaptionCosine(embedder)(CASES, OUTPUTS)[:, 0] == pytest.approx(expected, abs=1e-5)


def test_a_step_is_compared_with_the_step_of_the_captions(embedder: ClipEmbedder) -> None:
    seen = embedder(pictures(OUTPUTS)) - embedder(pictures([c.query for c in CASES]))
    told = embedder.words(["a photo of a red car"] * 2) - embedder.words(["a photo of a blue car"] * 2)
    assert StepCosine(embedder)(CASES, OUTPUTS)[:, 0] == pytest.approx(by_numpy(seen.numpy(), told.numpy()), abs=1e-5)
    assert StepCosine(embedder)(CASES, [c.query for c in CASES]) == pytest.approx(0, abs=1e-6)


def test_what_a_case_lacks_is_said(embedder: ClipEmbedder) -> None:
    with pytest.raises(ValueError, match="case-3 has no truth"):
        ImageCosine(embedder, "truth")([case(3, truth=None)], OUTPUTS[:1])
    with pytest.raises(ValueError, match="case-3 has no caption"):
        CaptionCosine(embedder)([case(3, caption=None)], OUTPUTS[:1])
    with pytest.raises(ValueError, match="source_caption"):
        StepCosine(embedder)([case(3, labels={})], OUTPUTS[:1])
