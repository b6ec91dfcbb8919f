"""Files that are there whole or not at all, and archives of arrays that no damage turns into something else.

An archive is what ``np.load`` opens: an uncompressed zip of .npy files and texts, without pickle.
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

from minidl.engine.checks import check_instance, require

KINDS = "fiubcU"  # of dtypes: numbers, bools and texts
HOST = platform.node().replace("/", "_") or "here"
_numbers = itertools.count()


def check_path(name: str, path: str | os.PathLike) -> Path:
    """The path, which must be a text or a Path without a zero byte in it."""
    check_instance(name, path, (str, os.PathLike))
    require("\0" not in str(path) and str(path) != "", f"{name} must be a path, got {path!r}")
    return Path(path)


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write into, which is at ``path`` after the block; after an error nothing there has changed.

    It is written under another name in the same folder, synchronised to the disk and moved. Only a killed
    process leaves that other file behind, ``NAME.HOST-PID-NUMBER.part``; the next one to write removes it.
    """
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
    """Remove what killed processes of this computer left of ``path``. What a running one writes stays."""
    for partial in path.parent.glob(f"{glob.escape(path.name)}.{glob.escape(HOST)}-*-*.part"):
        pid = partial.name.split("-")[-2]
        if pid.isdigit() and not is_running(int(pid)):
            partial.unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Whether there is a process of this number; True where the system cannot be asked without harm."""
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
    """An archive of ``NAME`` for each text and ``NAME.npy`` for each array; always the same bytes."""
    with written_whole(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name), text)
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                npy.write_array(entry, array, allow_pickle=False)


def read_archive(file: BinaryIO) -> dict[str, bytes]:
    """The contents of the archive's members, whose checksums are right. A damaged one raises nearly anything.

    Memory is taken in proportion to the file's true size, whatever it claims.
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        honest = stored and sum(member.file_size for member in members) <= size
        require(honest, "its members are compressed, or claim to be larger than the file")
        return {member.filename: archive.read(member) for member in members}


def parse_array(data: bytes) -> np.ndarray:
    """The array of an .npy file's bytes; nothing is allocated that the bytes do not fill."""
    stream = io.BytesIO(data)
    headers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    shape, fortran_order, dtype = headers[npy.read_magic(stream)](stream)
    start = stream.tell()
    sound = (
        dtype.kind in KINDS and dtype.itemsize > 0 and math.prod(shape) * dtype.itemsize == len(data) - start
    )
    require(sound, f"an array of {dtype} {shape} cannot be {len(data) - start} bytes")
    return np.ndarray(shape, dtype, data, start, order="F" if fortran_order else "C").copy()
