"""Safe files: a file is complete or does not exist, and a damaged archive of arrays is never read as other
data.

An archive is an uncompressed zip of .npy files and texts, without pickle; ``np.load`` opens it.
"""

from __future__ import annotations

import glob
import io
import itertools
import math
import os
import platform
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from minidl.engine.checks import require

KINDS = "fiubcU"  # the allowed kinds of dtypes: numbers, bools and texts
HOST = platform.node().replace("/", "_") or "here"
_numbers = itertools.count()


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write into. After the block it is at ``path``; after an error, ``path`` is unchanged.

    The file is written under another name in the same folder, synchronised to the disk, and renamed. Only a
    killed process leaves this other file, ``NAME.HOST-PID-NUMBER.part``. The next write of ``path`` removes
    it. FileNotFoundError if there is no folder for the file, IsADirectoryError if ``path`` is a folder.
    """
    require(path.name != "", f"path must name a file, got {str(path)!r}")
    require(not path.is_dir(), f"{path} is a folder, but must be a file", IsADirectoryError)
    there_is_none = f"there is no folder {path.parent} for the file {path}"
    require(path.parent.is_dir(), there_is_none, FileNotFoundError)
    remove_leftovers(path)
    partial = path.with_name(f"{path.name}.{HOST}-{os.getpid()}-{next(_numbers)}.part")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove the ``.part`` files of ``path`` from killed processes of this computer.

    Running processes keep theirs.
    """
    for partial in path.parent.glob(f"{glob.escape(path.name)}.{glob.escape(HOST)}-*-*.part"):
        pid = partial.name.split("-")[-2]
        if pid.isdigit() and not is_running(int(pid)):
            partial.unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Whether a process with this number exists; True if the system offers no safe way to ask."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def write_archive(path: Path, texts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> None:
    """An archive with ``NAME`` for each text and ``NAME.npy`` for each array.

    Equal contents give equal bytes.
    """
    with written_whole(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name), text)
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                npy.write_array(entry, array, allow_pickle=False)


def read_archive(file: BinaryIO) -> dict[str, bytes]:
    """The contents of the archive's members, after a check of their checksums.

    A damaged archive raises an error.

    The memory in use depends on the true size of the file, not on the size in its header.
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        honest = stored and sum(member.file_size for member in members) <= size
        require(honest, "its members are compressed, or claim to be larger than the file")
        return {member.filename: archive.read(member) for member in members}


def parse_array(data: bytes) -> np.ndarray:
    """The array of an .npy file's bytes. It allocates no more memory than the bytes fill."""
    stream = io.BytesIO(data)
    headers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    shape, fortran_order, dtype = headers[npy.read_magic(stream)](stream)
    start = stream.tell()
    sound = (
        dtype.kind in KINDS and dtype.itemsize > 0 and math.prod(shape) * dtype.itemsize == len(data) - start
    )
    require(sound, f"an array of {dtype} {shape} cannot be {len(data) - start} bytes")
    return np.ndarray(shape, dtype, data, start, order="F" if fortran_order else "C").copy()
