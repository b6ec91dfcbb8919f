"""Data sets, which are pairs (images, labels), and what is done with them before a network sees them."""

from minidl.data.augment import (
    brightness,
    color_jitter,
    compose,
    cutout,
    gaussian_noise,
    horizontal_flip,
    random_resized_crop,
    random_rotation,
    random_shift,
    salt_and_pepper,
)
from minidl.data.cache import cache_folder, cached, cached_runs
from minidl.data.digits import load_digits
from minidl.data.idx import fashion_mnist, load_idx, mnist
from minidl.data.loader import batches
from minidl.data.shapes import MARKS, SHAPES, TEXTURES, add_marks, make_cue_conflict, make_shapes, mark_masks

__all__ = [
    "MARKS",
    "SHAPES",
    "TEXTURES",
    "add_marks",
    "batches",
    "brightness",
    "cache_folder",
    "cached",
    "cached_runs",
    "color_jitter",
    "compose",
    "cutout",
    "fashion_mnist",
    "gaussian_noise",
    "horizontal_flip",
    "load_digits",
    "load_idx",
    "make_cue_conflict",
    "make_shapes",
    "mark_masks",
    "mnist",
    "random_resized_crop",
    "random_rotation",
    "random_shift",
    "salt_and_pepper",
]
