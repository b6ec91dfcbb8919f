"""Real handwritten digits that come with the package: no network, no waiting."""

from __future__ import annotations

from importlib import resources

import numpy as np

from minidl.engine.checks import check_choice

FILE_ORDER_TEST = 360  # test images at the end of the file


def load_digits(
    split: str = "stratified",
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """1,797 handwritten digits of 8×8 pixels, as ``(train, test)``, each a pair ``(images, labels)``.

    ``images`` is (N, 1, 8, 8) float32, sixteenths in [0, 1], 1 being ink; ``labels`` is (N,) int64, 0 to 9.

    split: "stratified": 36 of each class are test images, always the same ones (their indices are stored
    beside the images).  "file-order": the last 360 images are, presumably by writers who are not in the
    training set: the harder question. Both leave 1,437 for training.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository (1998), https://doi.org/10.24432/C50P49, CC BY 4.0: the 1,797 images of its test file, as
    distributed with scikit-learn, whose order they keep; the counts 0 ... 16 are stored as they are.
    """
    check_choice("split", split, ("stratified", "file-order"))
    with resources.files(__package__).joinpath("digits.npz").open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        counts, labels, stratified_test = stored["images"], stored["labels"], stored["stratified_test"]
    images = counts[:, None].astype(np.float32) / np.float32(16)  # (1797, 1, 8, 8)
    labels = labels.astype(np.int64)
    is_test = np.zeros(len(labels), dtype=bool)
    is_test[stratified_test if split == "stratified" else slice(-FILE_ORDER_TEST, None)] = True
    return (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test])
