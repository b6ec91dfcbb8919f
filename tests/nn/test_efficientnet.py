"""The real network: its shape, its weights, its names, and the padding that it needs."""

import gc
import io
import zipfile

import numpy as np
import pytest

import minidl.nn as nn
from minidl.data import lesson_pictures, load_picture
from minidl.nn import efficientnet
from minidl.nn.calls import modules
from minidl.nn.efficientnet import Preprocess, SamePad2d
from minidl.nn.models import efficientnet_lite0, imagenet_names, imagenet_network
from minidl.train import predict

NAMES = imagenet_names()


@pytest.fixture(scope="module")
def model():
    return imagenet_network()


def picture(name, size=224):
    return load_picture(lesson_pictures() / f"{name}.webp", size)[0][np.newaxis]


@pytest.mark.parametrize(
    "name, answer",
    [
        ("photos/coffee", "espresso"),
        ("photos/chelsea", "Egyptian cat"),
        ("mammals/zebra", "zebra"),
        ("mammals/tiger", "tiger"),
        ("vehicles/pink_tricycle", "tricycle"),
        ("insects/brown_slug", "slug"),
    ],
)
def test_it_knows_what_a_photograph_shows(model, name, answer):
    assert NAMES[predict(model, picture(name)).argmax()] == answer


def test_it_is_ready_in_evaluation_mode_and_frozen(model):
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_it_has_the_published_number_of_parameters(model):
    assert sum(p.size for p in model.parameters()) == 4_652_008


@pytest.mark.parametrize("height, width", [(96, 96), (97, 131), (224, 448)])
def test_it_takes_images_of_other_sizes(model, height, width):
    images = np.random.default_rng(0).random((2, 3, height, width), np.float32)
    assert predict(model, images).shape == (2, 1000)


def test_features_are_what_the_last_layer_reads(model):
    images = picture("mammals/zebra", 96)
    features = model.features(images)
    assert features.shape == (1, 1280)
    np.testing.assert_array_equal(model.layer("_fc")(features).data, predict(model, images))
    np.testing.assert_array_equal(features.data, predict(model[:-1], images))


def test_the_layer_for_gradcam_has_seven_by_seven_places(model):
    shapes = {call.path: call.output_shape for call in modules(model, picture("mammals/zebra"))}
    assert shapes[model.gradcam_layer] == (1, 1280, 7, 7)


def test_a_network_with_another_head_has_other_logits():
    small = efficientnet_lite0(5, rng=np.random.default_rng(0)).eval()
    assert predict(small, picture("mammals/zebra", 96)).shape == (1, 5)


def test_the_same_generator_gives_the_same_random_network():
    one, other = (efficientnet_lite0(3, rng=np.random.default_rng(7)).state_dict() for _ in range(2))
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])


def test_own_weights_are_loaded_and_foreign_ones_refused(tmp_path, model):
    state = model.state_dict()
    state["_fc.bias"] = np.arange(1000, dtype=np.float32)
    np.savez(tmp_path / "mine.npz", **state)
    loaded = imagenet_network(weights=tmp_path / "mine.npz")
    np.testing.assert_array_equal(loaded.layer("_fc").bias.data, np.arange(1000))
    np.savez(tmp_path / "foreign.npz", weight=np.zeros(3))
    with pytest.raises(ValueError, match="missing: _conv_stem.weight"):
        imagenet_network(weights=tmp_path / "foreign.npz")
    with pytest.raises(FileNotFoundError):
        imagenet_network(weights=tmp_path / "absent.npz")


@pytest.mark.parametrize(
    "key, scales",
    [
        ("absent", np.ones(3, np.float32)),
        ("_fc.weight", np.ones(3, np.float32)),
        ("_fc.weight", np.float32(2)),
        ("_fc.weight", np.ones((1000, 1), np.float32)),
        ("_fc.weight", np.full(1000, "1")),
        ("_fc.bias", np.ones(1000, np.float32)),  # a tensor of floats has no scales
        ("_bn0.num_batches_tracked", np.ones(1, np.float32)),
    ],
)
def test_scales_that_fit_no_tensor_are_refused_by_key(tmp_path, model, key, scales):
    state = model.state_dict()
    state["_fc.weight"] = np.ones((1000, 1280), np.int8)
    np.savez(tmp_path / "scaled.npz", **state, **{f"{key}.scale": scales})
    with pytest.raises(ValueError, match=rf"unexpected: {key}\.scale"):
        imagenet_network(weights=tmp_path / "scaled.npz")


