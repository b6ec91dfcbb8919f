"""Bad input to scores and masks is refused where it comes in, saying what was expected and what came."""

import numpy as np
import pytest

from minidl import nn
from minidl.compress.fuse import fuse
from minidl.compress.masks import (
    EmptyLayerError,
    apply_masks,
    dense_bytes,
    filter_mask,
    global_magnitude_masks,
    joint_magnitude_masks,
    magnitude_mask,
    sparse_bytes,
    sparsity,
    threshold_mask,
    zero_masks,
)
from minidl.compress.scores import (
    ablation_scores,
    filter_layers,
    filter_masks,
    filter_norms,
    random_scores,
    taylor_scores,
)
from minidl.nn.models import small_cnn

SCORES = np.arange(4.0)


def network():
    return small_cnn(3, 1, (4, 5), pool_after=(), rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "either amount or s, got amount=None and s=None"),
        ({"amount": 0.5, "s": 0.0}, ValueError, "either amount or s"),
        ({"amount": -0.1}, ValueError, r"amount must be .*\[0, 1\], got -0.1"),
        ({"amount": 1.5}, ValueError, r"within \[0, 1\]"),
        ({"amount": float("nan")}, ValueError, r"within \[0, 1\]"),
        ({"amount": 5}, ValueError, "amount must be within \\[0, 4\\], got 5"),
        ({"amount": -1}, ValueError, "amount must be within \\[0, 4\\]"),
        ({"amount": True}, TypeError, "amount must be a number, got True"),
        ({"amount": "half"}, TypeError, "amount must be a number"),
        ({"amount": 1.0}, EmptyLayerError, "nothing of 4 would be kept"),
        ({"amount": 4}, EmptyLayerError, "nothing of 4 would be kept"),
        ({"s": 10.0}, EmptyLayerError, "nothing of 4 would be kept"),
        ({"s": float("inf")}, ValueError, "s must be"),
        ({"s": "1"}, TypeError, "s must be"),
    ],
)
def test_amount_and_s_are_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        filter_mask(SCORES, **arguments)


@pytest.mark.parametrize(
    ("scores", "error"),
    [
        (np.zeros((2, 2)), ValueError),
        (np.zeros(0), ValueError),
        (np.array([1.0, np.nan]), ValueError),
        (np.array([True, False]), TypeError),
        (["a", "b"], TypeError),
    ],
)
def test_scores_are_checked(scores, error):
    with pytest.raises(error, match="scores must (be|have|not)"):
        filter_mask(scores, amount=0.5)


def test_the_first_score_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match="scores must be finite, got inf"):
        filter_mask(np.array([1.0, 2.0, np.inf, np.nan]), amount=0.5)


def test_equal_scores_have_no_threshold():
    with pytest.raises(EmptyLayerError):
        filter_mask(np.full(5, 0.1), s=0.0)


def test_weights_are_checked():
    for function in (magnitude_mask, threshold_mask):
        with pytest.raises(TypeError, match="weight must be real numbers"):
            function(np.array(["a"]), 0.5)
        with pytest.raises(ValueError, match="finite"):
            function(np.array([1.0, np.inf]), 0.5)
    with pytest.raises(ValueError, match="dict of at least one array, got an empty one"):
        joint_magnitude_masks({}, 0.5)
    with pytest.raises(TypeError, match="weights must be a Mapping, got"):
        joint_magnitude_masks([np.ones(3)], 0.5)


def test_global_masks_that_would_empty_a_layer_are_refused_with_its_name():
    model = network()
    model.layer("head").weight.data *= np.float32(1e-6)
    with pytest.raises(EmptyLayerError, match="nothing of head.weight"):
        global_magnitude_masks(model, 0.5)


@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        ([("block1.conv", np.ones(4, bool))], TypeError, "masks must be a Mapping, got"),
        ({"block1.cnov": np.ones(4, bool)}, ValueError, "nearest: block1.conv"),
        ({"block1.bn": np.ones(4, bool)}, ValueError, "'block1.bn' is not a Conv2d, or a Linear on rows"),
        ({"block1.conv": np.ones(5, bool)}, ValueError, r"must have shape \(4,\), got \(5,\)"),
        ({"block1.conv": np.ones(4)}, TypeError, "the mask of block1.conv must be bools, got .* of float64"),
        ({"block1.conv.weight": np.ones(4, bool)}, ValueError, r"must have shape \(4, 1, 3, 3\), got \(4,\)"),
        ({"head": np.array([True, True, False])}, ValueError, "cannot be removed: it is the model's output"),
        ({"block1.conv": np.zeros(4, bool)}, EmptyLayerError, "no filter of block1.conv"),
        ({"head.weight": np.zeros((3, 5), bool)}, EmptyLayerError, "nothing of head.weight"),
    ],
)
def test_masks_of_a_model_are_checked(masks, error, message):
    with pytest.raises(error, match=message):
        apply_masks(network(), masks)


