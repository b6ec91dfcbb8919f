"""Explanation by occlusion: its laws, windows by hand, and what it refuses."""

import io
import sys

import numpy as np
import pytest
from explained import classes, images_of, linear_model, network, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from untouched import Trips, disturbed, left_untouched

import minidl.nn as nn
from minidl import Tensor, no_grad
from minidl.explain import occlusion_map
from minidl.explain.occlusion import average_over_windows, window_starts
from minidl.explain.target import with_bar
from minidl.nn import Sequential
from minidl.train import predict

few = settings(max_examples=25)


@st.composite
def windows(draw, size=6):
    """(window, stride) of both axes, with stride <= window <= size."""
    window = tuple(draw(st.integers(1, size)) for _ in range(2))
    return window, tuple(draw(st.integers(1, side)) for side in window)


def logits(model, images):
    with no_grad():
        return model(Tensor(images)).data


def by_definition(change, window, stride, size=6):
    """At each pixel the mean over the windows that cover it of the sum of ``change`` (N, C, H, W) in them."""
    total, count = np.zeros((len(change), size, size)), np.zeros((size, size))
    top = 0
    while True:
        left = 0
        while True:
            place = np.zeros((size, size), bool)
            place[top : top + window[0], left : left + window[1]] = True
            total[:, place] += change[:, :, place].sum(axis=(1, 2))[:, None]
            count[place] += 1
            if left + window[1] >= size:
                break
            left += stride[1]
        if top + window[0] >= size:
            break
        top += stride[0]
    return total / count


# ---- laws


@few
@given(seed=seeds, target=classes, sizes=windows())
def test_an_image_that_equals_the_baseline_loses_nothing(seed, target, sizes):
    images = images_of(seed)
    maps = occlusion_map(network(seed), images, target, window=sizes[0], stride=sizes[1], baseline=images)
    np.testing.assert_array_equal(maps, np.zeros((2, 6, 6)))


@few
@given(seed=seeds, target=classes, sizes=windows(), value=st.floats(-1, 1))
def test_a_linear_model_loses_the_weighted_change_within_each_window(seed, target, sizes, value):
    window, stride = sizes
    weight = np.random.default_rng(seed).standard_normal((3, 72)).astype(np.float32).astype(np.float64)
    images = images_of(seed)
    maps = occlusion_map(linear_model(weight), images, target, window=window, stride=stride, baseline=value)
    change = weight[target].reshape(2, 6, 6) * (images - value)
    np.testing.assert_allclose(maps, by_definition(change, window, stride), rtol=1e-5, atol=1e-10)


@few
@given(seed=seeds, target=classes, probability=st.booleans(), stride=st.integers(1, 6))
def test_a_window_over_everything_loses_all_that_parts_the_image_from_the_baseline(
    seed, target, probability, stride
):
    model, images, b = network(seed), images_of(seed), np.random.default_rng(seed).random((2, 6, 6))
    maps = occlusion_map(model, images, target, window=6, stride=stride, baseline=b, probability=probability)
    x, nothing = logits(model, images), logits(model, b[np.newaxis])
    if probability:
        x, nothing = (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in (x, nothing))
    loss = (x - nothing)[:, target, np.newaxis, np.newaxis]
    np.testing.assert_allclose(maps, np.broadcast_to(loss, (2, 6, 6)), rtol=1e-5, atol=1e-12)


@few
@given(seed=seeds, target=classes, sizes=windows(), constant=st.floats(-5, 5))
def test_a_constant_added_to_all_logits_changes_nothing(seed, target, sizes, constant):
    model, images = network(seed), images_of(seed)
    for probability in (False, True):
        options = {"window": sizes[0], "stride": sizes[1], "probability": probability}
        model.head.bias.data = np.zeros(3)
        before = occlusion_map(model, images, target, **options)
        model.head.bias.data = np.full(3, constant)
        np.testing.assert_allclose(occlusion_map(model, images, target, **options), before, atol=1e-6)


