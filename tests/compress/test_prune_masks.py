"""Masks of scores, of single weights and of whole models, by hand and by their laws."""

import copy

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minidl import nn
from minidl.classroom.strategies import arrays
from minidl.compress.masks import (
    EmptyLayerError,
    apply_masks,
    dense_bytes,
    filter_mask,
    global_magnitude_masks,
    joint_magnitude_masks,
    magnitude_mask,
    pruned_count,
    sparse_bytes,
    sparsity,
    threshold_mask,
    zero_masks,
)
from minidl.compress.scores import filter_masks, random_scores
from minidl.nn.models import small_cnn, tiny_resnet
from minidl.train import predict

scores_of = arrays(st.integers(2, 12).map(lambda n: (n,)), low=0, high=3)  # of quarters: often tied
shares = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 0.8])
weights_of = arrays(st.tuples(st.integers(2, 4), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)))


def tiny_cnn(seed=0):
    rng = np.random.default_rng(seed)
    model = small_cnn(in_channels=1, num_classes=3, widths=(4, 6), pool_after=(1,), rng=rng)
    for _, array in model.named_buffers():
        if array.dtype.kind == "f":
            array[...] = rng.uniform(0.5, 1.5, array.shape)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data = rng.normal(size=parameter.shape)
    return model


# ---- by scores


def test_by_hand_the_lowest_half_goes():
    assert filter_mask([3.0, 1.0, 2.0, 4.0], amount=0.5).tolist() == [True, False, False, True]


def test_by_hand_the_threshold_is_mean_plus_s_deviations():
    # mean 4, deviations 4, 0, 0, 4 -> std sqrt((16 + 16) / 4) = sqrt 8 = 2.83
    scores = [0.0, 4.0, 4.0, 8.0]
    assert filter_mask(scores, s=-1).tolist() == [False, True, True, True]  # above 1.17
    assert filter_mask(scores, s=0).tolist() == [False, False, False, True]  # above 4, not 4 itself
    assert filter_mask(scores, s=1).tolist() == [False, False, False, True]  # above 6.83


def test_of_equal_scores_the_first_go():
    assert filter_mask([1.0, 1.0, 1.0, 1.0], amount=0.5).tolist() == [False, False, True, True]
    assert filter_mask([2.0, 1.0, 1.0, 1.0], amount=2).tolist() == [True, False, False, True]
    often = np.tile([1.0, 0.0], 500)  # the first 300 of the 500 zeros at odd places
    assert filter_mask(often, amount=0.3).tolist() == [i % 2 == 0 or i >= 600 for i in range(1000)]


@pytest.mark.parametrize(
    ("amount", "total", "count"),
    [
        (0.5, 5, 2),
        (0.5, 7, 4),
        (0.3, 10, 3),
        (0.29, 100, 29),
        (0.05, 10, 0),
        (3, 10, 3),
        (0, 4, 0),
        (1.0, 4, 4),
    ],
)
def test_an_amount_is_rounded_half_to_even(amount, total, count):
    assert pruned_count(amount, total) == count


@given(scores=scores_of, amount=shares)
def test_the_count_is_exact_and_what_is_kept_scores_no_less(scores, amount):
    count = round(amount * len(scores))
    assume(count < len(scores))
    keep = filter_mask(scores, amount=amount)
    assert np.sum(~keep) == count
    if count:
        assert scores[keep].min() >= scores[~keep].max()


@given(scores=scores_of, amounts=st.tuples(shares, shares))
def test_masks_are_nested_in_the_amount(scores, amounts):
    less, more = sorted(amounts)
    assume(round(more * len(scores)) < len(scores))
    assert not np.any(filter_mask(scores, amount=more) & ~filter_mask(scores, amount=less))


@given(scores=scores_of, s=st.tuples(st.floats(-2, 0), st.floats(-2, 0)))
def test_masks_are_nested_in_s(scores, s):
    assume(scores.std() > 0)
    try:
        more = filter_mask(scores, s=max(s))
    except EmptyLayerError:
        return
    assert not np.any(more & ~filter_mask(scores, s=min(s)))


@given(scores=scores_of, power=st.integers(-8, 8), s=st.sampled_from([-1.0, -0.5]), amount=shares)
def test_scores_scaled_by_a_power_of_two_have_the_same_masks(scores, power, s, amount):
    assume(round(amount * len(scores)) < len(scores) and scores.std() > 0)
    scaled = scores * 2.0**power
    assert np.array_equal(filter_mask(scores, amount=amount), filter_mask(scaled, amount=amount))
    try:
        expected = filter_mask(scores, s=s)
    except EmptyLayerError:
        return
    assert np.array_equal(filter_mask(scaled, s=s), expected)


