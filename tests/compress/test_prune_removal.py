"""The slim network computes what the masked one computes, or removal is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import nn
from minidl.compress.channels import Channels
from minidl.compress.fuse import fuse
from minidl.compress.integer import quantize_model
from minidl.compress.masks import EmptyLayerError, apply_masks
from minidl.compress.packed import pack_weights
from minidl.compress.qat import prepare_qat
from minidl.compress.removal import remove_filters, remove_masked_filters
from minidl.compress.scores import filter_layers, taylor_scores
from minidl.nn.efficientnet import SamePad2d, block
from minidl.nn.models import imagenet_network, inception_block, lenet, mlp, small_cnn, tiny_resnet
from minidl.train import evaluate, fit, predict

EXPECTED = {
    "cnn": ["block1.conv", "block2.conv", "block3.conv"],
    "lenet": ["conv1", "conv2", "fc1", "fc2"],
    "mlp": ["fc1", "fc2"],
    "resnet": [
        "stem.conv",
        "stage1.block1.residual.body.conv1",
        "stage1.block2.residual.body.conv1",
        "stage2.block1.residual.body.conv1",
        "stage2.block1.residual.body.conv2",
        "stage2.block2.residual.body.conv1",
    ],
    "inception": ["0.branch1x1.conv", "0.branch3x3.reduce.conv", "0.branch3x3.expand.conv"]
    + ["0.branch5x5.reduce.conv", "0.branch5x5.expand.conv", "0.branch_pool.project.conv", "1"],
    "shared": ["0", "1"],
    "lite": ["1", "5._expand_conv", "5._project_conv", "6._expand_conv"],
}


def network(kind, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "cnn":
        model = small_cnn(3, 1, (4, 6, 5), rng=rng)
    elif kind == "lenet":
        model = lenet(3, 1, image_size=16, rng=rng)
    elif kind == "mlp":
        model = mlp(256, (6, 5), 3, dropout=0.5, rng=rng)
    elif kind == "resnet":
        model = tiny_resnet(3, 1, (4, 5), blocks=2, rng=rng)
    elif kind == "inception":
        model = nn.Sequential(
            inception_block(1, (2, 3, 4, 2), reduce=3, rng=rng), nn.Conv2d(11, 4, 3, rng=rng)
        )
        model.append(nn.GELU()).append(nn.AvgPool2d(2)).append(nn.Flatten()).append(
            nn.Linear(196, 3, rng=rng)
        )
    elif kind == "lite":
        model = nn.Sequential(SamePad2d(3, 2), nn.Conv2d(1, 4, 3, 2, rng=rng), nn.BatchNorm2d(4), nn.ReLU6())
        model.append(block(4, 4, 3, 1, 1, rng)).append(block(4, 5, 3, 2, 2, rng)).append(
            block(5, 5, 5, 1, 3, rng)
        )
        model.append(nn.AdaptiveAvgPool2d()).append(nn.Flatten()).append(nn.Linear(5, 3, rng=rng))
    else:  # one layer that runs twice, so its input and output channels are the same
        again = nn.Conv2d(4, 4, 3, padding=1, rng=rng)
        model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, rng=rng), again, nn.Tanh(), again)
        model.append(nn.AdaptiveAvgPool2d()).append(nn.Flatten()).append(nn.Linear(4, 3, rng=rng))
    for _, array in model.named_buffers():
        if array.dtype.kind == "f":
            array[...] = rng.uniform(0.5, 1.5, array.shape)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data = rng.normal(size=parameter.shape)
    return model.eval()


def batch(seed=0):
    return np.random.default_rng(seed).random((3, 1, 16, 16), dtype=np.float32)


kinds = pytest.mark.parametrize("kind", list(EXPECTED))


@kinds
def test_the_layers_whose_filters_can_go_are_found(kind):
    found = filter_layers(network(kind), batch())
    assert found == [path for path in EXPECTED[kind] if not (kind == "shared" and path == "1")]


@kinds
@settings(max_examples=12)
@given(data=st.data())
def test_the_slim_network_is_the_masked_network(kind, data):
    model, images = network(kind), batch()
    layer = data.draw(st.sampled_from(filter_layers(model, images)))
    count = len(model.layer(layer).weight.data)
    indices = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count - 1))
    slim = remove_filters(model, layer, sorted(indices), images)
    assert len(slim.layer(layer).weight.data) == count - len(indices)
    assert len(model.layer(layer).weight.data) == count
    apply_masks(model, {layer: ~np.isin(np.arange(count), list(indices))}, images)
    expected = predict(model, images)
    np.testing.assert_allclose(predict(slim, images), expected, rtol=1e-4, atol=1e-5)
    removed = remove_masked_filters(model, images)
    np.testing.assert_allclose(predict(removed, images), expected, rtol=1e-4, atol=1e-5)
    sizes = [sum(p.size for p in m.parameters()) for m in (model, slim, removed)]
    assert sizes[1] < sizes[0] and sizes[2] == sizes[1]


@kinds
def test_all_layers_can_be_slimmed_one_after_the_other(kind):
    model, images = network(kind), batch()
    slim = model
    for layer in filter_layers(model, images):
        slim = remove_filters(slim, layer, [1], images)
    apply_masks(
        model,
        {path: np.arange(len(model.layer(path).weight.data)) != 1 for path in filter_layers(model, images)},
        images,
    )
    np.testing.assert_allclose(predict(slim, images), predict(model, images), rtol=1e-4, atol=1e-5)


def test_by_hand_every_array_loses_its_slice():
    model = network("cnn")
    slim = remove_filters(model, "block2.conv", [0, 4])
    before, after = model.state_dict(), slim.state_dict()
    keep = [1, 2, 3, 5]
    for name in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"):
        assert np.array_equal(after[f"block2.{name}"], before[f"block2.{name}"][keep])
    assert np.array_equal(after["block3.conv.weight"], before["block3.conv.weight"][:, keep])
    assert slim.layer("block2.conv").out_channels == slim.layer("block3.conv").in_channels == 4
    assert slim.layer("block2.bn").num_features == 4
    same = [key for key in before if before[key].shape == after[key].shape]
    assert all(np.array_equal(before[key], after[key]) for key in same)
    assert len(before) - len(same) == 6
    assert [p.name for p in slim.parameters()] == [path for path, _ in model.named_parameters()]


def test_by_hand_flattened_channels_lose_all_their_places():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, rng=rng), nn.Flatten(), nn.Linear(12, 2, rng=rng))  # 3 x 2 x 2
    slim = remove_filters(model, "0", [1], np.zeros((1, 1, 4, 4), np.float32))
    keep = [0, 1, 2, 3, 8, 9, 10, 11]
    assert np.array_equal(slim.layer("2").weight.data, model.layer("2").weight.data[:, keep])
    assert slim.layer("2").in_features == 8


def test_residual_partners_lose_the_same_filter():
    model = network("resnet")
    slim = remove_filters(model, "stage1.block2.residual.body.conv2", [2])
    for path in ("stem.conv", "stage1.block1.residual.body.conv2", "stage1.block2.residual.body.conv2"):
        before, after = model.layer(path).weight.data, slim.layer(path).weight.data
        kept_inputs = slice(None) if path == "stem.conv" or path.endswith("conv2") else [0, 1, 3]
        assert np.array_equal(after, before[[0, 1, 3]][:, kept_inputs])
    assert slim.layer("stage2.block1.residual.shortcut.conv").in_channels == 3


def test_a_depthwise_filter_and_its_expansion_go_together():
    model, inside = network("lite"), "6._expand_conv"
    slim = remove_filters(model, "6._depthwise_conv", [1, 2])
    assert slim.layer(inside).weight.shape == (13, 5, 1, 1) and slim.layer("6._bn0").num_features == 13
    depthwise = slim.layer("6._depthwise_conv")
    assert (depthwise.in_channels, depthwise.out_channels, depthwise.groups) == (13, 13, 13)
    assert slim.layer("6._project_conv").weight.shape == (5, 13, 1, 1)
    apply_masks(model, {inside: np.arange(15) > 1})
    assert not model.layer("6._depthwise_conv").weight.data[:2].any()
    alone = remove_filters(network("lite"), "6._depthwise_conv", list(range(14)))
    assert predict(alone, batch()).shape == (3, 3)


def test_the_slope_of_a_depthwise_channel_counts_once():
    """Masking an expansion's filter is masking what the depthwise one gives, which is all that is read."""
    model, images, labels = network("lite"), batch(), np.array([0, 2, 1])
    scores = taylor_scores(model, "6._expand_conv", images, labels)
    np.testing.assert_array_equal(scores, taylor_scores(model, "6._depthwise_conv", images, labels))
    norm, losses = model.layer("6._bn1"), []
    for step in (1.01, 0.99):
        before = [parameter.data for parameter in norm.parameters()]
        for parameter in norm.parameters():
            parameter.data = np.where(np.arange(15) == 4, parameter.data * step, parameter.data)
        losses.append(evaluate(model, images, labels).loss)
        for parameter, data in zip(norm.parameters(), before, strict=True):
            parameter.data = data
    assert scores[4] == pytest.approx(abs(losses[0] - losses[1]) / 0.02, rel=0.02)


