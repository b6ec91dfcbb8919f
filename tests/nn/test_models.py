"""The models: shapes, names, and that nothing but modules computes in them."""

import numpy as np
import pytest

import minidl.nn as nn
import minidl.nn.functional as F
from minidl.nn import models
from minidl.nn.calls import modules


def rng():
    return np.random.default_rng(0)


MODELS = {
    "mlp": (lambda g: models.mlp(64, (16, 8), 10, dropout=0.1, rng=g), (1, 8, 8)),
    "lenet": (lambda g: models.lenet(rng=g), (1, 28, 28)),
    "small_cnn": (lambda g: models.small_cnn(rng=g), (1, 8, 8)),
    "tiny_resnet": (lambda g: models.tiny_resnet(blocks=2, rng=g), (1, 8, 8)),
    "inception": (
        lambda g: nn.Sequential(models.inception_block(2, (3, 4, 5, 6), reduce=2, rng=g), nn.Flatten()),
        (2, 6, 6),
    ),
}
every_model = pytest.mark.parametrize("make, shape", MODELS.values(), ids=MODELS.keys())


@pytest.mark.parametrize("size", [8, 16, 28, 32])
@pytest.mark.parametrize("make", [models.small_cnn, models.tiny_resnet])
def test_one_network_takes_images_of_any_size(make, size):
    x = rng().random((2, 3, size, size), np.float32)
    assert make(num_classes=4, in_channels=3, rng=rng())(x).shape == (2, 4)


@pytest.mark.parametrize("size", [12, 16, 28, 32])
def test_lenet_is_built_for_one_size(size):
    x = rng().random((2, 1, size, size), np.float32)
    assert models.lenet(image_size=size, rng=rng())(x).shape == (2, 10)


def test_lenet_has_lenet_5s_number_of_parameters():
    # 6(25+1) + 16(6*25+1) + 120(400+1) + 84(120+1) + 10(84+1)
    assert sum(p.size for p in models.lenet().parameters()) == 61_706


def test_an_inception_block_keeps_the_image_and_joins_the_channels():
    block = models.inception_block(2, (3, 4, 5, 6), rng=rng())
    assert block(rng().random((2, 2, 7, 5), np.float32)).shape == (2, 18, 7, 5)
    assert [name for name, _ in block.named_children()] == [
        "branch1x1",
        "branch3x3",
        "branch5x5",
        "branch_pool",
    ]


@pytest.mark.parametrize(
    "make, paths",
    [
        (models.small_cnn, ["block1.conv", "block1.bn", "block1.relu", "block2.pool", "pool", "head"]),
        (
            models.tiny_resnet,
            ["stem.conv", "stage1.block1.residual.body.conv1", "stage2.block1.relu", "head"],
        ),
        (models.lenet, ["conv1", "conv2", "fc1", "head"]),
        (lambda: models.mlp(4, 3, 2), ["fc1", "relu1", "head"]),
    ],
)
def test_layers_have_names(make, paths):
    model = make()
    for path in paths:
        assert isinstance(model.layer(path), nn.Module)


@every_model
def test_every_value_between_layers_is_the_output_of_a_module(make, shape):
    known, calls = {0}, modules(make(rng()), rng().random((2, *shape), np.float32))
    for call in calls:  # a container ends after what it contains
        assert set(call.inputs) <= known, call.path
        known.add(call.output)


@every_model
def test_every_parameter_gets_a_gradient(make, shape):
    model, x = make(rng()), rng().random((4, *shape), np.float32)
    logits = model(x)
    F.cross_entropy(logits, [0, 1, 2, 3]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and np.abs(parameter.grad).max() > 0, name


@every_model
def test_the_same_seed_gives_the_same_model(make, shape):
    a, b = make(rng()).state_dict(), make(rng()).state_dict()
    assert all(np.array_equal(a[key], b[key]) for key in a)


def test_pooling_stands_after_the_blocks_that_are_named():
    model = models.small_cnn(widths=(2, 2, 2), pool_after=(1, 3))
    pooled = [name for name, module in model.named_modules() if isinstance(module, nn.MaxPool2d)]
    assert pooled == ["block1.pool", "block3.pool"]


def test_one_number_names_one_block_to_pool_after():
    assert repr(models.small_cnn(pool_after=1)) == repr(models.small_cnn(pool_after=(1,)))


def test_a_later_stage_of_the_resnet_halves_the_image_and_has_a_convolution_as_shortcut():
    model = models.tiny_resnet(widths=(4, 6), rng=rng())
    assert isinstance(model.layer("stage1.block1.residual.shortcut"), nn.Identity)
    assert isinstance(model.layer("stage2.block1.residual.shortcut.conv"), nn.Conv2d)
    features = model[:-3](rng().random((1, 1, 8, 8), np.float32))
    assert features.shape == (1, 6, 4, 4)
