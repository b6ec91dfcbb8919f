"""Data sets, which are pairs (images, labels), and their preparation for a network."""

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
from minidl.data.digits import load_digits, load_mnist
from minidl.data.idx import fashion_mnist, load_idx, mnist
from minidl.data.loader import batches
from minidl.data.pictures import (
    LIGHT_GREY,
    lesson_pictures,
    load_folder,
    load_picture,
    picture_classes,
    picture_files,
)
from minidl.data.shapes import MARKS, SHAPES, TEXTURES, add_marks, make_cue_conflict, make_shapes, mark_masks

__all__ = [
    "LIGHT_GREY",
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
    "lesson_pictures",
    "load_digits",
    "load_folder",
    "load_idx",
    "load_mnist",
    "load_picture",
    "make_cue_conflict",
    "make_shapes",
    "mark_masks",
    "mnist",
    "picture_classes",
    "picture_files",
    "random_resized_crop",
    "random_rotation",
    "random_shift",
    "salt_and_pepper",
]
