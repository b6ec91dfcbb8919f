"""What units see, as box and as the patches that excite them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lite import tiny_lite
from untouched import disturbed, left_untouched

import minidl.nn as nn
import minidl.nn.functional as F
from minidl import Tensor
from minidl.explain import receptive_field, top_patches
from minidl.explain.patches import (
    EVERYTHING,
    ONE_PIXEL,
    ReceptiveField,
    Span,
    box_around,
    strongest_units,
    through_window,
)
from minidl.explain.target import layer_output
from minidl.nn import Module, Sequential
from minidl.nn.models import imagenet_network, inception_block, lenet, mlp, small_cnn, tiny_resnet

few = settings(max_examples=30)


@st.composite
def windows(draw, padding=True):
    """kernel, stride, padding of a layer that takes images of 8 pixels and more."""
    kernel = draw(st.integers(1, 3))
    return kernel, draw(st.integers(1, 2)), draw(st.integers(0, kernel // 2)) if padding else 0


@st.composite
def branches(draw, channels, rng):
    """A Residual or a Concat whose branches keep height and width, and its channels."""
    reach = draw(st.integers(1, 2))
    long = Sequential(
        nn.Conv2d(channels, channels, 3, padding=reach, dilation=reach, rng=rng),
        nn.Tanh(),
        nn.Conv2d(channels, channels, (1, 3), padding=(0, 1), rng=rng),
    )
    if draw(st.booleans()):
        return nn.Residual(long), channels
    pooled = Sequential(nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(channels, 1, 1, rng=rng))
    return nn.Concat(pooled, long), channels + 1


@st.composite
def networks(draw, padding=True):
    """A model of two to four layers that may pool, stride, dilate and branch; its channels in are 2."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    layers, channels = [], 2
    for _ in range(draw(st.integers(2, 3))):
        kernel, stride, pad = draw(windows(padding))
        kind = draw(
            st.sampled_from(["conv", "max", "mean", "branches"] if padding else ["conv", "max", "mean"])
        )
        if kind == "conv":
            dilation = draw(st.integers(1, 2))
            layers += [nn.Conv2d(channels, 3, kernel, stride, pad, dilation, rng=rng), nn.BatchNorm2d(3)]
            channels = 3
        elif kind == "branches":
            layer, channels = draw(branches(channels, rng))
            layers.append(layer)
        else:
            layers.append((nn.MaxPool2d if kind == "max" else nn.AvgPool2d)(kernel, stride, pad))
        layers.append(nn.Tanh())
    return Sequential(*layers)


def outside(box, size):
    """(H, W) bool: the pixels that are not in the box."""
    mask = np.ones(size, bool)
    mask[box[0] : box[1], box[2] : box[3]] = False
    return mask


# ---- laws


@few
@given(model=networks(), seed=st.integers(0, 2**16), data=st.data())
def test_a_change_outside_the_receptive_field_leaves_the_unit_unchanged(model, seed, data):
    rng = np.random.default_rng(seed)
    size = (18, 21)
    images = rng.random((1, 2, *size))
    last = str(len(model) - 1)
    before = layer_output(model, images, last)
    p, q = (data.draw(st.integers(0, side - 1)) for side in before.shape[2:])
    box = receptive_field(model, last, (2, *size)).box(p, q, size)
    changed = np.where(outside(box, size), rng.random(images.shape) * 9, images)
    after = layer_output(model, changed, last)
    np.testing.assert_allclose(after[0, :, p, q], before[0, :, p, q], rtol=1e-12, atol=1e-12)


