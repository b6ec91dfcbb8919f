"""The 6,000 digits of MNIST that come with the package."""

from pathlib import Path

import numpy as np
import pytest

from minidl.data import load_idx, load_mnist
from tests.data.mnist_file import FILE, chosen

SOURCE = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def test_they_are_images_of_28_pixels_in_the_unit_range_with_labels():
    train, test = load_mnist()
    assert (len(train[0]), len(test[0])) == (5000, 1000)
    for images, labels in (train, test):
        assert images.dtype == np.float32 and images.shape == (len(labels), 1, 28, 28)
        assert labels.dtype == np.int64
        assert images.min() == 0 and images.max() == 1
        np.testing.assert_array_equal(images * 255, np.round(images * 255))


def test_every_digit_is_there_equally_often_in_both():
    (_, train), (_, test) = load_mnist()
    assert np.bincount(train).tolist() == [500] * 10
    assert np.bincount(test).tolist() == [100] * 10


def test_no_image_is_there_twice():
    (train, _), (test, _) = load_mnist()
    rows = np.concatenate([train, test]).reshape(6000, -1)
    assert len(np.unique(rows, axis=0)) == 6000


def test_the_file_is_small():
    assert FILE.stat().st_size <= 1_200_000


def test_they_are_those_of_the_source():
    source = SOURCE / "mnist10k-images-idx3-ubyte.gz"
    if not source.exists():
        pytest.skip("MNIST's files are not here")
    wanted = chosen(load_idx(source), load_idx(SOURCE / "mnist10k-labels-idx1-ubyte.gz"))
    with np.load(FILE) as stored:
        for name, array in wanted.items():
            np.testing.assert_array_equal(stored[name], array)
