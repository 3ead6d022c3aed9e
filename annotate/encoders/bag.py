"""The text side of `tiny`: the vectors of a text's word pieces, added up, and two layers that read the sum.

How often a piece stands in a text counts, its place does not. So a text may be of any length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Bag(nn.Module):
    """Word pieces to embeddings (P, D), not yet of unit length.

    pieces  (V, E), a vector of each word piece; one that says little is short
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """state  pieces, wide.weight, wide.bias, narrow.weight, narrow.bias, straight.weight"""
        super().__init__()
        self.pieces = nn.Parameter(state["pieces"])
        self.wide = linear(state["wide.weight"], state["wide.bias"])
        self.narrow = linear(state["narrow.weight"], state["narrow.bias"])
        self.straight = linear(state["straight.weight"])

    def forward(self, ids: Tensor, starts: Tensor) -> Tensor:
        """ids of all texts, one after the other; starts (P,), where each text begins."""
        total = functional.embedding_bag(ids, self.pieces, starts, mode="sum")  # (P, E)
        size = self.pieces.shape[1] ** 0.5
        x = functional.normalize(total, dim=1) * size
        read: Tensor = self.narrow(functional.gelu(self.wide(x))) + self.straight(x)
        return read


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A layer that holds these weights."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    return layer


def joined(texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids of all texts one after the other, and where each begins."""
    ids = torch.tensor([i for text in texts for i in text], dtype=torch.long)
    lengths = torch.tensor([0, *(len(text) for text in texts)], dtype=torch.long)
    return ids, lengths.cumsum(0)[:-1]
