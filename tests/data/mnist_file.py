"""Makes the 6,000 digits that the package holds from the 10,000 of MNIST's test set, in IDX files.

python -m tests.data.mnist_file FOLDER
"""

import sys
import zipfile
from pathlib import Path

import numpy as np

from minidl.data import digits, load_idx

FILE = Path(digits.__file__).with_name("mnist.npz")


def chosen(images, labels, each=600, tested=100):
    """The arrays of the file: the first 600 of each digit in their order, and which of them are for tests."""
    kept = np.sort(np.concatenate([np.flatnonzero(labels == digit)[:each] for digit in range(10)]))
    images, labels = images[kept], labels[kept]
    rng = np.random.default_rng(0)
    test = [rng.choice(np.flatnonzero(labels == digit), tested, replace=False) for digit in range(10)]
    return {"images": images, "labels": labels, "test": np.sort(np.concatenate(test)).astype(np.uint16)}


def write(arrays, path):
    """As ``np.savez_compressed``, but as small as this compression can make it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # always of the same date
            member.compress_type = zipfile.ZIP_DEFLATED
            with file.open(member, "w") as stream:
                np.save(stream, array)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    images, labels = (
        load_idx(folder / f"mnist10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")
    )
    write(chosen(images, labels), FILE)
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")
