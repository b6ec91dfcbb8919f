import gzip
import hashlib
import random
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.data import fashion_mnist, idx, load_idx, mnist

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    """The format by hand: 0, 0, dtype, axes, the sizes and the values in big-endian order."""
    kind = array.dtype.str[1:]
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, CODES[kind], array.ndim]) + sizes + array.astype(">" + kind).tobytes()


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("idx")


@given(
    kind=st.sampled_from(sorted(CODES)),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    zipped=st.booleans(),
    seed=st.integers(0, 100),
)
def test_every_dtype_and_shape_is_read_back_plain_or_gzipped_whatever_the_name(
    folder, kind, shape, zipped, seed
):
    array = np.random.default_rng(seed).integers(-100, 100, size=shape).astype(kind)
    content = idx_bytes(array)
    loaded = load_idx(write(folder / "any.name", gzip.compress(content) if zipped else content))
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == np.dtype(kind) and loaded.dtype.isnative and loaded.flags.writeable


def test_the_bytes_of_a_small_file_mean_what_the_format_says(tmp_path):
    path = write(
        tmp_path / "numbers", bytes([0, 0, 0x0B, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 1, 0, 2, 1, 0, 0xFF, 0xFF])
    )
    assert load_idx(path).tolist() == [[1, 2], [256, -1]]


def test_a_missing_file_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_idx(tmp_path / "nothing")


GOOD = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x08", "not an IDX file"),
        (b"PK\x03\x04" + GOOD, "not an IDX file: expected it to start with 0, 0, dtype, axes, got b'PK"),
        (b"\0\0\x0a\x01" + GOOD[4:], "not an IDX file"),
        (b"\0\0\x08\0\x05", "expected 1 to 32 axes, but the header says 0"),
        (b"\0\0\x08\x21" + b"\0\0\0\1" * 33 + b"x", "expected 1 to 32 axes, but the header says 33"),
        (GOOD[:7], "truncated in the header: expected 2 sizes, got 3 bytes"),
        (GOOD[:4] + b"\0\0\0\0" + GOOD[8:], r"sizes of at least 1, but the header says \(0, 3\)"),
        (GOOD[:-1], r"expected 6 bytes of values for shape \(2, 3\), got 5"),
        (GOOD + b"\0", r"expected 6 bytes of values for shape \(2, 3\), got more"),
        (
            b"\0\0\x0e\x02" + b"\xff" * 8 + GOOD,
            r"claims 147,573,952,520,956,936,200 bytes .*max_bytes=1,073,741,824",
        ),
    ],
)
def test_each_kind_of_damage_is_a_value_error_that_names_it(tmp_path, pack, content, message):
    with pytest.raises(ValueError, match=message):
        load_idx(write(tmp_path / "broken", pack(content)))


@pytest.mark.parametrize("spoil", [lambda z: z[:-3], lambda z: z + b"junk", lambda z: z[:-8] + b"\0" * 8])
def test_a_gzip_file_that_is_cut_or_followed_by_something_or_of_wrong_checksum_is_damaged(tmp_path, spoil):
    with pytest.raises(ValueError, match="damaged gzip data"):
        load_idx(write(tmp_path / "broken.gz", spoil(gzip.compress(GOOD))))


def peak_of(function):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_follows_neither_the_headers_claim_nor_a_gzip_bomb(tmp_path):
    claim = b"\0\0\x08\x01" + struct.pack(">I", 1 << 29)
    assert peak_of(lambda: load_idx(write(tmp_path / "claim", claim + b"few"))) < 4 << 20
    assert peak_of(lambda: load_idx(write(tmp_path / "claim.gz", gzip.compress(claim + b"few")))) < 4 << 20
    bomb = gzip.compress(GOOD + bytes(32 << 20))
    assert len(bomb) < 64 << 10
    assert peak_of(lambda: load_idx(write(tmp_path / "bomb.gz", bomb))) < 4 << 20
    assert peak_of(lambda: load_idx(tmp_path / "bomb.gz", max_bytes=5)) < 4 << 20


