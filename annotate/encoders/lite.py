"""The image side of `tiny`: an EfficientNet-Lite (Tan and Le 2019, Google 2020) with batch norms folded away.

A stem, inverted residual blocks, a head, the mean over the picture. All sizes are read from the weights. A block is
expand (1x1), depthwise (3x3 or 5x5), project (1x1); the strides are a vector in the file.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

# What EfficientNet-Lite was trained on: (x - 127) / 128 of bytes.
MIDDLE, REACH = 127.0, 128.0


class Convolution(nn.Module):
    """A convolution with a bias that pads as TensorFlow does, with ReLU6 behind it where `bounded`."""

    def __init__(self, weight: Tensor, bias: Tensor, *, stride: int = 1, bounded: bool = True) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.stride, self.bounded, self.kernel = stride, bounded, int(weight.shape[-1])
        self.groups = int(weight.shape[0]) if weight.shape[1] == 1 else 1  # depthwise

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        around = [max((-(-n // self.stride) - 1) * self.stride + self.kernel - n, 0) for n in x.shape[2:]]
        before_h, before_w = (n // 2 for n in around)
        if around[0] % 2 or around[1] % 2:  # one more after than before
            x = functional.pad(x, (before_w, around[1] - before_w, before_h, around[0] - before_h))
            before_h = before_w = 0
        x = functional.conv2d(x, self.weight, self.bias, self.stride, (before_h, before_w), 1, self.groups)
        if not self.bounded:
            return x
        return functional.relu6(x) if torch.is_grad_enabled() else functional.hardtanh_(x, 0.0, 6.0)


class Block(nn.Module):
    """Widen, look around, narrow; what came in is added where the size stays."""

    def __init__(self, parts: Mapping[str, Convolution]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        first, last = next(iter(parts.values())), parts["project"]
        incoming = first.weight.shape[0] if first.groups > 1 else first.weight.shape[1]
        self.shortcut = parts["depthwise"].stride == 1 and incoming == last.weight.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for part in self.parts.values():
            y = part(y)
        return x + y if self.shortcut else y


class Lite(nn.Module):
    """Images to features.

    stem     3 to 32 channels, at half the side
    blocks   down to a 32nd of the side
    head     to the channels that are averaged, F
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """state  NAME.weight and NAME.bias of stem, blocks.J.{expand,depthwise,project} and head

        strides  (J,) of the blocks
        tap      the number of blocks behind which the map is taken
        """
        super().__init__()
        self.tap = int(state["tap"])

        def convolution(name: str, stride: int = 1, bounded: bool = True) -> Convolution:
            return Convolution(state[f"{name}.weight"], state[f"{name}.bias"], stride=stride, bounded=bounded)

        self.stem = convolution("stem", 2)
        blocks = []
        for j, stride in enumerate(state["strides"].tolist()):
            parts = {}
            if f"blocks.{j}.expand.weight" in state:
                parts["expand"] = convolution(f"blocks.{j}.expand")
            parts["depthwise"] = convolution(f"blocks.{j}.depthwise", int(stride))
            parts["project"] = convolution(f"blocks.{j}.project", bounded=False)
            blocks.append(Block(parts))
        self.blocks = nn.ModuleList(blocks)
        self.head = convolution("head")

    def early(self, x: Tensor) -> Tensor:
        """What the first `tap` blocks make of images (B, 3, R, R): a map (B, C, R / 16, R / 16)."""
        x = self.stem(x)
        for block in self.blocks[: self.tap]:
            x = block(x)
        return x

    def late(self, x: Tensor) -> Tensor:
        """Averages (B, F) of what the other blocks and the head make of a map."""
        for block in self.blocks[self.tap :]:
            x = block(x)
        averages: Tensor = self.head(x).float().mean(dim=(2, 3))
        return averages

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, R, R) to averages (B, F) and maps, float32."""
        maps = self.early(x)
        return self.late(maps), maps.float()


def normalised(pixels: Tensor) -> Tensor:
    """(B, R, R, 3) bytes to (B, 3, R, R) as the network was trained, channels last in memory."""
    return pixels.float().sub_(MIDDLE).div_(REACH).permute(0, 3, 1, 2)
