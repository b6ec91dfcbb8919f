"""What the tests of exported networks share: ONNX Runtime, the networks, and the integers layer by layer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from hypothesis import strategies as st
from lite import tiny_lite

from minidl import Tensor, nn, no_grad
from minidl.compress.integer import layers as integer
from minidl.compress.integer.arithmetic import quantized_add
from minidl.compress.layer_kinds import runs_as
from minidl.compress.quantize import quantize
from minidl.nn import functional as F
from minidl.nn.models import inception_block, lenet, mlp, small_cnn, tiny_resnet

onnxruntime.set_default_logger_severity(3)  # hide warnings about optimisations


def run(model, images, optimised=True, outputs=None):
    """The outputs of a file, or of a ModelProto, for the images: a dict by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = outputs or ["logits"]
    return dict(zip(names, session.run(names, {"input": images}), strict=True))


def distance(found, expected):
    """The largest difference, relative to the largest number where that is above 1."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / max(1, np.abs(expected).max()))


def images_of(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def warmed(model, images):
    """In eval mode, with BatchNorm statistics that are not those of a new network."""
    with no_grad():
        model.train()(images)
    return model.eval()


def lesson_8(rng):
    """The network of lesson 08, which is written out there."""
    layers = {
        "conv1": nn.Conv2d(1, 16, 3, padding=1, rng=rng),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(16, 32, 3, padding=1, rng=rng),
        "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "head": nn.Linear(32 * 2 * 2, 10, rng=rng),
    }
    return nn.Sequential(layers)


# Builders of the lessons' networks, each with the shape of an image.
NETWORKS = {
    "mlp": (lambda rng: mlp(64, (32, 16), 10, dropout=0.3, rng=rng), (1, 8, 8)),
    "linear": (lambda rng: mlp(64, (), 10, rng=rng), (1, 8, 8)),
    "one logit": (lambda rng: mlp(8, (32, 32), 1, rng=rng), (8,)),
    "lenet": (lambda rng: lenet(rng=rng), (1, 28, 28)),
    "lesson 08": (lesson_8, (1, 8, 8)),
    "digits": (lambda rng: small_cnn(10, 1, rng=rng), (1, 8, 8)),
    "lesson 02": (lambda rng: small_cnn(10, 1, (32, 64, 64), pool_after=(1,), rng=rng), (1, 8, 8)),
    "shapes": (lambda rng: small_cnn(4, 3, rng=rng), (3, 16, 16)),
    "lesson 13": (lambda rng: small_cnn(8, 3, (16, 32, 32), pool_after=(1, 2), rng=rng), (3, 16, 16)),
    "lesson 15": (lambda rng: small_cnn(4, 3, pool_after=(), rng=rng), (3, 16, 16)),
    "resnet": (lambda rng: tiny_resnet(4, 3, rng=rng), (3, 16, 16)),
    "deep resnet": (lambda rng: tiny_resnet(10, 1, (8, 12), blocks=3, rng=rng), (1, 9, 9)),
    "inception": (lambda rng: inception_block(3, rng=rng), (3, 9, 10)),
    "lite": (lambda rng: tiny_lite(4, rng), (3, 21, 20)),
}


def network(name, count=6):
    """A network of the lessons in evaluation mode, and images for it."""
    build, shape = NETWORKS[name]
    images = images_of(count, *shape)
    return warmed(build(np.random.default_rng(1)), images), images


# ---- random networks


@st.composite
def random_networks(draw, activations=(nn.ReLU, nn.ReLU6)):
    """A network with residual, concatenated and depthwise parts, in evaluation mode, and images for it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels = draw(st.integers(1, 4))
    images = rng.random((4, channels, draw(st.integers(6, 11)), draw(st.integers(6, 11))), np.float32)
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        part, channels = draw(random_part(rng, channels, activations))
        parts.append(part)
    parts += [nn.AdaptiveAvgPool2d(1)] if draw(st.booleans()) else []
    if draw(st.booleans()):
        stack = nn.Sequential(*parts, nn.Flatten()).eval()
        parts += [nn.Flatten(), nn.Linear(stack(images).shape[1], draw(st.integers(1, 5)), rng=rng)]
    return warmed(nn.Sequential(*parts), images), images


KINDS = ("activation", "conv", "residual", "projected", "skip", "concat", "depthwise", "pool", "pad")


