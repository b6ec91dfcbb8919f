"""What pruning set to zero stays zero in every copy that is made of the network to be trained on."""

import numpy as np
import pytest

from minidl import nn
from minidl.compress.branches import merge_parallel_convs
from minidl.compress.fuse import fold_batchnorm, fuse
from minidl.compress.masks import apply_masks, global_magnitude_masks, sparsity
from minidl.compress.qat import prepare_qat
from minidl.nn.models import small_cnn
from minidl.train import Adam, fit


def pruned(amount=0.7, seed=0):
    model = small_cnn(3, 2, (8, 12), rng=np.random.default_rng(seed)).eval()
    return apply_masks(model, global_magnitude_masks(model, amount))


def data(seed=1):
    rng = np.random.default_rng(seed)
    return rng.random((64, 2, 8, 8), dtype=np.float32), rng.integers(0, 3, 64)


def trained(model):
    optimizer = Adam(model.parameters(), lr=1e-2)
    fit(model, data(), epochs=1, optimizer=optimizer, rng=np.random.default_rng(0), progress=False)
    return model.eval()


def zeros(model):
    weights = [p.data for p in model.parameters() if p.ndim > 1]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.size for w in weights)


@pytest.mark.parametrize("bits", [2, 8, 32])
def test_seventy_percent_stay_pruned_through_an_epoch_of_retraining_with_rounding(bits):
    rounded = prepare_qat(pruned(), data()[0], weight_bits=bits, activation_bits=bits)
    before = [p.data.copy() for p in rounded.parameters()]
    trained(rounded)
    assert zeros(rounded) >= 0.7
    assert any((p.data != old).any() for p, old in zip(rounded.parameters(), before, strict=True))


def test_a_fused_network_keeps_its_zeros_while_it_is_trained():
    fused = trained(fuse(pruned()))
    assert zeros(fused) >= 0.7 and sparsity(fused) >= 0.7


def test_a_folded_layer_has_the_layers_mask_and_the_batchnorms():
    linear, bn = nn.Linear(3, 2), nn.BatchNorm1d(2).eval()
    linear.weight.mask = np.array([[True, False, True], [True, True, True]])
    assert fold_batchnorm(linear, bn).weight.mask.tolist() == [[True, False, True], [True, True, True]]
    assert fold_batchnorm(linear, bn).bias.mask is None
    bn.weight.mask, bn.bias.mask = np.array([True, False]), np.array([True, False])  # a filter is pruned
    new = fold_batchnorm(linear, bn)
    assert new.weight.mask.tolist() == [[True, False, True], [False, False, False]]
    assert new.bias.mask.tolist() == [True, False]
    bn.bias.mask = None  # only the bias of the feature remains, without a mask
    assert fold_batchnorm(linear, bn).bias.mask is None
    assert fold_batchnorm(nn.Linear(3, 2), nn.BatchNorm1d(2, affine=False).eval()).weight.mask is None


def test_pruned_filters_stay_pruned_where_batchnorm_is_folded_in():
    model = small_cnn(3, 2, (8, 12), rng=np.random.default_rng(0)).eval()
    apply_masks(model, {"block1.conv": np.arange(8) % 2 == 0})
    conv = trained(fuse(model)).layer("block1.conv")
    assert not conv.weight.data[1::2].any() and not conv.bias.data[1::2].any()
    assert conv.weight.data[::2].all()


def test_merged_convolutions_have_the_masks_of_all_in_their_order():
    first, second = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
    second.weight.mask = np.array([True, False, False, True]).reshape(2, 2, 1, 1)
    merged = merge_parallel_convs(nn.Concat(first, second).eval()).merged[0]
    assert merged.weight.mask[:2].all() and (merged.weight.mask[2:] == second.weight.mask).all()


def test_a_training_of_a_pruned_network_does_not_continue_without_its_masks(tmp_path):
    path, plain = tmp_path / "c.npz", small_cnn(3, 2, (8, 12), rng=np.random.default_rng(0))
    fit(pruned(), data(), epochs=1, checkpoint=path, progress=False)
    with pytest.raises(ValueError, match="pruned weights: [0-9]+ before, None now"):
        fit(plain, data(), epochs=2, checkpoint=path, progress=False)
    again = pruned()
    fit(again, data(), epochs=2, checkpoint=path, progress=False)
    assert zeros(again) >= 0.7
