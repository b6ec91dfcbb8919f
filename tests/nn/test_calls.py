"""The calls of a model's modules, as a list that other code can walk."""

import numpy as np
import pytest

from minidl import Tensor
from minidl.compress import remove_filters
from minidl.compress.fuse import fuse
from minidl.explain import receptive_field
from minidl.figures import draw_model
from minidl.nn import Conv2d, Flatten, Linear, Module, ReLU, Residual, Sequential, summary
from minidl.nn.calls import modules
from minidl.nn.models import tiny_resnet
from minidl.train import reestimate_statistics


class Twice(Module):
    """One layer called two times, its outputs added."""

    def __init__(self):
        self.layer1 = Linear(3, 3)

    def forward(self, x):
        return self.layer1(self.layer1(x)) + x


def test_modules_lists_the_calls_in_the_order_in_which_they_end():
    model = Sequential({"flatten": Flatten(), "fc": Linear(4, 3), "relu": ReLU()})
    calls = modules(model, np.zeros((2, 1, 2, 2), np.float32))
    assert [call.path for call in calls] == ["flatten", "fc", "relu", ""]
    assert [call.inputs for call in calls] == [(0,), (1,), (2,), (0,)]
    assert [call.output for call in calls] == [1, 2, 3, 3]
    assert [call.output_shape for call in calls] == [(2, 4), (2, 3), (2, 3), (2, 3)]
    assert calls[1].module is model.layer("fc")


def test_a_layer_called_twice_is_listed_twice_and_follows_itself():
    first, second, whole = modules(Twice(), Tensor(np.zeros((1, 3), np.float32)))
    assert (first.path, second.path, whole.path) == ("layer1", "layer1", "")
    assert second.inputs == (first.output,)
    assert whole.output not in (first.output, second.output)


def test_both_branches_of_a_residual_block_read_the_same_tensor():
    model = Residual(Sequential({"fc": Linear(3, 3)}), Linear(3, 3))
    calls = {call.path: call for call in modules(model, np.ones((1, 3), np.float32))}
    readers = [path for path, call in calls.items() if call.inputs == (0,)]
    assert len(readers) == 4  # the block, its body, the body's fc, and the shortcut


def test_modules_leaves_modes_hooks_running_statistics_and_gradients_alone():
    model = tiny_resnet(3, widths=(4, 8))
    model.layer("stage1").eval()
    modes = [module.training for module in model.modules()]
    before = model.state_dict()
    calls = modules(model, np.random.default_rng(0).random((2, 1, 8, 8), np.float32))
    assert {path for path, _ in model.named_modules()} == {call.path for call in calls}
    assert [module.training for module in model.modules()] == modes
    assert all(np.array_equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module._hooks == () for module in model.modules())


def test_an_error_inside_the_model_still_takes_the_hooks_off():
    model = Sequential(Linear(3, 3), ReLU())
    with pytest.raises(ValueError, match="expected x"):
        modules(model, np.zeros((1, 5), np.float32))
    assert all(module.training and module._hooks == () for module in model.modules())


def test_the_run_records_no_graph():
    outputs = []

    class Keeping(Linear):
        def forward(self, x):
            outputs.append(super().forward(x))
            return outputs[-1]

    modules(Keeping(3, 3), np.zeros((1, 3), np.float32))
    assert [output.op for output in outputs] == [None]


def test_a_hook_of_ones_own_is_silent_meanwhile_and_there_again_after_it():
    model, seen = Sequential(Linear(3, 3)), []
    hook = model[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    assert [call.path for call in modules(model, np.zeros((1, 3), np.float32))] == ["0", ""]
    assert seen == [] and model[0]._hooks == (hook,)
    with pytest.raises(ValueError, match="expected x"):
        modules(model, np.zeros((1, 5), np.float32))
    model(np.zeros((1, 3), np.float32))
    assert seen == [(1, 3)]


class Several(Module):
    """A layer that gives more than one output."""

    def __init__(self):
        self.conv = Conv2d(1, 1, 1)

    def forward(self, x):
        return self.conv(x), x


class First(Module):
    """It reads the first of several outputs."""

    def __init__(self):
        self.several, self.flatten, self.fc = Several(), Flatten(), Linear(16, 2)

    def forward(self, x):
        return self.fc(self.flatten(self.several(x)[0]))


@pytest.mark.parametrize(
    "look",
    [
        lambda model, x: modules(model, x),
        lambda model, x: summary(model, x.shape[1:]),
        fuse,
        lambda model, x: remove_filters(model, "several.conv", [0], x),
        lambda model, x: receptive_field(model, "flatten", x.shape[1:]),
        lambda model, x: draw_model(model, x.shape[1:]),
        reestimate_statistics,
    ],
)
def test_a_layer_with_several_outputs_is_named_by_all_that_read_the_calls(look):
    model = First().eval()
    with pytest.raises(TypeError, match="the output of several must be a Tensor or ndarray, got"):
        look(model, np.ones((2, 1, 4, 4), np.float32))
    assert not any(module._hooks for module in model.modules())
