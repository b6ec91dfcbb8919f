import numpy as np
import pytest

from minidl.data import load_digits


def all_rows(split):
    (train, train_labels), (test, test_labels) = load_digits(split)
    return np.concatenate([train, test]), np.concatenate([train_labels, test_labels])


@pytest.mark.parametrize("split", ["stratified", "file-order"])
def test_digits_are_float32_images_in_the_unit_range_with_int64_labels(split):
    for images, labels in load_digits(split):
        assert images.dtype == np.float32 and images.shape == (len(labels), 1, 8, 8)
        assert labels.dtype == np.int64 and set(labels) == set(range(10))
        assert images.min() == 0 and images.max() == 1
        np.testing.assert_array_equal(images * 16, np.round(images * 16))
    assert len(load_digits(split)[0][0]) == 1437 and len(load_digits(split)[1][0]) == 360


def test_the_stratified_test_set_has_36_images_of_each_class():
    _, (_, labels) = load_digits("stratified")
    assert np.bincount(labels).tolist() == [36] * 10


def test_the_file_starts_with_the_zero_that_the_repository_publishes():
    (images, labels), _ = load_digits("file-order")
    published = "0 0 5 13 9 1 0 0 0 0 13 15 10 15 5 0 0 3 15 2 0 11 8 0 0 4 12 0 0 8 8 0 "
    published += "0 5 8 0 0 9 8 0 0 4 11 0 1 12 7 0 0 2 14 5 10 12 0 0 0 0 6 13 10 0 0 0"
    assert labels[:10].tolist() == list(range(10))
    assert (images[0].ravel() * 16).tolist() == [float(count) for count in published.split()]


def test_both_splits_hold_the_same_1797_images_once():
    def pairs(split):
        images, labels = all_rows(split)
        return sorted(zip(images.reshape(1797, -1).tolist(), labels.tolist(), strict=True))

    assert pairs("stratified") == pairs("file-order")


def test_changing_the_loaded_images_does_not_change_the_next_load():
    (images, _), _ = load_digits()
    before = images.copy()
    images[:] = -1
    np.testing.assert_array_equal(load_digits()[0][0], before)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="one of 'stratified', 'file-order', got 'random'"):
        load_digits("random")