@st.composite
def random_part(draw, rng, channels, activations):
    """A part of a network and the channels that it gives."""
    kind = draw(
        st.sampled_from(
            ["activation", "conv", "residual", "projected", "skip", "concat", "depthwise", "pool", "pad"]
        )
    )
    if kind == "conv":
        groups = draw(st.sampled_from([n for n in (1, 2) if channels % n == 0]))
        out = groups * draw(st.integers(1, 4))
        size, dilation = draw(st.sampled_from([(1, 1), (2, 1), (3, 1), (3, 2)]))
        settings = {"stride": draw(st.integers(1, 2)), "padding": size - 1, "dilation": dilation}
        return conv(draw, rng, channels, out, size, activations, groups=groups, **settings), out
    if kind == "depthwise":
        return conv(draw, rng, channels, channels, 3, activations, padding=1, groups=channels), channels
    if kind in ("residual", "skip", "projected"):
        out = draw(st.integers(1, 4)) if kind == "projected" else channels
        first = conv(draw, rng, channels, 2, 3, activations, padding=1)
        body = [*first, nn.Conv2d(2, out, 1, rng=rng)]
        if kind == "skip":
            return nn.Skip(*body), channels
        shortcut = nn.Conv2d(channels, out, 1, bias=False, rng=rng) if kind == "projected" else None
        return nn.Sequential(nn.Residual(nn.Sequential(*body), shortcut), draw_one(draw, activations)), out
    if kind == "concat":
        one = conv(draw, rng, channels, 2, 1, activations)
        other = nn.Sequential(nn.MaxPool2d(3, 1, 1), *conv(draw, rng, channels, 3, 3, activations, padding=1))
        return nn.Concat(one, other), 5
    if kind == "activation":
        return draw_one(draw, activations), channels
    if kind == "pad":
        return nn.ZeroPad2d((1, 0, 2, 1)), channels
    pool = draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))
    return pool(*draw(st.sampled_from([(2, 1), (3, 1, 1), (2, 1, 1)]))), channels


def conv(draw, rng, channels, out, size, activations, **settings):
    """A convolution, with a BatchNorm or a bias, with an activation or none."""
    has_norm = draw(st.booleans())
    layers = [nn.Conv2d(channels, out, size, bias=not has_norm, rng=rng, **settings)]
    layers += [nn.BatchNorm2d(out)] if has_norm else []
    return nn.Sequential(*layers, *([draw_one(draw, activations)] if draw(st.booleans()) else []))


def draw_one(draw, activations):
    return draw(st.sampled_from(activations))()


# ---- integers, layer by layer


class Tally(NamedTuple):
    """How many integers were compared, and of those that differ how far from a half the exact number is,
    relative to the sum of the sizes of its terms where that is above 1."""

    compared: int
    from_half: tuple[float, ...]


