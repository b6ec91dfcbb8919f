"""Integer networks as ONNX files give in ONNX Runtime the integers that they give here."""

import numpy as np
import pytest
from hypothesis import given, settings

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from hypothesis import strategies as st  # noqa: E402
from runs import NETWORKS, compared, distance, images_of, network, optimised, random_networks, run, warmed  # noqa: E402

from lessons import PICTURES  # noqa: E402
from minidl import nn  # noqa: E402
from minidl.compress.integer import quantize_model  # noqa: E402
from minidl.data import load_folder  # noqa: E402
from minidl.export import to_onnx  # noqa: E402
from minidl.nn.models import imagenet_network  # noqa: E402
from minidl.train.networks import digits_network, digits_split  # noqa: E402

FORMATS = ("qdq", "qoperator")
NEAR = 1e-6  # distance from a half, relative to the number if it is above 1
tallies = []  # counts of all tests of this file: (format, tally)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    yield tmp_path_factory.mktemp("onnx") / "model.onnx"
    for format in FORMATS:
        own = [tally for kind, tally in tallies if kind == format]
        ties = [tie for tally in own for tie in tally.from_half]
        total = sum(tally.compared for tally in own)
        print(
            f"\n{format}: {len(own)} runs of {total:,} integers, {len(ties)} differ by a step, whose numbers"
        )
        print(f"are {max(ties, default=0):.1e} from a half at most, relative to their size")


def agrees(model, images, file):
    """Both files, with the optimiser on and off, layer by layer; and the logits of the untouched file."""
    expected = model(images).data
    for format in FORMATS:
        to_onnx(model, images[:1], file, format=format)
        onnx.checker.check_model(str(file), full_check=True)
        for fast in (True, False):
            tally = compared(model, file, images, fast)
            tallies.append((format, tally))
            assert max(tally.from_half, default=0) <= NEAR
            if format == "qoperator":
                assert not tally.from_half
                np.testing.assert_array_equal(run(file, images, fast)["logits"], expected)
            elif not tally.from_half:
                assert distance(run(file, images, fast)["logits"], expected) < 1e-6


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("bits", "per_channel"), [(8, True), (8, False), (4, True), (2, False)])
def test_the_networks_of_the_lessons_give_the_same_integers(name, bits, per_channel, file):
    model, images = network(name, count=8)
    options = {"weight_bits": bits, "activation_bits": bits, "per_channel": per_channel}
    agrees(quantize_model(model, images, **options), images, file)


def test_a_trained_network_gives_the_same_integers(file):
    (train, _), _, (images, _) = digits_split()
    agrees(quantize_model(digits_network(), train[:64]), images, file)


def test_the_real_network_gives_the_same_integers(file):
    images = images_of(2, 3, 96, 96)
    agrees(quantize_model(imagenet_network(), images, calibration="max"), images, file)


def test_no_sum_of_the_real_network_is_rewritten_for_photographs(file):
    # ONNX Runtime made a QLinearAdd of each sum: many numbers near a half, which noise does not give
    images = load_folder(PICTURES, 128)[0][:16]
    model = quantize_model(imagenet_network(), images[:6])
    to_onnx(model, images[:1], file, format="qoperator")
    np.testing.assert_array_equal(run(file, images, True)["logits"], model(images).data)


LOOKED_UP = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.Sigmoid)


@settings(max_examples=settings.default.max_examples // 2)
@given(random_networks(activations=LOOKED_UP), st.integers(2, 8), st.integers(2, 8), st.booleans())
def test_random_networks_give_the_same_integers(file, drawn, weight_bits, activation_bits, per_channel):
    model, images = drawn
    bits = {"weight_bits": weight_bits, "activation_bits": activation_bits}
    agrees(quantize_model(model, images, per_channel=per_channel, **bits), images, file)


def test_a_convolution_at_the_end_gives_reals(file):
    images = images_of(20, 3, 6, 6)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 2)).eval()
    for per_channel in (True, False):
        agrees(quantize_model(model, images, per_channel=per_channel), images, file)


def test_activations_and_pooling_that_no_convolution_takes_in_give_the_same_integers(file):
    images = 12 * images_of(20, 3, 9, 9) - 4
    layers = nn.ReLU(), nn.AvgPool2d(3, 2, 1), nn.Conv2d(3, 4, 2), nn.MaxPool2d(2, 1), nn.ReLU6()
    agrees(quantize_model(nn.Sequential(*layers, nn.Conv2d(4, 2, 1)).eval(), images), images, file)


@pytest.mark.parametrize("name", ["resnet", "inception", "digits"])
def test_onnx_runtime_makes_integer_layers_of_floats_between_roundings(name, file):
    model, images = network(name)
    to_onnx(quantize_model(model, images), images[:1], file)
    kinds = {node.op_type for node in optimised(file).graph.node}
    assert "QLinearConv" in kinds and not kinds & {"Conv", "Gemm", "Add", "Concat", "GlobalAveragePool"}


def test_a_leading_batchnorm_has_a_row_of_its_table_for_each_channel(file):
    images = images_of(20, 3, 6, 6)
    layers = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.GELU(), nn.Linear(64, 2)
    agrees(quantize_model(warmed(nn.Sequential(*layers), images), images), images, file)
