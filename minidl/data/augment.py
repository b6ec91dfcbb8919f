"""Augmentation: random noise and distortions. Each function here returns ``augment(images, rng)``.

``images`` is (N, C, H, W) floating, each image is distorted by its own draw. The result is always a new array
of the same dtype. Augment in training, not in evaluation.

``clip=True`` clips the result to [0, 1], the range of pictures. Clipping biases the mean (black only gets
brighter, white only darker) and lowers the noise's variance, so the default is False.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from minidl.engine.checks import (
    check_array,
    check_flag,
    check_function,
    check_int,
    check_number,
    positive_number,
    require,
)
from minidl.engine.random import default_rng_or

Augment = Callable[..., np.ndarray]  # augment(images, rng=None) -> images
LARGEST = 1e30  # bound of ``fill``: float32 images can still be mixed with this value
FARTHEST = 10_000  # pixels


def _augment(distort: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Augment:
    """An ``augment`` that calls ``distort`` with checked images and with ``rng`` or the default generator."""

    @functools.wraps(distort)
    def augment(images, rng=None):
        images = check_array("images", images, "N", "C", "H", "W", kind="float", finite=False, empty=True)
        require(0 not in images.shape[1:], f"images must have channels and pixels, got {images.shape}")
        return distort(images, default_rng_or(rng))

    return augment


def compose(*augments: Augment) -> Augment:
    """Apply the augmentations in the given order; ``compose()`` without any is the identity.

    >>> from minidl import data
    >>> augment = data.compose(data.horizontal_flip(p=1), data.brightness(0))
    >>> print(augment(np.array([[[[1.0, 2.0]]]]), np.random.default_rng(0)))
    [[[[2. 1.]]]]
    """

    for augment in augments:
        check_function("each of augments", augment, "images and rng")

    @_augment
    def composed(images, rng):
        images = images.copy()
        for augment in augments:
            images = augment(images, rng)
        return images

    return composed


def gaussian_noise(sigma: float, *, clip: bool = False) -> Augment:
    """x + σ·n with n ~ N(0, 1) for each value.

    Without clipping, the mean stays and the variance grows by σ².

    >>> from minidl import data
    >>> noisy = data.gaussian_noise(0.1)(np.full((1, 1, 50, 50), 0.5), np.random.default_rng(0))
    >>> print(noisy.mean().round(1), noisy.std().round(1))
    0.5 0.1
    """
    sigma, clip = check_number("sigma", sigma, 0, LARGEST), check_flag("clip", clip)

    @_augment
    def add_noise(images, rng):
        noise = rng.standard_normal(images.shape, dtype=np.float32)
        return _maybe_clip(images + images.dtype.type(sigma) * noise, images.dtype, clip)

    return add_noise


def salt_and_pepper(p: float) -> Augment:
    """Each pixel (in all channels) becomes 0 with probability p/2, and 1 with probability p/2.

    >>> from minidl import data
    >>> images = data.salt_and_pepper(0.5)(np.full((1, 1, 2, 4), 0.25), np.random.default_rng(0))
    >>> print(images[0, 0])
    [[0.25 1.   0.   0.  ]
     [0.25 0.25 0.25 0.25]]
    """
    check_number("p", p, 0, 1)

    @_augment
    def flip_pixels(images, rng):
        n, _, height, width = images.shape
        u = rng.random((n, 1, height, width))
        return np.where(u < p / 2, 0, np.where(u < p, 1, images)).astype(images.dtype)

    return flip_pixels


def cutout(size: int, *, fill: float = 0.0) -> Augment:
    """A square of size × size pixels becomes ``fill``.

    Its centre is a random pixel, so a part may lie outside.

    Source: DeVries and Taylor 2017, arXiv:1708.04552.

    >>> from minidl import data
    >>> images = data.cutout(2)(np.ones((1, 1, 3, 3)), np.random.default_rng(0))
    >>> print(images[0, 0])
    [[1. 1. 1.]
     [0. 0. 1.]
     [0. 0. 1.]]
    """
    size, fill = check_int("size", size, 0, FARTHEST), check_number("fill", fill, -LARGEST, LARGEST)

    @_augment
    def cut(images, rng):
        n, _, height, width = images.shape
        top = rng.integers(0, height, size=(n, 1)) - size // 2
        left = rng.integers(0, width, size=(n, 1)) - size // 2
        in_rows = (np.arange(height) >= top) & (np.arange(height) < top + size)  # (N, H)
        in_columns = (np.arange(width) >= left) & (np.arange(width) < left + size)  # (N, W)
        square = in_rows[:, None, :, None] & in_columns[:, None, None, :]
        return np.where(square, images.dtype.type(fill), images)

    return cut


def random_shift(pixels: int, *, fill: float = 0.0) -> Augment:
    """Shift by −pixels ... pixels, uniform whole numbers for each axis; the border becomes ``fill``.

    >>> from minidl import data
    >>> images = data.random_shift(1)(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), np.random.default_rng(0))
    >>> print(images[0, 0])
    [[3. 4.]
     [0. 0.]]
    """
    pixels, fill = check_int("pixels", pixels, 0, FARTHEST), check_number("fill", fill, -LARGEST, LARGEST)

    @_augment
    def shift(images, rng):
        n, channels, height, width = images.shape
        margin = ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels))
        padded = np.pad(images, margin, constant_values=fill)
        top = rng.integers(0, 2 * pixels + 1, size=n)[:, None, None, None]
        left = rng.integers(0, 2 * pixels + 1, size=n)[:, None, None, None]
        n_, c_, y, x = np.ogrid[:n, :channels, :height, :width]
        return padded[n_, c_, y + top, x + left]

    return shift


def random_rotation(degrees: float, *, fill: float = 0.0) -> Augment:
    """Rotate counter-clockwise about the centre by an angle uniform in ±degrees, with bilinear sampling.

    >>> from minidl import data
    >>> images = np.zeros((4, 1, 8, 8))
    >>> data.random_rotation(15)(images, np.random.default_rng(0)).shape
    (4, 1, 8, 8)
    """
    degrees, fill = check_number("degrees", degrees, 0, 180), check_number("fill", fill, -LARGEST, LARGEST)

    @_augment
    def rotate(images, rng):
        angle = np.deg2rad(rng.uniform(-degrees, degrees, size=(len(images), 1, 1)))
        y, x = _centred_grid(images.shape)
        # the input position of the output's pixel (y, x); y points down
        return _sample(
            images, np.cos(angle) * y + np.sin(angle) * x, np.cos(angle) * x - np.sin(angle) * y, fill
        )

    return rotate


def random_resized_crop(min_area: float) -> Augment:
    """Crop and resize to full size.

    The crop keeps height : width; its part of the area is uniform in [min_area, 1].

    >>> from minidl import data
    >>> images = np.zeros((4, 1, 8, 8))
    >>> data.random_resized_crop(0.5)(images, np.random.default_rng(0)).shape
    (4, 1, 8, 8)
    """
    min_area = positive_number("min_area", min_area, 1)  # a crop without area has no pixels

    @_augment
    def crop(images, rng):
        n, _, height, width = images.shape
        scale = np.sqrt(rng.uniform(min_area, 1, size=(n, 1, 1)))
        y, x = _centred_grid(images.shape)
        # the crop's centre moves only so far that the crop stays inside the image
        shift_y = rng.uniform(-0.5, 0.5, size=(n, 1, 1)) * (1 - scale) * (height - 1)
        shift_x = rng.uniform(-0.5, 0.5, size=(n, 1, 1)) * (1 - scale) * (width - 1)
        return _sample(images, scale * y + shift_y, scale * x + shift_x, fill=0.0)

    return crop


def horizontal_flip(p: float = 0.5) -> Augment:
    """Exchange left and right with probability p. Do not use it for digits: a mirrored 2 is no digit.

    >>> from minidl import data
    >>> print(data.horizontal_flip(p=1)(np.array([[[[1.0, 2.0]]]]), np.random.default_rng(0)))
    [[[[2. 1.]]]]
    """
    check_number("p", p, 0, 1)

    @_augment
    def flip(images, rng):
        flipped = rng.random((len(images), 1, 1, 1)) < p
        return np.where(flipped, images[..., ::-1], images)

    return flip


def brightness(amount: float, *, clip: bool = False) -> Augment:
    """x·f, with one f for each image, uniform in [1 − amount, 1 + amount].

    >>> from minidl import data
    >>> images = data.brightness(0.5)(np.ones((3, 1, 1, 1)), np.random.default_rng(0))
    >>> print(images.ravel().round(2))  # one factor for each image
    [1.14 0.77 0.54]
    """
    amount, clip = check_number("amount", amount, 0, 1), check_flag("clip", clip)

    @_augment
    def brighten(images, rng):
        factor = rng.uniform(1 - amount, 1 + amount, size=(len(images), 1, 1, 1))
        return _maybe_clip(images * factor.astype(images.dtype), images.dtype, clip)

    return brighten


def color_jitter(
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    *,
    clip: bool = False,
) -> Augment:
    """Change the light, not the object: each image draws b, c, s in 1 ± amount and an angle θ in ±hue·360°.

        x ← b·x,    x ← m + c·(x − m) with m the image's mean,    x ← g + s·R(θ)(x − g)

    with g the pixel's grey (the mean of its red, green and blue) and R(θ) the rotation about the axis of
    greys: hue 0.5 allows any hue, and grey stays grey. The amounts are as in torchvision, but torchvision
    defines hue and grey differently.

    >>> from minidl import data
    >>> grey = np.full((1, 3, 1, 1), 0.5)
    >>> print(data.color_jitter(saturation=0.5, hue=0.5)(grey, np.random.default_rng(0)).ravel().round(3))
    [0.5 0.5 0.5]
    """
    for name, amount in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        check_number(name, amount, 0, 1)
    hue, clip = check_number("hue", hue, 0, 0.5), check_flag("clip", clip)

    @_augment
    def jitter(images, rng):
        require(images.shape[1] == 3, f"color_jitter needs 3 channels (red, green, blue), got {images.shape}")
        amounts = np.array([brightness, contrast, saturation])[:, None, None, None, None]
        b, c, s = (1 + amounts * rng.uniform(-1, 1, size=(3, len(images), 1, 1, 1))).astype(images.dtype)
        angle = 2 * np.pi * hue * rng.uniform(-1, 1, size=(len(images), 1, 1))
        images = b * images
        mean = images.mean(axis=(1, 2, 3), keepdims=True)
        images = mean + c * (images - mean)
        grey = images.mean(axis=1, keepdims=True)
        turned = np.einsum("nij,njhw->nihw", _hue_rotation(angle).astype(images.dtype), images - grey)
        return _maybe_clip(grey + s * turned, images.dtype, clip)

    return jitter


def _hue_rotation(angle: np.ndarray) -> np.ndarray:
    """R = cos θ·I + sin θ·K + (1 − cos θ)·kkᵀ, k = (1, 1, 1)/√3 (Rodrigues): (N, 1, 1) gives (N, 3, 3)."""
    K = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    return np.cos(angle) * np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * np.full((3, 3), 1 / 3)


def _centred_grid(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each pixel, (H, 1) and (1, W), counted from the middle of the image."""
    y, x = np.ogrid[: shape[2], : shape[3]]
    return y - (shape[2] - 1) / 2, x - (shape[3] - 1) / 2