@settings(max_examples=10)
@given(seed=seeds, unit=st.tuples(st.integers(0, 3), st.integers(0, 8), st.integers(0, 8)))
def test_a_unit_loses_nothing_by_what_lies_outside_its_receptive_field(seed, unit):
    model, images = network(seed, pool=False)[:4], images_of(seed, n=1, size=9)
    channel, p, q = unit
    maps = occlusion_map(model, images, ("conv2", channel, p, q), window=1, stride=1, baseline=0.0)
    inside = np.zeros((9, 9), bool)
    inside[max(0, p - 2) : p + 3, max(0, q - 2) : q + 3] = True  # two 3x3 convolutions see 5x5
    assert not maps[:, ~inside].any()
    assert maps[:, inside].any()


# ---- windows


@pytest.mark.parametrize(
    "size, window, stride, starts",
    [
        (8, 4, 2, [0, 2, 4]),
        (8, 3, 3, [0, 3, 6]),  # the last is two pixels wide
        (8, 8, 1, [0]),
        (5, 1, 1, [0, 1, 2, 3, 4]),
        (7, 4, 2, [0, 2, 4]),  # the last window is three pixels wide
    ],
)
def test_windows_begin_by_hand(size, window, stride, starts):
    assert window_starts(size, window, stride) == starts


@given(sizes=st.integers(1, 20).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))), data=st.data())
def test_windows_cover_every_pixel_and_only_the_last_reaches_the_end(sizes, data):
    size, window = sizes
    starts = window_starts(size, window, data.draw(st.integers(1, window)))
    assert set().union(*(range(start, start + window) for start in starts)) >= set(range(size))
    assert [start + window >= size for start in starts] == [False] * (len(starts) - 1) + [True]


def test_overlapping_windows_are_averaged_by_hand():
    # Windows of 2 on 4 pixels, with stride 1: [0, 1], [1, 2], [2, 3] have the drops 1, 3 and 8.
    maps = average_over_windows(np.array([[[1.0, 3.0, 8.0]]]), (1, 4), (1, 2), (1, 1))
    np.testing.assert_array_equal(maps, [[[1.0, 2.0, 5.5, 8.0]]])


def test_a_window_that_nobody_needs_counts_and_a_pixel_without_a_window_is_refused():
    drops = np.array([[[1.0, 3.0, 5.0]]])  # the last window is the last pixel alone
    maps = average_over_windows(drops, (1, 3), (1, 2), (1, 1))
    np.testing.assert_array_equal(maps, [[[1.0, 2.0, 4.0]]])
    with pytest.raises(ValueError, match=r"a window for each pixel, got \(1, 1, 3\) windows of \(1, 2\)"):
        average_over_windows(drops, (1, 8), (1, 2), (1, 3))


def test_a_map_by_hand():
    # f = x0 + 2 x1 + 4 x2 on (1, 1, 1), covered by 0 in windows [0, 1] and [1, 2], with the drops 3 and 6.
    model = linear_model(np.array([[1.0, 2.0, 4.0]]))
    maps = occlusion_map(model, np.ones((1, 1, 1, 3)), 0, window=(1, 2), stride=1, baseline=0.0)
    np.testing.assert_allclose(maps, [[[3.0, 4.5, 6.0]]])


# ---- baselines


def test_the_mean_of_a_channel_takes_nothing_from_an_image_of_one_colour():
    images = np.broadcast_to(np.array([0.25, 0.75]).reshape(1, 2, 1, 1), (1, 2, 6, 6))
    np.testing.assert_array_equal(occlusion_map(network(0), images, 0, baseline="mean"), np.zeros((1, 6, 6)))


def test_the_mean_is_each_images_and_each_channels_own():
    model, images = network(1), images_of(1)
    own = np.stack([[np.full((6, 6), channel.mean()) for channel in image] for image in images])
    np.testing.assert_allclose(
        occlusion_map(model, images, 0, baseline="mean"),
        occlusion_map(model, images, 0, baseline=own),
        atol=1e-6,
    )


def test_noise_is_drawn_by_the_generator_and_is_uniform():
    model, images = network(2), images_of(2)
    maps = occlusion_map(model, images, 0, baseline="noise", rng=np.random.default_rng(3))
    noise = np.random.default_rng(3).random(images.shape)
    np.testing.assert_array_equal(maps, occlusion_map(model, images, 0, baseline=noise))