@few
@given(model=networks(), seed=st.integers(0, 2**16))
def test_no_row_or_column_at_the_edge_of_the_field_is_superfluous(model, seed):
    # A unit in the middle sees only pixels inside the image, and depends on each side of its box. Mean
    # pooling
    # replaces max pooling, so that every pixel of a window counts, and the weights cannot cancel.
    rng = np.random.default_rng(seed)
    smooth = Sequential(*(mean_pooling(module) for module in model))
    for parameter in smooth.parameters():
        parameter.data = np.abs(parameter.data) / 10 + 0.01
    size, last = (60, 60), str(len(smooth) - 1)
    images = rng.random((1, 2, *size)) / 100
    before = layer_output(smooth, images, last)
    p, q = before.shape[2] // 2, before.shape[3] // 2
    top, bottom, left, right = receptive_field(smooth, last, (2, *size)).box(p, q, size)
    assert min(top, left) > 0 and max(bottom, right) < 60
    for edge in [
        (top, slice(None)),
        (bottom - 1, slice(None)),
        (slice(None), left),
        (slice(None), right - 1),
    ]:
        changed = images.copy()
        changed[(slice(None), slice(None), *edge)] += 1
        after = layer_output(smooth, changed, last)
        assert np.abs(after[0, :, p, q] - before[0, :, p, q]).max() > 1e-12


def mean_pooling(module):
    if type(module) is nn.MaxPool2d:
        return nn.AvgPool2d(module.kernel_size, module.stride, module.padding)
    return module


@few
@given(model=networks(padding=False), seed=st.integers(0, 2**16), data=st.data())
def test_without_padding_a_crop_of_the_field_alone_gives_the_same_activation(model, seed, data):
    images, last = np.random.default_rng(seed).random((1, 2, 40, 38)), str(len(model) - 1)
    whole = layer_output(model, images, last)
    p, q = (data.draw(st.integers(0, side - 1)) for side in whole.shape[2:])
    top, bottom, left, right = receptive_field(model, last, (2, 40, 38)).box(p, q, (40, 38))
    alone = layer_output(model, images[:, :, top:bottom, left:right], last)
    assert alone.shape[2:] == (1, 1)
    np.testing.assert_allclose(alone[0, :, 0, 0], whole[0, :, p, q], rtol=1e-9, atol=1e-12)


@given(
    span=st.builds(Span, st.integers(1, 9), st.integers(1, 4), st.integers(-4, 2)),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 3),
    p=st.integers(0, 5),
)
def test_a_window_sees_what_its_first_and_its_last_unit_see(span, kernel, stride, padding, dilation, p):
    first = p * stride - padding  # the first unit of window p
    last = first + dilation * (kernel - 1)
    after = through_window(span, kernel, stride, padding, dilation)
    begin = after.start + p * after.step
    assert begin == span.start + first * span.step
    assert begin + after.size == span.start + last * span.step + span.size


@given(count=st.integers(1, 12), k=st.integers(1, 12), seed=st.integers(0, 2**16), tied=st.booleans())
def test_the_best_k_are_the_first_of_the_best_k_plus_1(count, k, seed, tied):
    images = np.random.default_rng(seed).random((count + 1, 1, 4, 4)).round(0 if tied else 9)
    model = Sequential(nn.Conv2d(1, 2, 2, rng=np.random.default_rng(seed)), nn.ReLU())
    k = min(k, count)
    fewer, more = top_patches(model, "1", images, k), top_patches(model, "1", images, k + 1)
    for one, other in zip(fewer, more, strict=True):
        np.testing.assert_array_equal(one, other[:, :k])


@few
@given(seed=st.integers(0, 2**16))
def test_top_patches_are_what_a_search_through_all_units_finds(seed):
    images = np.random.default_rng(seed).random((140, 2, 5, 5))  # two batches
    model = Sequential(nn.Conv2d(2, 3, 3, padding=1, rng=np.random.default_rng(seed)))
    found = top_patches(model, "0", images, 4)
    activations = layer_output(model, images, "0")
    for t in range(3):
        best = sorted(range(140), key=lambda n: -activations[n, t].max())[:4]
        assert found.images[t].tolist() == best
        for rank, n in enumerate(best):
            p, q = found.places[t, rank]
            assert activations[n, t, p, q] == activations[n, t].max()
            np.testing.assert_allclose(found.values[t, rank], activations[n, t, p, q], rtol=1e-12)
            box = (max(0, p - 1), min(5, p + 2), max(0, q - 1), min(5, q + 2))
            assert tuple(found.boxes[t, rank]) == box
            crop = found.crops(images, t)[rank]
            np.testing.assert_array_equal(crop, images[n, :, box[0] : box[1], box[2] : box[3]])


