"""Real handwritten digits of 8×8 and of 28×28 pixels. They come with the package, without a download."""

from __future__ import annotations

from importlib import resources

import numpy as np

from minidl.engine.checks import check_choice

FILE_ORDER_TEST = 360  # test images at the end of the file


def load_digits(
    split: str = "stratified",
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """1,797 handwritten digits of 8×8 pixels, as ``(train, test)``, each a pair ``(images, labels)``.

    ``images`` is (N, 1, 8, 8) float32, multiples of 1/16 in [0, 1], 1 is ink; ``labels`` is (N,) int64, 0 to
    9.

    split: "stratified": 36 images of each class are test images, always the same ones (a file holds their
    indices).  "file-order": the last 360 images are test images. Their writers are probably not in the
    training set, so this split is harder. Both splits have 1,437 training images.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository (1998), https://doi.org/10.24432/C50P49, CC BY 4.0: the 1,797 images of its test file, in
    the order of scikit-learn. The file holds the original counts 0 ... 16.

    >>> from minidl import data
    >>> train, test = data.load_digits()
    >>> train[0].shape, test[0].shape
    ((1437, 1, 8, 8), (360, 1, 8, 8))
    """
    check_choice("split", split, ("stratified", "file-order"))
    counts, labels, stratified_test = _stored("digits.npz", "images", "labels", "stratified_test")
    images = counts[:, None].astype(np.float32) / np.float32(16)  # (1797, 1, 8, 8)
    return _split(images, labels, stratified_test if split == "stratified" else slice(-FILE_ORDER_TEST, None))


def load_mnist() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """6,000 handwritten digits of 28×28 pixels, as ``(train, test)``, each a pair ``(images, labels)``.

    ``images`` is (N, 1, 28, 28) float32 in [0, 1], 1 is ink; ``labels`` is (N,) int64, 0 to 9. Of each digit,
    500 images are for training and 100 others for tests. ``mnist`` loads all of MNIST from its own files.

    Source: Y. LeCun and C. Cortes, "The MNIST database of handwritten digits" (1998), CC BY-SA 3.0: the first
    600 images of each digit in the test set, in their order.

    >>> from minidl import data
    >>> train, test = data.load_mnist()
    >>> train[0].shape, test[0].shape
    ((5000, 1, 28, 28), (1000, 1, 28, 28))
    """
    pixels, labels, test = _stored("mnist.npz", "images", "labels", "test")
    return _split(pixels[:, None].astype(np.float32) / np.float32(255), labels, test)


def _stored(name: str, *arrays: str) -> list[np.ndarray]:
    with resources.files(__package__).joinpath(name).open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        return [stored[array] for array in arrays]


def _split(images: np.ndarray, labels: np.ndarray, test: np.ndarray | slice) -> tuple:
    is_test = np.zeros(len(labels), dtype=bool)
    is_test[test] = True
    labels = labels.astype(np.int64)
    return (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test])
