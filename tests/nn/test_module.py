"""Module: what it finds in itself, its state, its hooks, its printed form."""

import copy
import inspect

import numpy as np
import pytest

import minidl.nn as nn
from minidl import Tensor
from minidl.engine import trace
from minidl.nn import models


class Scaled(nn.Module):
    """Without ``super().__init__()``, as one forgets to write it."""

    def __init__(self):
        self.scale = nn.Parameter(np.array([2.0, 3.0], np.float32))
        self.inner = nn.Linear(2, 2, rng=np.random.default_rng(0))
        self.register_buffer("seen", np.zeros((), np.int64))

    def forward(self, x):
        return self.inner(x * self.scale)


@pytest.fixture
def model():
    return models.small_cnn(widths=(2, 3), rng=np.random.default_rng(0))


def test_parameters_children_and_buffers_are_found_without_a_call_of_super_init():
    model = Scaled()
    assert [name for name, _ in model.named_parameters()] == ["scale", "inner.weight", "inner.bias"]
    assert [name for name, _ in model.named_buffers()] == ["seen"]
    assert [name for name, _ in model.named_children()] == ["inner"]
    assert [name for name, _ in model.named_modules()] == ["", "inner"]


def test_modules_come_in_order_a_parent_before_its_children():
    model = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Tanh()), nn.Identity())
    assert [name for name, _ in model.named_modules()] == ["", "0", "0.0", "0.1", "1"]


def test_a_shared_parameter_is_listed_once_and_kept_in_the_state_at_each_path():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    b.weight = a.weight
    model = nn.Sequential(a, b)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_a_shared_module_is_listed_once_but_found_at_both_paths():
    relu = nn.ReLU()
    model = nn.Sequential(relu, nn.Linear(1, 1), relu)
    assert [name for name, _ in model.named_modules()] == ["", "0", "1"]
    assert model.layer("0") is model.layer("2") is relu


def test_a_parameter_is_named_by_its_path_in_the_outermost_module(model):
    assert [p.name for p in model.parameters()] == [name for name, _ in model.named_parameters()]
    nn.Sequential(model[0], nn.Flatten())  # a part of the model in another container
    assert model.layer("block1.conv").weight.name == "block1.conv.weight"
    assert "block1.conv.weight" in repr(model.layer("block1.conv").weight)


def test_a_parameter_put_in_the_place_of_another_takes_over_its_name(model):
    conv = model.layer("block1.conv")
    conv.weight = nn.Parameter(np.zeros((1, 1, 3, 3), np.float32))
    assert conv.weight.name == "block1.conv.weight"


def test_a_parameter_is_a_copy_of_its_data():
    data = np.ones(3, np.float32)
    parameter = nn.Parameter(data)
    parameter.data -= 1
    assert data.tolist() == [1, 1, 1] and parameter.data.tolist() == [0, 0, 0]


@pytest.mark.parametrize("parts", [[nn.ReLU()], (nn.ReLU(),), {"a": nn.ReLU()}, [nn.Parameter([1.0])]])
def test_modules_in_a_list_are_refused_since_nothing_would_find_them(parts):
    module = nn.Module()
    with pytest.raises(TypeError, match="use Sequential"):
        module.parts = parts


def test_an_array_does_not_silently_take_the_place_of_a_parameter():
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="weight is a Parameter .* module.weight.data = array"):
        layer.weight = np.zeros((2, 2))


def test_train_and_eval_reach_every_module(model):
    assert all(module.training for module in model.modules())
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    model.train()
    assert all(module.training for module in model.modules())


