"""Muon, the optimiser of the convolutions: momentum whose singular values are all made alike.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon), with the step length of Liu et al. 2025
(arXiv 2502.16982), which makes learning rate and decay those of AdamW. torch.optim.Muon takes matrices only.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):  # type: ignore[misc]
    """For weights (out, in, ...), each taken as a matrix (out, in * ...)."""

    def __init__(
        self, weights: Iterable[nn.Parameter], *, lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            alike: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for weight in group["params"]:
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(momentum, group["momentum"]).flatten(1)  # Nesterov
                alike[ahead.shape].append((weight, ahead))
            for shape, members in alike.items():
                length = 0.2 * max(shape) ** 0.5
                for (weight, _), update in zip(members, whitened(torch.stack([a for _, a in members])), strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update.view_as(weight), alpha=-group["lr"] * length)


def whitened(matrices: Tensor) -> Tensor:
    """(M, a, b) float32: five steps of a Newton-Schulz iteration that takes singular values to about 1."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).bfloat16()
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).bfloat16()
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.mT if tall else x).float()
