from __future__ import annotations

import numpy as np
from sklearn import metrics

from annotate.kernels.scores import confusion, precision_recall


def test_scores_equal_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    truth, labels = rng.integers(0, 4, 500), rng.integers(0, 4, 500)
    counts = confusion(truth, labels, 4)
    np.testing.assert_array_equal(counts, metrics.confusion_matrix(truth, labels))
    precision, recall = precision_recall(counts)
    np.testing.assert_allclose(precision, metrics.precision_score(truth, labels, average=None))
    np.testing.assert_allclose(recall, metrics.recall_score(truth, labels, average=None))


def test_a_class_without_images_has_no_score() -> None:
    precision, recall = precision_recall(confusion(np.array([0, 0]), np.array([0, 0]), 2))
    assert np.isnan(precision[1])
    assert np.isnan(recall[1])
