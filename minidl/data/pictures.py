"""Photographs from files: one picture, or a folder that holds a folder of pictures for each class."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np

from minidl.engine.checks import check_array, check_int, check_number, check_path, require

LIGHT_GREY = (200 / 255, 205 / 255, 210 / 255)
LARGEST = 10_000  # pixels of a side: an image of this size takes more than a gigabyte


def load_picture(
    path: str | os.PathLike, size: int = 224, *, background: Any = LIGHT_GREY, fill: float = 0.9
) -> tuple[np.ndarray, np.ndarray]:
    """A picture of any format that Pillow reads, as ``(image, mask)``.

    image: (3, size, size) float32 in [0, 1].  mask: (size, size) bool, True where the object is.

    A picture with transparent parts is scaled so that its longer side is ``fill`` times ``size``. Then it is
    put in the middle of ``background``: one number, a colour (3,), or an image (3, size, size), all in [0,
    1]. For a picture without transparent parts, the middle square is scaled to ``size``, and the mask is True
    everywhere.

    Raises ValueError for a file that is no picture, or that holds floats or integers of 32 bits.

    >>> from minidl import data
    >>> image, mask = data.load_picture(data.lesson_pictures() / "mammals" / "zebra.webp", size=64)
    >>> image.shape, mask.shape
    ((3, 64, 64), (64, 64))
    """
    size, fill = check_int("size", size, 1, LARGEST), check_number("fill", fill, 0.01, 1)
    behind = _background(background, size)
    from PIL import Image, ImageOps

    picture = _upright(path)
    is_cut_out = np.asarray(picture)[..., 3].min() < 255
    if is_cut_out:
        ratio = fill * size / max(picture.size)
        width, height = (max(round(ratio * side), 1) for side in picture.size)
        scaled = picture.resize((width, height), Image.Resampling.BICUBIC)
        picture = Image.new("RGBA", (size, size))
        picture.paste(scaled, ((size - width) // 2, (size - height) // 2))
    else:
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
    values = np.asarray(picture, np.float32).transpose(2, 0, 1) / np.float32(255)
    colours, alpha = values[:3], values[3]  # (3, size, size), (size, size)
    return alpha * colours + (1 - alpha) * behind, alpha >= 0.5


def load_folder(
    root: str | os.PathLike, size: int = 224, *, background: Any = LIGHT_GREY, fill: float = 0.9
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], np.ndarray]:
    """All pictures of a folder that holds a folder for each class, as ``(images, labels, names, masks)``.

    images: (N, 3, size, size) float32 in [0, 1].  labels: (N,) int64.  names: the classes, which are the
    folders' names, sorted as texts ("10" before "2").  masks: (N, size, size) bool, where a picture is at
    least half opaque. ``load_picture`` reads each picture; the order is the order of ``picture_files``.
    Files and folders whose names begin with a point are skipped. Raises ValueError if a class's folder is
    empty or holds anything else than pictures.

    >>> from minidl import data
    >>> images, labels, names, masks = data.load_folder("photographs", size=64)  # doctest: +SKIP
    >>> names  # doctest: +SKIP
    ('cats', 'dogs')
    """
    files = picture_files(root)
    names = tuple(dict.fromkeys(path.parent.name for path in files))
    pictures = [load_picture(path, size, background=background, fill=fill) for path in files]
    images, masks = (np.stack(part) for part in zip(*pictures, strict=True))
    return images, np.array([names.index(path.parent.name) for path in files]), names, masks


def picture_files(root: str | os.PathLike) -> list[Path]:
    """The files in the folders of ``root``, by name of folder and file, without hidden ones.

    Raises ValueError if a folder is empty, because its class would get no label and the later classes other
    labels, or if a folder holds a folder.

    >>> from minidl import data
    >>> len(data.picture_files(data.lesson_pictures()))
    220
    """
    root = check_path("root", root)
    require(root.is_dir(), f"there is no folder {root}", FileNotFoundError)
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    require(bool(folders), f"{root} needs a folder with pictures for each class, but it holds no folder")
    files = []
    for folder in folders:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        require(bool(found), f"{folder} holds no picture: add pictures of this class, or remove the folder")
        for path in found:
            require(not path.is_dir(), f"{path} is a folder, but the folder of a class holds only pictures")
        files += found
    return files


def lesson_pictures() -> Path:
    """The folder ``lessons/pictures`` of the clone. FileNotFoundError if the folder does not exist.

    >>> from minidl import data
    >>> data.lesson_pictures().name
    'pictures'
    """
    places = [Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[2]]
    found = [place / "lessons" / "pictures" for place in places if (place / "lessons" / "pictures").is_dir()]
    why = "lessons/pictures comes with a clone of the project and not with the installed package"
    require(bool(found), f"{why}; looked for it from {places[0]} upwards", FileNotFoundError)
    return found[0]


def picture_classes(root: str | os.PathLike) -> dict[str, tuple[str, ...]]:
    """The object in each picture, by the table ``classes.csv`` in ``root``: "mammals/zebra.webp" ->
    ("zebra",).

    The names are ``nn.efficientnet.imagenet_names()``. A picture may have several right names. Without a
    name, the picture shows none of the 1,000 classes.

    >>> from minidl import data
    >>> data.picture_classes(data.lesson_pictures())["mammals/zebra.webp"]
    ('zebra',)
    """
    table = check_path("root", root) / "classes.csv"
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, restval=""))
    has_columns = all({"file", "classes"} <= set(row) for row in rows)
    require(has_columns, f"the first line of {table} must be file,classes")
    return {row["file"]: tuple(filter(None, row["classes"].split("; "))) for row in rows}


def _background(background: Any, size: int) -> np.ndarray:
    """(3, 1, 1) or (3, size, size)"""
    array = check_array("background", background, low=0, high=1).astype(np.float32)
    wanted = f"a number, a colour (3,) or an image (3, {size}, {size})"
    fits = array.shape in ((), (3,), (3, size, size))
    require(fits, f"background must be {wanted}, got {array.shape}")
    return array if array.ndim == 3 else np.broadcast_to(array, 3)[:, np.newaxis, np.newaxis]


def _upright(path: str | os.PathLike) -> Any:
    """The picture of the file with transparency, turned as its camera says."""
    from PIL import Image, ImageOps

    path = check_path("path", path)
    try:
        with Image.open(path) as file:
            picture, mode = ImageOps.exif_transpose(file), file.mode
            has_16_bits = mode.startswith("I;16") or (mode == "I" and file.format in ("PNG", "PPM"))
            if mode not in ("I", "F") and not has_16_bits:
                return picture.convert("RGBA")
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # the readers of the formats raise errors of many kinds
        raise ValueError(f"{path} is not a readable picture: {error!r}") from error
    mend = "save it with 8 or 16 bits for each colour"
    require(has_16_bits, f"{path} holds numbers of 32 bits, and no white is known for them: {mend}")
    grey = np.round(np.asarray(picture) / 257)  # 0 ... 65535 to 0 ... 255; Pillow's convert clips at 255
    return Image.fromarray(grey.astype(np.uint8)).convert("RGBA")
