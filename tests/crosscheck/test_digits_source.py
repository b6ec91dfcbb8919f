import numpy as np
import pytest

from minidl.data import load_digits


def test_digits_are_those_of_scikit_learn_in_its_order():
    reference = pytest.importorskip("sklearn.datasets").load_digits()
    (train, train_labels), (test, test_labels) = load_digits("file-order")
    np.testing.assert_array_equal(np.concatenate([train, test])[:, 0] * 16, reference.images)
    np.testing.assert_array_equal(np.concatenate([train_labels, test_labels]), reference.target)
