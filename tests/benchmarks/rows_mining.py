"""C13-C14: what mining does to every image: decoding for an embedder, K-Means, exact neighbours."""

import io
from pathlib import Path

import numpy as np
import skimage
import torch
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits
from timing import Gate, Peer, Race, Result
from torch import Tensor
from torch.nn import functional as F

from viral.data.clusters import Clusters, refine, seed_centres
from viral.data.images import decode
from viral.data.neighbours import nearest
from viral.model.backbone import load_backbone
from viral.sampling.embedder import LatentEmbedder
from viral.shipped import SHIPPED_BASE

SIDE, LEAST_COSINE = 224, 0.995
POINTS, WIDTH, CENTRES, ITERATIONS, QUERIES, NEIGHBOURS = 20_000, 768, 200, 3, 500, 10


def small_decode() -> Race:
    """C13: a JPEG of a megapixel for an embedder that reads 224 pixels."""
    files = [_jpeg(Image.open(_shipped("retina.jpg")).resize((1024, 1024))), _jpeg(_mosaic())]

    def ours() -> Result:
        return _pixels([decode(file, "bench", least_side=SIDE) for file in files])

    def theirs() -> Result:
        return _pixels([Image.open(io.BytesIO(file)).convert("RGB") for file in files])

    backbone = load_backbone(str(SHIPPED_BASE), parts=("vae",))

    def encode(image: Image.Image) -> Tensor:
        return backbone.encode_images(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 127.5 - 1)

    embed = LatentEmbedder(encode)

    def check(ours: Result, theirs: Result) -> Gate:
        images = [[Image.fromarray(pixels.byte().numpy()) for pixels in result.values()] for result in (ours, theirs)]
        embeddings = F.cosine_similarity(*(embed(each) for each in images)).min().item()
        centred = [torch.stack([pixels.float().flatten() for pixels in result.values()]) for result in (ours, theirs)]
        pixels = F.cosine_similarity(*(x - x.mean(1, keepdim=True) for x in centred)).min().item()
        least = f"least cosine {embeddings:.4f} of embeddings, {pixels:.4f} of pixels less their mean; at least"
        return Gate(f"{least} {LEAST_COSINE}", min(embeddings, pixels) >= LEAST_COSINE)

    peer = Peer("C13", "PIL full decode and resize", 2.3, 3.1, theirs, check=check)
    return Race(f"two JPEGs of 1024 x 1024 to {SIDE} x {SIDE}", ours, (peer,))


def k_means() -> Race:
    """C14: Lloyd's iterations from the same centres."""
    points = _points()
    start = seed_centres(points, CENTRES, seed=0)
    theirs = KMeans(CENTRES, init=start.numpy(), n_init=1, max_iter=ITERATIONS, tol=0, algorithm="lloyd")

    def by_sklearn() -> Result:
        with threadpool_limits(1):
            return {"inertia": torch.tensor(theirs.fit(points.numpy()).inertia_)}

    def ours() -> Result:
        found: Clusters = refine(points, start, ITERATIONS)
        return {"inertia": torch.tensor(found.inertia)}

    peer = Peer("C14.kmeans", "scikit-learn's KMeans, lloyd", 0.9, 1.0, by_sklearn, tolerance=5e-3)
    return Race(f"K-Means, {POINTS} x {WIDTH}, K={CENTRES}, {ITERATIONS} iterations", ours, (peer,))


def exact_neighbours() -> Race:
    """C14: the nearest by cosine, which is scikit-learn's fastest brute metric here."""
    points = _points()
    queries = points[:QUERIES]
    theirs = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute", metric="cosine").fit(points.numpy())

    def by_sklearn() -> Result:
        with threadpool_limits(1):
            return {"ids": torch.from_numpy(theirs.kneighbors(queries.numpy(), return_distance=False))}

    def ours() -> Result:
        return {"ids": nearest(queries, points, NEIGHBOURS).ids}

    peer = Peer("C14.neighbours", "scikit-learn's NearestNeighbors, brute", 1.4, 1.6, by_sklearn, tolerance=0)
    return Race(f"{NEIGHBOURS} nearest of {POINTS} x {WIDTH}, {QUERIES} queries", ours, (peer,))


def _points() -> Tensor:
    """Points around 200 centres, as embeddings of images lie around subjects."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CENTRES, WIDTH, generator=generator)
    own = torch.randint(CENTRES, (POINTS,), generator=generator)
    return centres[own] + 1.5 * torch.randn(POINTS, WIDTH, generator=generator)


def _pixels(images: list[Image.Image]) -> Result:
    small = [image.resize((SIDE, SIDE), Image.Resampling.BICUBIC) for image in images]
    return {str(i): torch.from_numpy(np.asarray(image).copy()) for i, image in enumerate(small)}


def _mosaic() -> Image.Image:
    """1024 x 1024 with the detail of its parts: a portrait, a cup, grass and gravel."""
    whole = Image.new("RGB", (1024, 1024))
    for i, name in enumerate(("astronaut.png", "coffee.png", "grass.png", "gravel.png")):
        part = Image.open(_shipped(name)).convert("RGB")
        whole.paste(part.crop((0, 0, 512, min(512, part.height))).resize((512, 512)), (512 * (i % 2), 512 * (i // 2)))
    return whole


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _shipped(name: str) -> Path:
    return Path(skimage.__file__).parent / "data" / name
