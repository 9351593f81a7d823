"""The text beside an adapter's weights: what it is, what it was trained from, how to use it."""

from pathlib import Path

import yaml
from huggingface_hub import ModelCard

from viral.config import RunConfig
from viral.model.adapter_files import COMFYUI, DIFFUSERS, EXPERTS, PEFT, AdapterCard
from viral.model.licences import licence_of

CARD_TEXT = "README.md"
FORMS = {
    PEFT: "plain LoRA for peft, with adapter_config.json",
    DIFFUSERS: "plain LoRA for `load_lora_weights` of diffusers",
    COMFYUI: "plain LoRA for ComfyUI",
    EXPERTS: "the experts of the MoE-LoRA; without them, and their router, the others are only a part of the adapter",
}


def model_card(card: AdapterCard, config: RunConfig) -> str:
    """Markdown with the header that the Hugging Face hub reads."""
    licence = str(licence_of(config.base_folder(), config.model.revision))
    header = {
        "library_name": "diffusers", "base_model": card.base, "pipeline_tag": "image-to-image", "tags": _tags(card),
    }  # fmt: skip
    files = "\n".join(f"- `{name}`: {FORMS[name]}" for name in card.files if name in FORMS)
    settings = yaml.safe_dump(config.train.model_dump(mode="json"), sort_keys=False).strip()
    return f"""---
{yaml.safe_dump(header, sort_keys=False).strip()}
---

# {config.tracking.model_name}

{_what(card)}

Trained for {card.steps} steps at {card.size} pixels on the frozen base `{card.base}`, which is under {licence}; what
restricts the base restricts this adapter. `card.json` says by sha256 which base and which files it belongs to.

## Files

{files}

## Use

```python
import mlflow

model = mlflow.pyfunc.load_model("models:/{config.tracking.model_name}@champion")
pictures = model.predict([{_example(card)}])  # PNG bytes, one per request
```

## Training

{_adapter(card)}

```yaml
{settings}
```
"""


def card_words(folder: Path) -> str:
    """The text of an adapter's card without its header, empty where the adapter has none."""
    path = folder / CARD_TEXT
    return ModelCard.load(path).text.strip() if path.is_file() else ""


def _adapter(card: AdapterCard) -> str:
    own = card.adapter
    experts = f"{own.num_experts} experts of rank {own.expert_rank}, {own.top_k} used per token"
    return f"{experts}; plain LoRA of rank {own.rank} elsewhere."


def _what(card: AdapterCard) -> str:
    if card.prompt is not None:
        return "Edits a picture as an instruction says: the right half of a diptych is painted beside the source."
    return "Shown a pair of pictures A, A' and a new picture B, it does to B what was done to A."


def _example(card: AdapterCard) -> str:
    if card.prompt is not None:
        return '{"query": png, "instruction": "make the sky red"}'
    return '{"example_source": png, "example_target": png, "query": png}'


def _tags(card: AdapterCard) -> list[str]:
    return ["lora", "moe-lora"] if card.adapter.num_experts > 1 else ["lora"]