def test_eval_mode_gives_each_module_its_own_mode_back_also_after_an_error(model):
    frozen = model.layer("block1.bn").eval()
    with pytest.raises(KeyError), nn.eval_mode(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert [module for module in model.modules() if not module.training] == [frozen]


def test_zero_grad_clears_every_gradient():
    model = nn.Linear(2, 1)
    model(np.ones((1, 2), np.float32)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_a_frozen_model_keeps_no_graph(model):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    y = model(np.ones((2, 1, 8, 8), np.float32))
    assert y.op is None and not y.requires_grad


def test_a_frozen_beginning_is_no_part_of_the_graph(model):
    for parameter in model.layer("block1").parameters():
        parameter.requires_grad_(False)
    y = model(np.ones((2, 1, 8, 8), np.float32))
    nodes = trace.graph(y)
    assert [node.op for node in nodes if node.op].count("Conv2d") == 1
    y.sum().backward()
    assert model.layer("block1.conv").weight.grad is None
    assert model.layer("block2.conv").weight.grad is not None


def test_one_frame_lies_between_the_call_and_forward():
    class Looking(nn.Module):
        def forward(self, x):
            self.callers = [frame.function for frame in inspect.stack()[:3]]
            return x

    module = Looking()
    module(Tensor([1.0]))
    assert module.callers == [
        "forward",
        "__call__",
        "test_one_frame_lies_between_the_call_and_forward",
    ]


# ---- state


def test_the_state_has_pytorchs_keys_in_pytorchs_order(model):
    batch_norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert list(model.state_dict()) == [
        "block1.conv.weight",
        *[f"block1.bn.{name}" for name in batch_norm],
        "block2.conv.weight",
        *[f"block2.bn.{name}" for name in batch_norm],
        "head.weight",
        "head.bias",
    ]
    tracked = model.state_dict()["block1.bn.num_batches_tracked"]
    assert isinstance(tracked, np.ndarray) and tracked.shape == () and tracked.dtype == np.int64


def test_the_state_is_a_copy():
    model = nn.BatchNorm1d(2)
    state = model.state_dict()
    model.weight.data -= 1
    model.running_mean += 5
    assert state["weight"].tolist() == [1, 1] and state["running_mean"].tolist() == [0, 0]
    model.load_state_dict(state)
    model.weight.data -= 1
    model.running_mean += 5
    assert state["weight"].tolist() == [1, 1] and state["running_mean"].tolist() == [0, 0]


def test_a_state_loads_into_another_model_which_then_gives_the_same(model):
    x = np.random.default_rng(1).random((4, 1, 8, 8), np.float32)
    model(x)  # moves the running statistics
    other = models.small_cnn(widths=(2, 3), rng=np.random.default_rng(9))
    assert not np.array_equal(other.eval()(x).data, model.eval()(x).data)
    other.load_state_dict(model.state_dict())
    assert np.array_equal(other(x).data, model(x).data)
    assert other.layer("block1.bn").num_batches_tracked == 1


def test_loading_makes_a_graph_of_the_old_parameters_stale():
    model = nn.Linear(2, 1)
    y = model(Tensor([[1.0, 2.0]], requires_grad=True)).sum()
    model.load_state_dict(model.state_dict())
    with pytest.raises(ValueError, match="'weight'.*run it again"):
        y.backward()


def test_loading_converts_to_the_models_dtype():
    model = nn.Linear(2, 1)
    model.load_state_dict({"weight": np.array([[1, 2]], np.float64), "bias": np.array([3])})
    assert model.weight.dtype == model.bias.dtype == np.float32
    assert model.weight.data.tolist() == [[1, 2]] and model.bias.data.tolist() == [3]


def test_a_state_that_does_not_fit_names_every_problem_and_changes_nothing(model):
    before, state = model.state_dict(), model.state_dict()
    state["block1.conv.weight"] = state["block1.conv.weight"] + 1
    del state["head.bias"], state["block2.bn.running_var"]
    state["head.weight"] = np.zeros((2, 2))
    state["body.weight"] = np.zeros(1)
    state["block1.bn.num_batches_tracked"] = np.array(0.5)
    with pytest.raises(ValueError) as error:
        model.load_state_dict(state)
    assert str(error.value).splitlines()[1:] == [
        "  missing: block2.bn.running_var (3,)",
        "  missing: head.bias (10,)",
        "  unexpected: body.weight",
        "  wrong dtype: block1.bn.num_batches_tracked must be int64, got float64",
        "  wrong shape: head.weight must be (10, 3), got (2, 2)",
    ]
    assert all(np.array_equal(before[key], value) for key, value in model.state_dict().items())


def test_a_deep_copy_shares_nothing(model):
    twin = copy.deepcopy(model)
    twin.layer("head").weight.data -= 1
    twin.layer("block1.bn").running_mean += 1
    assert model.layer("head").weight.data.max() > twin.layer("head").weight.data.max() + 0.5
    assert model.layer("block1.bn").running_mean.tolist() == [0, 0]


# ---- hooks


def test_a_hook_sees_module_inputs_and_output_and_can_be_removed():
    module, seen = nn.ReLU(), []
    handle = module.register_forward_hook(lambda *arguments: seen.append(arguments))
    x = Tensor([-1.0, 2.0])
    y = module(x)
    assert len(seen) == 1 and seen[0][0] is module and seen[0][1] == (x,) and seen[0][2] is y
    handle.remove()
    handle.remove()  # once more does no harm
    module(x)
    assert len(seen) == 1


def test_hooks_run_in_order_and_each_sees_what_the_one_before_made_of_the_output():
    module = nn.Identity()
    first = module.register_forward_hook(lambda module, inputs, output: output + 1)
    module.register_forward_hook(lambda module, inputs, output: output * 10)
    assert module(Tensor([2.0])).item() == 30
    first.remove()
    assert module(Tensor([2.0])).item() == 20


def test_a_hook_registered_twice_is_called_twice_and_removed_one_at_a_time():
    module, seen = nn.ReLU(), []

    def hook(*_):
        seen.append(1)

    first = module.register_forward_hook(hook)
    module.register_forward_hook(hook)
    first.remove()
    module(Tensor([1.0]))
    assert seen == [1]


def test_hooks_belong_to_one_module():
    a, b, seen = nn.ReLU(), nn.ReLU(), []
    a.register_forward_hook(lambda *_: seen.append("a"))
    b(Tensor([1.0]))
    assert seen == []


# ---- names and printing


def test_a_layer_is_found_by_its_path(model):
    assert model.layer("block1.conv") is model[0][0]
    assert model.layer("") is model


def test_a_module_takes_the_place_of_another_by_its_path():
    model = nn.Sequential(nn.Sequential({"conv": nn.Conv2d(1, 2, 3), "relu": nn.ReLU()}), nn.Flatten())
    model.set_submodule("0.relu", nn.Tanh())
    assert isinstance(model.layer("0.relu"), nn.Tanh)
    assert [name for name, _ in model[0].named_children()] == ["conv", "relu"]
    with pytest.raises(ValueError, match="no layer '0.rel' .* nearest: 0.relu"):
        model.set_submodule("0.rel", nn.ReLU())
    for path, module, error in (("", nn.ReLU(), ValueError), ("1", None, TypeError)):
        with pytest.raises(error):
            model.set_submodule(path, module)


def test_an_unknown_layer_is_refused_with_the_nearest_names(model):
    with pytest.raises(ValueError, match=r"no layer 'block1\.cnv' in this Sequential; nearest: block1\.conv"):
        model.layer("block1.cnv")
    with pytest.raises(ValueError, match="no layer 'xyz' .*; there are: block1, block1.conv"):
        model.layer("xyz")


def test_a_parameter_or_a_method_is_no_layer(model):
    for path in ("head.weight", "forward", "block1..conv"):
        with pytest.raises(ValueError, match="no layer"):
            model.layer(path)


def test_apply_calls_children_before_their_parents_and_a_shared_module_each_time():
    seen, shared = [], nn.ReLU()
    model = nn.Sequential(nn.Sequential(shared, nn.Tanh()), shared)
    assert model.apply(lambda module: seen.append(module)) is model
    assert [type(module) for module in seen] == [nn.ReLU, nn.Tanh, nn.Sequential, nn.ReLU, nn.Sequential]
    with pytest.raises(TypeError, match=r"function must be a function of \(module\), got None"):
        model.apply(None)


def test_a_child_is_replaced_by_its_number_and_keeps_its_name_and_place():
    shared = nn.ReLU()
    model = nn.Sequential({"a": shared, "b": nn.Linear(1, 2), "c": shared})
    model[2] = nn.Tanh()
    model[-2] = nn.Linear(1, 3)
    assert [(name, type(child)) for name, child in model.named_children()] == [
        ("a", nn.ReLU),
        ("b", nn.Linear),
        ("c", nn.Tanh),
    ]
    assert model[1].out_features == 3 and model[1].weight.name == "b.weight"
    with pytest.raises(IndexError, match="no child 3 in a Sequential of 3"):
        model[3] = nn.Tanh()
    with pytest.raises(TypeError, match="child 'b' must be a Module, got None"):
        model[1] = None
    with pytest.raises(TypeError, match=r"index must be an integer, got slice\(None, 2, None\)"):
        model[:2] = nn.Tanh()


def test_extend_adds_modules_under_the_next_numbers():
    layers = nn.ModuleList([nn.ReLU()])
    assert layers.extend(nn.Linear(1, n) for n in (2, 3)) is layers
    assert [name for name, _ in layers.named_children()] == ["0", "1", "2"] and layers[2].out_features == 3
    with pytest.raises(TypeError, match="modules must be a list, got 3"):
        layers.extend(3)
    with pytest.raises(TypeError, match="child '3' must be a Module, got 'a'"):
        layers.extend(["a"])


def test_a_parameter_of_a_tensor_has_a_copy_of_its_array_and_no_graph():
    source = Tensor([1.0, 2.0], requires_grad=True)
    parameter = nn.Parameter(source)
    parameter.data[0] = 5
    assert source.data.tolist() == [1, 2] and parameter.op is None


def test_a_name_of_pytorch_that_a_module_does_not_have_is_refused_with_the_mend():
    with pytest.raises(
        AttributeError, match="'Linear' object has no attribute 'to': write nothing: there is"
    ):
        nn.Linear(1, 1).to("cpu")
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'$"):
        _ = nn.Linear(1, 1).wieght
    assert not hasattr(nn.ReLU(), "weight")


def test_append_to_a_slice_takes_the_first_free_number_and_overwrites_nothing():
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3))
    part = model[1:]
    part.append(nn.Tanh()).append(nn.Sigmoid())
    assert [name for name, _ in part.named_children()] == ["1", "2", "3", "4"]
    assert part[1] is model[2]


