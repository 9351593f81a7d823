from pathlib import Path

import pytest

from viral.config import ModelConfig
from viral.model.backbone import load_backbone
from viral.model.licences import UNDECLARED, accept, licence_of_card
from viral.model.loading import base_path

FLUX = "flux-1-dev-non-commercial-license"


def card(folder: Path, head: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(f"---\n{head}\n---\n# A model\n")
    return folder


def test_non_commercial_base_is_refused_until_accepted_before_anything_is_fetched() -> None:
    with pytest.raises(ValueError, match=rf"no commercial use.*model.accept_licences=\[{FLUX}\]"):
        base_path("black-forest-labs/FLUX.1-Fill-dev")
    assert accept("black-forest-labs/FLUX.1-Fill-dev", (FLUX,)).name == FLUX


def test_adapters_made_from_flux_are_as_restricted_as_flux() -> None:
    with pytest.raises(ValueError, match="Non-Commercial"):
        accept("sanaka87/ICEdit-MoE-LoRA")


def test_permissive_bases_need_no_acceptance() -> None:
    assert accept("Qwen/Qwen-Image-Edit-2511").name == "apache-2.0"
    with pytest.raises(ValueError, match="research"):
        accept("Qwen/Qwen2.5-VL-3B-Instruct")


def test_local_folder_is_known_by_its_card_and_refused_before_its_weights(tmp_path: Path) -> None:
    folder = card(tmp_path / "copy", f"license: other\nlicense_name: {FLUX}")
    with pytest.raises(ValueError, match="FLUX.1"):
        load_backbone(str(folder))
    with pytest.raises(ValueError, match="no part 'scheduler'"):
        load_backbone(str(folder), config=ModelConfig(accept_licences=(FLUX,)))


def test_snapshot_in_the_cache_is_known_by_its_path(tmp_path: Path) -> None:
    folder = card(tmp_path / "models--black-forest-labs--FLUX.1-dev/snapshots/0123abc", "license: mit")
    with pytest.raises(ValueError, match="Non-Commercial"):
        accept(folder)


def test_unknown_licence_has_to_be_read_and_accepted_by_its_name(tmp_path: Path) -> None:
    folder = card(tmp_path / "own", "license: other\nlicense_name: house-rules")
    with pytest.raises(ValueError, match=r"not known here.*\[house-rules\]"):
        accept(folder)
    assert accept(folder, ("house-rules",)).name == "house-rules"


def test_folder_without_a_card_declares_nothing(tmp_path: Path) -> None:
    assert accept(tmp_path) == UNDECLARED
    assert licence_of_card("# no head\nlicense: mit") == UNDECLARED
    assert licence_of_card("---\ntags: [image]\n---\n") == UNDECLARED
