"""The IDX format of MNIST's files, and two data sets in this format."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from minidl.data.cache import cache_folder
from minidl.data.files import written_whole
from minidl.engine.checks import check_flag, check_path, positive_int, require

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_AXES = 32  # every supported NumPy allows as many axes
BLOCK = 1 << 20
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

# The publishers' MD5 of NAMES + ".gz". It only detects damaged downloads.
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_MD5 = (
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_MD5 = (
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)

Split = tuple[np.ndarray, np.ndarray]


def load_idx(path: str | os.PathLike, *, max_bytes: int = 1 << 30) -> np.ndarray:
    """The array in an IDX file, in the machine's byte order. The content shows whether the file is gzipped.

        bytes 0, 0, dtype, number of axes d | d sizes, 4 bytes each | the values      (all big-endian)

    The memory in use depends on the true size of the file, not on the size in its header; ``max_bytes``
    bounds both. Raises: FileNotFoundError, and ValueError if the file is not exactly one complete IDX array.

    >>> from minidl import data
    >>> data.load_idx("t10k-labels-idx1-ubyte.gz").shape  # doctest: +SKIP
    (10000,)
    """
    path, max_bytes = check_path("path", path), positive_int("max_bytes", max_bytes)
    require(not path.is_dir(), f"path must be a file, but {path} is a folder")
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            with gzip.GzipFile(fileobj=file) if zipped else file as stream:
                return _read_values(stream, *_read_header(stream), max_bytes)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: damaged gzip data ({error})") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _read_header(stream) -> tuple[np.dtype, tuple[int, ...]]:
    magic = stream.read(4)
    is_idx = len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in DTYPES
    require(is_idx, f"not an IDX file: expected it to start with 0, 0, dtype, axes, got {magic!r}")
    dtype, axes = np.dtype(DTYPES[magic[2]]), magic[3]
    require(1 <= axes <= MAX_AXES, f"expected 1 to {MAX_AXES} axes, but the header says {axes}")
    sizes = stream.read(4 * axes)
    whole = len(sizes) == 4 * axes
    require(whole, f"truncated in the header: expected {axes} sizes, got {len(sizes)} bytes")
    shape = struct.unpack(f">{axes}I", sizes)
    require(0 not in shape, f"expected sizes of at least 1, but the header says {shape}")
    return dtype, shape


def _read_values(stream, dtype: np.dtype, shape: tuple[int, ...], max_bytes: int) -> np.ndarray:
    expected = math.prod(shape) * dtype.itemsize  # Python integers do not overflow, even with a forged header
    fits = expected <= max_bytes
    require(fits, f"the header claims {expected:,} bytes of shape {shape}, above {max_bytes=:,}")
    values = bytearray()
    while len(values) <= expected and (block := stream.read(BLOCK)):
        values += block
    found = "more" if len(values) > expected else f"{len(values):,}"
    whole = len(values) == expected
    require(whole, f"expected {expected:,} bytes of values for shape {shape}, got {found}")
    return np.frombuffer(values, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)


def mnist(root: str | os.PathLike | None = None, *, download: bool = False) -> tuple[Split, Split]:
    """MNIST, 60,000 + 10,000 handwritten digits of 28×28 pixels, as ``(train, test)``.

    Each is a pair of images (N, 1, 28, 28) float32 in [0, 1] and labels (N,) int64.

    root: the folder with the four files ``train-images-idx3-ubyte`` and so on, each with or without ``.gz``
    (also spelled ``train-images.idx3-ubyte``); by default ``mnist`` in the cache folder.  download: download
    missing files (12 MB) into the folder and check their checksums.
    Source: LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/.
    Raises: FileNotFoundError for missing files, ConnectionError for a failed download, ValueError for damaged
    files.

    >>> from minidl import data
    >>> train, test = data.mnist(download=True)  # doctest: +SKIP
    >>> train[0].shape  # doctest: +SKIP
    (60000, 1, 28, 28)
    """
    return _load_splits(root, "mnist", download, MNIST_URL, MNIST_MD5)


def fashion_mnist(root: str | os.PathLike | None = None, *, download: bool = False) -> tuple[Split, Split]:
    """Fashion-MNIST, 60,000 + 10,000 pictures of clothes in MNIST's format.

    The rest is as in ``mnist`` (30 MB).

    Classes: T-shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot.
    Source: Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747, MIT licence.

    >>> from minidl import data
    >>> train, test = data.fashion_mnist(download=True)  # doctest: +SKIP
    >>> train[0].shape  # doctest: +SKIP
    (60000, 1, 28, 28)
    """
    return _load_splits(root, "fashion_mnist", download, FASHION_URL, FASHION_MD5)


def _load_splits(
    root, data_set: str, download: bool, url: str, checksums: tuple[str, ...]
) -> tuple[Split, Split]:
    root = check_path("root", cache_folder() / data_set if root is None else root)
    paths = [_find(root, name) for name in NAMES]
    missing = ", ".join(NAMES[k] + ".gz" for k in range(4) if paths[k] is None)
    lacks = f"{root} lacks {missing}: put the files there, or pass download=True to fetch them from {url}"
    require(check_flag("download", download) or not missing, lacks, FileNotFoundError)
    found = []
    for name, path, checksum in zip(NAMES, paths, checksums, strict=True):
        if path is None:
            path = root / (name + ".gz")
            fetch(url + name + ".gz", checksum, path)
        found.append(path)
    return _load_pair(found[0], found[1]), _load_pair(found[2], found[3])


def _find(root: Path, name: str) -> Path | None:
    dotted = name.replace("-idx", ".idx")
    candidates = (root / spelling for spelling in (name, name + ".gz", dotted, dotted + ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _load_pair(images_path: Path, labels_path: Path) -> Split:
    images, labels = load_idx(images_path), load_idx(labels_path)
    are_digits = images.dtype == np.uint8 and images.shape[1:] == (28, 28)
    require(are_digits, f"{images_path}: expected uint8 (N, 28, 28), got {images.dtype} {images.shape}")
    are_labels = labels.dtype == np.uint8 and labels.shape == images.shape[:1] and labels.max() <= 9
    wanted = f"{labels_path}: expected uint8 {images.shape[:1]} of 0 ... 9, one label for each image"
    require(are_labels, f"{wanted}, got {labels.dtype} {labels.shape} up to {labels.max()}")
    return images[:, None].astype(np.float32) / np.float32(255), labels.astype(np.int64)


def fetch(url: str, md5: str, path: Path) -> None:
    """Download ``url`` to ``path`` with a progress bar.

    ``path`` appears only when it is complete and verified.

    Raises: ConnectionError with advice if the network fails, ValueError if the checksum differs.
    """
    import hashlib
    import http.client
    import urllib.request

    from tqdm import tqdm

    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(url, timeout=30) as response, written_whole(path) as file:
            total = int(response.headers.get("Content-Length") or 0) or None
            with tqdm(total=total, desc=path.name, unit="B", unit_scale=True) as bar:
                while block := response.read(BLOCK):
                    digest.update(block)
                    file.write(block)
                    bar.update(len(block))
            got = digest.hexdigest()
            require(got == md5, f"{url}: expected a file with MD5 {md5}, got {got}; the file was not kept")
    except (OSError, http.client.HTTPException) as error:
        advice = f"Without a network, bring the file to {path.parent} yourself"
        raise ConnectionError(f"could not download {url}: {error}. {advice}") from error