def test_the_repr_shows_the_tree():
    model = nn.Sequential(
        {
            "conv": nn.Conv2d(1, 4, 3, padding=1, bias=False),
            "body": nn.Residual(nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())),
            "head": nn.Linear(4, 2),
        }
    )
    assert repr(model) == (
        "Sequential(\n"
        "  (conv): Conv2d(1, 4, kernel_size=3, padding=1, bias=False)\n"
        "  (body): Residual(\n"
        "    (body): Sequential(\n"
        "      (0): BatchNorm2d(4, eps=1e-05, momentum=0.1)\n"
        "      (1): ReLU()\n"
        "    )\n"
        "    (shortcut): Identity()\n"
        "  )\n"
        "  (head): Linear(4, 2)\n"
        ")"
    )


def test_the_summary_lists_shapes_parameters_and_multiply_adds():
    model = nn.Sequential(
        {
            "conv": nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2),
            "relu": nn.ReLU(),
            "flatten": nn.Flatten(),
            "head": nn.Linear(16, 3),
        }
    )
    model.layer("conv").weight.requires_grad_(False)
    model.layer("conv").bias.requires_grad_(False)
    rows = [line.split() for line in nn.summary(model, (2, 4, 4)).splitlines()]
    assert rows[0] == ["layer", "kind", "output", "parameters", "multiply-adds"]
    # out 2x2: 16 outputs of 9 products each; 4*1*9 weights and 4 biases
    assert rows[2] == ["conv", "Conv2d", "(4,", "2,", "2)", "40", "144"]
    assert rows[3] == ["relu", "ReLU", "(4,", "2,", "2)", "0", "0"]
    assert rows[4] == ["flatten", "Flatten", "(16,)", "0", "0"]
    assert rows[5] == ["head", "Linear", "(3,)", "51", "48"]
    assert rows[6] == ["total", "91", "192"]
    assert rows[7] == ["trained", "51"]


