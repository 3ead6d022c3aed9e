from __future__ import annotations

import numpy as np
import pytest

from annotate.kernels.joint import joint_rows
from annotate.kernels.vectors import Floats, unit


def rows(n: int, d: int, seed: int) -> Floats:
    return unit(np.random.default_rng(seed).normal(size=(n, d)))


@pytest.mark.parametrize("scales", [[100.0, 100.0], [100.0, 20.0], [5.0, 60.0, 100.0]])
def test_joint_logits_are_the_mean_of_the_models_logits(scales: list[float]) -> None:
    images = [rows(50, 8 + m, m) for m in range(len(scales))]
    texts = [rows(4, 8 + m, 10 + m) for m in range(len(scales))]
    x = joint_rows(images, [np.arange(50)] * len(scales), scales)
    t = joint_rows(texts, [np.arange(4)] * len(scales), scales)
    logits = [scale * a.astype(float) @ b.T for scale, a, b in zip(scales, images, texts, strict=True)]
    np.testing.assert_allclose(np.mean(scales) * x @ t.T, np.mean(logits, axis=0), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)


def test_one_model_alone_stays_as_it_is() -> None:
    x = rows(30, 8, 0)
    np.testing.assert_array_equal(joint_rows([x], [np.arange(30)], [40.0]), x)


def test_rows_come_in_the_order_asked_for_in_half_precision_too() -> None:
    x, y = rows(20, 4, 0), rows(33, 6, 1).astype(np.float16)
    order = np.random.default_rng(2).permutation(33)[:20]
    made = joint_rows([x, y], [np.arange(20), order], [3.0, 1.0])
    np.testing.assert_allclose(made[:, :4], x * 0.75**0.5, rtol=1e-6)
    np.testing.assert_allclose(made[:, 4:], y[order].astype(np.float32) * 0.5, rtol=1e-6)
