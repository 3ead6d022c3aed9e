"""Join the embeddings of several models, so that one similarity takes the mean of what they all say.

    x = [√w1 x1, √w2 x2, …],  t the same,  w = s / Σ s      then  x·t = Σ s (xm·tm) / Σ s

At the logit scale Σ s / M the joint logits are the mean of the models' logits, and unit rows stay unit rows.

N rows, D dimensions, M models, s their logit scales.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotate.kernels.blocks import BLOCK, single, slices
from annotate.kernels.vectors import Floats, Ints, Rows


def joint_rows(parts: Sequence[Rows], orders: Sequence[Ints], scales: Sequence[float]) -> Floats:
    """Row i is made of row orders[m][i] of every part m: (N, ΣD) float32 unit rows.

    parts   M times (any, D) unit rows, in memory or mapped
    orders  M times (N,)
    scales  M logit scales above 0
    """
    ends = np.cumsum([part.shape[1] for part in parts]).tolist()
    joint = np.empty((len(orders[0]), ends[-1]), np.float32)
    for part, order, scale, end in zip(parts, orders, scales, ends, strict=True):
        root = np.float32((scale / sum(scales)) ** 0.5)
        for block in slices(len(order), BLOCK):
            np.multiply(single(part[order[block]]), root, out=joint[block, end - part.shape[1] : end])
    return joint