def _sample(images: np.ndarray, y: np.ndarray, x: np.ndarray, fill: float) -> np.ndarray:
    """Bilinear values of images (N, C, H, W) at centred rows y, columns x (N, H, W); outside is ``fill``."""
    n, channels, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=fill)
    pixels = padded.transpose(0, 2, 3, 1).reshape(-1, channels)
    y = np.clip(y + (height - 1) / 2 + 1, 0, height + 1)  # in the padded image
    x = np.clip(x + (width - 1) / 2 + 1, 0, width + 1)
    top, left = np.minimum(y.astype(int), height), np.minimum(x.astype(int), width)
    down, right = (y - top)[..., None].astype(images.dtype), (x - left)[..., None].astype(images.dtype)
    step = width + 2  # distance between two rows of the flattened padded image
    # (N, H, W); the sums below are (N, H, W, C)
    corner = (np.arange(n)[:, None, None] * (height + 2) + top) * step + left
    above = pixels.take(corner, axis=0) * (1 - right) + pixels.take(corner + 1, axis=0) * right
    corner += step
    below = pixels.take(corner, axis=0) * (1 - right) + pixels.take(corner + 1, axis=0) * right
    return np.ascontiguousarray((above * (1 - down) + below * down).transpose(0, 3, 1, 2))


def _maybe_clip(images: np.ndarray, dtype: np.dtype, clip: bool) -> np.ndarray:
    return (images.clip(0, 1) if clip else images).astype(dtype, copy=False)