def test_filters_of_the_network_for_photographs_are_masked_and_removed():
    model, images = imagenet_network(), np.random.default_rng(0).random((1, 3, 96, 96), dtype=np.float32)
    found = filter_layers(model)
    assert found[0] == "_conv_stem" and len(found) == 1 + 15 + 7 + 1  # the stem, expansions, sums, the head
    slim = remove_filters(model, "_blocks.6._expand_conv", [0, 5, 70])
    slim = remove_filters(slim, "_blocks.5._project_conv", [3])
    apply_masks(model, {"_blocks.6._depthwise_conv": ~np.isin(np.arange(480), [0, 5, 70])})
    apply_masks(model, {"_blocks.5._project_conv": np.arange(80) != 3})
    np.testing.assert_allclose(predict(slim, images), predict(model, images), rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="filters of _fc cannot be removed: it is the model's output"):
        remove_filters(model, "_fc", [0])


def test_a_slim_network_trains_and_keeps_its_masks_and_frozen_layers():
    model = network("cnn")
    apply_masks(model, {"block1.conv": np.arange(4) != 1})
    model.layer("head").weight.requires_grad_(False)
    slim = remove_filters(model, "block2.conv", [0])
    assert slim.layer("block1.conv").weight.mask.shape == (4, 1, 3, 3)
    assert not slim.layer("head").weight.requires_grad
    head = slim.layer("head").weight.data.copy()
    labels = np.array([0, 1, 2])
    fit(slim, (batch(), labels), epochs=2, progress=False, rng=np.random.default_rng(0))
    assert not slim.layer("block1.conv").weight.data[1].any()
    assert np.array_equal(slim.layer("head").weight.data, head)


