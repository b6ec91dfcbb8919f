"""Float networks as ONNX files give in ONNX Runtime what they give here."""

import json

import numpy as np
import pytest
from hypothesis import given

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from runs import NETWORKS, distance, images_of, network, random_networks, run  # noqa: E402

from minidl import Tensor, concatenate, nn, no_grad, stack  # noqa: E402
from minidl.compress.fuse import fuse  # noqa: E402
from minidl.export import to_onnx  # noqa: E402
from minidl.nn import functional as F  # noqa: E402
from minidl.nn.models import imagenet_network  # noqa: E402
from minidl.train.networks import digits_network, digits_split  # noqa: E402

TOLERANCE = 1e-5  # for logits, relative to the largest if it is above 1


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx") / "model.onnx"


def agrees(model, images, file, tolerance=TOLERANCE):
    """Write the file with one image, and run it on all, with the optimiser on and off."""
    to_onnx(model, images[:1], file)
    onnx.checker.check_model(str(file), full_check=True)
    onnx.shape_inference.infer_shapes(onnx.load(file), check_type=True, strict_mode=True)
    with no_grad():
        expected = model(Tensor(images)).data
    for optimised in (True, False):
        assert distance(run(file, images, optimised)["logits"], expected) <= tolerance


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_of_the_lessons_give_the_same_logits(name, file):
    model, images = network(name)
    agrees(model, images, file)
    agrees(fuse(model, images[:1]), images, file)


def test_a_trained_network_gives_the_same_logits(file):
    _, _, (images, _) = digits_split()
    agrees(digits_network(), images[:50], file)


@pytest.mark.parametrize("size", [96, 224])
def test_the_real_network_gives_the_same_logits(file, size):
    images = images_of(2, 3, size, size)
    model = imagenet_network()
    agrees(model, images, file)
    if size == 96:
        agrees(fuse(model, images[:1]), images, file)


@given(random_networks(activations=(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.Tanh, nn.Sigmoid)))
def test_random_networks_give_the_same_logits(file, drawn):
    model, images = drawn
    agrees(model, images, file)
    agrees(fuse(model, images[:1]), images, file)


# ---- functions and operators between layers


class Pasted(nn.Module):
    """As a first PyTorch course writes it: functions between layers."""

    def __init__(self):
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3)
        self.fc1, self.fc2 = nn.Linear(24, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.relu(self.conv2(x))
        x = x.reshape(len(x), -1)
        x = F.dropout(F.gelu(self.fc1(x)), 0.5, self.training)
        return F.log_softmax(self.fc2(x))


class Squeezed(nn.Module):
    """Squeeze and excite: channels weighed by what they hold, and a shortcut by hand."""

    def __init__(self):
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.down, self.up = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
        self.scale = nn.Parameter(np.full((4, 1, 1), 0.5, np.float32))

    def forward(self, x):
        y = self.conv(x)
        gate = F.relu6(self.up(F.relu(self.down(y.mean((2, 3), keepdims=True)))) + 3) / 6
        y = y * gate * self.scale + y
        return concatenate([y, -y[:, ::2]], axis=1)


class Attention(nn.Module):
    """One head of attention over the pixels, with LayerNorm by hand."""

    def __init__(self):
        self.query, self.key, self.value = (nn.Linear(4, 6) for _ in range(3))

    def forward(self, x):
        x = x.reshape(*x.shape[:2], -1).transpose(0, 2, 1)  # (N, C, H, W) -> (N, H W, C)
        centred = x - x.mean(-1, keepdims=True)
        x = centred / (x.var(-1, keepdims=True) + 1e-5).sqrt()
        weights = (self.query(x) @ self.key(x).transpose(0, 2, 1) / 6**0.5).softmax(-1)
        y = weights @ self.value(x)
        return stack([y[:, 0], y[:, -1]], axis=1).sum(1)


@pytest.mark.parametrize(
    ("build", "shape"), [(Pasted, (1, 10, 10)), (Squeezed, (3, 5, 6)), (Attention, (4, 3, 5))]
)
def test_functions_and_operators_between_layers_are_exported(file, build, shape):
    agrees(build().eval(), images_of(5, *shape), file)


def test_a_layer_that_runs_twice_and_a_shared_parameter_are_one_initializer(file):
    layer = nn.Linear(4, 4)
    model = nn.Sequential({"one": layer, "relu": nn.ReLU(), "two": nn.Linear(4, 4), "again": layer})
    model.two.weight = layer.weight
    agrees(model.eval(), images_of(3, 4), file)
    names = {array.name for array in onnx.load(file).graph.initializer}
    assert names == {"one.weight", "one.bias", "two.bias"}


# ---- what the file says


def test_the_file_has_opset_17_a_free_batch_and_the_keys_of_the_state_dict(file):
    model, images = network("digits")
    names = ["zero", "één", *"23456789"]
    to_onnx(model, Tensor(images[:1]), str(file), class_names=names)
    proto = onnx.load(file)
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 17)]
    ends = [
        (value.name, [n.dim_param or n.dim_value for n in value.type.tensor_type.shape.dim])
        for value in (*proto.graph.input, *proto.graph.output)
    ]
    assert ends == [("input", ["batch", 1, 8, 8]), ("logits", ["batch", 10])]
    state = model.state_dict()
    for array in proto.graph.initializer:
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(array), state.pop(array.name))
    assert {key.rpartition(".")[2] for key in state} == {"num_batches_tracked"}
    (entry,) = proto.metadata_props
    assert entry.key == "class_names" and json.loads(entry.value) == names
    assert [node.name for node in proto.graph.node][:3] == [
        "block1.conv/Conv",
        "block1.bn/BatchNormalization",
        "block1.relu/Relu",
    ]


def test_exporting_leaves_the_model_as_it_was(file):
    model, images = network("resnet")
    model.train()
    state = model.state_dict()
    seen = []
    hook = model.layer("head").register_forward_hook(lambda *call: seen.append(call))
    to_onnx(model, images, file)
    hook.remove()
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[key])


def test_names_that_the_file_needs_itself_are_free_for_parameters(file):
    class Taken(nn.Module):
        def __init__(self):
            self.input = nn.Parameter(np.full(3, 2, np.float32))
            self.logits = nn.Parameter(np.full(3, 3, np.float32))

        def forward(self, x):
            return x * self.input + self.logits

    agrees(Taken(), images_of(4, 3), file)