# ---- by hand


def test_two_convolutions_around_a_pooling_see_ten_pixels():
    # 3x3 with padding: 3 from -1 on; 3x3: 5 from -2; pooled by 2: 6 in steps of 2; 3x3: 10 from -4.
    model = small_cnn(4, 3)
    expected = {
        "block1.conv": (3, 1, -1),
        "block2.relu": (5, 1, -2),
        "block2": (6, 2, -2),
        "block3.bn": (10, 2, -4),
    }
    for layer, span in expected.items():
        assert receptive_field(model, layer) == ReceptiveField(Span(*span), Span(*span))
    for layer in ("pool", "flatten", "head", ""):
        assert receptive_field(model, layer) == ReceptiveField(EVERYTHING, EVERYTHING)


def test_height_and_width_are_told_apart_and_dilation_widens():
    model = Sequential(nn.Conv2d(1, 1, (1, 3), (1, 2), (0, 1), (1, 2)), nn.AvgPool2d((2, 1)))
    assert receptive_field(model, "1") == ReceptiveField(Span(2, 2, 0), Span(5, 2, -1))


def test_a_join_sees_what_its_widest_branch_sees():
    block = inception_block(2)
    assert receptive_field(block, "") == ReceptiveField(Span(5, 1, -2), Span(5, 1, -2))
    resnet = tiny_resnet(4, 3, widths=(4, 8))
    # stem 3, the two convolutions of stage1 7; stage2 strides: 9 in steps of 2, then 2 steps more.
    assert receptive_field(resnet, "stage1").rows == Span(7, 1, -3)
    assert receptive_field(resnet, "stage2.block1.residual.body.conv1").rows == Span(9, 2, -4)
    assert receptive_field(resnet, "stage2.block1.residual.shortcut").rows == Span(7, 2, -3)
    assert receptive_field(resnet, "stage2").rows == Span(13, 2, -6)


def test_a_join_whose_branches_reach_to_unlike_sides_sees_both():
    fields = [ReceptiveField(Span(3, 1, -4), ONE_PIXEL), ReceptiveField(Span(2, 1, 3), Span(2, 1, -1))]
    assert box_around(fields) == ReceptiveField(Span(9, 1, -4), Span(2, 1, -1))
    both = box_around([fields[0], ReceptiveField(EVERYTHING, ONE_PIXEL)])
    assert both == ReceptiveField(EVERYTHING, ONE_PIXEL)


LITE = [
    "_relu0",
    "_blocks.0._depthwise_conv",
    "_blocks.1",
    "_blocks.2._relu1",
    "_blocks.2",
    "_relu1",
]


@few
@given(layer=st.sampled_from(LITE), height=st.integers(17, 24), width=st.integers(17, 24), data=st.data())
def test_padding_that_goes_by_the_size_shifts_the_field_of_a_lite_network(layer, height, width, data):
    """What the gradient of one unit reaches is its box: ReLU6 cuts nothing off, and no weight cancels."""
    model = tiny_lite().eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = np.full_like(module.weight.data, 0.5 / module.weight.data[0].size)
    images = Tensor(np.ones((1, 3, height, width), np.float32), requires_grad=True)
    seen = {}
    handle = model.layer(layer).register_forward_hook(lambda module, inputs, y: seen.update(y=y))
    model(images)
    handle.remove()
    p, q = (data.draw(st.integers(0, side - 1)) for side in seen["y"].shape[2:])
    seen["y"][0, :, p, q].sum().backward()
    rows, columns = (np.flatnonzero(images.grad[0].any(axis=(0, axis))) for axis in (2, 1))
    box = receptive_field(model, layer, (3, height, width)).box(p, q, (height, width))
    assert (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) == box