def test_removing_nothing_gives_an_equal_copy():
    model, images = network("resnet"), batch()
    slim = remove_filters(model, "stem.conv", [])
    assert slim is not model
    assert np.array_equal(predict(slim, images), predict(model, images))
    again = remove_masked_filters(model)
    assert np.array_equal(predict(again, images), predict(model, images))


def test_a_batch_norm_that_is_not_zero_keeps_its_filter():
    model = network("cnn")
    model.layer("block1.conv").weight.data[0] = 0  # the BatchNorm's bias still makes the output nonzero
    assert remove_masked_filters(model).layer("block1.conv").out_channels == 4


def test_a_bias_that_is_not_zero_keeps_its_filter():
    model = network("lenet")
    model.layer("conv1").weight.data[0] = 0
    assert remove_masked_filters(model, batch()).layer("conv1").out_channels == 6
    model.layer("conv1").bias.data[0] = 0
    assert remove_masked_filters(model, batch()).layer("conv1").out_channels == 5


# ---- refused


class Doubled(nn.Module):
    """Adds to a convolution's output what no module shows."""

    def __init__(self):
        self.conv, self.after = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        y = self.conv(x)
        return self.after(y) + y


class Raised(nn.ReLU):
    """Makes of a zero what is not zero."""

    def forward(self, x):
        return super().forward(x) + 1


def sequential(*modules):
    return nn.Sequential(*modules, nn.AdaptiveAvgPool2d(), nn.Flatten(), nn.Linear(3, 2))


X = np.random.default_rng(0).random((4, 1, 8, 8), np.float32)
REFUSED = {
    "it is the model's output": (lambda: network("cnn"), "head"),
    "it is the model's input": (
        lambda: nn.Sequential(nn.Residual(nn.Conv2d(3, 3, 1)), nn.Flatten(), nn.Linear(768, 2)),
        "0.body",
    ),
    "the effect of 0 (Doubled) on it is unknown": (lambda: sequential(Doubled()), "0.conv"),
    "the effect of 1 (Sigmoid) on it is unknown": (lambda: sequential(nn.Conv2d(1, 3, 1), nn.Sigmoid()), "0"),
    "the effect of 1 (Raised) on it is unknown": (lambda: sequential(nn.Conv2d(1, 3, 1), Raised()), "0"),
    "1 has no weight and bias": (
        lambda: sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3, affine=False)),
        "0",
    ),
}


@pytest.mark.parametrize("reason", list(REFUSED))
def test_removal_is_refused_with_its_reason_where_it_is_not_defined(reason):
    make, layer = REFUSED[reason]
    model = make()
    with pytest.raises(ValueError) as error:
        remove_filters(model, layer, [0])
    assert str(error.value).startswith(f"filters of {layer} cannot be removed: {reason}")
    assert layer not in filter_layers(model)
    with pytest.raises(ValueError, match="cannot be removed"):
        count = len(model.layer(layer).weight.data)
        apply_masks(model, {layer: np.arange(count) != 0})