def test_the_summary_counts_a_shared_layer_once_and_its_work_twice():
    linear = nn.Linear(4, 4)
    rows = [line.split() for line in nn.summary(nn.Sequential(linear, nn.ReLU(), linear), (4,)).splitlines()]
    assert rows[2][-2:] == ["20", "16"] and rows[4][-2:] == ["0", "16"]
    assert rows[5] == ["total", "20", "32"]


def test_the_summary_leaves_the_model_as_it_was(model):
    model.layer("block1").eval()
    modes, state = [module.training for module in model.modules()], model.state_dict()
    nn.summary(model, (1, 8, 8))
    assert [module.training for module in model.modules()] == modes
    assert all(np.array_equal(state[key], value) for key, value in model.state_dict().items())
    assert all(module._hooks == () for module in model.modules())


def test_a_mask_holds_through_loading_and_is_copied_with_its_parameter():
    layer = nn.Linear(2, 1)
    layer.weight.mask = np.array([[True, False]])
    layer.load_state_dict({"weight": np.ones((1, 2), np.float32), "bias": np.zeros(1, np.float32)})
    assert layer.weight.data.tolist() == [[1.0, 0.0]]
    twin = copy.deepcopy(layer)
    twin.weight.mask[:] = True
    assert layer.weight.mask.tolist() == [[True, False]]


def test_requires_grad_of_a_module_sets_that_of_every_parameter():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    assert model[0].requires_grad_(False) is model[0]
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    model.requires_grad_()
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(TypeError, match="requires_grad must be True or False"):
        model.requires_grad_("no")


def test_forward_gets_a_tensor_where_floats_are_given():
    class First(nn.Module):
        def forward(self, x, rows):
            self.kinds = type(x), type(rows)
            return x.flatten(1).relu()

    model, x = First(), np.ones((2, 3, 4))
    assert model(x, np.arange(2)).shape == (2, 12) and model.kinds == (Tensor, np.ndarray)
    assert model(x, [1]).dtype == np.float32
    model.weight = nn.Parameter(np.ones(3))
    assert model(x, [1]).dtype == np.float64
    loss = nn.MSELoss()
    wide, narrow, target = Tensor(np.array([0.1])), Tensor([0.1]), np.array([0.1 + 2e-9])
    assert loss(wide, target).item() == pytest.approx(4e-18) and loss(narrow, target).dtype == np.float32