@given(seed=st.integers(0, 1000), count=st.integers(2, 12), amounts=st.tuples(shares, shares))
def test_random_masks_of_one_permutation_are_nested(seed, count, amounts):
    less, more = sorted(amounts)
    assume(round(more * count) < count)
    scores = random_scores(np.ones((count, 1)), np.random.default_rng(seed))
    assert sorted(scores) == list(range(count))
    assert not np.any(filter_mask(scores, amount=more) & ~filter_mask(scores, amount=less))


# ---- by single weights


def test_by_hand_small_weights_go_whatever_their_sign():
    weight = np.array([[-3.0, 0.5], [1.0, -0.25]])
    assert magnitude_mask(weight, 0.5).tolist() == [[True, False], [True, False]]
    # |w|: mean 1.1875, std 1.0867
    assert threshold_mask(weight, 0).tolist() == [[True, False], [False, False]]
    assert threshold_mask(weight, -0.5).tolist() == [[True, False], [True, False]]  # above 0.644


def test_by_hand_joint_masks_compare_across_the_arrays():
    weights = {"a": np.array([[1.0, -5.0]]), "b": np.array([2.0, 3.0])}
    masks = joint_magnitude_masks(weights, 0.5)
    assert masks["a"].tolist() == [[False, True]] and masks["b"].tolist() == [False, True]


@given(weight=weights_of, amount=shares)
def test_pruning_again_by_the_same_amount_of_all_weights_prunes_nothing_more(weight, amount):
    assume(round(amount * weight.size) < weight.size)
    mask = magnitude_mask(weight, amount)
    pruned = np.where(mask, weight, 0)
    assert np.array_equal(magnitude_mask(pruned, amount), mask)
    assert np.sum(~mask) == round(amount * weight.size)


@given(a=weights_of, b=weights_of, amount=shares, power=st.integers(-6, 6))
def test_joint_masks_have_the_exact_count_and_do_not_mind_a_common_power_of_two(a, b, amount, power):
    try:
        masks = joint_magnitude_masks({"a": a, "b": b}, amount)
    except EmptyLayerError:
        return
    assert sum(int((~mask).sum()) for mask in masks.values()) == round(amount * (a.size + b.size))
    scaled = joint_magnitude_masks({"a": a * 2.0**power, "b": b * 2.0**power}, amount)
    assert all(np.array_equal(masks[name], scaled[name]) for name in masks)


def test_global_masks_prune_the_exact_share_of_all_weights_and_no_bias():
    model = tiny_cnn()
    masks = global_magnitude_masks(model, 0.6)
    assert set(masks) == {"block1.conv.weight", "block2.conv.weight", "head.weight"}
    total = 4 * 9 + 6 * 4 * 9 + 3 * 6
    apply_masks(model, masks)
    assert sparsity(model) == round(0.6 * total) / total
    kept = [np.abs(p.data[masks[path]]) for path, p in model.named_parameters() if path in masks]
    dense = tiny_cnn()
    lost = [np.abs(p.data[~masks[path]]) for path, p in dense.named_parameters() if path in masks]
    assert np.concatenate(kept).min() >= np.concatenate(lost).max()


# ---- on a model


def test_a_filter_mask_zeroes_weight_and_bias_and_the_batch_norm_that_follows():
    model, before = tiny_cnn(), tiny_cnn().state_dict()
    apply_masks(model, {"block1.conv": np.array([True, False, True, True])})
    after = model.state_dict()
    for key in ("block1.conv.weight", "block1.bn.weight", "block1.bn.bias"):
        assert not after[key][1].any()
        assert np.array_equal(after[key][[0, 2, 3]], before[key][[0, 2, 3]])
    touched = {"block1.conv.weight", "block1.bn.weight", "block1.bn.bias"}
    assert all(np.array_equal(after[key], before[key]) for key in before if key not in touched)


def test_a_filter_mask_zeroes_its_bias_too():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 1))
    apply_masks(model, {"0": np.array([True, True, False])})
    assert model.layer("0").bias.data[2] == 0 and not model.layer("0").weight.data[2].any()
    assert model.layer("0").bias.data[:2].all() and model.layer("2").bias.data.all()


