"""EfficientNet-Lite0, a real network for photographs. Its weights come with the package.

The network (Tan and Le 2019; the Lite variant of 2020 has ReLU6 and no squeeze-and-excite) knows the 1,000
classes of ImageNet. Its layers have the names of the PyTorch checkpoint, whose state dict loads unchanged.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from minidl.engine.checks import check_path, require
from minidl.engine.random import default_rng_or
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.containers import Sequential, Skip
from minidl.nn.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, ReLU6
from minidl.nn.module import Module
from minidl.nn.pooling import AdaptiveAvgPool2d, ZeroPad2d

STEM, HEAD = 32, 1280  # output channels of the first and of the last convolution
BLOCKS = (
    # repeats, kernel, stride (of the first repeat only), expansion, input channels, output channels
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
ROUNDED = ".scale"  # for a tensor stored as integers, NAME.scale is the key of its scales


class EfficientNet(Sequential):
    """A network for images (N, 3, H, W) in [0, 1], 224 pixels high and wide or another size from 96 up.

    The first child, ``preprocess``, maps the images to the range of the training images.
    ``gradcam_layer`` names the last layer whose output has height and width: 7 x 7 for 224 pixels.
    """

    gradcam_layer = "_relu1"

    def features(self, images: Any) -> Tensor:
        """The input of the last layer, (N, 1280): the mean of each feature map."""
        for module in self.children()[:-1]:
            images = module(images)
        return images


class Preprocess(Module):
    """(x - mean) / std: for pixels v = 255 x in 0 ... 255 this is (v - 127) / 128."""

    mean, std = 127 / 255, 128 / 255

    def forward(self, x: Any) -> Tensor:
        x = F.floating(x)
        self.check(x.data)
        return (x - self.mean) / self.std

    @staticmethod
    def check(images: np.ndarray) -> None:
        """Refuse images of another shape or range. A rounded network calls this before it clips them."""
        fits = images.ndim == 4 and images.shape[1] == 3
        require(fits, f"expected colour images (N, 3, H, W), got {images.shape}")
        largest = np.abs(images).max(initial=0)
        require(not largest > 4, f"images must be in [0, 1], got values up to {largest:g}: divide by 255")

    def extra_repr(self) -> str:
        return f"mean={self.mean:.4g}, std={self.std:.4g}"


class SamePad2d(ZeroPad2d):
    """TensorFlow's "same" padding: a convolution with ``stride`` then gives ceil(size / stride) pixels.

    If the number of zeros is odd, the right and the bottom get one zero more than the left and the top.
    """

    def __init__(self, kernel_size: int, stride: int) -> None:
        self.kernel_size, self.stride = kernel_size, stride

    def sides(self, height: int, width: int) -> tuple[int, ...]:
        sides: list[int] = []
        for size in (width, height):
            last = (size - 1) // self.stride * self.stride  # the start of the last window, without padding
            total = max(last + self.kernel_size - size, 0)
            sides += [total // 2, total - total // 2]
        return tuple(sides)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


def efficientnet_lite0(num_classes: int = 1000, *, rng: np.random.Generator | None = None) -> EfficientNet:
    """The network with random weights. ``imagenet_network`` gives the trained one.

    >>> from minidl import nn
    >>> nn.models.efficientnet_lite0(num_classes=10).layer("_fc")
    Linear(1280, 10)
    """
    rng = default_rng_or(rng)
    blocks = Sequential()
    for repeats, kernel, stride, expansion, channels, out in BLOCKS:
        for i in range(repeats):
            blocks.append(block(channels if i == 0 else out, out, kernel, 1 if i else stride, expansion, rng))
    return EfficientNet(
        {
            "preprocess": Preprocess(),
            "_pad": SamePad2d(3, 2),
            "_conv_stem": Conv2d(3, STEM, 3, 2, bias=False, rng=rng),
            "_bn0": batch_norm(STEM),
            "_relu0": ReLU6(),
            "_blocks": blocks,
            "_conv_head": Conv2d(BLOCKS[-1][-1], HEAD, 1, bias=False, rng=rng),
            "_bn1": batch_norm(HEAD),
            "_relu1": ReLU6(),
            "_avg_pooling": AdaptiveAvgPool2d(1),
            "_flatten": Flatten(),
            "_dropout": Dropout(0.2, rng=rng),
            "_fc": Linear(HEAD, num_classes, rng=rng),
        }
    )


def block(
    channels: int, out: int, kernel: int, stride: int, expansion: int, rng: np.random.Generator
) -> Sequential:
    """Expand the channels, convolve each channel by itself (depthwise), project to fewer channels.

    If input and output have the same shape, the block adds its input to its output (Sandler et al. 2018).
    """
    wide = channels * expansion
    layers: dict[str, Module] = {}
    if expansion != 1:
        layers["_expand_conv"] = Conv2d(channels, wide, 1, bias=False, rng=rng)
        layers["_bn0"] = batch_norm(wide)
        layers["_relu0"] = ReLU6()
    padding = kernel // 2 if stride == 1 else 0
    if stride != 1:
        layers["_pad"] = SamePad2d(kernel, stride)
    layers |= {
        "_depthwise_conv": Conv2d(wide, wide, kernel, stride, padding, groups=wide, bias=False, rng=rng),
        "_bn1": batch_norm(wide),
        "_relu1": ReLU6(),
        "_project_conv": Conv2d(wide, out, 1, bias=False, rng=rng),
        "_bn2": batch_norm(out),
    }
    return Skip(layers) if stride == 1 and channels == out else Sequential(layers)


def batch_norm(channels: int) -> BatchNorm2d:
    return BatchNorm2d(channels, eps=1e-3, momentum=0.01)


# ---- trained


def imagenet_network(weights: str | os.PathLike | None = None) -> EfficientNet:
    """EfficientNet-Lite0 trained on ImageNet, in evaluation mode. Its parameters require no gradient.

    It takes images (N, 3, H, W) in [0, 1] and gives 1,000 logits, whose names are ``imagenet_names()``. Do
    not subtract ImageNet's mean and divide by its deviation: the network does its own scaling.
    In training mode, as inside ``fit``, BatchNorm still updates its statistics; ``transfer.freeze(model)``
    stops this, too.
    weights: an ``.npz`` file of the network's state. The default is the file of the package; its numbers are
    rounded to 16 or 8 bits. ValueError for a file with other arrays.

    >>> from minidl import data, nn
    >>> image, mask = data.load_picture(data.lesson_pictures() / "mammals" / "zebra.webp")
    >>> answer = nn.models.imagenet_network()(image[np.newaxis]).argmax().item()  # doctest: +SKIP
    >>> nn.models.imagenet_names()[answer]  # doctest: +SKIP
    'zebra'
    """
    model = efficientnet_lite0(rng=np.random.default_rng(0))
    if weights is None:
        with resources.files(__package__).joinpath("efficientnet_lite0.npz").open("rb") as file:
            model.load_state_dict(read_weights(file))
    else:
        with open(check_path("weights", weights), "rb") as file:
            model.load_state_dict(read_weights(file))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()


def read_weights(file: Any) -> dict[str, np.ndarray]:
    """The state in an open ``.npz`` file.

    A tensor of integers is multiplied by its scales, one for each filter. Scales that fit no tensor stay, so
    ``load_state_dict`` names them.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            state = {key: stored[key] for key in stored.files}
            require(all(isinstance(value, np.ndarray) for value in state.values()), "not only arrays")
    except (ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{file.name} is no complete .npz file of arrays") from error
    for key in [key for key in state if key.endswith(ROUNDED)]:
        scale, tensor = state[key], state.get(key.removesuffix(ROUNDED), np.zeros(()))
        if scale.dtype.kind == "f" and scale.shape == tensor.shape[:1] and tensor.dtype.kind in "iu":
            state[key.removesuffix(ROUNDED)] = tensor * scale.reshape(-1, *[1] * (tensor.ndim - 1))
            del state[key]
    return state


@cache
def imagenet_names() -> tuple[str, ...]:
    """Short English names of the 1,000 classes, in the order of the network's logits.

    >>> from minidl import nn
    >>> len(nn.models.imagenet_names())
    1000
    """
    text = resources.files(__package__).joinpath("imagenet_names.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