def mutated(content, draw):
    """A copy with a few bits flipped, cut, lengthened, or with another header."""
    content = bytearray(content)
    kind = draw.randrange(5)
    if kind == 0:
        for _ in range(draw.randrange(1, 4)):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif kind == 1:
        del content[draw.randrange(len(content)) :]
    elif kind == 2:
        content += draw.randbytes(draw.randrange(1, 20))
    elif kind == 3:
        start = draw.randrange(min(16, len(content)))
        content[start : start + draw.randrange(1, 5)] = draw.randbytes(draw.randrange(1, 5))
    else:
        content[2:4] = bytes([draw.choice([8, 9, 11, 12, 13, 14]), draw.randrange(256)])
    return bytes(content)


def test_mutated_files_end_in_a_valid_array_or_a_value_error_in_little_memory(tmp_path):
    draw = random.Random(0)
    seeds = [idx_bytes(np.arange(24).reshape(2, 3, 4).astype(kind)) for kind in CODES]
    path, outcomes = tmp_path / "mutant", {"read": 0, "refused": 0}
    tracemalloc.start()
    mutants = 20 * settings.default.max_examples  # 1,000, and 20,000 in the profile "thorough"
    for _ in range(mutants):
        content = draw.choice(seeds)
        zipped = draw.random() < 0.5
        if zipped and draw.random() < 0.5:
            content = gzip.compress(mutated(content, draw), compresslevel=1)
        else:
            content = mutated(gzip.compress(content, compresslevel=1) if zipped else content, draw)
        path.write_bytes(content)
        try:
            array = load_idx(path)
        except ValueError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
            assert array.dtype.str[1:] in CODES and array.size >= 1 and array.nbytes <= 200
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert min(outcomes.values()) > mutants / 40
    assert peak < 8 << 20


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real MNIST digits are not at hand")
def test_real_mnist_digits_are_read():
    images = load_idx(SHARED / "mnist10k-images-idx3-ubyte.gz")
    labels = load_idx(SHARED / "mnist10k-labels-idx1-ubyte.gz")
    assert images.shape == (10_000, 28, 28) and images.dtype == np.uint8 and images.max() == 255
    assert labels.shape == (10_000,) and set(labels) == set(range(10))
    ones, zeros = images[labels == 1].mean(axis=0), images[labels == 0].mean(axis=0)
    assert ones[14, 14] > 200 and zeros[14, 14] < 20  # a one has ink in the middle, a zero has none


def data_set(seed=0, n=(5, 3)):
    """The four files' names and contents, as a publisher would make them."""
    rng = np.random.default_rng(seed)
    contents = {}
    for part, count in zip(("train", "t10k"), n, strict=True):
        contents[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, size=(count, 28, 28), dtype=np.uint8)
        contents[f"{part}-labels-idx1-ubyte"] = rng.integers(0, 10, size=count, dtype=np.uint8)
    return contents


def fill(folder, contents, spelling):
    folder.mkdir(exist_ok=True)
    for name, array in contents.items():
        content, name = idx_bytes(array), spelling(name)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


@pytest.mark.parametrize("load", [mnist, fashion_mnist])
@pytest.mark.parametrize(
    "spelling",
    [str, lambda name: name + ".gz", lambda name: name.replace("-idx", ".idx")],
    ids=["plain", "gzip", "dotted"],
)
def test_the_users_files_are_found_in_every_usual_spelling(tmp_path, load, spelling):
    contents = data_set()
    fill(tmp_path, contents, spelling)
    for (images, labels), part, n in zip(load(tmp_path), ("train", "t10k"), (5, 3), strict=True):
        assert images.shape == (n, 1, 28, 28) and images.dtype == np.float32 and labels.dtype == np.int64
        expected = contents[f"{part}-images-idx3-ubyte"].astype(np.float64) / 255
        np.testing.assert_allclose(images[:, 0], expected, rtol=1e-6)
        np.testing.assert_array_equal(labels, contents[f"{part}-labels-idx1-ubyte"])