def test_a_skip_sees_what_its_children_and_its_input_see():
    assert receptive_field(Sequential(nn.Skip(nn.Conv2d(1, 1, 3, padding=1))), "0").rows == Span(3, 1, -1)
    ahead = nn.Skip(nn.ZeroPad2d((0, 2, 0, 2)), nn.Conv2d(2, 2, 3))
    padded = Sequential(nn.ZeroPad2d((3, 0, 1, 0)), nn.Conv2d(2, 2, 1), ahead)
    assert receptive_field(padded, "2") == ReceptiveField(Span(3, 1, -1), Span(3, 1, -3))
    functional = Sequential(nn.Skip(Own(), nn.ZeroPad2d((0, 4, 0, 4)), nn.Conv2d(2, 2, 1)))
    with pytest.raises(ValueError, match="layer '0.0', a Own, is a layer of an unknown kind"):
        receptive_field(functional, "0", (2, 8, 8))


def test_the_network_for_photographs_has_fields_and_patches():
    """By hand: the stem sees 3 pixels in steps of 2; the first depthwise convolution 2 (3 - 1) more."""
    model, images = imagenet_network(), np.random.default_rng(0).random((2, 3, 96, 112), dtype=np.float32)
    assert receptive_field(model, "_relu0").rows == Span(3, 2, 0)
    assert receptive_field(model, "_blocks.0").rows == Span(7, 2, -2)
    assert receptive_field(model, "_relu1", (3, 224, 224)).rows.step == 32
    assert receptive_field(model, "_fc").rows == EVERYTHING
    patches = top_patches(model, "_blocks.2", images, 2)
    span = receptive_field(model, "_blocks.2", (3, 96, 112)).rows
    assert patches.values.shape == (24, 2) and span == Span(19, 4, -6)
    assert all(max(patch.shape) <= 19 for patch in patches.crops(images, 0))


def test_boxes_are_cut_at_the_image_and_may_be_empty():
    field = ReceptiveField(Span(5, 2, -2), Span(3, 1, -7))
    assert field.box(0, 8, (6, 6)) == (0, 3, 1, 4)
    assert field.box(2, 0, (6, 6)) == (2, 6, 0, 0)  # outside of the image: only padding
    assert field.box(9, 20, (6, 6)) == (6, 6, 6, 6)
    assert ReceptiveField(EVERYTHING, EVERYTHING).box(0, 0, (4, 5)) == (0, 4, 0, 5)


def test_the_strongest_unit_of_each_map_by_hand():
    maps = np.array([[[[1.0, 5.0, 2.0], [0.0, 5.0, 3.0]], [[-3.0, -2.0, -9.0], [-1.0, -4.0, -5.0]]]])
    values, places = strongest_units(maps)
    np.testing.assert_array_equal(values, [[5, -1]])
    np.testing.assert_array_equal(places, [[[0, 1], [1, 0]]])


def test_units_of_rows_are_found_with_the_whole_image_as_their_patch():
    model, images = small_cnn(4, 3), np.random.default_rng(0).random((6, 3, 8, 8))
    found = top_patches(model, "head", images, 2)
    assert found.values.shape == (4, 2) and not found.places.any()
    assert (found.boxes == [0, 8, 0, 8]).all()
    assert found.crops(images, 1)[0].shape == (3, 8, 8)


def test_units_after_a_linear_layer_see_everything():
    model = Sequential(nn.Flatten(), nn.Linear(8, 3), nn.BatchNorm1d(3), nn.ReLU())
    assert receptive_field(model, "3", (2, 2, 2)) == ReceptiveField(EVERYTHING, EVERYTHING)


def test_the_shape_of_the_image_does_not_change_the_field():
    model = small_cnn(4, 3)
    assert receptive_field(model, "block3", (3, 9, 70)) == receptive_field(model, "block3")
    assert receptive_field(lenet(), "conv2", (1, 28, 28)).rows == Span(14, 2, -2)
    digits = np.random.default_rng(0).random((2, 1, 28, 28))  # lenet takes no other size
    assert top_patches(lenet(), "conv2", digits, 1).boxes.shape == (16, 1, 4)


