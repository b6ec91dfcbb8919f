"""Generated images with known truth: the shape, its texture, and its position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minidl.data import outlines
from minidl.engine.checks import (
    check_array,
    check_choice,
    check_flag,
    check_int,
    check_labels,
    check_number,
    require,
    shown,
)
from minidl.engine.random import default_rng_or

SHAPES = tuple(outlines.OUTLINES)
TEXTURES = tuple(outlines.TEXTURES)
DOMAINS = ("clean", "noisy", "inverted", "rotated")
MARKS = 12  # 4 corners × 3 colours
MARK_COLOURS = np.array([(1, 0, 1), (1, 1, 0), (0, 1, 1)])  # visible on dark and on white

CANVAS = 32  # all images are drawn at 32×32; smaller images are averages
NOISE = {"clean": 0.08, "noisy": 0.3, "inverted": 0.08, "rotated": 0.08}
CHUNK = 512  # the number of images drawn at a time; this bounds the memory
MOST = 10_000_000  # more images than any memory holds


def make_shapes(
    n: int,
    *,
    size: int = 32,
    domain: str = "clean",
    spurious: float = 0.0,
    rng: np.random.Generator | None = None,
    shapes: Sequence[str] = SHAPES,
    textures: Sequence[str] = TEXTURES,
    label: str = "shape",
    tied: float | Sequence[float] = 0.0,
    fixed_place: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images of one textured shape on a dark noisy background, their labels, and the masks of the shapes.

    Colours, position, size and a tilt of up to 15° are random and do not depend on the class.

    size: 32, or 16: averages of 2×2 pixels. A pixel of the mask is True if at least two of its four are True.
    domain: "clean"; "noisy" (σ = 0.3 instead of 0.08); "inverted" (1 − image, so dark objects on bright
    ground); "rotated" (the outline turned by any angle, the texture as before). One seed gives the same
    scenes in every domain and size.
    spurious: the part of the images, 0 to 1, that get the mark of their class by ``add_marks``, painted last.
    shapes, textures: the names to choose from, by default all of SHAPES and TEXTURES.
    label: "shape" or "texture", the cue that labels count: class k is ``shapes[k]`` or ``textures[k]``.
    tied: the part of the images, 0 to 1, where the other cue belongs to the same class; in the rest it is
    random. At 0 only the labelled cue predicts the class, at 1 both do. A sequence gives one number for each
    class.
    fixed_place: objects are in the middle, of one size, and upright unless the domain is "rotated".

    Returns: images (n, 3, size, size) float32 in [0, 1]; labels (n,) int64, all classes equally often (up
    to one image), in random order; masks (n, size, size) bool: the object's pixels, which no mark covers.

    >>> from minidl import data
    >>> images, labels, masks = data.make_shapes(6, size=16)
    >>> images.shape, masks.shape
    ((6, 3, 16, 16), (6, 16, 16))
    """
    n, shapes, textures = check_scenes(n, size, domain, shapes, textures, fixed_place)
    by_shape = check_choice("label", label, ("shape", "texture")) == "shape"
    check_number("spurious", spurious, 0, 1)
    classes, others = (len(shapes), len(textures)) if by_shape else (len(textures), len(shapes))
    share_tied = _shares_tied(tied, classes, others)
    rng = default_rng_or(rng)

    labels = _balanced(n, classes, rng)
    other = rng.integers(0, others, size=n)
    other = np.where(rng.random(n) < share_tied[labels], labels, other)
    marked = rng.random(n) < spurious
    shape_index, texture_index = (labels, other) if by_shape else (other, labels)
    images, masks = _draw(shapes, shape_index, textures, texture_index, size, domain, fixed_place, rng)
    if marked.any():
        images[marked] = add_marks(images[marked], labels[marked])
    return images, labels, masks