@pytest.mark.parametrize("weights", [5, True, b"a", [], {"a": 1}, np.zeros(3), "", "a\0b"])
def test_what_is_no_path_is_refused_by_the_arguments_name(weights):
    with pytest.raises((TypeError, ValueError), match="weights must be"):
        imagenet_network(weights)


def no_npz(kind):
    """The bytes of a file that is no complete .npz file of arrays."""
    file = io.BytesIO()
    if kind == "npy":
        np.save(file, np.ones(3))
    elif kind == "objects":
        np.savez(file, a=np.array([{}], dtype=object))
    elif kind == "cut":
        np.savez(file, a=np.ones(1000))
        file.truncate(500)
    elif kind == "zip, such as torch's":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", "1")
    return file.getvalue() if kind != "text" else b"not weights"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["text", "empty", "npy", "objects", "cut", "zip, such as torch's"])
def test_a_file_that_is_no_npz_is_refused_by_name_and_closed(tmp_path, kind):
    (tmp_path / "mine.npz").write_bytes(no_npz(kind))
    with pytest.raises(ValueError, match=r"mine\.npz is no complete \.npz file of arrays$"):
        imagenet_network(weights=tmp_path / "mine.npz")
    gc.collect()


def test_the_thousand_names_are_short_and_differ():
    assert len(NAMES) == len(set(NAMES)) == 1000
    assert max(map(len, NAMES)) <= 26
    assert all(name == name.strip() and name for name in NAMES)
    known = {0: "tench", 7: "cock", 285: "Egyptian cat", 340: "zebra", 368: "gibbon", 388: "giant panda"}
    known |= {134: "crane (bird)", 517: "crane (machine)", 967: "espresso", 999: "toilet paper"}
    assert {number: NAMES[number] for number in known} == known


def test_pixels_become_what_the_network_was_trained_on():
    pixels = np.array([0, 127, 255], np.float32).reshape(1, 3, 1, 1)
    found = Preprocess()(pixels / 255).data.ravel()
    np.testing.assert_allclose(found, [-127 / 128, 0, 1], atol=1e-6)


@pytest.mark.parametrize(
    "images, message",
    [
        (np.full((1, 3, 96, 96), 200, np.uint8), "divide by 255"),
        (np.full((1, 3, 96, 96), 200.0), "divide by 255"),
        (np.zeros((3, 96, 96)), r"\(N, 3, H, W\)"),
        (np.zeros((1, 1, 96, 96)), r"\(N, 3, H, W\)"),
    ],
)
def test_images_of_another_kind_are_refused(model, images, message):
    with pytest.raises(ValueError, match=message):
        model(images)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [7, 8, 12, 13])
def test_same_padding_gives_the_rounded_up_share_of_places(kernel, stride, size):
    pad = SamePad2d(kernel, stride)
    left, right, top, bottom = pad.sides(size, size + 1)
    assert 0 <= right - left <= 1 and 0 <= bottom - top <= 1
    conv = nn.Conv2d(1, 1, kernel, stride)
    assert conv(pad(np.zeros((1, 1, size, size + 1)))).shape[2:] == (
        -(-size // stride),
        -(-(size + 1) // stride),
    )


def test_even_images_get_their_odd_zero_at_the_right_and_the_bottom():
    assert SamePad2d(3, 2).sides(224, 224) == (0, 1, 0, 1)
    assert SamePad2d(5, 2).sides(56, 56) == (1, 2, 1, 2)


def test_the_blocks_are_the_published_table():
    model = efficientnet_lite0(2)
    blocks = model.layer("_blocks").children()
    assert len(blocks) == sum(row[0] for row in efficientnet.BLOCKS) == 16
    assert [type(block).__name__ for block in blocks].count("Skip") == 9
