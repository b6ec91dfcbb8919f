"""Scores of filters: norms by hand, ablation by masking, Taylor by finite differences."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import nn
from minidl.classroom.strategies import arrays
from minidl.compress.masks import apply_masks, filter_mask
from minidl.compress.scores import ablation_scores, filter_norms, random_scores, taylor_scores
from minidl.engine.backward import grad
from minidl.nn import functional as F
from minidl.nn.models import mlp, small_cnn, tiny_resnet
from minidl.train import evaluate

weights_of = arrays(st.tuples(st.integers(2, 4), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)))


def data(seed=0, n=20):
    rng = np.random.default_rng(seed)
    return rng.random((n, 1, 6, 6), dtype=np.float32), rng.integers(0, 3, n)


def network(kind, seed=0):
    rng = np.random.default_rng(seed)
    model = {
        "cnn": lambda: small_cnn(3, 1, (4, 5), pool_after=(), rng=rng),
        "resnet": lambda: tiny_resnet(3, 1, (4,), rng=rng),
        "mlp": lambda: mlp(36, (5, 4), 3, rng=rng),
        "conv": lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3, rng=rng), nn.Tanh(), nn.Flatten(), nn.Linear(48, 3, rng=rng)
        ),
    }[kind]()
    for _, array in model.named_buffers():
        if array.dtype.kind == "f":
            array[...] = rng.uniform(0.5, 1.5, array.shape)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data = rng.uniform(0.5, 1.5, parameter.shape)
    return model


LAYERS = [
    ("cnn", "block1.conv"),
    ("cnn", "block2.conv"),
    ("resnet", "stem.conv"),
    ("mlp", "fc1"),
    ("conv", "0"),
]


def test_norms_by_hand():
    weight = np.array([[[[3.0, -4.0]]], [[[0.0, -1.0]]]])  # (2, 1, 1, 2)
    assert filter_norms(weight).tolist() == [7.0, 1.0]
    assert filter_norms(weight, order=2).tolist() == [5.0, 1.0]


@given(weight=weights_of, power=st.integers(-6, 6), order=st.sampled_from([1, 2]), amount=st.just(0.5))
def test_all_weights_scaled_by_a_power_of_two_leave_the_masks(weight, power, order, amount):
    norms, scaled = filter_norms(weight, order), filter_norms(weight * 2.0**power, order)
    np.testing.assert_allclose(scaled, norms * 2.0**power, rtol=1e-12)
    if order == 1:  # sums of quarters are exact
        assert np.array_equal(scaled, norms * 2.0**power)
    assert np.array_equal(filter_mask(norms, amount=amount), filter_mask(norms * 2.0**power, amount=amount))


@given(weight=weights_of)
def test_norms_do_not_mind_signs_and_follow_the_filters_order(weight):
    order = np.arange(len(weight))[::-1]
    assert np.array_equal(filter_norms(-weight), filter_norms(weight))
    assert np.array_equal(filter_norms(weight[order]), filter_norms(weight)[order])
    one, two = filter_norms(weight, 1), filter_norms(weight, 2)
    assert np.all(two <= one + 1e-12)  # sum w² <= (sum |w|)²


@pytest.mark.parametrize(("kind", "layer"), LAYERS)
def test_ablation_is_the_rise_of_the_loss_when_a_filter_is_masked(kind, layer):
    model, (images, labels) = network(kind), data()
    state = model.state_dict()
    scores = ablation_scores(model, layer, images, labels)
    assert all(np.array_equal(state[key], array) for key, array in model.state_dict().items())
    before = evaluate(model, images, labels).loss
    for o in range(len(scores)):
        masked = apply_masks(copy.deepcopy(model), {layer: np.arange(len(scores)) != o}, images[:1])
        assert scores[o] == evaluate(masked, images, labels).loss - before
    assert np.ptp(scores) > 1e-3


def test_ablating_a_dead_filter_costs_nothing():
    model = network("cnn")
    apply_masks(model, {"block1.conv": np.arange(4) != 2})
    images, labels = data()
    assert ablation_scores(model, "block1.conv", images, labels)[2] == 0
    assert taylor_scores(model, "block1.conv", images, labels)[2] == 0


@pytest.mark.parametrize(("kind", "layer"), LAYERS)
def test_taylor_is_the_slope_of_the_loss_as_the_channel_shrinks(kind, layer):
    model, (images, labels) = network(kind), data()
    model.train()
    scores = taylor_scores(model, layer, images, labels)
    assert model.training and not any(module._hooks for module in model.modules())
    ends = {"block1.conv": ["block1.bn"], "block2.conv": ["block2.bn"]}.get(layer, [layer])
    if kind == "resnet":
        ends = ["stem.bn", "stage1.block1.residual.body.bn2"]
    for o in range(len(scores)):
        losses = []
        for m in (1.01, 0.99):
            scaled = copy.deepcopy(model)
            for end in map(scaled.layer, ends):
                end.weight.data[o] *= m
                end.bias.data[o] *= m
            losses.append(evaluate(scaled, images, labels).loss)
        slope = (losses[0] - losses[1]) / 0.02
        assert scores[o] == pytest.approx(abs(slope), rel=2e-2, abs=2e-4)
    assert scores.max() > 5e-3


def test_taylor_is_gradient_times_weight_where_nothing_follows():
    model, (images, labels) = network("conv"), data()
    conv = model.layer("0")
    loss = F.cross_entropy(model.eval()(images), labels)
    grad_weight, grad_bias = grad(loss, [conv.weight, conv.bias])
    by_hand = (grad_weight * conv.weight.data).sum(axis=(1, 2, 3)) + grad_bias * conv.bias.data
    np.testing.assert_allclose(taylor_scores(model, "0", images, labels), abs(by_hand), rtol=1e-4, atol=1e-7)


def test_taylor_averages_over_batches():
    model, (images, labels) = network("mlp"), data(n=300)
    scores = taylor_scores(model, "fc1", images, labels)
    signed = []
    for part in (slice(0, 150), slice(150, 300)):
        fc1 = model.layer("fc1")
        loss = F.cross_entropy(model.eval()(images[part]), labels[part])
        grad_weight, grad_bias = grad(loss, [fc1.weight, fc1.bias])
        signed.append((grad_weight * fc1.weight.data).sum(axis=1) + grad_bias * fc1.bias.data)
    np.testing.assert_allclose(scores, np.abs(signed[0] + signed[1]) / 2, rtol=1e-3, atol=1e-6)


def test_frozen_layers_have_taylor_scores_too():
    model, (images, labels) = network("cnn"), data()
    scores = taylor_scores(model, "block1.conv", images, labels)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert np.array_equal(taylor_scores(model, "block1.conv", images, labels), scores)


def test_random_scores_are_an_order_drawn_by_rng():
    first, second = (random_scores(np.ones((20, 1)), np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second) and sorted(first) == list(range(20))
    assert not np.array_equal(first, random_scores(np.ones((20, 1)), np.random.default_rng(4)))
