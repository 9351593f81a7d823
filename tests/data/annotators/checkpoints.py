"""Checkpoints of random weights, each in the format that its annotator's authors publish."""

import types
from pathlib import Path

import torch
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

from viral.tasks.lines import controlnet_module


def save_hed(folder: Path) -> None:
    """ControlNetHED.pth: a plain state dictionary."""
    _save(controlnet_module("hed").ControlNetHED_Apache2(), folder / "ControlNetHED.pth")


def save_lineart(folder: Path) -> None:
    """sk_model.pth and sk_model2.pth, fine and coarse."""
    generator = controlnet_module("lineart").Generator
    for name in ("sk_model.pth", "sk_model2.pth"):
        _save(generator(3, 1, 3), folder / name)


def save_normal_bae(folder: Path) -> None:
    """scannet.pt: the state under `model`, its names as DistributedDataParallel leaves them."""
    args = types.SimpleNamespace(
        mode="client", architecture="BN", pretrained="scannet", sampling_ratio=0.4, importance_ratio=0.7
    )
    state = _halved(controlnet_module("normalbae.nets.NNET").NNET(args))
    torch.save({"model": {f"module.{name}": value for name, value in state.items()}}, folder / "scannet.pt")


def save_midas(folder: Path) -> None:
    """dpt_hybrid-midas-501f0c75.pt: a plain state dictionary."""
    network = controlnet_module("midas.midas.dpt_depth").DPTDepthModel(
        path=None, backbone="vitb_rn50_384", non_negative=True
    )
    _save(network, folder / "dpt_hybrid-midas-501f0c75.pt")


def save_openpose(folder: Path) -> None:
    """body_pose_model.pth: layers by their own names, without the part they belong to."""
    network = controlnet_module("open_pose.model").bodypose_model()
    state = {name.split(".", 1)[1]: value for name, value in _halved(network).items()}
    torch.save(state, folder / "body_pose_model.pth")


def save_depth_anything(folder: Path) -> None:
    """A folder in transformers' layout."""
    stages = {"out_features": ["stage1", "stage2", "stage3", "stage4"], "reshape_hidden_states": False}
    small = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
    backbone = Dinov2Config(**small, **stages, apply_layernorm=True)
    sizes = {"reassemble_hidden_size": 32, "neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}
    config = DepthAnythingConfig(backbone_config=backbone, patch_size=14, head_hidden_size=4, **sizes)
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessor(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14, do_resize=True
    ).save_pretrained(folder)


def _save(network: torch.nn.Module, path: Path) -> None:
    torch.save(_halved(network), path)


def _halved(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state in half precision, so that a test writes less."""
    state = network.state_dict()
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