def test_masks_that_together_empty_a_layer_are_refused():
    model = apply_masks(network(), {"block1.conv": np.arange(4) < 2})
    with pytest.raises(EmptyLayerError, match="block1.conv.weight"):
        apply_masks(model, {"block1.conv": np.arange(4) >= 2})


@pytest.mark.parametrize("function", [sparsity, sparse_bytes, dense_bytes, zero_masks, filter_layers])
def test_a_model_is_a_module(function):
    with pytest.raises(TypeError, match="model must be a Module, got {}"):
        function({})


@pytest.mark.parametrize("function", [sparsity, sparse_bytes, filter_layers])
def test_a_model_without_weights_is_refused(function):
    with pytest.raises(ValueError, match="no Conv2d and no Linear"):
        function(nn.Sequential(nn.ReLU()))


def test_norms_are_of_filters_and_of_order_1_or_2():
    with pytest.raises(ValueError, match="order must be one of 1, 2, got 3"):
        filter_norms(np.ones((2, 2)), order=3)
    with pytest.raises(ValueError, match=r"a weight \(O, ...\), got shape \(3,\)"):
        filter_norms(np.ones(3))
    with pytest.raises(ValueError, match=r"conv must not be empty, got shape \(2, 0\)"):
        filter_norms(np.ones((2, 0)))
    for module, name in ((nn.ReLU(), "ReLU"), (nn.BatchNorm2d(3), "BatchNorm2d"), (network(), "Sequential")):
        with pytest.raises(TypeError, match=f"conv must be a Conv2d or Linear, got {name}"):
            filter_norms(module)
    with pytest.raises(ValueError, match="order must be one of 1, 2"):
        filter_masks(network(), 0.5, order=0)
    with pytest.raises(TypeError, match="rng must be"):
        random_scores(np.ones((2, 2)), rng=0)


@pytest.mark.parametrize("score", [ablation_scores, taylor_scores])
def test_scores_by_data_check_layer_images_and_labels(score):
    images, labels = np.zeros((2, 1, 6, 6), np.float32), np.array([0, 1])
    with pytest.raises(ValueError, match="nearest: block1.conv"):
        score(network(), "block1.cnov", images, labels)
    with pytest.raises(ValueError, match="it is the model's output"):
        score(network(), "head", images, labels)
    with pytest.raises(ValueError, match="the same length"):
        score(network(), "block1.conv", images, labels[:1])
    with pytest.raises(ValueError, match="not be empty"):
        score(network(), "block1.conv", images[:0], labels[:0])


@pytest.mark.parametrize("score", [ablation_scores, taylor_scores])
@pytest.mark.parametrize("place", [0, 300])  # in the first batch and in the second
def test_scores_by_data_refuse_images_that_make_the_loss_nan(score, place):
    images, labels = np.zeros((301, 1, 6, 6), np.float32), np.zeros(301, np.int64)
    images[place] = np.nan
    with pytest.raises(FloatingPointError, match="finite|nan"):
        score(network(), "block1.conv", images, labels)


def test_a_model_of_images_of_one_size_asks_for_a_batch():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 4 * 4, 3))
    with pytest.raises(ValueError, match=r"does not run on zeros of \(1, 1, 16, 16\): give x, a batch that"):
        filter_masks(model, 0.5)
    with pytest.raises(ValueError, match=r"does not run on zeros of \(1, 1, 16, 16\): give x, a batch that"):
        fuse(model.eval())
    assert set(filter_masks(model, 0.5, x=np.zeros((1, 1, 6, 6), np.float32))) == {"0"}
    # for a given batch, the message must not name zeros
    with pytest.raises(ValueError, match="(?s)^(?!.*on zeros of)"):
        filter_masks(model, 0.5, x=np.zeros((1, 1, 7, 7), np.float32))


class Own(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) + 1


def test_a_model_without_filters_to_prune_is_refused_with_the_reason():
    with pytest.raises(
        ValueError, match="no filters .* can be pruned: not those of 0: it is the model's output"
    ):
        filter_masks(nn.Sequential(nn.Linear(4, 3)), 0.5)
    with pytest.raises(ValueError, match="no filters of the model can be pruned: it has none"):
        filter_masks(nn.Sequential(Own(4, 2, 3)), 0.5)
    with pytest.raises(ValueError, match="not those of 0: it is the model's input"):
        filter_masks(nn.Sequential(nn.Conv2d(2, 2, 3, groups=2)), 0.5)


def test_a_layer_initialised_to_zero_is_no_masked_one():
    model = network()
    head = model.layer("head")
    head.weight.data[...], head.bias.data[...] = 0, 0
    model.layer("block1.conv").weight.data[1] = 0
    masks = zero_masks(model)
    assert {path for path in masks if path.startswith(("head", "block1.conv.w"))} == {"block1.conv.weight"}
    apply_masks(model, masks)
    assert head.weight.mask is None and head.bias.mask is None