# ---- the model does not change, bad input


class Functional(Module):
    def __init__(self):
        self.first, self.second = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)

    def forward(self, x):
        return self.second(F.max_pool2d(self.first(x), 2))


class Own(Module):
    def forward(self, x):
        return x[:, :, ::2, ::2]


def test_a_module_after_a_function_is_refused_and_one_before_it_is_not():
    assert receptive_field(Functional(), "first").rows == Span(3, 1, 0)
    with pytest.raises(
        ValueError, match="the model, a Functional, computes the input of 'second' in its own forward"
    ):
        receptive_field(Functional(), "second")
    with pytest.raises(ValueError, match="layer '1', a Own, is a layer of an unknown kind"):
        receptive_field(Sequential(nn.Conv2d(1, 1, 3), Own()), "1")


@pytest.mark.parametrize("layer, error", [("1", None), ("9", ValueError)])
def test_the_model_is_the_same_before_and_after(layer, error):
    model = disturbed(Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()))
    images = np.random.default_rng(0).random((3, 2, 6, 6))
    for call in (lambda: receptive_field(model, layer), lambda: top_patches(model, layer, images, 2)):
        with left_untouched(model):
            if error is None:
                call()
            else:
                with pytest.raises(error, match="no layer '9'"):
                    call()


IMAGES = np.zeros((3, 1, 8, 8), np.float32)
CONV = Sequential(nn.Conv2d(1, 1, 3))
TWICE = nn.Conv2d(1, 1, 3)
NANS = Sequential(nn.Conv2d(1, 1, 3))
NANS.layer("0").weight.data = np.full((1, 1, 3, 3), np.nan, np.float32)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: receptive_field(np.sum, "0"), TypeError, "model must be a Module, got"),
        (lambda: receptive_field(CONV, 0), TypeError, "a layer is named by its dotted path"),
        (lambda: receptive_field(CONV, "conv"), ValueError, "no layer 'conv' in this Sequential"),
        (lambda: receptive_field(Sequential(TWICE, TWICE), "0"), ValueError, "'0' ran 2 times in a pass"),
        (lambda: receptive_field(mlp(4, 3, 2), "fc1"), ValueError, "no convolution, .* give input_shape"),
        (lambda: receptive_field(lenet(), "conv2"), ValueError, r"does not take an image \(1, 32, 32\)"),
        (lambda: receptive_field(CONV, "0", (8, 8)), TypeError, r"input_shape must be a tuple \(C, H, W\)"),
        (lambda: receptive_field(CONV, "0", (1, 8, 0)), ValueError, "each of input_shape must be at least 1"),
        (
            lambda: top_patches(CONV, "0", IMAGES, 4),
            ValueError,
            r"k, with an image for each.* within \[1, 3\], got 4",
        ),
        (lambda: top_patches(CONV, "0", IMAGES, 0), ValueError, r"k, with .* must be within \[1, 3\], got 0"),
        (
            lambda: top_patches(CONV, "0", IMAGES[:, 0], 1),
            ValueError,
            r"^images must be \(N, C, H, W\), got \(3, 8, 8\)",
        ),
        (lambda: top_patches(CONV, "0", IMAGES + math.nan, 1), ValueError, "images must be finite"),
        (
            lambda: top_patches(NANS, "0", IMAGES, 1),
            ValueError,
            "the output of layer '0' is not finite",
        ),
        (
            lambda: box_around(
                [ReceptiveField(Span(1, 1, 0), ONE_PIXEL), ReceptiveField(Span(1, 2, 0), ONE_PIXEL)]
            ),
            ValueError,
            r"branches advance by different steps, \[1, 2\]",
        ),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_layer_behind_means_of_several_windows_is_refused():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(2), nn.ReLU())
    with pytest.raises(ValueError, match="AdaptiveAvgPool2d"):
        receptive_field(model, "2", (1, 8, 8))