def make_cue_conflict(
    n: int,
    *,
    size: int = 32,
    domain: str = "clean",
    rng: np.random.Generator | None = None,
    shapes: Sequence[str] = SHAPES[: len(TEXTURES)],
    textures: Sequence[str] = TEXTURES,
    fixed_place: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images with the shape of one class and the texture of another: class k is shapes[k], textures[k].

    The arguments are those of ``make_shapes``, which makes images without conflict if ``tied=1``.
    Returns: images (n, 3, size, size), shape_labels (n,), texture_labels (n,), always different, all pairs
    equally often (up to one image).
    Source: after Geirhos et al. 2019, arXiv:1811.12231, who transfer the style of photographs.

    >>> from minidl import data
    >>> images, shape_labels, texture_labels = data.make_cue_conflict(6, size=16)
    >>> bool((shape_labels == texture_labels).any())
    False
    """
    n, shapes, textures = check_scenes(n, size, domain, shapes, textures, fixed_place)
    got = f"got {len(shapes)} shapes and {len(textures)} textures"
    as_many = len(shapes) == len(textures) >= 2
    require(as_many, f"shapes and textures must be equally many, one of each a class, at least 2: {got}")
    rng = default_rng_or(rng)
    pairs = _balanced(n, len(shapes) * (len(shapes) - 1), rng)
    shape_labels = pairs % len(shapes)
    texture_labels = (shape_labels + 1 + pairs // len(shapes)) % len(shapes)
    images, _ = _draw(shapes, shape_labels, textures, texture_labels, size, domain, fixed_place, rng)
    return images, shape_labels, texture_labels


def add_marks(images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Copies of images (N, 3, size, size) with the marks of ``classes`` (N,): small squares in a corner.

    Class k has corner k % 4 (top left, top right, bottom left, bottom right) and colour k // 4 (magenta,
    yellow, cyan), so there are 12 marks. The side of a mark is 1/8 of the image's side, its area 1.6%. Marks
    of random classes carry no information and are the control.

    >>> from minidl import data
    >>> marked = data.add_marks(np.zeros((2, 3, 16, 16)), np.array([0, 1]))
    >>> print(marked[0, :, 0, 0], marked[1, :, 0, 0])  # class 0 is magenta, in the top left corner
    [1. 0. 1.] [0. 0. 0.]
    """
    classes = check_labels("classes", classes, num_classes=MARKS)
    images = check_array("images", images, len(classes), 3, "size", "size", kind="float", finite=False)
    colours = MARK_COLOURS[classes // 4].astype(images.dtype)
    return np.where(mark_masks(classes, images.shape[-1])[:, None], _spread(colours), images)


def mark_masks(classes: np.ndarray, size: int) -> np.ndarray:
    """(N, size, size) bool: the pixels that ``add_marks`` paints. They serve to score explanations.

    >>> from minidl import data
    >>> data.mark_masks(np.array([0, 1]), size=16).sum(axis=(1, 2)).tolist()  # 2 x 2 pixels in each image
    [4, 4]
    """
    classes = check_labels("classes", classes, num_classes=MARKS)
    size = check_int("size", size, 8, 10_000)
    side = size // 8
    low, high = np.arange(size) < side, np.arange(size) >= size - side
    rows = np.where((classes % 4 // 2 == 0)[:, None], low, high)
    columns = np.where((classes % 2 == 0)[:, None], low, high)
    return rows[:, :, None] & columns[:, None, :]


class Pose(NamedTuple):
    """Position, size and tilt of the objects: pixels, and radians counter-clockwise; each (n, 1, 1)."""

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    angle: np.ndarray


def _draw(shapes, shape_index, textures, texture_index, size, domain, fixed_place, rng):
    """Images (n, 3, size, size) and masks of objects ``shapes[shape_index]``, ``textures[texture_index]``."""
    n = len(shape_index)
    images = np.empty((n, 3, size, size), dtype=np.float32)
    masks = np.empty((n, size, size), dtype=bool)
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        pose = _draw_poses(len(shape_index[part]), domain, fixed_place, rng)
        mask = _paint_outlines(shapes, shape_index[part], pose)
        second = _paint_textures(textures, texture_index[part], rng)
        image = _colour(mask, second, NOISE[domain], rng)
        images[part], masks[part] = _shrink(1 - image if domain == "inverted" else image, mask, size)
    return images, masks


def _draw_poses(count: int, domain: str, fixed_place: bool, rng: np.random.Generator) -> Pose:
    right, down, larger, turn = rng.uniform(-1, 1, size=(4, count, 1, 1)).astype(np.float32)
    if fixed_place:  # draw in both cases, so that the later draws are the same
        right, down, larger = 0 * right, 0 * down, 0 * larger
        turn = turn if domain == "rotated" else 0 * turn
    radius = 12 + 2 * larger
    room = CANVAS / 2 - 1 - radius  # so that no object reaches the edge or a mark in a corner
    widest = np.float32(np.pi if domain == "rotated" else np.pi / 12)
    return Pose(CANVAS / 2 + room * right, CANVAS / 2 + room * down, radius, widest * turn)


def _paint_outlines(shapes, index, pose: Pose) -> np.ndarray:
    y, x = np.mgrid[:CANVAS, :CANVAS].astype(np.float32) + 0.5  # the pixels' middles
    right, up = (x - pose.x) / pose.radius, (pose.y - y) / pose.radius
    u = np.cos(pose.angle) * right + np.sin(pose.angle) * up  # the object's own axes
    v = np.cos(pose.angle) * up - np.sin(pose.angle) * right
    mask = np.empty(u.shape, dtype=bool)
    for k, name in enumerate(shapes):
        rows = index == k
        mask[rows] = outlines.OUTLINES[name](u[rows], v[rows])
    return mask


def _paint_textures(textures, index, rng: np.random.Generator) -> np.ndarray:
    phase_x, phase_y, stretch = rng.random((3, len(index), 1, 1), dtype=np.float32)
    period = 6 + 2 * stretch  # pixels; still three or more after averaging to 16×16
    y, x = np.mgrid[:CANVAS, :CANVAS].astype(np.float32)
    x, y = x / period + phase_x, y / period + phase_y
    second = np.empty(x.shape, dtype=bool)
    for k, name in enumerate(textures):
        rows = index == k
        second[rows] = outlines.TEXTURES[name](x[rows], y[rows])
    return second


def _colour(mask: np.ndarray, second: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """(n, 3, 32, 32): two bright colours of different hue on the object, a dark one around it, and noise."""
    n = len(mask)
    hue, turn, value, dark = rng.random((4, n), dtype=np.float32)
    first_colour = _hsv(hue, 0.75, 0.8 + 0.2 * value)
    second_colour = _hsv(hue + 0.3 + 0.4 * turn, 0.75, 0.5 + 0.1 * value)
    background = 0.05 + 0.25 * dark[:, None] * rng.random((n, 3), dtype=np.float32)
    object_colours = np.where(second[:, None], _spread(second_colour), _spread(first_colour))
    image = np.where(mask[:, None], object_colours, _spread(background))
    image += np.float32(sigma) * rng.standard_normal(image.shape, dtype=np.float32)
    return image.clip(0, 1, out=image)


def _hsv(hue: np.ndarray, saturation: float, value: np.ndarray) -> np.ndarray:
    """RGB (n, 3) of hues h (n,) in turns: v − v·s·max(0, min(k, 4 − k, 1)) with k = (5, 3, 1) + 6h mod 6."""
    k = (np.array([5, 3, 1], dtype=np.float32) + 6 * hue[:, None]) % 6
    return value[:, None] * (1 - saturation * np.minimum(k, 4 - k).clip(0, 1))


def _spread(colours: np.ndarray) -> np.ndarray:
    return colours[:, :, None, None]


def _shrink(image: np.ndarray, mask: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    if size == CANVAS:
        return image, mask
    step = CANVAS // size
    blocks = (len(image), 3, size, step, size, step)
    covered = mask.reshape(len(mask), size, step, size, step).sum(axis=(2, 4))
    return image.reshape(blocks).mean(axis=(3, 5)), covered >= step**2 / 2


def _balanced(n: int, classes: int, rng: np.random.Generator) -> np.ndarray:
    """n labels, all classes equally often up to one label; the classes with one label more are random."""
    return rng.permutation(classes)[rng.permutation(n) % classes].astype(np.int64)


# ---- what arguments are


def check_scenes(
    n, size, domain, shapes, textures, fixed_place
) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """Check the arguments of a drawing, and return n and the names of the shapes and of the textures."""
    n = check_int("n", n, 1, MOST)
    check_choice("size", check_int("size", size), (16, 32))
    check_choice("domain", domain, DOMAINS), check_flag("fixed_place", fixed_place)
    return n, check_names("shapes", shapes, SHAPES), check_names("textures", textures, TEXTURES)


def check_names(what: str, chosen: Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(chosen) if isinstance(chosen, tuple | list) else ()
    differ = 0 < len(names) == len({name for name in names if isinstance(name, str)} & {*known})
    require(differ, f"{what} must be different names from {known}, got {shown(chosen)}")
    return names


def _shares_tied(tied: float | Sequence[float], classes: int, others: int) -> np.ndarray:
    shares = check_array("tied", tied, low=0, high=1).astype(float)
    fits = shares.shape in ((), (classes,))
    require(fits, f"tied must be one number, or one for each of {classes} classes, got shape {shares.shape}")
    shares = np.broadcast_to(shares, (classes,))
    own = f"tied needs a cue of its own for each class: {classes} classes, {others} of the other cue"
    require(not shares[others:].any(), own)
    return shares