def optimised(file):
    """What ONNX Runtime makes of a file, before it lays out the arrays for the processor."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(file.with_suffix(".optimised"))
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)


def compared(model, file, images, fast):
    """Each layer of an IntegerModel against that of its file, both on the integers that the file gives.

    fast: the file is what ONNX Runtime makes of it: integer layers, not floats between roundings.
    """
    proto = onnx.load(file)
    values = {}  # path of a layer -> the name of its output
    for node in proto.graph.node:
        values[node.name.rpartition("/")[0]] = node.output[0]
    proto = optimised(file) if fast else proto
    left = {name for node in proto.graph.node for name in node.output}
    values = {path: name for path, name in values.items() if name in left}
    more = sorted(set(values.values()) - {"logits"})
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in more)
    found = run(proto, images, False, ["logits", *more])
    walk = Walk({path: found[name] for path, name in values.items()})
    q = quantize(images, model.x_params)
    reals = images / np.float64(model.x_params.scale)
    walk.check("input", q, reals, np.abs(reals))
    walk.layer("", model.body, q)
    # After optimisation, layers such as pooling may come before the rounding. A Concat rounds all branches at
    # once.
    assert all(fast or path.endswith(".rescale") for path in walk.missing)
    return Tally(walk.compared, tuple(walk.from_half))


class Walk:
    """Goes through an IntegerModel with what a file gave for each of its layers, if it still has them."""

    def __init__(self, values):
        self.values, self.compared, self.from_half, self.missing = values, 0, [], []

    def layer(self, path, module, q):
        inner = f"{path}." if path else ""
        if runs_as(module, nn.Sequential):
            for name, child in module.named_children():
                q = self.layer(f"{inner}{name}", child, q)
            return q
        if isinstance(module, integer.IntegerConcat):
            parts, numbers = [], []
            for name, child in module.named_children():
                before = self.layer(f"{inner}{name}", child[:-1], q)
                numbers.append(exact(child.rescale, before))
                parts.append(self.layer(f"{inner}{name}.rescale", child.rescale, before))
            joined = (np.concatenate(arrays, axis=1) for arrays in (parts, *zip(*numbers, strict=True)))
            return self.check(path, *joined)
        if isinstance(module, integer.QuantizedResidual):
            ends = [self.layer(f"{inner}{name}", getattr(module, name), q) for name in ("body", "shortcut")]
            expected = quantized_add(
                ends[0], module.body_params, ends[1], module.shortcut_params, module.y_params
            )
            terms = steps(ends[0], module.body_params), steps(ends[1], module.shortcut_params)
            numbers, sizes = sum(terms), sum(map(np.abs, terms))
            return self.check(path, expected, numbers / step_of(module), sizes / step_of(module))
        if getattr(module, "y_params", q) is None:  # logits are floats in the file
            shape = (-1, *[1] * (q.ndim - 2))
            scale = (module.x_params.scale * module.w_params.scale).reshape(shape)
            assert distance(self.values[path], module(q).astype(np.float32) * scale) < 1e-6
            return None
        return self.check(path, module(q), *exact(module, q))

    def check(self, path, expected, numbers=None, sizes=None):
        """Count what differs; ``numbers`` are what was rounded, exactly; ``sizes``, of their terms."""
        if path not in self.values:
            self.missing.append(path)
            return expected
        found = self.values[path]
        if found.dtype == np.uint8 != expected.dtype:  # in the qdq format the file's integers are 128 higher
            found = (found.astype(np.int16) - 128).astype(np.int8)
        assert found.dtype == expected.dtype and found.shape == expected.shape
        wrong = found != expected
        self.compared += expected.size
        if wrong.any():
            assert numbers is not None, f"{path} rounds nothing, and differs"
            assert np.abs(found.astype(int) - expected).max() == 1, f"{path} differs by more than a step"
            from_half = np.abs(numbers - np.floor(numbers) - 0.5) / np.maximum(1, sizes)
            self.from_half += [float(tie) for tie in from_half[wrong]]
        return found


def steps(q, params):
    """The reals that integers stand for, in float64."""
    return np.float64(params.scale) * (q.astype(np.int64) - params.zero_point)


def step_of(module):
    return np.float64(module.y_params.scale)


def exact(module, q):
    """The numbers that a layer rounds, in steps of its output, computed in float64, and the sum of the sizes
    of the terms of each; nothing if it rounds none."""
    if not hasattr(module, "y_params"):
        return ()
    reals = steps(q, module.x_params)
    if isinstance(module, integer.QuantizedConv2d | integer.QuantizedLinear):
        scale = np.float64(module.x_params.scale) * module.w_params.scale
        weight = steps_of_weights(module)
        bias = module.bias * scale
        settings = ()
        if isinstance(module, integer.QuantizedConv2d):
            settings = module.stride, module.padding, module.dilation, module.groups
        layer = F.conv2d if settings else F.linear
        arrays = [(reals, weight, bias), tuple(map(np.abs, (reals, weight, bias)))]
        reals, sizes = (layer(*map(Tensor, three), *settings).data for three in arrays)
        return reals / step_of(module), sizes / step_of(module)
    if isinstance(module, integer.QuantizedAvgPool2d):
        window = (module.kernel_size or q.shape[2:], module.stride, module.padding)
        reals = F.avg_pool2d(Tensor(reals), *window).data
    if isinstance(module, integer.QuantizedPreprocess):
        reals = (reals - module.mean) / module.std
    return reals / step_of(module), np.abs(reals) / step_of(module)


def steps_of_weights(module):
    scale = np.reshape(module.w_params.scale, (-1, *[1] * (module.weight.ndim - 1))).astype(np.float64)
    return scale * module.weight