# ---- images, targets, the model


def test_every_image_is_explained_by_itself():
    model, images = network(3), np.concatenate([images_of(k, n=50) for k in range(3)])  # two batches
    targets = np.arange(150) % 3
    together = occlusion_map(model, images, targets)
    assert together.shape == (150, 6, 6) and together.dtype == np.float64
    for n in (0, 127, 128, 149):
        alone = occlusion_map(model, images[n : n + 1], int(targets[n]))
        np.testing.assert_allclose(together[n : n + 1], alone, rtol=1e-5, atol=1e-6)


def test_no_target_is_the_class_that_the_model_predicts_for_the_whole_image():
    model, images = network(4), images_of(4, n=5)
    predicted = predict(model, images).argmax(axis=1)
    np.testing.assert_array_equal(occlusion_map(model, images), occlusion_map(model, images, predicted))


def test_the_images_are_not_written_into():
    images = images_of(5)
    before = images.copy()
    occlusion_map(network(5), images, 0)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("target", [None, 1, ("conv2", 0, 1, 1)], ids=str)
def test_the_model_is_the_same_before_and_after(target):
    model = disturbed(network(6))
    with left_untouched(model):
        occlusion_map(model, images_of(6), target)


@pytest.mark.parametrize("at", [1, 2, 4])
def test_the_model_is_the_same_after_an_exception_too(at):
    model = disturbed(Sequential({**dict(network(7).named_children()), "trips": Trips(at)}))
    with left_untouched(model), pytest.raises(RuntimeError, match="tripped"):
        occlusion_map(model, images_of(7), 0)


# ---- bad input


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"window": 7, "stride": 1}, ValueError, "must be 1 <= stride <= window <= size, got 1, 7 and 6"),
        ({"window": 2, "stride": 3}, ValueError, "must be 1 <= stride <= window <= size, got 3, 2 and 6"),
        ({"window": 0}, ValueError, "window must be"),
        ({"stride": 0}, ValueError, "stride must be"),
        ({"window": 2.5}, TypeError, "window must be"),
        ({"baseline": "black"}, ValueError, "baseline must be one of 'mean', 'noise'"),
        ({"baseline": np.zeros((5, 5))}, ValueError, r"baseline \(5, 5\) does not broadcast"),
        ({"baseline": 1e400}, ValueError, "baseline must be finite, got inf"),
        ({"baseline": 0.0, "rng": 5}, TypeError, "rng must be a np.random.Generator"),
        ({"probability": "no"}, TypeError, "probability must be True or False, got 'no'"),
        ({"target": 3}, ValueError, r"target class must be within \[0, 2\], got 3"),
        ({"target": ("conv9", 0, 0, 0)}, ValueError, "no layer 'conv9'"),
        (
            {"target": ("conv2", 0, 0, 0), "probability": True},
            ValueError,
            "a unit has no probability: target 'conv2' takes probability=False",
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused(options, error, message):
    model = network(0)
    with left_untouched(model), pytest.raises(error, match=message):
        occlusion_map(model, images_of(0), **options)


@pytest.mark.parametrize("probability", [False, True])
@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
def test_a_map_that_would_not_be_finite_is_refused(probability):
    model = network(0)
    with pytest.raises(ValueError, match="finite|is (nan|inf)"):
        occlusion_map(model, np.full((1, 2, 6, 6), 3e38, np.float32), 0, probability=probability)
    model.head.bias.data = np.array([np.nan, 0, 0], np.float32)
    with pytest.raises(ValueError, match="finite|is nan"):
        occlusion_map(model, images_of(0), 0, probability=probability)


def test_rows_of_a_table_have_no_windows():
    with pytest.raises(ValueError, match=r"images must be \(N, C, H, W\), got \(2, 5\)"):
        occlusion_map(Sequential(nn.Linear(5, 3)), np.zeros((2, 5)), 0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream, hidden", [(io.StringIO, True), (Terminal, False)])
def test_a_bar_is_shown_on_a_terminal_only(monkeypatch, stream, hidden):
    monkeypatch.setattr(sys, "stderr", stream())
    assert bool(with_bar([1, 2], "occlusion").disable) == hidden
