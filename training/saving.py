"""The weights in one file: matrices as int8 with one scale a row, the rest as float16."""

from pathlib import Path

import torch
from data import RESOLUTION
from torch import Tensor

from annotate.encoders.bag import Bag
from annotate.encoders.head import Head

FEW = 2_000  # weights; smaller tensors, and 3x3 and 5x5 depthwise convolutions, are not worth rounding to int8


def save(out: Path, image: dict[str, Tensor], head: Head, bag: Bag, scale: float) -> None:
    """Write what `annotate.encoders.builtin` reads."""
    from safetensors.torch import save_file

    whole = {f"image.{name}": weight for name, weight in image.items()}
    whole |= {f"head.{name}": weight for name, weight in head.weights().items()}
    whole |= {f"text.{name}": weight.detach() for name, weight in bag.state_dict().items()}
    state: dict[str, Tensor] = {}
    for name, weight in whole.items():
        if weight.dtype == torch.uint8:
            state[name] = weight
        elif weight.ndim > 1 and weight.numel() > FEW and "depthwise" not in name:
            state[name], state[f"{name}.scale"] = quantised(weight)
        else:
            state[name] = weight.half()
    state["logit_scale"], state["resolution"] = torch.tensor(scale), torch.tensor(RESOLUTION)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    save_file({name: weight.contiguous() for name, weight in state.items()}, partial)
    partial.chmod(0o644)  # safetensors leaves it readable to its owner alone
    partial.replace(out)
    print(f"{out}: {out.stat().st_size:,} bytes", flush=True)


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """int8 of the shape of the weight, and the float32 scale of each row; of 24 scales the one that errs least."""
    rows = weight.flatten(1)
    peak = rows.abs().amax(dim=1).clamp(min=1e-12) / 127
    tried = [peak * share for share in torch.linspace(0.55, 1, 24).tolist()]
    rounded = [(rows / scale[:, None]).round().clamp(-127, 127) for scale in tried]
    errors = [(r * scale[:, None] - rows).square().sum(dim=1) for r, scale in zip(rounded, tried, strict=True)]
    best = torch.stack(errors).argmin(dim=0)
    chosen = best, torch.arange(len(best))
    return torch.stack(rounded)[chosen].to(torch.int8).view_as(weight), torch.stack(tried)[chosen]
