"""An error inside a model names the layer in which it was raised by its path."""

import numpy as np
import pytest

import minidl.nn as nn
import minidl.nn.functional as F
from minidl import Tensor, detect_anomaly
from minidl.nn.models import small_cnn, tiny_resnet


def test_the_path_stands_before_the_message():
    model = small_cnn(in_channels=3)
    with pytest.raises(ValueError, match=r"^layer 'block1\.conv': Conv2d of inputs of shape \(2, 1, 8, 8\)"):
        model(np.zeros((2, 1, 8, 8), np.float32))


def test_deep_inside_a_residual_block_too():
    model = tiny_resnet()
    model.layer("stage2.block1.residual.body.conv2").weight = nn.Parameter(
        np.zeros((32, 7, 3, 3), np.float32)
    )
    with pytest.raises(ValueError, match=r"^layer 'stage2\.block1\.residual\.body\.conv2': Conv2d of"):
        model(np.zeros((2, 1, 8, 8), np.float32))


def test_a_containers_own_check_names_the_container():
    inner = nn.Residual(nn.MaxPool2d(2))
    model = nn.Sequential({"stem": nn.Identity(), "stage": nn.Sequential({"block": inner})})
    with pytest.raises(ValueError, match=r"^layer 'stage\.block': body gives"):
        model(np.zeros((1, 1, 4, 4), np.float32))


def test_a_layer_alone_needs_no_path():
    with pytest.raises(ValueError, match="^Linear of inputs of shape"):
        nn.Linear(4, 2)(np.zeros((1, 3), np.float32))


def test_the_kind_of_the_error_stays():
    class Odd(nn.Module):
        def __init__(self, error):
            self.error = [error]

        def forward(self, x):
            raise self.error[0]

    for error in (KeyError("k"), ZeroDivisionError("division by zero"), RuntimeError(), OSError(2, "gone")):
        with pytest.raises(type(error)) as raised:
            nn.Sequential({"a": nn.Sequential({"b": Odd(error)})})(Tensor([1.0]))
        assert ("layer 'a.b': " in str(raised.value)) == (len(error.args) == 1)


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_detect_anomaly_names_the_layer(direction):
    class Steep(nn.Module):
        def forward(self, x):
            return x.log() if direction == "forward" else x.sqrt()

    model = nn.Sequential({"body": nn.Sequential({"flat": nn.Identity(), "steep": Steep()})})
    x = Tensor([0.0, 1.0], requires_grad=True)
    with detect_anomaly(), pytest.raises(FloatingPointError, match=r"layer 'body\.steep'"):
        F.mse_loss(model(x), np.float32([1, 1])).backward()
