"""Pretraining of the embedded embedder: a small CLIP of open_clip in whose space the same edit is the same step.

First the image tower, taught by what is known of scenes: which instruction a step f(after) - f(before) answers, and
which words the caption of each picture has. Then the text tower by CLIP's contrasts with the image tower locked
(LiT, arXiv 2111.07991), pictures with captions and steps with instructions: its batches cost no picture any more.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from viral.pretrain.edited_scenes import EditedScenes, edited_scenes
from viral.pretrain.embedder_folder import MEAN, MODEL, SIDE, STD, WORDS, build_tokenizer, card, save_embedder

EDITS_OF_A_BATCH, TEXTS_OF_A_BATCH = 32, 192
TEXT_SHARE = 0.2
"""Share of the processor time that the text tower gets."""
LEARNING_RATE, WARMUP = 2e-3, 50
SCALE = 20.0
"""Of products with vectors of length 1, for which 1 is too little to be sure of anything."""
SEEN = "n scene=2 side=2"


def make_embedder(state: Path, out: Path, edits: int, seconds: float) -> None:
    """Render what is left to render, train what is left to train, write the model to `out`; `state` keeps progress."""
    scenes = edited_scenes(state / "edits", edits)
    torch.manual_seed(0)
    model = open_clip.CLIP(**MODEL)
    took = train_pictures(model, scenes, (1 - TEXT_SHARE) * seconds, state / "pictures.pt")
    tokenizer = build_tokenizer([*scenes.instructions, *told_of(scenes)])
    read = train_texts(model, see(model, scenes), scenes, tokenizer, TEXT_SHARE * seconds, state / "texts.pt")
    save_embedder(out, model, tokenizer)
    (out / "README.md").write_text(card(model, scenes, took, read))


class Knowledge(nn.Module):
    """What the image tower is asked: an instruction's direction is its kind's and its own; words are read off."""

    def __init__(self, scenes: EditedScenes) -> None:
        super().__init__()
        said, self.answers = _numbered(scenes.instructions)
        kinds = torch.from_numpy(scenes.kinds)
        self.kinds = torch.zeros(len(said), dtype=torch.long).index_put((self.answers,), kinds)
        """Kind of each instruction."""
        self.bags = _bags(told_of(scenes))
        width = MODEL["embed_dim"]
        self.kind, self.own = nn.Embedding(int(kinds.max()) + 1, width), nn.Embedding(len(said), width)
        self.word = nn.Linear(width, self.bags.shape[1])
        for table in (self.kind, self.own):
            nn.init.normal_(table.weight, std=width**-0.5)

    def loss(self, features: Float[Tensor, "n scene=2 side=2 d"], chosen: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        """How badly steps tell instruction and kind, and pictures their words."""
        steps = rearrange(features[:, :, 1] - features[:, :, 0], "n scene d -> (n scene) d") * SCALE
        answers = self.answers[chosen].repeat_interleave(2)
        directions = self.kind.weight[self.kinds] + self.own.weight
        named = F.cross_entropy(steps @ directions.T, answers)
        sorted_ = F.cross_entropy(steps @ self.kind.weight.T, self.kinds[answers])
        bags = rearrange(self.bags, "(n scene side) words -> n scene side words", scene=2, side=2)[chosen]
        return named + sorted_ + 10 * F.binary_cross_entropy_with_logits(self.word(features * SCALE), bags)


def told_of(scenes: EditedScenes) -> list[str]:
    """The captions of all pictures, in their order."""
    return [text for pair in scenes.captions for two in pair for text in two]


def _numbered(texts: list[str]) -> tuple[list[str], Int[Tensor, " n"]]:
    """The different texts, and which of them each is."""
    names, numbers = np.unique(texts, return_inverse=True)
    return names.tolist(), torch.from_numpy(numbers)


def _bags(texts: list[str]) -> Float[Tensor, "n words"]:
    """Which words each text has, of those that neither all have nor few."""
    sets = [set(re.findall(r"[a-z]+", text.lower())) for text in texts]
    counts = {word: sum(word in found for found in sets) for word in sorted(set().union(*sets))}
    words = [word for word, count in counts.items() if 0.005 * len(texts) <= count <= 0.9 * len(texts)]
    return torch.tensor([[float(word in found) for word in words] for found in sets]).reshape(len(texts), len(words))


def train_pictures(
    model: open_clip.CLIP, scenes: EditedScenes, seconds: float, state_file: Path
) -> dict[str, int | float]:
    """Train the image tower for `seconds` of processor time in all, from `state_file` on; what it took."""
    torch.manual_seed(1)
    knowledge = Knowledge(scenes)
    model.visual.to(memory_format=torch.channels_last).train()

    def loss(rng: np.random.Generator) -> Tensor:
        chosen = rng.choice(len(scenes.kinds), EDITS_OF_A_BATCH, replace=False)
        return knowledge.loss(features_of(model, cut(scenes, chosen, rng)), torch.from_numpy(chosen))

    took = _train(nn.ModuleList([model.visual, knowledge]), loss, seconds, state_file)
    model.visual.eval()
    return {**took, "pictures": took["steps"] * EDITS_OF_A_BATCH * 4}


def features_of(
    model: open_clip.CLIP, pixels: Float[Tensor, "n scene=2 side=2 c y x"]
) -> Float[Tensor, "n scene=2 side=2 d"]:
    """Vectors of length 1; products in bfloat16, which costs a third less here."""
    with torch.autocast("cpu", torch.bfloat16):
        seen = model.encode_image(rearrange(pixels, "n scene side c y x -> (n scene side) c y x"))
    return rearrange(F.normalize(seen.float(), dim=-1), "(n scene side) d -> n scene side d", scene=2, side=2)


def cut(
    scenes: EditedScenes, chosen: Int[np.ndarray, " n"], rng: np.random.Generator
) -> Float[Tensor, "n scene=2 side=2 c y x"]:
    """Pixels of the chosen edits, a random square of each scene, the same before and after."""
    free = scenes.images.shape[3] - SIDE
    places = rng.integers(0, free + 1, (len(chosen), 2, 2))
    squares = [
        [scenes.images[index, scene, :, top : top + SIDE, left : left + SIDE] for scene, (top, left) in enumerate(own)]
        for index, own in zip(chosen, places, strict=True)
    ]
    pixels = rearrange(torch.from_numpy(np.array(squares)), "n scene side y x c -> n scene side c y x").float() / 255
    return (pixels - MEAN[0]) / STD[0]


@torch.no_grad()
def see(model: open_clip.CLIP, scenes: EditedScenes) -> Float[Tensor, "n scene=2 side=2 d"]:
    """What the image tower makes of all pictures."""
    rng = np.random.default_rng(0)
    blocks = [np.arange(start, min(start + 64, len(scenes.kinds))) for start in range(0, len(scenes.kinds), 64)]
    return torch.cat([features_of(model, cut(scenes, block, rng)) for block in blocks])


def train_texts(
    model: open_clip.CLIP,
    seen: Float[Tensor, "n scene=2 side=2 d"],
    scenes: EditedScenes,
    tokenizer: PreTrainedTokenizerFast,
    seconds: float,
    state_file: Path,
) -> dict[str, int | float]:
    """Train the text tower on locked pictures for `seconds` of processor time in all; returns what it took."""
    captions, caption_ids = _read(tokenizer, told_of(scenes))
    said, said_ids = _read(tokenizer, scenes.instructions)
    pictures = rearrange(seen, "n scene side d -> (n scene side) d")
    steps = F.normalize(rearrange(seen[:, :, 1] - seen[:, :, 0], "n scene d -> (n scene) d"), dim=1)
    model.visual.requires_grad_(False)

    def loss(rng: np.random.Generator) -> Tensor:
        shown, moved = (torch.from_numpy(rng.choice(len(x), TEXTS_OF_A_BATCH)) for x in (pictures, steps))
        texts = model.encode_text(torch.cat([captions[shown], said[moved // 2]]))
        of_pictures, of_steps = F.normalize(texts, dim=1).split(TEXTS_OF_A_BATCH)
        ids, scale = (caption_ids[shown], said_ids[moved // 2]), model.logit_scale.exp().clamp(max=100)
        named = contrast(pictures[shown], of_pictures, ids[0][:, None] == ids[0], scale)
        return named + contrast(steps[moved], of_steps, ids[1][:, None] == ids[1], scale)

    took = _train(model, loss, seconds, state_file)
    model.visual.requires_grad_(True)
    return took


def _read(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> tuple[Int[Tensor, "n words"], Int[Tensor, " n"]]:
    """Tokens as open_clip reads them from the saved folder, and a number that equal texts share."""
    padded = tokenizer(texts, return_tensors="pt", max_length=WORDS, padding="max_length", truncation=True)
    return padded["input_ids"], _numbered(texts)[1]


def contrast(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], same: Bool[Tensor, "n m"], scale: Float[Tensor, ""] | float
) -> Float[Tensor, ""]:
    """CLIP's symmetric contrastive loss of unit vectors, where several may belong together: they share the target."""
    logits = scale * x @ y.T
    targets = same.float()
    return (
        F.cross_entropy(logits, targets / targets.sum(1, keepdim=True))
        + F.cross_entropy(logits.T, targets.T / targets.T.sum(1, keepdim=True))
    ) / 2


def _train(
    module: nn.Module, loss_of: Callable[[np.random.Generator], Tensor], seconds: float, state_file: Path
) -> dict[str, int | float]:
    """Steps of AdamW until `seconds` of processor time are spent in all, resuming from `state_file`."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    step, spent = 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    saved, losses = spent, []
    while spent < seconds:
        start = time.process_time()
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARMUP, max(0.01, 1.5 * (1 - spent / seconds)))
        loss = loss_of(np.random.default_rng([7, step]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        step, spent = step + 1, spent + time.process_time() - start
        if spent - saved > 15 or spent >= seconds:
            saved = spent
            _save(
                state_file,
                {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": spent},
            )
            print(f"{state_file.stem} {spent:6.0f} s {step} steps loss {np.mean(losses[-50:]):.3f}", flush=True)
    return {"steps": step, "seconds": spent}


def _save(path: Path, state: dict) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)
