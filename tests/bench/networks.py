"""Whole networks beside PyTorch:  python -m tests.bench.networks [seconds for each measurement, 3 by default]

As ``tests.bench``: a process for each library, turn by turn, medians; a ratio below 1 means that minidl takes
less. EfficientNet-Lite0's stack (Tan and Le 2019, without squeeze-and-excite, with clip(0, 6)) and ResNet-18
(He et al. 2016), with random weights: time does not depend on them.
"""

from __future__ import annotations

import sys

import numpy as np

from tests.bench.__main__ import compare

STAGES = [  # kernel, stride, expansion, output channels, blocks
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
]
NETWORKS = [  # title, network, shape of the images, operation
    ("EfficientNet-Lite0 forward", "efficientnet", (1, 3, 224, 224), "forward"),
    ("EfficientNet-Lite0 forward, input's gradient", "efficientnet", (1, 3, 224, 224), "saliency"),
    ("EfficientNet-Lite0 forward, batch 8", "efficientnet", (8, 3, 224, 224), "forward"),
    ("ResNet-18 forward", "resnet", (1, 3, 224, 224), "forward"),
    ("ResNet-18 training step, 8 x 3 x 64 x 64", "resnet", (8, 3, 64, 64), "step"),
]


def conv_bn(nn, channels, out, kernel, stride=1, groups=1):
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out)]


def pieces(nn):
    """ReLU6 and a residual connection, of either library's modules."""

    class ReLU6(nn.Module):
        def forward(self, x):
            return x.clip(0, 6)

    class Residual(nn.Module):
        def __init__(self, body, shortcut, after):
            super().__init__()
            self.body, self.shortcut, self.after = body, shortcut, after

        def forward(self, x):
            return self.after(self.body(x) + self.shortcut(x))

    return ReLU6, Residual


def efficientnet(nn):
    ReLU6, Residual = pieces(nn)
    layers, channels = [*conv_bn(nn, 3, 32, 3, 2), ReLU6()], 32
    for kernel, stride, expansion, out, blocks in STAGES:
        for i in range(blocks):
            inner, step = expansion * channels, stride if i == 0 else 1
            block = [*conv_bn(nn, channels, inner, 1), ReLU6()] if expansion > 1 else []
            block += [*conv_bn(nn, inner, inner, kernel, step, inner), ReLU6(), *conv_bn(nn, inner, out, 1)]
            body, keeps = nn.Sequential(*block), step == 1 and channels == out
            layers.append(Residual(body, nn.Sequential(), nn.Sequential()) if keeps else body)
            channels = out
    return nn.Sequential(*layers, *conv_bn(nn, channels, 1280, 1), ReLU6())


def resnet(nn):
    _, Residual = pieces(nn)
    layers, channels = [*conv_bn(nn, 3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for out in (64, 128, 256, 512):
        for stride in (1 if out == 64 else 2, 1):
            body = [*conv_bn(nn, channels, out, 3, stride), nn.ReLU(), *conv_bn(nn, out, out, 3)]
            same = stride == 1 and channels == out
            shortcut = nn.Sequential(*([] if same else conv_bn(nn, channels, out, 1, stride)))
            layers.append(Residual(nn.Sequential(*body), shortcut, nn.ReLU()))
            channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def network_case(library, case, shape=None):
    """The function to time: what NETWORKS[case] does, on images of its shape or of another one."""
    _, name, own_shape, action = NETWORKS[case]
    shape = shape or own_shape
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    labels = np.arange(shape[0]) % 10
    if library == "torch":
        import torch as engine
        from torch import nn
        from torch.nn import functional as F

        images, labels = engine.tensor(images), engine.tensor(labels)
        tensor, gradient = lambda x: x.clone().requires_grad_(), engine.autograd.grad
    else:
        import minidl as engine
        from minidl import nn
        from minidl.nn import functional as F

        tensor, gradient = lambda x: engine.Tensor(x, requires_grad=True), engine.grad
    model = {"efficientnet": efficientnet, "resnet": resnet}[name](nn)
    parameters = list(model.parameters())
    if action != "step":
        model.eval()
    if action == "saliency":
        for parameter in parameters:
            parameter.requires_grad = False

    def forward():
        with engine.no_grad():
            model(images)

    def saliency():
        x = tensor(images)
        gradient(model(x).mean(), [x])

    def step():
        gradient(F.cross_entropy(model(images), labels), parameters)

    return {"forward": forward, "saliency": saliency, "step": step}[action]


def main():
    compare([name for name, *_ in NETWORKS], float(sys.argv[1]) if len(sys.argv) > 1 else 3.0, "network")


if __name__ == "__main__":
    main()
