"""From what the image side sees to an embedding: one matrix on the averages, and a look at where things are.

    z = A sqrt(f + 0.01) + b + C relu(B relu(convolution of the map))

f are the averages behind the last stage, which say what is in a picture. The map lies in front of the last stages
and still says where strokes and edges are: digits, letters and hand signs are told apart by that.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

FLOOR = 0.01  # under the root, so that what is missing moves little


class Head(nn.Module):
    """Averages (B, F) and maps (B, C, H, W) to embeddings (B, D), not yet of unit length."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """state  what and what.bias, strokes and strokes.bias (a 1x1 convolution), where and where.bias, adds"""
        super().__init__()
        self.what, self.what_bias = nn.Parameter(state["what"]), nn.Parameter(state["what.bias"])
        self.strokes, self.strokes_bias = nn.Parameter(state["strokes"]), nn.Parameter(state["strokes.bias"])
        self.where, self.where_bias = nn.Parameter(state["where"]), nn.Parameter(state["where.bias"])
        self.adds = nn.Parameter(state["adds"])

    def forward(self, averages: Tensor, maps: Tensor) -> Tensor:
        seen = functional.linear((averages + FLOOR).sqrt(), self.what, self.what_bias)
        strokes = functional.relu(functional.conv2d(maps, self.strokes, self.strokes_bias))
        placed = functional.relu(functional.linear(strokes.flatten(1), self.where, self.where_bias))
        return seen + functional.linear(placed, self.adds)

    def weights(self) -> dict[str, Tensor]:
        """The state that makes this head."""
        return {
            "what": self.what.detach(), "what.bias": self.what_bias.detach(),
            "strokes": self.strokes.detach(), "strokes.bias": self.strokes_bias.detach(),
            "where": self.where.detach(), "where.bias": self.where_bias.detach(), "adds": self.adds.detach(),
        }  # fmt: skip
