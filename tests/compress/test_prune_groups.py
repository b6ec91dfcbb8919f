"""Convolutions of groups lose whole groups, or the same filters of each group."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import nn
from minidl.compress.masks import apply_masks
from minidl.compress.prune import sensitivity
from minidl.compress.removal import remove_filters, remove_masked_filters
from minidl.compress.scores import ablation_scores, filter_layers, filter_masks, filter_norms, taylor_scores
from minidl.train import predict


def network(groups, share_in, share_out, seed=0, residual=False):
    """A convolution before, one of groups, its BatchNorm, and a last one that reads all its channels."""
    rng = np.random.default_rng(seed)
    channels, out = groups * share_in, groups * share_out
    body = [nn.Conv2d(channels, out, 3, padding=1, groups=groups, rng=rng), nn.BatchNorm2d(out), nn.GELU()]
    if residual:
        body = [nn.Residual(nn.Sequential(*body))]
    model = nn.Sequential(
        *(nn.Conv2d(2, channels, 3, padding=1, rng=rng), nn.BatchNorm2d(channels), nn.ReLU(), *body),
        *(nn.Conv2d(out, 4, 1, rng=rng), nn.AdaptiveAvgPool2d(), nn.Flatten()),
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            count = module.num_features
            module.running_mean[:] = rng.normal(0, 0.3, count)
            module.running_var[:] = rng.uniform(0.5, 2, count)
            module.bias.data = rng.normal(0, 0.5, count).astype(np.float32)
    return model.eval()


def images(n=5):
    return np.random.default_rng(1).uniform(0, 1, (n, 2, 6, 6)).astype(np.float32)


def silenced(model, layer, norm, filters):
    """Set to 0, by hand, what makes the channels of some filters."""
    for module in (model.layer(layer), model.layer(norm)):
        module.weight.data[filters], module.bias.data[filters] = 0, 0


def test_the_same_filter_of_each_group_goes_by_hand():
    model, plain = network(groups=2, share_in=2, share_out=3), network(groups=2, share_in=2, share_out=3)
    slim = remove_filters(model, "3", [1])  # of the groups 0 1 2 | 3 4 5
    silenced(plain, "3", "4", [1, 4])
    np.testing.assert_array_equal(slim[3].weight.data, model[3].weight.data[[0, 2, 3, 5]])
    np.testing.assert_array_equal(slim[6].weight.data, model[6].weight.data[:, [0, 2, 3, 5]])
    assert (slim[3].in_channels, slim[3].out_channels, slim[3].groups) == (4, 4, 2)
    np.testing.assert_allclose(predict(slim, images()), predict(plain, images()), atol=1e-6)


def test_what_groups_read_goes_from_each_group_by_hand():
    model, plain = network(groups=2, share_in=2, share_out=3), network(groups=2, share_in=2, share_out=3)
    slim = remove_filters(model, "0", [1])  # the groups read the channels 0 1 | 2 3
    silenced(plain, "0", "1", [1, 3])
    np.testing.assert_array_equal(slim[0].weight.data, model[0].weight.data[[0, 2]])
    np.testing.assert_array_equal(slim[3].weight.data, model[3].weight.data[:, [0]])
    assert (slim[3].in_channels, slim[3].out_channels, slim[3].groups) == (2, 6, 2)
    np.testing.assert_allclose(predict(slim, images()), predict(plain, images()), atol=1e-6)


@pytest.mark.parametrize(("share_in", "share_out"), [(1, 3), (3, 1)])
def test_a_whole_group_goes_where_it_reads_or_makes_one_channel_by_hand(share_in, share_out):
    model = network(3, share_in, share_out)
    plain = network(3, share_in, share_out)
    slim = remove_filters(model, "3", [share_out])  # the first filter of the middle group
    middle_in, middle_out = ([share + i for i in range(share)] for share in (share_in, share_out))
    silenced(plain, "3", "4", middle_out)
    assert (slim[3].in_channels, slim[3].out_channels, slim[3].groups) == (2 * share_in, 2 * share_out, 2)
    np.testing.assert_array_equal(slim[0].weight.data, np.delete(model[0].weight.data, middle_in, axis=0))
    np.testing.assert_array_equal(slim[3].weight.data, np.delete(model[3].weight.data, middle_out, axis=0))
    np.testing.assert_allclose(predict(slim, images()), predict(plain, images()), atol=1e-6)
    # from the other side
    np.testing.assert_array_equal(remove_filters(model, "0", [share_in])[3].weight.data, slim[3].weight.data)


shapes = st.tuples(st.integers(2, 4), st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=40)
@given(shape=shapes, residual=st.booleans(), data=st.data())
def test_the_slim_network_is_the_masked_network(shape, residual, data):
    groups, share_in, share_out = shape
    model = network(groups, share_in, share_in if residual else share_out, residual=residual)
    layer = data.draw(st.sampled_from(filter_layers(model)))
    count = len(model.layer(layer).weight.data)
    index = data.draw(st.integers(0, count - 1))
    try:
        slim = remove_filters(model, layer, [index])
    except ValueError as error:  # its filters can only be removed all together
        assert "would have no filter left" in str(error)
        return
    apply_masks(model, {layer: np.arange(count) != index})
    expected = predict(model, images())
    np.testing.assert_allclose(predict(slim, images()), expected, rtol=1e-4, atol=1e-5)
    again = remove_masked_filters(model)
    np.testing.assert_allclose(predict(again, images()), expected, rtol=1e-4, atol=1e-5)
    for path, module in slim.named_modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.shape[0] == module.out_channels
            assert module.weight.shape[1] * module.groups == module.in_channels
            np.testing.assert_array_equal(again.layer(path).weight.data, module.weight.data)


def test_what_goes_together_has_the_sum_of_its_norms_and_an_amount_counts_what_goes_alone():
    model = network(groups=2, share_in=2, share_out=3)
    norms = filter_norms(model[3])
    masks = filter_masks(model, 1)
    pairs = norms[:3] + norms[3:]
    np.testing.assert_array_equal(masks["3"], np.tile(np.arange(3) != pairs.argmin(), 2))
    first = filter_norms(model[0])
    pairs = first[:2] + first[2:]
    np.testing.assert_array_equal(masks["0"], np.tile(np.arange(2) != pairs.argmin(), 2))
    whole = network(groups=3, share_in=1, share_out=2)
    masks = filter_masks(whole, 1)
    sums = filter_norms(whole[0]) + filter_norms(whole[3]).reshape(3, 2).sum(axis=1)
    assert set(masks) == {"0"}
    np.testing.assert_array_equal(masks["0"], np.arange(3) != sums.argmin())


def test_filters_that_go_together_score_alike():
    model, labels = network(groups=2, share_in=2, share_out=3), np.array([0, 1, 2, 3, 0])
    for scores in (taylor_scores, ablation_scores):
        for layer, share in (("3", 3), ("0", 2)):
            both = scores(model, layer, images(), labels).reshape(2, share)
            np.testing.assert_allclose(both[0], both[1], rtol=1e-5)
            assert len(np.unique(both[0])) == share
    one, many = sensitivity(model, "3", [1, 2], images(), labels)
    pairs = filter_norms(model[3])[:3] + filter_norms(model[3])[3:]
    slim = remove_filters(model, "3", [int(pairs.argmin())])
    assert one.loss == pytest.approx(float(np.mean(cross_entropies(slim, labels))), rel=1e-5)
    assert many.loss != one.loss


def cross_entropies(model, labels):
    logits = predict(model, images()).astype(float)
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]


@pytest.mark.parametrize("groups", [2, 4])
def test_a_convolution_of_groups_that_runs_twice_loses_the_same_both_times(groups):
    rng = np.random.default_rng(0)
    again = nn.Conv2d(4, 4, 3, padding=1, groups=groups, rng=rng)
    model = nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1, rng=rng), again, nn.Tanh(), again),
        *(nn.AdaptiveAvgPool2d(), nn.Flatten(), nn.Linear(4, 3, rng=rng)),
    ).eval()
    slim = remove_filters(model, "0", [1])
    apply_masks(model, {"0": np.arange(4) != 1})
    np.testing.assert_allclose(predict(slim, images()), predict(model, images()), atol=1e-6)
    assert slim[1] is slim[3] and slim[1].in_channels == (2 if groups == 2 else 3)
