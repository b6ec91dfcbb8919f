"""Functions for the learner's files, whatever the files contain."""

from __future__ import annotations

import hashlib
from pathlib import Path

import minidl
from minidl.data.files import written_whole


def digest(path: Path) -> str:
    """12 hex digits that change if the learner's file or the library changes; "" if there is no file."""
    try:
        return hashlib.sha256(minidl.__version__.encode() + path.read_bytes()).hexdigest()[:12]
    except OSError:
        return ""


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as file:
        file.write(text.encode())


def put_aside(path: Path) -> Path:
    """Move the file to the folder backup/ in the same place, with an unused name."""
    folder, count = path.parent / "backup", 1
    folder.mkdir(exist_ok=True)
    while True:
        copy = folder / f"{path.stem}_{count}{path.suffix}"
        try:
            with open(copy, "xb") as file:
                file.write(path.read_bytes())
            path.unlink()
            return copy
        except FileExistsError:
            count += 1
