"""Each operation of the engine gives the same in ONNX Runtime; what ONNX cannot say is refused."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from runs import distance, images_of, network, run  # noqa: E402

import minidl  # noqa: E402
from minidl import Op, Tensor, apply, nn, no_grad  # noqa: E402
from minidl.compress.branches import merge_parallel_convs  # noqa: E402
from minidl.compress.fuse import fuse  # noqa: E402
from minidl.compress.fused import ConvReLU, ConvReLU2d, ConvReLU6  # noqa: E402
from minidl.compress.integer import IntegerModel  # noqa: E402
from minidl.compress.qat import prepare_qat  # noqa: E402
from minidl.compress.quantize import FakeQuantize, symmetric_params  # noqa: E402
from minidl.engine import activations, conv, elementwise, linalg, normalize, reduce, shape  # noqa: E402
from minidl.engine.resample import Resample  # noqa: E402
from minidl.export import to_onnx  # noqa: E402
from minidl.export.operations import OPERATIONS  # noqa: E402
from minidl.nn import functional as F  # noqa: E402

W = np.random.default_rng(5).normal(size=(6, 4, 3, 3)).astype(np.float32)
B = np.random.default_rng(6).normal(size=6).astype(np.float32)
L = W[:, 0].reshape(9, 6)[:6]
RELU6 = ConvReLU6(4, 6, 3, padding=1, bias=False, rng=np.random.default_rng(0))
MASK = W[0, :, :1, :1] > 0
# For each operation: functions of images (N, 4, 5, 6) in [-2, 2).
CASES = {
    activations.ELU: [F.elu, lambda x: F.elu(3 * x, 0.5)],
    activations.GELU: [F.gelu],
    activations.GELUTanh: [lambda x: F.gelu(3 * x, "tanh")],
    activations.Hardsigmoid: [lambda x: F.hardsigmoid(3 * x)],
    activations.Hardswish: [lambda x: F.hardswish(3 * x)],
    activations.LeakyReLU: [lambda x: F.leaky_relu(x, 0.2), lambda x: F.leaky_relu(x, 0)],
    activations.SiLU: [F.silu],
    activations.Softplus: [F.softplus, lambda x: F.softplus(20 * x, 0.5, 30)],
    elementwise.Abs: [abs],
    elementwise.Add: [lambda x: x + x * 2, lambda x: 1 + x, lambda x: x + W[0, :, :1, :1]],
    elementwise.Clip: [lambda x: x.clip(-0.5, 1), lambda x: x.clip(0), lambda x: x.clip(None, 0.25)],
    elementwise.Cos: [Tensor.cos],
    elementwise.Div: [lambda x: x / (x * x + 1), lambda x: 2 / (x + 3)],
    elementwise.Exp: [Tensor.exp],
    elementwise.Log: [lambda x: (x + 3).log()],
    elementwise.Maximum: [lambda x: minidl.maximum(x, -x / 2), lambda x: minidl.maximum(0.5, x)],
    elementwise.Minimum: [lambda x: minidl.minimum(x, 0.5)],
    elementwise.Mul: [lambda x: x * x, lambda x: x * W[0, :, :1, :1]],
    elementwise.Neg: [lambda x: -x],
    elementwise.Pow: [lambda x: x**2, lambda x: 2**x, lambda x: (x + 3) ** 0.5],
    elementwise.ReLU: [F.relu],
    elementwise.ReLU6: [lambda x: F.relu6(4 * x)],
    elementwise.Sigmoid: [F.sigmoid],
    elementwise.Root: [lambda x: x.std((2, 3)), lambda x: x.norm(dim=1)],
    elementwise.Sin: [Tensor.sin],
    elementwise.Sqrt: [lambda x: (x + 3).sqrt()],
    elementwise.Sub: [lambda x: x - 1, lambda x: 1 - x],
    elementwise.Tanh: [F.tanh],
    elementwise.Where: [lambda x: minidl.where(MASK, x, 0.0), lambda x: minidl.where(MASK, -x, x)],
    conv.AvgPool2d: [
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, (3, 2), (1, 2), (1, 0)),
        lambda x: F.avg_pool2d(x, 2, ceil_mode=True),
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    ],
    conv.Conv2d: [
        lambda x: F.conv2d(x, W, B, (1, 2), (2, 1), (1, 2)),
        lambda x: F.conv2d(x, W[:, :2], None, 2, 1, groups=2),
    ],
    ConvReLU: [
        ConvReLU2d(4, 6, 3, padding=1, rng=np.random.default_rng(0)),
        lambda x: RELU6(20 * x),
    ],
    conv.MaxPool2d: [
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, 3, (1, 2), (1, 0)),
        lambda x: F.max_pool2d(x, 2, ceil_mode=True),
        lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    ],
    linalg.Einsum: [lambda x: minidl.einsum("nchw,ck->nkh", x, L[:4])],
    linalg.Linear: [
        lambda x: F.linear(x, L),
        lambda x: F.linear(x, L, B),
        lambda x: F.linear(x.mean((1, 2)), L, B),
    ],
    linalg.MatMul: [
        lambda x: x @ W.reshape(-1, 6, 2)[0],
        lambda x: x @ x.transpose(0, 1, 3, 2),
        lambda x: x @ B,
    ],
    normalize.BatchNorm: [lambda x: F.batch_norm(x, B[:4], B[:4] ** 2, eps=0.01)],
    reduce.CumSum: [lambda x: x.cumsum(2)],
    reduce.LogSoftmax: [lambda x: F.log_softmax(x, 1, temperature=2.0)],
    reduce.LogSumExp: [lambda x: x.logsumexp(1), lambda x: x.logsumexp((2, 3), keepdims=True)],
    reduce.Prod: [lambda x: x.prod(1), lambda x: x.prod((2, 3), keepdims=True)],
    reduce.Max: [lambda x: x.max(axis=(2, 3)), lambda x: x.max(axis=-1, keepdims=True)],
    reduce.Mean: [
        lambda x: x.mean((2, 3)),
        lambda x: x.mean((1, 2), keepdims=True),
        F.adaptive_avg_pool2d,
        lambda x: x.mean(()),
        lambda x: x.mean(0),
    ],
    reduce.Min: [lambda x: x.min(axis=1)],
    reduce.Softmax: [lambda x: F.softmax(x, 1, temperature=0.5), F.softmax],
    reduce.Sum: [lambda x: x.sum((1, 3)), lambda x: x.sum(()), lambda x: x.sum(-1, keepdims=True)],
    reduce.Var: [lambda x: x.var((1, 2)), lambda x: x.var(-1, ddof=1, keepdims=True)],
    Resample: [
        lambda x: F.interpolate(x, (7, 3), mode="bilinear"),
        lambda x: F.adaptive_avg_pool2d(x, (3, 4)),
    ],
    shape.AsType: [lambda x: (x * 2).astype(np.float64) / 3],
    shape.BroadcastTo: [lambda x: x.sum(2, keepdims=True).broadcast_to(len(x.data), 4, 7, 6)],
    shape.Concatenate: [lambda x: minidl.concatenate([x, x * 2, x], -1)],
    shape.ExpandDims: [lambda x: x.expand_dims((1, -1))],
    shape.GetItem: [
        lambda x: x[:, 1],
        lambda x: x[:, -1, ..., None, ::2],
        lambda x: x[:, :, ::-1, 1:-1],
        lambda x: x[..., 3:0:-2],
        lambda x: x[:, None, 1:9],
        lambda x: x[:],
        lambda x: x[:, [2, 0, 0]],
        lambda x: x[:, :, np.array([4, 0, 0])[:, None], np.array([5, -2])],
    ],
    shape.Pad: [lambda x: F.pad(x, (1, 0, 2, 1), value=0.5), lambda x: F.pad(x, (1, 2))],
    shape.Reshape: [
        lambda x: x.reshape(-1, 6),
        lambda x: x.reshape(len(x.data), 2, -1),
        lambda x: x.flatten(1),
        lambda x: x.flatten(2),
    ],
    shape.Squeeze: [lambda x: x[:, :1].squeeze(1), lambda x: x.sum((1, 3), keepdims=True).squeeze()],
    shape.Stack: [lambda x: minidl.stack([x, -x], 1), lambda x: minidl.stack([x, -x, x], -1)],
    shape.Transpose: [lambda x: x.transpose(0, 2, 3, 1), lambda x: x.transpose()],
}


class Function(nn.Module):
    def __init__(self, function):
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("kind", OPERATIONS, ids=lambda kind: kind.__name__)
def test_an_operation_gives_the_same_numbers(kind, tmp_path):
    if kind is FakeQuantize:
        return  # refused: see below
    images = 4 * images_of(5, 4, 5, 6) - 2
    for function in CASES[kind]:
        model = Function(function)
        seen = function(Tensor(images, requires_grad=True))
        assert any(type(node.op) is kind for node in ancestors(seen))
        to_onnx(model, images[:2], tmp_path / "model.onnx")
        with no_grad():
            expected = model(Tensor(images)).data
        for optimised in (True, False):
            found = run(tmp_path / "model.onnx", images, optimised)["logits"]
            assert distance(found, expected) < 1e-6


def test_every_operation_of_the_engine_but_the_losses_can_be_exported():
    kinds = [Op]
    for kind in kinds:
        kinds += kind.__subclasses__()
    own = {kind for kind in kinds if kind.__module__.startswith("minidl.engine") and "forward" in vars(kind)}
    left = {kind for kind in own - {Op} - set(OPERATIONS) if kind.__module__ != "minidl.engine.loss"}
    assert left == set()


def ancestors(tensor):
    return [tensor, *(node for parent in tensor.parents for node in ancestors(parent))]


# ---- what cannot be said


class Own(Op):
    def forward(self, x):
        return x

    def backward(self, grad):
        return grad


REFUSED = {
    "an operation of one's own": (lambda x: apply(Own(), x), "layer 'two': Own has no known counterpart"),
    "the statistics of the batch": (
        lambda x: F.batch_norm(x, None, None, training=True),
        "layer 'two': .*batch",
    ),
    "a softmax over two axes": (lambda x: F.softmax(x, (1, 2)), r"layer 'two': .*one axis.*\(1, 2\)"),
    "pairs of indices": (lambda x: x[:, [2, 0], [1, 1]], "layer 'two': arrays as indices"),
    "a mask": (lambda x: x[:, MASK[:, 0, 0]], "layer 'two': arrays as indices"),
    "a number beside an array": (lambda x: x[:, 1, [0, 2]], "layer 'two': arrays as indices"),
    "arrays apart": (lambda x: x[:, [0], :, [2]], "layer 'two': arrays as indices"),
    "a shape with the batch twice": (
        lambda x: (x.reshape(-1, 4) @ x.reshape(-1, 4).T).reshape(x.shape[0], -1, 30 * x.shape[0]),
        "layer 'two': .*follow the batch",
    ),
    "a row repeated for each image": (
        lambda x: x * Tensor(B, requires_grad=True).broadcast_to(x.shape),
        "layer 'two': an array cannot be repeated",
    ),
    "what depends on chance": (lambda x: F.dropout(x, 0.5), "layer 'two': Where.* it is random"),
    "what NumPy computed": (
        lambda x: x + np.sqrt(np.abs(x.data)).mean(),
        "layer 'two': constant would be a constant",
    ),
    "a comparison": (lambda x: minidl.where(x > 0, x, x * 0.1), "as in x > 0, x.data"),
    "a detached part": (lambda x: x * x.detach().sigmoid(), "layer 'two': constant would be a constant"),
    "the length of the batch": (lambda x: x / len(x.data), "layer 'two': constant would be a constant"),
    "a mask of the images": (lambda x: minidl.where(x.data > 0.3, x, 0), "layer 'two': Where"),
    "another path for other images": (
        lambda x: F.relu(x) if x.data.max() > 0 else -x,
        "layer 'two': operations or shapes differ",
    ),
    "one operation more for other images": (
        lambda x: -F.relu(x) if x.data.max() > 0 else F.relu(x),
        "need more operations",
    ),
    "a squeeze of the batch": (
        lambda x: (x[:, 0, 0, 0] * 1).squeeze() * 2,
        "layer 'two': operations or shapes differ",
    ),
    "a slice that the images choose": (
        lambda x: x[:, : 2 if x.data.max() > 0 else 4],
        "layer 'two': ",
    ),
    "no Tensor": (lambda x: (x, x), "must give one Tensor, got tuple"),
    "no operation": (lambda x: x, "no operation leads"),
    "no graph": (lambda x: Tensor(x.data), "no operation leads"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_onnx_cannot_say_is_refused_by_its_layer(reason, tmp_path):
    function, message = REFUSED[reason]
    model = nn.Sequential({"one": nn.Identity(), "two": Function(function)})
    with pytest.raises((ValueError, TypeError), match=message):
        to_onnx(model, np.zeros((1, 4, 5, 6), np.float32), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_networks_that_have_another_form_to_export_are_refused_with_it(tmp_path):
    model, images = network("inception")
    with pytest.raises(ValueError, match="layer 'input'.*convert"):
        to_onnx(prepare_qat(model, images), images, tmp_path / "model.onnx")
    merged = nn.Sequential({"block": merge_parallel_convs(fuse(model, images))}).eval()
    with pytest.raises(ValueError, match="layer 'block'.*before merge_parallel_convs"):
        to_onnx(merged, images, tmp_path / "model.onnx")
    unknown = IntegerModel(symmetric_params(1.0), {"a.relu": nn.ReLU()})
    with pytest.raises(ValueError, match="layer 'a.relu': ReLU has no counterpart"):
        to_onnx(unknown, images, tmp_path / "model.onnx")


def test_bad_arguments_are_refused(tmp_path):
    model, images = network("digits")
    path = tmp_path / "model.onnx"
    for bad, message in (
        ({"class_names": ["a"]}, "one name for each logit, got 1"),
        ({"class_names": [1] * 10}, "must be texts"),
        ({"class_names": "0123456789"}, "tuple or list"),
        ({"format": "tflite"}, "'qdq', 'qoperator'"),
        ({"example": images[0, 0, 0]}, "must be images"),
        ({"example": (255 * images).astype(np.uint8)}, "divide pixels"),
        ({"example": images[:, :, :1, :1]}, "layer 'block2.pool'"),
        ({"path": ""}, "path must be"),
        ({"model": lambda x: x}, "must be a Module"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            to_onnx(**{"model": model, "example": images, "path": path, **bad})
    assert not path.exists()


def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch):
    model, images = network("digits")
    monkeypatch.setattr("minidl.export.onnx.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="minidl\\[onnx\\]"):
        to_onnx(model, images, tmp_path / "model.onnx")


LAYERS = {
    "layer norm": nn.LayerNorm((5, 6)),
    "group norm": nn.GroupNorm(2, 4),
    "silu": nn.SiLU(),
    "hardswish": nn.Hardswish(),
    "softmax": nn.Softmax(1),
    "dropout2d": nn.Sequential(nn.Dropout2d(), nn.ReLU()),
    "same padding": nn.Conv2d(4, 2, (3, 5), padding="same"),
    "pooling to 3 x 4": nn.AdaptiveAvgPool2d((3, 4)),
    "nearest": nn.Upsample(scale_factor=(2, 1.5)),
    "bilinear": nn.Upsample(size=(7, 3), mode="bilinear"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_several_operations_gives_the_same_numbers(name, tmp_path):
    images = 4 * images_of(5, 4, 5, 6) - 2
    model = LAYERS[name].eval()
    to_onnx(model, images[:1], tmp_path / "model.onnx")
    for optimised in (True, False):
        found = run(tmp_path / "model.onnx", images, optimised)["logits"]
        assert distance(found, model(Tensor(images)).data) < 1e-6
