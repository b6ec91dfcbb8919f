"""The twelve outlines and eight textures of generated images, as functions of coordinates.

An outline maps (u, v) to True inside the object. u points right and v points up. Every object fits into the
circle of radius 1 and stands upright. A texture maps pixel coordinates (x, y), in units of its period, to
True where the second colour shows. Both take arrays of any shape, the same for both coordinates.
"""

from __future__ import annotations

import numpy as np


def circle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return u**2 + v**2 <= 0.85**2


def square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(abs(u), abs(v)) <= 0.7


def triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (v >= -0.5) & (v <= 0.98 - 1.75 * abs(u))


def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    short, long = np.minimum(abs(u), abs(v)), np.maximum(abs(u), abs(v))
    return (short <= 0.3) & (long <= 0.94)


def star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A star with points at radius 1 and notches at 0.4. By symmetry, one line cuts half of one point."""
    radius, from_top = np.hypot(u, v), np.arctan2(u, v)
    tenth = np.pi / 5
    angle = abs((from_top + tenth) % (2 * tenth) - tenth)  # 0 at a point, ``tenth`` at a notch
    along, across = radius * np.cos(angle), radius * np.sin(angle)
    notch_along, notch_across = 0.4 * np.cos(tenth), 0.4 * np.sin(tenth)
    return across * (1 - notch_along) <= notch_across * (1 - along)


def ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    radius = np.hypot(u, v)
    return (radius >= 0.48) & (radius <= 0.92)


def crescent(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (np.hypot(u, v) <= 0.95) & (np.hypot(u - 0.5, v) >= 0.75)


def heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = 1.3 * u, 1.3 * v + 0.2
    return (x**2 + y**2 - 1) ** 3 <= x**2 * y**3


def arrow(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    shaft = (u >= -0.95) & (u <= 0) & (abs(v) <= 0.29)
    head = (u >= -0.05) & (abs(v) <= 0.82 * (0.98 - u))
    return shaft | head


def bar(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (abs(u) <= 0.92) & (abs(v) <= 0.38)


def corner(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    upright = (abs(u + 0.41) <= 0.29) & (abs(v) <= 0.7)
    foot = (abs(v + 0.41) <= 0.29) & (abs(u) <= 0.7)
    return upright | foot


def hourglass(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (abs(v) <= 0.75) & (abs(u) <= 0.12 + 0.7 * abs(v))


def solid(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.zeros(np.broadcast(x, y).shape, dtype=bool)


def horizontal(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.broadcast_to(y % 1 < 0.5, np.broadcast(x, y).shape)


def vertical(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return horizontal(y, x)


def diagonal(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return ((x + y) / np.sqrt(2)) % 1 < 0.5


def checks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x % 1 < 0.5) ^ (y % 1 < 0.5)


def dots(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x % 1 - 0.5) ** 2 + (y % 1 - 0.5) ** 2 < 0.3**2


def grid(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.minimum(x % 1, y % 1) < 0.25


def zigzag(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (y + abs(x / 2 % 1 - 0.5)) % 1 < 0.5


_OUTLINES = (circle, square, triangle, cross, star, ring, crescent, heart, arrow, bar, corner, hourglass)
_TEXTURES = (solid, horizontal, vertical, diagonal, checks, dots, grid, zigzag)
OUTLINES = {outline.__name__: outline for outline in _OUTLINES}
TEXTURES = {texture.__name__: texture for texture in _TEXTURES}
