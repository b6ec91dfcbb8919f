"""What quantization costs: signal to noise, bytes, and the ranges of types."""

import math

import numpy as np
import pytest

from minidl.compress.precision import dynamic_range_table, packed_bytes, sqnr
from minidl.compress.quantize import QuantParams, symmetric_params


def test_sqnr_by_hand_and_at_its_ends():
    params = QuantParams(np.float32(1), 0, -7, 7)
    # 1.25 and 2.75 have the errors 0.25 and -0.25: 10 log10((1.5625 + 7.5625) / 0.125)
    assert sqnr([1.25, 2.75], params) == pytest.approx(10 * math.log10(73))
    assert sqnr([1.0, -3.0], params) == math.inf and sqnr([0.0], params) == math.inf


def test_a_bit_more_is_six_decibels_more_for_evenly_spread_numbers():
    r = np.random.default_rng(0).uniform(-1, 1, 20_000)
    decibels = [sqnr(r, symmetric_params(1.0, bits)) for bits in range(5, 13)]
    assert np.allclose(np.diff(decibels), 20 * math.log10(2), atol=0.35)


def test_bytes_by_hand():
    assert packed_bytes(1000, 8, 10) == 1080 and packed_bytes(1000, 32, 10) == 4040
    assert packed_bytes(3, 4) == 2 and packed_bytes(5, 3) == 2 and packed_bytes(0, 2) == 0
    assert packed_bytes(7_000_000_000, 4) == 3_500_000_000


def test_the_dynamic_ranges_are_those_of_the_types():
    fp32, fp16, int8 = dynamic_range_table()
    assert fp32[1:] == (-3.4028234663852886e38, 3.4028234663852886e38, 2.0**-149)
    assert fp16 == ("FP16", -65504.0, 65504.0, 2.0**-24)
    assert int8 == ("INT8", -128, 127, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: packed_bytes(-1, 8), "weights must be at least 0"),
        (lambda: packed_bytes(1, 64), r"bits must be within \[2, 16\]"),
        (lambda: sqnr([np.inf], symmetric_params(1.0)), "r must be finite"),
    ],
)
def test_bad_input_is_refused_saying_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
