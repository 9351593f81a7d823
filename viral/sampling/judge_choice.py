"""The judge that a word names: the editor's own model or VAE, a vision-language model, an endpoint."""

import torch

from viral.data_config import EMBEDDED_CLIP
from viral.model.hub import local_folder
from viral.model.licences import accept
from viral.model.tokens import Context
from viral.model.velocity import EditVelocity
from viral.sampling.editor import Editor
from viral.sampling.embedder import ClipEmbedder, LatentEmbedder
from viral.sampling.instruct import InstructEditor
from viral.sampling.judge_consensus import ConsensusJudge
from viral.sampling.judge_cycle import CycleJudge
from viral.sampling.judge_direction import DirectionJudge
from viral.sampling.judge_endpoint import Endpoint, EndpointJudge
from viral.sampling.judge_vlm import VisionLanguageModel, VLMJudge
from viral.sampling.judge_words import WordsJudge
from viral.sampling.judges import Judge


def choose_judge(
    name: str,
    editor: Editor | InstructEditor,
    instruction: str | None = None,
    *,
    size: int | None = None,
    accept_licences: tuple[str, ...] = (),
    api_key: str | None = None,
) -> Judge:
    """The judge `name` for an editor's candidates of one instruction and size.

    `consensus` asks the candidates themselves; `cycle` and `direction` ask the editor's own model and VAE, and need
    examples; `words` asks the embedded embedder and needs an instruction; `URL#MODEL` is an OpenAI-compatible endpoint;
    anything else is the folder or hub id of a Qwen2.5-VL, put where the editor's model is. `ValueError` for a name that
    is none of these, or a judge that this editor cannot have.
    """
    if name == "consensus":
        return ConsensusJudge()
    if name in ("cycle", "direction"):
        if isinstance(editor, InstructEditor):
            raise ValueError(f"the {name} judge needs example pairs, which FLUX.1 Fill does not take; take consensus")
        return cycle_judge(editor, instruction, size) if name == "cycle" else direction_judge(editor, size)
    if name == "words":
        return WordsJudge(ClipEmbedder.load(str(EMBEDDED_CLIP), str(editor.transformer.device)))
    if name.startswith(("http://", "https://")):
        url, _, model = name.partition("#")
        if not model:
            raise ValueError(f"judge {name} does not say which model to ask; write {name}#MODEL")
        return EndpointJudge(Endpoint(url, model, api_key))
    local_folder(name)
    accept(name, accept_licences)
    device = editor.transformer.device
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    return VLMJudge(VisionLanguageModel.load(name, str(device), dtype))


def cycle_judge(editor: Editor, instruction: str | None = None, size: int | None = None) -> CycleJudge:
    """The cycle judge that asks the editor's own model, in the words that the request has."""

    def velocity(context: list[Context], grid: tuple[int, int]) -> EditVelocity:
        # Only in this regime does the text depend on the images, of which the candidate may have none but its latents.
        seen = [editor.decode(latents)[0] for latents in context] if editor.text.regime == "sentence" else []
        return editor.velocity(context, editor.text(instruction, seen), grid=grid)

    return CycleJudge(lambda image: editor.encode(image, size), velocity)


def direction_judge(editor: Editor, size: int | None = None) -> DirectionJudge:
    """The direction judge on the latents of the editor's own VAE."""
    return DirectionJudge(LatentEmbedder(lambda image: editor.encode(image, size)))