def test_without_a_root_the_files_are_looked_for_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path))
    fill(tmp_path / "fashion_mnist", data_set(), str)
    assert len(fashion_mnist()[0][0]) == 5
    with pytest.raises(FileNotFoundError, match="mnist lacks train-images"):
        mnist()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: load_idx(3), TypeError, "path must be a str or PathLike, got 3"),
        (lambda: load_idx(None), TypeError, "path must be a str or PathLike, got None"),
        (lambda: load_idx("a\0b"), ValueError, r"path must be a path, got 'a\\x00b'"),
        (lambda: load_idx("."), ValueError, "path must be a file, but . is a folder"),
        (lambda: load_idx("a", max_bytes=0), ValueError, "max_bytes must be at least 1"),
        (lambda: load_idx("a", max_bytes="1"), TypeError, "max_bytes must be an integer"),
        (lambda: mnist(3), TypeError, "root must be a str or PathLike, got 3"),
        (lambda: fashion_mnist("\0"), ValueError, "root must be a path"),
        (lambda: mnist(".", download="False"), TypeError, "download must be True or False, got 'False'"),
    ],
)
def test_what_is_no_path_or_flag_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_missing_files_are_named_with_the_two_ways_to_get_them(tmp_path):
    fill(tmp_path, data_set(), str)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    message = "lacks t10k-labels-idx1-ubyte.gz: put the files there, or pass download=True to fetch them from https://"
    with pytest.raises(FileNotFoundError, match=message):
        mnist(tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            "train-images-idx3-ubyte",
            np.zeros((5, 27, 28), np.uint8),
            r"expected uint8 \(N, 28, 28\), got uint8 \(5, 27",
        ),
        ("train-images-idx3-ubyte", np.zeros((5, 28, 28), np.int32), r"got int32"),
        (
            "t10k-labels-idx1-ubyte",
            np.zeros(4, np.uint8),
            r"expected uint8 \(3,\) of 0 ... 9, .* got uint8 \(4,\)",
        ),
        ("t10k-labels-idx1-ubyte", np.array([0, 10, 1], np.uint8), "up to 10"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path, name, array, message):
    fill(tmp_path, {**data_set(), name: array}, str)
    with pytest.raises(ValueError, match=message):
        mnist(tmp_path)


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    """A stand-in for MNIST's address: a folder with the four files, and their checksums."""
    fill(tmp_path / "site", data_set(), lambda name: name + ".gz")
    checksums = [
        hashlib.md5((tmp_path / "site" / f"{name}.gz").read_bytes()).hexdigest() for name in idx.NAMES
    ]
    monkeypatch.setattr(idx, "MNIST_URL", (tmp_path / "site").as_uri() + "/")
    monkeypatch.setattr(idx, "MNIST_MD5", tuple(checksums))
    return tmp_path / "site"


def test_a_download_fetches_what_is_missing_shows_a_bar_and_is_not_repeated(tmp_path, publisher, capsys):
    (images, _), _ = mnist(tmp_path / "root", download=True)
    np.testing.assert_allclose(images[:, 0] * 255, data_set()["train-images-idx3-ubyte"], rtol=1e-6)
    assert "train-images-idx3-ubyte.gz: 100%" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == sorted(n + ".gz" for n in idx.NAMES)
    for file in publisher.iterdir():
        file.unlink()
    assert len(mnist(tmp_path / "root", download=True)[1][0]) == 3
    assert capsys.readouterr().err == ""


def test_a_download_of_wrong_checksum_is_refused_and_nothing_is_kept(tmp_path, publisher):
    damaged = publisher / "train-labels-idx1-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with pytest.raises(
        ValueError, match="train-labels-idx1-ubyte.gz: expected a file with MD5 .*was not kept"
    ):
        mnist(tmp_path / "root", download=True)
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["train-images-idx3-ubyte.gz"]


def test_a_download_that_fails_says_what_to_do_instead_and_leaves_nothing(tmp_path, publisher):
    (publisher / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(ConnectionError, match="could not download file:.*bring the file to .*root yourself"):
        mnist(tmp_path / "root", download=True)
    assert list((tmp_path / "root").iterdir()) == []


def test_an_interrupted_download_leaves_nothing(tmp_path, publisher, monkeypatch):
    def interrupt(partial, path):
        raise KeyboardInterrupt

    monkeypatch.setattr(idx.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        mnist(tmp_path / "root", download=True)
    assert list((tmp_path / "root").iterdir()) == []