def test_masks_of_residual_partners_go_together():
    model = tiny_resnet(num_classes=3, widths=(4,), rng=np.random.default_rng(0))
    apply_masks(model, {"stem.conv": np.array([True, False, True, True])})
    partner = model.layer("stage1.block1.residual.body.conv2").weight.data
    assert not partner[1].any() and partner[[0, 2, 3]].any(axis=(1, 2, 3)).all()
    images = np.random.default_rng(1).random((2, 1, 8, 8), dtype=np.float32)
    assert not model[:2].eval()(images).data[:, 1].any()


@given(amount=st.sampled_from([0.25, 0.5]), first=st.booleans())
def test_masks_add_up_and_applying_them_again_changes_nothing(amount, first):
    model = tiny_cnn()
    apply_masks(model, global_magnitude_masks(model, amount))
    zeros = model.layer("block2.conv").weight.data == 0
    again = {"block2.conv": np.arange(6) >= 2} if first else global_magnitude_masks(model, amount)
    apply_masks(model, again)
    now = model.layer("block2.conv").weight.data == 0
    assert not np.any(zeros & ~now)
    state = model.state_dict()
    apply_masks(model, again)
    assert all(np.array_equal(state[key], array) for key, array in model.state_dict().items())


def test_masking_a_dead_filter_changes_nothing():
    model = tiny_cnn()
    for name in ("conv.weight", "bn.weight", "bn.bias"):
        layer, attribute = name.split(".")
        getattr(model.layer(f"block1.{layer}"), attribute).data[2] = 0
    images = np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32)
    before = predict(model, images)
    apply_masks(model, {"block1.conv": np.array([True, True, False, True])})
    assert np.array_equal(predict(model, images), before)


def test_an_all_true_mask_changes_nothing_and_a_failed_one_too():
    model = tiny_cnn()
    before = model.state_dict()
    apply_masks(model, {"block1.conv": np.ones(4, bool), "head.weight": np.ones((3, 6), bool)})
    bad = {"head.weight": np.zeros((3, 6), bool), "block1.conv": np.array([False, True, True, True])}
    with pytest.raises(EmptyLayerError, match="head.weight"):
        apply_masks(model, bad)
    assert all(np.array_equal(before[key], array) for key, array in model.state_dict().items())
    assert model.layer("block1.conv").weight.mask is None


def test_zero_masks_find_what_was_masked():
    model = apply_masks(tiny_cnn(), {"block2.conv": np.arange(6) != 4})
    apply_masks(model, {"head.weight": magnitude_mask(model.layer("head").weight.data, 0.5)})
    found, parameters = zero_masks(model), dict(model.named_parameters())
    assert set(found) == {"block2.conv.weight", "block2.bn.weight", "block2.bn.bias", "head.weight"}
    assert all(np.array_equal(mask, parameters[path].mask) for path, mask in found.items())


def test_a_copy_keeps_its_masks():
    model = apply_masks(tiny_cnn(), {"block1.conv": np.arange(4) != 0})
    twin = copy.deepcopy(model).layer("block1.conv").weight
    assert twin is not model.layer("block1.conv").weight
    assert np.array_equal(twin.mask, model.layer("block1.conv").weight.mask)


def test_filter_masks_sum_the_norms_of_partners():
    model = tiny_resnet(num_classes=3, widths=(2,), rng=np.random.default_rng(0))
    stem, partner = model.layer("stem.conv"), model.layer("stage1.block1.residual.body.conv2")
    stem.weight.data = np.stack([np.full((1, 3, 3), 1.0), np.full((1, 3, 3), 2.0)])  # norms 9, 18
    partner.weight.data = np.stack([np.full((2, 3, 3), 1.0), np.full((2, 3, 3), -0.25)])  # 18, 4.5
    masks = filter_masks(model, 0.5)
    assert set(masks) == {"stem.conv", "stage1.block1.residual.body.conv1"}
    assert masks["stem.conv"].tolist() == [
        True,
        False,
    ]  # 27 against 22.5; the norms of the stem alone give another order


# ---- what it takes


def test_bytes_by_hand():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=True))
    model.layer("1").weight.data = np.array([[0.0, 1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 3.0]])
    assert sparsity(model) == 5 / 8
    assert dense_bytes(model) == 4 * (8 + 2)
    # three values and three columns of 4 bytes, three row starts of 4 bytes, and the bias
    assert sparse_bytes(model) == 12 + 12 + 12 + 8
