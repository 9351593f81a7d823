"""A judge that looks: Qwen2.5-VL by transformers, its verdict read from the logits of the two answers."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoProcessor, BatchFeature, Qwen2_5_VLForConditionalGeneration, Qwen2VLProcessor

from viral.sampling.judge_prompt import PAIRWISE_TOKEN, Part, shrink
from viral.sampling.judges import Candidate, Choice, JudgeError, Request, Verdict

SYSTEM = "You are an exacting judge of image edits."
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


class VisionLanguageModel:
    """Qwen2.5-VL with its processor: answers messages of words and images, greedily."""

    def __init__(
        self, model: Qwen2_5_VLForConditionalGeneration, processor: Qwen2VLProcessor, name: str, max_side: int = 512
    ) -> None:
        self.model, self.processor, self.name, self.max_side = model, processor, name, max_side

    @classmethod
    def load(
        cls, model: str, device: str = "cpu", dtype: torch.dtype = torch.float32, max_side: int = 512
    ) -> "VisionLanguageModel":
        """Load a folder or hub id; of an edit base's folder its text encoder, which is a whole Qwen2.5-VL.

        Images are shown with sides of at most `max_side` pixels.
        """
        parts = ("text_encoder", "processor") if (Path(model) / "text_encoder").is_dir() else ("", "")
        network = Qwen2_5_VLForConditionalGeneration.from_pretrained(model, subfolder=parts[0], dtype=dtype)
        processor = AutoProcessor.from_pretrained(model, subfolder=parts[1])
        return cls(network.to(device).eval().requires_grad_(False), processor, Path(model).name, max_side)

    @torch.no_grad()
    def probabilities(self, message: list[Part], answers: tuple[str, ...]) -> Float[Tensor, " n"]:
        """Softmax over the logits of answers that are one token each, as the reply's first token."""
        logits = self.model(**self._inputs(message), logits_to_keep=1).logits[0, -1]
        return logits[[self._token(answer) for answer in answers]].float().softmax(0).cpu()

    @torch.no_grad()
    def answer(self, message: list[Part], max_tokens: int = 300) -> str:
        """The reply in words."""
        inputs = self._inputs(message)
        tokens = self.model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
        return self.processor.tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    def _inputs(self, message: list[Part]) -> BatchFeature:
        # Words from a user must not open an image or end the turn.
        words = "".join(part.replace("<|", "< |") if isinstance(part, str) else IMAGE for part in message)
        turns = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{words}<|im_end|>\n<|im_start|>assistant\n"
        images = [shrink(part, self.max_side) for part in message if not isinstance(part, str)]
        return self.processor(text=[turns], images=images, return_tensors="pt").to(self.model.device)

    def _token(self, answer: str) -> int:
        ids = self.processor.tokenizer.encode(answer, add_special_tokens=False)
        if len(ids) != 1:
            raise ValueError(f"{answer!r} is {len(ids)} tokens of {self.name}, expected one; use another answer")
        return ids[0]


class VLMJudge:
    """Pairwise judge whose p(first) is the softmax over the logits of the replies "1" and "2"."""

    def __init__(self, model: VisionLanguageModel) -> None:
        self.model = model
        self.name = f"vlm {model.name} {PAIRWISE_TOKEN.name}"

    def better(self, request: Request, first: Candidate, second: Candidate) -> Verdict:
        """The likelier reply; `JudgeError` when the model's logits are not numbers."""
        message = PAIRWISE_TOKEN.fill(request, first=first.image, second=second.image)
        p, q = self.model.probabilities(message, ("1", "2")).tolist()
        if p != p:
            raise JudgeError(f"{self.name} gave logits that are not numbers; its weights are damaged")
        choice: Choice = "first" if p > q else "second" if q > p else "tie"
        return Verdict(choice, p_first=p)