@pytest.mark.parametrize("kind", ["cnn", "resnet", "inception", "lite"])
def test_a_fused_network_loses_the_same_filters(kind):
    model = network(kind).eval()
    layer = EXPECTED[kind][0]
    pruned = apply_masks(model, {layer: np.arange(len(model.layer(layer).weight.data)) != 1})
    fused = fuse(pruned)
    slim, earlier = remove_masked_filters(fused), fuse(remove_masked_filters(pruned))
    shapes, wanted, whole = ([p.shape for p in m.parameters()] for m in (slim, earlier, fused))
    assert shapes == wanted != whole
    x = np.random.default_rng(0).random((4, 1, 16, 16), np.float32)
    np.testing.assert_allclose(predict(slim, x), predict(pruned, x), atol=1e-5)


@pytest.mark.parametrize(
    "make", [pack_weights, lambda model: prepare_qat(model, X), lambda model: quantize_model(model, X)]
)
def test_a_rounded_network_loses_no_filters(make):
    model = sequential(nn.Conv2d(1, 3, 1), nn.ReLU()).eval()
    rounded = make(apply_masks(model, {"0": np.array([True, False, True])}))
    with pytest.raises(
        ValueError, match="prune first, then call prepare_qat, quantize_model or pack_weights"
    ):
        remove_masked_filters(rounded, X)


def test_layers_with_a_shared_weight_are_refused():
    first, second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    second.weight = first.weight
    model = sequential(nn.Conv2d(1, 3, 1), first, nn.ReLU(), second)
    for layer in ("0", "1", "3"):
        with pytest.raises(ValueError, match="3 shares its weight"):
            remove_filters(model, layer, [0])


def test_a_layer_is_never_emptied():
    model = network("cnn")
    with pytest.raises(ValueError, match="block1.conv would have no filter left"):
        remove_filters(model, "block1.conv", [0, 1, 2, 3])
    with pytest.raises(EmptyLayerError, match="no filter of block1.conv"):
        apply_masks(model, {"block1.conv": np.zeros(4, bool)})
    for parameter in (model.layer("block1.conv").weight, *model.layer("block1.bn").parameters()):
        parameter.data = np.zeros_like(parameter.data)
    with pytest.raises(ValueError, match="block1.conv would have no filter left"):
        remove_masked_filters(model)


@pytest.mark.parametrize(
    ("layer", "indices", "error", "message"),
    [
        ("block1.cnov", [0], ValueError, "nearest: block1.conv"),
        ("block1.bn", [0], ValueError, "'block1.bn' is not a Conv2d, or a Linear on rows"),
        ("block1.conv", [4], ValueError, r"indices must be within \[0, 3\], got 4"),
        ("block1.conv", [-1], ValueError, r"indices must be within \[0, 3\], got -1"),
        ("block1.conv", [0.5], TypeError, "indices must be integers"),
        ("block1.conv", [True, False, True, True], TypeError, "indices must be integers"),
        ("block1.conv", [[0]], ValueError, r"indices must have shape \(N,\)"),
        (3, [0], TypeError, "dotted path"),
    ],
)
def test_layers_and_indices_are_checked(layer, indices, error, message):
    with pytest.raises(error, match=message):
        remove_filters(network("cnn"), layer, indices)


def test_models_and_batches_are_checked():
    with pytest.raises(TypeError, match="Module"):
        remove_filters("model", "0", [0])
    with pytest.raises(ValueError, match="no Conv2d and no Linear"):
        remove_filters(nn.Sequential(nn.ReLU()), "0", [0])
    with pytest.raises(ValueError, match=r"batch \(N, C, ...\)"):
        remove_filters(network("cnn"), "block1.conv", [0], np.zeros(3, np.float32))


def test_the_channels_of_a_residual_sum_bear_one_number():
    channels = Channels(network("resnet"))
    first, last = channels.makes["stem.conv"], channels.makes["stage1.block2.residual.body.conv2"]
    assert np.array_equal(first, last)
    inner = channels.makes["stage1.block1.residual.body.conv1"]
    assert not set(first.tolist()) & set(inner.tolist())


@pytest.mark.parametrize(
    "between", [nn.Upsample(scale_factor=2), nn.Upsample(7, mode="bilinear"), nn.Dropout2d()]
)
def test_what_resizes_or_drops_channels_passes_each_channel_on(between):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, rng=rng), between, nn.Conv2d(4, 2, 1, rng=rng)).eval()
    images = rng.random((3, 1, 6, 6), np.float32)
    slim = remove_filters(model, "0", [1, 3])
    masked = apply_masks(model, {"0": [True, False, True, False]})
    assert slim[2].in_channels == 2
    np.testing.assert_allclose(predict(slim, images), predict(masked, images), atol=1e-6)
