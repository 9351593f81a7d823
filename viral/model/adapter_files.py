"""The folder of an adapter: weight files in safetensors, and the card that says what they are."""

import json
from pathlib import Path

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from viral.config import AdapterConfig
from viral.model.roles import ROLE_TABLE, RoleNumbering
from viral.model.text import TextRegime
from viral.model.velocity import ContextMode
from viral.storage import file_sha256

CARD = "card.json"
PEFT, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
DIFFUSERS, COMFYUI = "pytorch_lora_weights.safetensors", "comfyui_lora.safetensors"
EXPERTS, ROUTER = "moe_experts.safetensors", "moe_router.safetensors"
PICKLES = (b"PK\x03\x04", b"\x80")
"""First bytes of torch's zip files and of a bare pickle."""


class DenseLoss(BaseModel):
    """What a plain LoRA lost that stands for experts, measured on given inputs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    """`mean` of the experts, exactly, or `svd`, the nearest to it of a lower rank."""
    rank: int
    output_error: float
    """|dense - experts| / |experts|, of the transformer's outputs."""
    effect_error: float
    """|dense - experts| / |experts - none|: 0 keeps all that the experts do, 1 is as far off as leaving them out."""


class AdapterCard(BaseModel):
    """What a reader of the weights has to know; lies beside them as card.json and in the header of each file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    adapter: AdapterConfig
    base: str
    base_sha256: str
    base_class: str = "QwenImageTransformer2DModel"
    """Class of diffusers that the transformer is of."""
    base_revision: str | None = None
    """Commit of the base's hub id."""
    roles: dict[str, int] = ROLE_TABLE
    role_numbering: RoleNumbering = "step"
    """Roles of further example pairs."""
    text: TextRegime = "none"
    """What is said beside the images."""
    prompt: str | None = None
    """Template of the in-context prompt around an instruction, of an adapter for diptychs."""
    context: ContextMode = "full"
    """What context tokens see."""
    size: int
    """Side in pixels of the images it was trained on."""
    steps: int
    dense: DenseLoss | None = None
    """Set where a plain LoRA stands for the experts that were trained."""
    files: dict[str, str] = {}
    """sha256 of each weight file."""

    @field_validator("roles")
    @classmethod
    def _known(cls, roles: dict[str, int]) -> dict[str, int]:
        if unknown := sorted(roles.keys() - ROLE_TABLE.keys()):
            raise ValueError(f"got unknown roles {unknown}, expected {sorted(ROLE_TABLE)}; a newer version wrote them")
        together = any(roles.values()) and len(set(roles.values())) < len(roles)
        if together or min(roles.values(), default=0) < 0:
            raise ValueError(f"roles {roles} are not told apart by places of their own on the rope, from 0 on")
        return roles


def read_card(folder: Path) -> AdapterCard:
    """The card of an adapter folder; `ValueError` when there is none that can be read."""
    if not (folder / CARD).is_file():
        raise ValueError(f"{folder} holds no adapter ({CARD} is missing); train one with jobs/train_adapter.py")
    try:
        return AdapterCard.model_validate_json((folder / CARD).read_text())
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'json'}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{folder / CARD} is no card of this version ({said}); copy the adapter anew") from None


def write_card(folder: Path, card: AdapterCard, files: list[str]) -> AdapterCard:
    """Write the card beside its weight files, with their sha256."""
    card = card.model_copy(update={"files": {name: file_sha256(folder / name) for name in files}})
    (folder / CARD).write_text(card.model_dump_json(indent=2))
    return card


def check_files(folder: Path, card: AdapterCard) -> None:
    """`ValueError` where a weight file is missing or is not the one that the card was written for."""
    for name, expected in card.files.items():
        got = file_sha256(folder / name) if (folder / name).is_file() else "no file"
        if got != expected:
            raise ValueError(
                f"{folder / name} is damaged: sha256 {got[:12]}, expected {expected[:12]}; copy or download it anew"
            )


def check_base(card: AdapterCard, base_class: str, base_sha256: str | None = None) -> None:
    """`ValueError` where the adapter was trained on another base; no sha256 means that only the class is compared."""
    if card.base_class != base_class:
        raise ValueError(
            f"the adapter is for a {card.base_class} ({card.base}), got a {base_class}; load it on the base it names"
        )
    if base_sha256 is not None and card.base_sha256 != base_sha256:
        raise ValueError(
            f"the adapter was trained on base {card.base} with sha256 {card.base_sha256[:12]}, "
            f"got {base_sha256[:12]}; load it with its own base or train it anew"
        )


def write_tensors(path: Path, tensors: dict[str, Float[Tensor, "..."]], card: AdapterCard, **header: str) -> None:
    """A safetensors file with the card in its header; the same tensors and card give the same bytes."""
    described = card.model_dump_json(exclude={"files"})
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(_sorted_header(save(kept, metadata={"format": "pt", "viral_card": described, **header})))


def _sorted_header(data: bytes) -> bytes:
    """The file with its header's entries in one order: safetensors writes its metadata in a new one each time."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    written = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(length)
    assert len(written) == length, "the same entries take the same room"
    return data[:8] + written + data[8 + length :]


def read_tensors(path: Path) -> tuple[dict[str, Float[Tensor, "..."]], dict[str, str]]:
    """Tensors and header of a safetensors file; `ValueError` where it is missing, cut short or of another kind."""
    if not path.is_file():
        raise ValueError(f"{path} is missing; copy or download the adapter whole")
    with path.open("rb") as file:
        start = file.read(9)
    # After eight bytes of length, which may begin like a pickle, safetensors has a JSON object.
    if start.startswith(PICKLES) and not start.endswith(b"{"):
        raise ValueError(
            f"{path} is a pickle, which can run any program when it is opened; expected safetensors, "
            "convert it where you trust it with safetensors.torch.save_file"
        )
    try:
        with safe_open(path, "pt") as file:
            header = dict(file.metadata() or {})
        return load_file(path), header
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged: got {_extent(path, start[:8])} ({error}); copy or download it anew"
        ) from None


def _extent(path: Path, start: bytes) -> str:
    """How many bytes a safetensors file has and should have, as far as its header can still be read."""
    size, length = path.stat().st_size, int.from_bytes(start, "little")
    if size < 8 + length:
        return f"{size} bytes, expected a header of {8 + length}"
    with path.open("rb") as file:
        file.seek(8)
        header = json.loads(file.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return f"{size} bytes, expected {8 + length + max(ends, default=0)}"
