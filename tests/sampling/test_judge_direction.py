import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from viral.model.backbone import load_backbone
from viral.sampling.editor import to_tensor
from viral.sampling.embedder import ClipEmbedder, Embedder, LatentEmbedder
from viral.sampling.judge_direction import DirectionJudge
from viral.sampling.judges import Candidate, Request

MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP of random weights in open_clip's layout."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**MODEL).state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": MODEL, "preprocess_cfg": {}}))
    return folder


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> ClipEmbedder:
    return ClipEmbedder.load(str(clip_folder))


@pytest.fixture(scope="module")
def latents(tiny_base: Path) -> LatentEmbedder:
    backbone = load_backbone(str(tiny_base), parts=("vae",))
    return LatentEmbedder(lambda image: backbone.encode_images(to_tensor(image)))


def picture(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(60, 160, (4, 4, 3), dtype=np.uint8)).resize((32, 32), Image.Resampling.BICUBIC)


def tinted(image: Image.Image, by: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(np.clip(np.asarray(image, dtype=int) + by, 0, 255).astype(np.uint8))


RED = (60, -10, -10)


@pytest.mark.parametrize("name", ["clip", "latents"])
def test_the_same_edit_points_the_same_way_and_its_opposite_the_other(
    name: str, request: pytest.FixtureRequest
) -> None:
    judge = DirectionJudge(request.getfixturevalue(name))
    a, b = picture(0), picture(1)
    asked = Request(((a, tinted(a, RED)),), b)
    same, opposite, nothing = (
        judge.score(asked, Candidate(lambda i=i: i)) for i in (tinted(b, RED), tinted(b, (-60, 10, 10)), b)
    )
    assert opposite < -0.3 < nothing == 0 < 0.3 < same <= 1.0001
    verdict = judge.better(asked, Candidate(lambda: b), Candidate(lambda: tinted(b, RED)))
    assert verdict.choice == "second" and "direction in" in verdict.reason


def test_the_score_is_the_cosine_of_the_two_changes(latents: LatentEmbedder) -> None:
    a, a2, b, b2 = (picture(i) for i in range(4))
    ea, ea2, eb, eb2 = latents([a, a2, b, b2])
    cosine = ((eb2 - eb) @ (ea2 - ea)) / (eb2 - eb).norm() / (ea2 - ea).norm()
    assert DirectionJudge(latents).score(Request(((a, a2),), b), Candidate(lambda: b2)) == pytest.approx(
        cosine.item(), rel=1e-5
    )


def test_several_pairs_count_by_their_mean(latents: LatentEmbedder) -> None:
    judge, pairs, b = DirectionJudge(latents), ((picture(0), picture(1)), (picture(2), picture(3))), picture(4)
    whole, *single = (
        judge.score(Request(shown, b), Candidate(lambda: picture(5))) for shown in (pairs, pairs[:1], pairs[1:])
    )
    assert whole == pytest.approx(sum(single) / 2, rel=1e-5)


def test_each_candidate_is_embedded_once_and_each_request_once(latents: LatentEmbedder) -> None:
    seen: list[int] = []

    class Counting:
        name = "counting"

        def __call__(self, images: list[Image.Image]) -> torch.Tensor:
            seen.append(len(images))
            return latents(images)

    counting: Embedder = Counting()
    judge, field = DirectionJudge(counting), [Candidate(lambda i=i: picture(i)) for i in range(10, 14)]
    asked = Request(((picture(0), picture(1)),), picture(2))
    for first in field:
        for second in field:
            judge.better(asked, first, second)
    assert sum(seen) == 3 + len(field)
    other = Request(((picture(0), picture(1)),), picture(5))
    assert judge.score(other, field[0]) != judge.score(asked, field[0])


def test_a_request_without_examples_is_refused(latents: LatentEmbedder) -> None:
    with pytest.raises(ValueError, match="needs an example pair"):
        DirectionJudge(latents).score(Request((), picture(0), "tint it"), Candidate(lambda: picture(1)))


def test_a_clip_folder_without_weights_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_bytes((clip_folder / "open_clip_config.json").read_bytes())
    with pytest.raises(RuntimeError, match="weights"):
        ClipEmbedder.load(str(tmp_path))


def test_clip_vectors_have_length_one_and_are_the_models_own(clip: ClipEmbedder, clip_folder: Path) -> None:
    stock, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{clip_folder}")
    with torch.no_grad():
        expected = stock.eval().encode_image(preprocess(picture(0))[None])
    found = clip([picture(0), picture(1)])
    assert found.shape == (2, 16)
    torch.testing.assert_close(found[:1], expected / expected.norm(), rtol=1e-5, atol=1e-6)
