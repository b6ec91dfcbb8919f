"""Weights in groups with a scale each, packed without gaps."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl import nn
from minidl.compress.branches import merge_parallel_convs
from minidl.compress.fuse import fuse
from minidl.compress.integer import model_bytes
from minidl.compress.packed import (
    GroupedWeight,
    dequantize_groups,
    pack,
    pack_weights,
    quantize_groups,
    unpack,
)
from minidl.compress.precision import packed_bytes
from minidl.compress.qat import prepare_qat
from minidl.compress.quantize import channel_absmax, fake_quantize, symmetric_params
from tests.lite import tiny_lite

bit_counts = st.integers(2, 8)
weights = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-64, 64, width=16),  # few digits, so that products with powers of two are exact
)

# ---- packing


def test_two_to_a_byte_and_four_to_a_byte_by_hand():
    # 4 bits: 1 = 0001, -1 = 1111; the first is in the low half.   3 = 0011 has its own byte
    assert pack([1, -1, 3], 4).tolist() == [0b1111_0001, 0b0000_0011]
    # 2 bits: 1 = 01, -2 = 10, 0 = 00, -1 = 11; the first is lowest
    assert pack([1, -2, 0, -1], 2).tolist() == [0b11_00_10_01]
    # 8 bits: two's complements
    assert pack([1, -1, -128, 127], 8).tolist() == [1, 255, 128, 127]
    # 3 bits: 001, 111, 010. The third is divided between two bytes: 10|111|001, 0
    assert pack([1, -1, 2], 3).tolist() == [0b10_111_001, 0b0]


@given(st.data(), bit_counts)
def test_what_is_packed_comes_back_and_takes_its_bits_rounded_up_to_bytes(data, bits):
    half = 2 ** (bits - 1)
    q = np.array(data.draw(st.lists(st.integers(-half, half - 1), max_size=40)), np.int64)
    packed = pack(q, bits)
    assert packed.dtype == np.uint8 and len(packed) == -(-len(q) * bits // 8)
    back = unpack(packed, bits, len(q))
    assert back.dtype == np.int8
    np.testing.assert_array_equal(back, q)


@given(st.data(), bit_counts)
def test_whole_bytes_that_are_unpacked_and_packed_again_are_the_same_bytes(data, bits):
    packed = np.frombuffer(data.draw(st.binary(min_size=bits, max_size=bits)), np.uint8)
    np.testing.assert_array_equal(pack(unpack(packed, bits, 8), bits), packed)


# ---- groups


def test_a_weight_in_groups_by_hand():
    # 4 bits: qmax 7. Row 1: max 7 -> S 1, max 3.5 -> S 0.5. Row 2: zeros -> S 0, max 14 -> S 2
    weight = np.array([[7, -2.4, 0.5, 3.5, -1, 0.2], [0, 0, 0, 14, -3, 2]], np.float32)
    grouped = quantize_groups(weight, bits=4, group_size=3)
    assert grouped.scales.dtype == np.float16
    np.testing.assert_array_equal(grouped.scales, [[1, 0.5], [0, 2]])
    q = unpack(grouped.packed, 4, 12).reshape(2, 6)
    np.testing.assert_array_equal(q, [[7, -2, 0, 7, -2, 0], [0, 0, 0, 7, -2, 1]])  # halves to even
    np.testing.assert_array_equal(dequantize_groups(grouped), [[7, -2, 0, 3.5, -1, 0], [0, 0, 0, 14, -4, 2]])
    assert grouped.bytes == 12 // 2 + 2 * 4


def test_the_last_group_of_a_row_may_be_short_and_never_reaches_into_the_next_row():
    weight = np.array([[1, 1, 100], [1, 1, 1]], np.float32)
    grouped = quantize_groups(weight, bits=8, group_size=2)
    np.testing.assert_array_equal(
        grouped.scales, np.array([[1 / 127, 100 / 127]] + [[1 / 127] * 2], np.float16)
    )


def test_a_group_too_small_for_float16_is_zero_and_one_longer_than_a_row_is_the_row():
    tiny = quantize_groups(np.array([[1e-9, -1e-9]], np.float32), bits=4)
    assert not tiny.scales.any() and not tiny.packed.any()
    assert quantize_groups(np.ones((2, 3)), bits=4, group_size=2**30).group_size == 3


@given(weights, bit_counts, st.integers(1, 40))
def test_the_error_is_at_most_half_a_step_of_the_group(weight, bits, size):
    grouped = quantize_groups(weight, bits, size)
    rows, back = weight.reshape(len(weight), -1), dequantize_groups(grouped)
    assert back.dtype == np.float32 and back.shape == weight.shape
    back = back.reshape(rows.shape)
    for o, row in enumerate(rows):
        for g in range(0, len(row), size):
            part = row[g : g + size].astype(np.float64)
            S = np.abs(part).max() / (2 ** (bits - 1) - 1)
            # a float16 scale S has an error of 2^-11 S, or of half the smallest float16
            rounding = max(2.0**-11 * S, 2.0**-25) * (2 ** (bits - 1) - 1)
            assert np.abs(part - back[o, g : g + size]).max() <= 0.5 * S * (1 + 2.0**-11) + rounding + 1e-9


@given(weights, bit_counts)
def test_one_group_a_row_is_one_scale_a_channel_but_for_the_scales_16_bits(weight, bits):
    weight = np.float32(2 ** (bits - 1) - 1) * np.round(weight)  # scales are whole numbers: exact in 16 bits
    params = symmetric_params(channel_absmax(weight, 0), bits, axis=0)
    one = dequantize_groups(quantize_groups(weight, bits, weight[0].size))
    np.testing.assert_array_equal(one, fake_quantize(weight, params))
    np.testing.assert_array_equal(dequantize_groups(quantize_groups(weight, bits, 10**6)), one)


@given(weights, bit_counts, st.integers(1, 9), st.integers(-3, 3))
def test_negated_or_scaled_by_a_power_of_two_the_integers_are_the_same(weight, bits, size, exponent):
    weight = np.round(weight)  # 0 or at least 1: all scales are normal float16 numbers
    one = quantize_groups(weight, bits, size)
    other = quantize_groups(weight * np.float32(2.0**exponent), bits, size)
    np.testing.assert_array_equal(one.packed, other.packed)
    np.testing.assert_array_equal(one.scales * np.float16(2.0**exponent), other.scales)
    np.testing.assert_array_equal(
        dequantize_groups(quantize_groups(-weight, bits, size)), -dequantize_groups(one)
    )


@given(weights, bit_counts)
def test_bytes_are_bits_and_two_for_each_group(weight, bits):
    grouped, row = quantize_groups(weight, bits, 4), weight[0].size
    assert grouped.bytes == -(-weight.size * bits // 8) + 2 * len(weight) * -(-row // 4)


def test_the_files_of_language_models_take_four_and_a_half_and_eight_and_a_half_bits_a_weight():
    billions = 7 * 10**9
    assert packed_bytes(billions, 4, group_size=32) == billions // 2 + 2 * billions // 32
    assert packed_bytes(billions, 4, group_size=32) * 8 / billions == 4.5
    assert packed_bytes(billions, 8, group_size=32) * 8 / billions == 8.5
    assert packed_bytes(33, 2, 5, group_size=32) == 9 + 2 * 2 + 4 * 5  # ceil(66 / 8), two groups, five biases


# ---- of a model


def model():
    rng = np.random.default_rng(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, rng=rng),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=4, bias=False, rng=rng),
        nn.Flatten(),
        nn.Linear(4 * 6 * 6, 5, rng=rng),
    ).eval()


def images(n=4):
    return np.random.default_rng(1).uniform(0, 1, (n, 3, 8, 8)).astype(np.float32)


def test_a_packed_model_computes_with_the_weights_that_come_back():
    whole, plain = model(), model()
    for layer in (plain[0], plain[2], plain[4]):
        layer.weight.data = dequantize_groups(quantize_groups(layer.weight.data, 4, 16))
    packed = pack_weights(whole, bits=4, group_size=16)
    np.testing.assert_array_equal(packed(images()).data, plain(images()).data)
    np.testing.assert_array_equal(whole[0].weight.data, model()[0].weight.data)  # the model itself stays


def test_the_bytes_of_a_packed_model_by_hand():
    # 4·27 + 4·9 + 5·144 weights with 4 bits; 4·1 + 4·1 + 5·5 scales with 2 bytes; 4 + 5 biases with 4 bytes
    assert model_bytes(pack_weights(model(), bits=4)) == (108 + 36 + 720) // 2 + 2 * (4 + 4 + 25) + 4 * 9
    assert model_bytes(pack_weights(model(), bits=2)) == (108 + 36 + 720) // 4 + 2 * (4 + 4 + 25) + 4 * 9


@pytest.mark.parametrize("bits", [2, 8])
def test_blocks_fused_relus_and_a_single_layer_are_packed_too(bits):
    lite = fuse(tiny_lite().eval())
    packed = pack_weights(lite, bits)
    assert not any(
        type(part.weight).__name__ == "Parameter" for part in packed.modules() if "weight" in vars(part)
    )
    assert model_bytes(packed) < model_bytes(lite)
    if bits == 8:
        np.testing.assert_allclose(packed(images()).data, lite(images()).data, atol=0.02)
    single = pack_weights(nn.Linear(3, 2))
    assert single(np.ones((1, 3), np.float32)).shape == (1, 2)


def test_a_layer_that_stands_twice_is_packed_once():
    layer = nn.Linear(4, 4)
    packed = pack_weights(nn.Sequential(layer, nn.ReLU(), layer))
    assert packed[0] is packed[2]
    assert model_bytes(packed) == 8 + 2 * 4 + 4 * 4


def test_a_packed_network_keeps_its_mode():
    assert not any(part.training for part in pack_weights(model().eval()).modules())
    assert pack_weights(model().train())[0].training


def test_a_state_holds_the_packed_weights():
    packed, other = pack_weights(model()), pack_weights(model())
    other[0].packed[:] = 0
    assert not np.array_equal(other(images()).data, packed(images()).data)
    other.load_state_dict(packed.state_dict())
    np.testing.assert_array_equal(other(images()).data, packed(images()).data)
    np.testing.assert_array_equal(copy.deepcopy(packed)(images()).data, packed(images()).data)


# ---- bad input


def test_bad_input_is_refused():
    class OwnForward(nn.Linear):
        def forward(self, x):
            return super().forward(x) * 2

    hooked, weight = model(), np.ones((2, 3), np.float32)
    hooked[2].register_forward_hook(lambda *_: None)
    branches = nn.Concat(nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1))
    cases = [
        (lambda: pack([8], 4), ValueError, "within"),
        (lambda: pack([-9], 4), ValueError, "within"),
        (lambda: pack([0.5], 4), TypeError, "integers"),
        (lambda: pack([1], 9), ValueError, "bits"),
        (lambda: unpack(np.zeros(2, np.uint8), 4, 5), ValueError, "5 integers of 4 bits take 3 bytes, got 2"),
        (lambda: quantize_groups(np.ones(3)), ValueError, r"\(O, ...\)"),
        (lambda: quantize_groups(weight * np.nan), ValueError, "finite"),
        (lambda: quantize_groups(weight, bits=1), ValueError, "bits"),
        (lambda: quantize_groups(weight, group_size=0), ValueError, "group_size"),
        (lambda: quantize_groups(weight * 1e6), ValueError, "float16 holds scales up to 65504"),
        (lambda: dequantize_groups(weight), TypeError, "GroupedWeight"),
        (
            lambda: pack_weights(prepare_qat(model(), images())),
            ValueError,
            "quantized already: give the original float network",
        ),
        (lambda: pack_weights(nn.ReLU()), ValueError, "no weights to pack"),
        (lambda: pack_weights(hooked), ValueError, "^2 has a forward hook"),
        (lambda: pack_weights(nn.Sequential({"a": OwnForward(2, 2)})), ValueError, "^a has a forward hook"),
        (lambda: pack_weights(merge_parallel_convs(branches.eval())), ValueError, "its own forward"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
    assert isinstance(quantize_groups(weight), GroupedWeight)
