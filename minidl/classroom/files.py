"""What is done with the learner's files, whatever they hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

import minidl
from minidl.data.files import written_whole


def digest(path: Path) -> str:
    """12 hex digits that change when the learner's file or the library does; none for a file that is gone."""
    try:
        return hashlib.sha256(minidl.__version__.encode() + path.read_bytes()).hexdigest()[:12]
    except OSError:
        return ""


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as file:
        file.write(text.encode())


def put_aside(path: Path) -> Path:
    """Move the file to backup/ beside it, under a name that is free."""
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
