import copy

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lite import tiny_lite

import minidl
import minidl.nn as nn
from minidl import Tensor, no_grad
from minidl.compress.branches import merge_parallel_convs
from minidl.compress.flow import INPUT, cost, flow
from minidl.compress.fuse import fold_batchnorm, folded, fuse
from minidl.compress.fused import ConvReLU2d, ConvReLU6
from minidl.compress.integer import quantize_model
from minidl.compress.qat import prepare_qat
from minidl.engine.elementwise import relu_rule
from minidl.explain.gradients import guided_rule
from minidl.nn.containers import Container
from minidl.nn.models import imagenet_network, inception_block, lenet, mlp, small_cnn, tiny_resnet

MODELS = {
    "small_cnn": (lambda rng: small_cnn(4, 2, (4, 6), rng=rng), (2, 8, 8)),
    "tiny_resnet": (lambda rng: tiny_resnet(4, 2, (4, 6), rng=rng), (2, 8, 8)),
    "inception": (lambda rng: inception_block(3, (2, 3, 4, 5), reduce=2, rng=rng), (3, 6, 6)),
    "two inceptions": (
        lambda rng: nn.Sequential(
            inception_block(3, (2, 3, 4, 5), reduce=2, rng=rng), nn.Identity(), inception_block(14, rng=rng)
        ),
        (3, 6, 6),
    ),
    "lenet": (lambda rng: lenet(4, image_size=12, rng=rng), (1, 12, 12)),
    "mlp": (lambda rng: mlp(6, (5, 4), 3, dropout=0.5, rng=rng), (6,)),
    "lite": (lambda rng: tiny_lite(4, rng), (3, 9, 10)),
}
every_model = pytest.mark.parametrize("name", MODELS)


def settled(model, rng):
    """In evaluation mode, with BatchNorms that have something to fold."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            size = module.num_features
            module.running_mean = rng.normal(size=size).astype(np.float32)
            module.running_var = rng.uniform(0.5, 2, size).astype(np.float32)
            if module.affine:
                module.weight.data = rng.normal(size=size).astype(np.float32)
                module.bias.data = rng.normal(size=size).astype(np.float32)
    return model.eval()


def made(name, seed=0):
    rng = np.random.default_rng(seed)
    make, shape = MODELS[name]
    return settled(make(rng), rng), rng.normal(size=(5, *shape)).astype(np.float32)


def output(model, x):
    with no_grad():
        return model(x).data


def assert_same(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def kinds(model):
    leaves = (module for module in model.modules() if not module.children())
    return [type(module).__name__ for module in leaves if not isinstance(module, Container)]


# ---- folding


def test_a_fold_by_hand():
    """2 x + 1 normalised with mean 3, var 4, gamma 6, beta 5: 6 (2 x + 1 - 3) / 2 + 5 = 6 x - 1."""
    arrays = (np.array(numbers, np.float32) for numbers in ([[2.0]], [1.0], [3.0], [4.0], [6.0], [5.0]))
    weight, bias = folded(*arrays, eps=0.0)
    assert weight.tolist() == [[6.0]] and bias.tolist() == [-1.0]
    assert weight.dtype == bias.dtype == np.float32


@given(seed=st.integers(0, 99), bias=st.booleans(), affine=st.booleans(), groups=st.sampled_from([1, 2]))
def test_a_folded_convolution_is_convolution_then_batchnorm(seed, bias, affine, groups):
    rng = np.random.default_rng(seed)
    conv = nn.Conv2d(4, 6, 3, 2, 1, groups=groups, bias=bias, rng=rng).eval()
    bn = settled(nn.BatchNorm2d(6, affine=affine), rng)
    x = rng.normal(size=(2, 4, 5, 5)).astype(np.float32)
    before = conv.weight.data.copy()
    assert_same(output(fold_batchnorm(conv, bn), x), output(bn, output(conv, x)))
    assert np.array_equal(conv.weight.data, before)


def test_a_linear_layer_can_be_folded_too():
    rng = np.random.default_rng(0)
    linear, bn = nn.Linear(3, 4, rng=rng).eval(), settled(nn.BatchNorm1d(4), rng)
    x = rng.normal(size=(5, 3)).astype(np.float32)
    assert_same(output(fold_batchnorm(linear, bn), x), output(bn, output(linear, x)))


def test_folding_draws_no_random_numbers():
    minidl.manual_seed(3)
    expected = minidl.engine.random.default_rng_or(None).random()
    minidl.manual_seed(3)
    fuse(made("small_cnn")[0])
    assert minidl.engine.random.default_rng_or(None).random() == expected


# ---- vertical fusion


@every_model
def test_a_fused_model_gives_the_same_outputs(name):
    model, x = made(name)
    before = {key: value.copy() for key, value in model.state_dict().items()}
    fused = fuse(model, x[:1])
    assert_same(output(fused, x), output(model, x))
    assert not {"BatchNorm2d", "BatchNorm1d"} & set(kinds(fused))
    after = model.state_dict()
    assert all(np.array_equal(before[key], after[key]) for key in before) and before.keys() == after.keys()


@every_model
def test_fusing_never_adds_a_launch_or_a_byte_and_keeps_the_multiply_adds(name):
    model, x = made(name)
    stages = [model, fuse(model, x[:1])]
    stages.append(merge_parallel_convs(stages[-1]))
    costs = [cost(stage, x.shape[1:]) for stage in stages]
    for before, after in zip(costs, costs[1:], strict=False):
        assert after.launches <= before.launches and after.bytes <= before.bytes
        assert after.multiply_adds == before.multiply_adds
    assert len(flow(stages[1], x)) <= len(flow(model, x))


@every_model
def test_fusing_again_changes_nothing(name):
    model, x = made(name)
    once = fuse(model, x[:1])
    merged = merge_parallel_convs(once)
    for again, first in (
        (fuse(once, x[:1]), once),
        (merge_parallel_convs(merged), merged),
        (fuse(merged, x[:1]), merged),
    ):
        assert again is not first and repr(again) == repr(first)
        assert np.array_equal(output(again, x), output(first, x))


def test_what_is_fused_away_leaves_its_sequential():
    model, _ = made("small_cnn")
    names = [name for name, _ in fuse(model).layer("block2").named_children()]
    assert names == ["conv", "pool"]
    residual = fuse(made("tiny_resnet")[0]).layer("stage2.block1.residual")
    assert kinds(residual) == ["ConvReLU2d", "Conv2d", "Conv2d"]


def test_batchnorms_around_which_the_input_is_added_are_folded():
    model, x = made("lite")
    assert isinstance(model.layer("_blocks.1"), nn.Skip)
    names = [name for name, _ in fuse(model, x).layer("_blocks.1").named_children()]
    assert names == ["_expand_conv", "_depthwise_conv", "_project_conv"]
    assert kinds(fuse(model, x).layer("_blocks.1")) == ["ConvReLU6", "ConvReLU6", "Conv2d"]


def test_a_convolution_whose_output_is_added_too_keeps_its_batchnorm():
    rng = np.random.default_rng(0)
    inside = nn.Skip(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1, rng=rng))
    model = settled(nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng), inside, nn.BatchNorm2d(2)), rng)
    assert kinds(fuse(model)) == kinds(model)
    steps = flow(model, np.zeros((1, 1, 5, 5), np.float32))
    assert [step.sources for step in steps] == [(INPUT,), (0,), (1,), (2, 0), (3,)]


def test_all_batchnorms_of_the_network_for_photographs_are_folded():
    model, x = imagenet_network(), np.random.default_rng(0).random((1, 3, 96, 96), dtype=np.float32)
    fused = fuse(model, x)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    np.testing.assert_allclose(output(fused, x), output(model, x), rtol=0, atol=1e-4)


def test_pairs_across_sequentials_are_fused():
    rng = np.random.default_rng(0)
    model = settled(
        nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU())), rng
    )
    x = rng.normal(size=(2, 1, 5, 5)).astype(np.float32)
    assert kinds(fuse(model))[0] == "ConvReLU2d"
    assert_same(output(fuse(model), x), output(model, x))


def test_a_convolution_that_two_read_is_left_alone():
    """Both the BatchNorm and the sum around it read what the convolution gives."""
    rng = np.random.default_rng(0)
    around = nn.Residual(nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()))
    model = settled(nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng), around), rng)
    assert kinds(fuse(model)) == kinds(model)


def test_a_module_that_runs_twice_is_left_alone():
    rng = np.random.default_rng(0)
    conv = nn.Conv2d(2, 2, 1, rng=rng)
    model = settled(nn.Sequential(conv, nn.BatchNorm2d(2), conv, nn.BatchNorm2d(2)), rng)
    assert kinds(fuse(model)) == kinds(model)


class Hidden(nn.Module):
    """What stands between conv and bn is no module."""

    def __init__(self, rng):
        self.conv, self.bn = nn.Conv2d(1, 2, 3, rng=rng), nn.BatchNorm2d(2)

    def forward(self, x):
        y = self.conv(x)
        return self.bn(y) + y


def test_what_a_forward_of_its_own_might_read_is_left_alone_and_named():
    rng = np.random.default_rng(0)
    model = settled(Hidden(rng), rng)
    with pytest.warns(UserWarning, match="'conv' and 'bn', because the model, a Hidden, has its own forward"):
        assert kinds(fuse(model)) == ["Conv2d", "BatchNorm2d"]
    inside = settled(nn.Sequential(Hidden(rng), nn.Conv2d(2, 2, 1, rng=rng), nn.BatchNorm2d(2)), rng)
    with pytest.warns(UserWarning, match=r"'0.conv' and '0.bn', because layer '0', a Hidden, has its own"):
        assert kinds(fuse(inside)) == ["Conv2d", "BatchNorm2d", "Conv2d"]


def test_of_several_hidden_pairs_the_first_is_named_and_the_others_are_counted():
    rng = np.random.default_rng(0)
    deep = nn.Sequential(nn.Conv2d(1, 1, 1, rng=rng), nn.Sequential(Hidden(rng)), nn.Conv2d(2, 1, 1, rng=rng))
    model = settled(nn.Sequential(deep, nn.ReLU(), Hidden(rng)), rng)
    with pytest.warns(UserWarning, match=r"'0.1.0.conv' and '0.1.0.bn', because layer '0.1.0'.*\(and 1"):
        fused = fuse(model)
    assert kinds(fused) == ["Conv2d", "Conv2d", "BatchNorm2d", "ConvReLU2d", "Conv2d", "BatchNorm2d"]


@pytest.mark.parametrize("name", ["lite", "tiny_resnet", "small_cnn"])
def test_no_warning_where_all_that_can_be_fused_is_fused(name, recwarn):
    fuse(*made(name))
    assert not recwarn.list


def test_training_mode_is_refused():
    model, _ = made("small_cnn")
    model.layer("block1").train()
    for function in (fuse, merge_parallel_convs):
        with pytest.raises(ValueError, match="evaluation mode"):
            function(model)


# ---- the fused module


def conv_relu(rng, kernel_size=(3, 2), relu=nn.ReLU, **settings):
    conv = nn.Conv2d(4, 6, kernel_size, rng=rng, **settings)
    fused = fuse(nn.Sequential(conv, relu()).eval(), np.zeros((1, 4, 8, 8), np.float32))[0]
    assert type(fused) is {nn.ReLU: ConvReLU2d, nn.ReLU6: ConvReLU6}[relu]
    return conv, fused


geometries = st.fixed_dictionaries(
    {
        "kernel_size": st.sampled_from([(3, 2), 1, (1, 2)]),
        "stride": st.sampled_from([1, 2, (1, 2), (2, 1)]),
        "padding": st.sampled_from([0, 1, (2, 0), (0, 1)]),
        "dilation": st.sampled_from([1, 2]),
        "groups": st.sampled_from([1, 2]),
        "bias": st.booleans(),
    }
)


# a copy of x is not enough
@example(settings={"kernel_size": 1, "padding": (0, 1)}, seed=0, double=False, relu=nn.ReLU)
@example(settings={"kernel_size": 1, "stride": (1, 2)}, seed=0, double=False, relu=nn.ReLU6)
@given(
    settings=geometries,
    seed=st.integers(0, 99),
    double=st.booleans(),
    relu=st.sampled_from([nn.ReLU, nn.ReLU6]),
)
def test_one_pass_computes_what_convolution_and_relu_do_and_so_do_its_gradients(settings, seed, double, relu):
    rng = np.random.default_rng(seed)
    conv, fused = conv_relu(rng, relu=relu, **settings)
    x = 9 * rng.normal(size=(3, 4, 8, 8)).astype(np.float64 if double else np.float32)
    results = []
    for module in (lambda x: relu()(conv(x)), fused):
        inputs = [Tensor(x, requires_grad=True)]
        inputs += (conv if module is not fused else fused).parameters()
        y = module(inputs[0])
        upstream = np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype)
        results.append([y.data, *minidl.grad(y, inputs, upstream)])
    for plain, one_pass in zip(*results, strict=True):
        np.testing.assert_allclose(one_pass, plain, rtol=1e-4, atol=1e-4)
        assert one_pass.dtype == plain.dtype


def test_a_nan_is_not_clamped_away():
    for relu in (nn.ReLU, nn.ReLU6):
        _, fused = conv_relu(np.random.default_rng(0), relu=relu)
        assert np.isnan(output(fused, np.full((1, 4, 8, 8), np.nan, np.float32))).all()


def test_merged_branches_keep_their_clamps_apart():
    """A ReLU and a ReLU6 on one input are not one convolution; two ReLU6 are."""
    rng = np.random.default_rng(0)

    def branch(relu):
        return nn.Sequential(nn.Conv2d(2, 3, 1, rng=rng), relu())

    model = nn.Concat(branch(nn.ReLU), branch(nn.ReLU6), branch(nn.ReLU6)).eval()
    x = 20 * rng.normal(size=(2, 2, 4, 4)).astype(np.float32)
    merged = merge_parallel_convs(fuse(model, x))
    assert_same(output(merged, x), output(model, x))
    assert [conv.limits for conv in merged.merged] == [(0, 6)]


def test_a_rule_for_relu_reaches_the_fused_relu6():
    conv, fused = conv_relu(np.random.default_rng(0), relu=nn.ReLU6)
    x = 9 * np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)
    gradients = []
    with relu_rule(guided_rule):
        for module in (nn.Sequential(conv, nn.ReLU6()), fused):
            inputs = Tensor(x, requires_grad=True)
            gradients.append(minidl.grad(module(inputs).sum() - module(inputs)[:, 1].sum() * 2, inputs))
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-5)


def test_a_debugger_steps_into_the_same_numbers():
    _, fused = conv_relu(np.random.default_rng(0), padding=1, groups=2)
    x = np.random.default_rng(1).normal(size=(2, 4, 5, 5)).astype(np.float32)
    with minidl.debug():
        plain = output(fused, x)
    assert_same(output(fused, x), plain)


# ---- horizontal fusion


def test_the_inception_block_of_the_lecture():
    """Three 1x1 convolutions on the input are one, the concat is no launch: 20, 8, then 5 launches."""
    model, x = made("inception")
    fused = fuse(model, x[:1])
    merged = merge_parallel_convs(fused)
    assert [cost(m, x.shape[1:]).launches for m in (model, fused, merged)] == [20, 8, 5]
    assert kinds(merged) == ["ConvInto", "ConvInto", "ConvInto", "MaxPool2d", "ConvInto"]


def test_the_cost_of_one_convolution_by_hand():
    """5 x 5 in, 3 x 3 out: reads 2 25, writes 4 9 numbers; each output is 2 9 products."""
    assert cost(nn.Conv2d(2, 4, 3).eval(), (2, 5, 5)) == (1, 4 * (50 + 36), 36 * 18)
    joined = nn.Concat(nn.Identity(), nn.ReLU())  # reads 50, writes 50; joins 100 to 100
    assert cost(joined, (2, 5, 5)) == (2, 4 * (100 + 200), 0)
    added = nn.Sequential(nn.Residual(nn.ReLU()), nn.Flatten(), nn.Linear(50, 3))
    assert cost(added, (2, 5, 5)) == (3, 4 * (100 + 150 + 53), 150)


def test_the_cost_of_merged_branches_by_hand():
    """One reads 2 planes and writes 1 + 3 + 2; its readers read 3 and 2 of them and write 1 each."""
    rng = np.random.default_rng(0)

    def conv(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 1, rng=rng)

    branches = conv(2, 1), nn.Sequential(conv(2, 3), conv(3, 1)), nn.Sequential(conv(2, 2), conv(2, 1))
    merged = merge_parallel_convs(nn.Concat(*branches).eval())
    assert cost(merged, (2, 4, 4)) == (3, 4 * 16 * (2 + 6 + 3 + 1 + 2 + 1), 16 * (12 + 3 + 2))


@every_model
def test_merged_branches_give_the_same_outputs(name):
    model, x = made(name)
    merged = merge_parallel_convs(fuse(model, x[:1]))
    assert_same(output(merged, x), output(model, x))


@given(
    groups=st.sampled_from([1, 2]), size=st.sampled_from([1, 3]), relu=st.booleans(), seed=st.integers(0, 99)
)
def test_merging_convolutions_of_integers_changes_no_bit(groups, size, relu, seed):
    """Every product and sum of small integers is exact in float32."""
    rng = np.random.default_rng(seed)

    def branch(width, *more):
        conv = nn.Conv2d(4, width, size, padding=size // 2, groups=groups, bias=width > 2, rng=rng)
        for parameter in conv.parameters():
            parameter.data = rng.integers(-9, 10, parameter.shape).astype(np.float32)
        return nn.Sequential(conv, *([nn.ReLU()] if relu else []), *more)

    model = nn.Concat(branch(2), branch(4, nn.Identity(), branch(6)), branch(4), nn.Conv2d(4, 2, 1, rng=rng))
    model.layer("3").weight.data = rng.integers(-9, 10, (2, 4, 1, 1)).astype(np.float32)
    model.layer("3").bias.data[:] = 0
    fused = fuse(model.eval())
    merged = merge_parallel_convs(fused)
    x = rng.integers(-9, 10, (3, 4, 5, 5)).astype(np.float32)
    assert np.array_equal(output(merged, x), output(model, x))
    saved = cost(fused, (4, 5, 5)).launches - cost(merged, (4, 5, 5)).launches
    assert saved == 1 + 2 + (size == 1 and groups == 1 and not relu)


def chain(rng, channels, names=()):
    """A convolution within Sequentials of these names."""
    conv = nn.Conv2d(channels, 2, 1, rng=rng)
    for name in reversed(names):
        conv = nn.Sequential({name: conv})
    return conv


paths = st.lists(st.sampled_from(["a", "b", "module"]), max_size=2)
branch_names = st.sampled_from(["a", "a_a", "a_and_a_a", "add", "merged", "branches"])


@example(branches={"a": (["b"], [])}, seed=0)
@given(
    branches=st.dictionaries(branch_names, st.tuples(paths, paths), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_no_name_takes_another_modules_place(branches, seed):
    """Names that are the same once joined by underscores, and such as the merged module might use itself."""
    rng = np.random.default_rng(seed)
    model = nn.Concat(
        {
            name: nn.Sequential({"a": chain(rng, 3, first), "a_b": chain(rng, 2, second)})
            for name, (first, second) in branches.items()
        }
    ).eval()
    x = rng.normal(size=(2, 3, 4, 4)).astype(np.float32)
    merged = merge_parallel_convs(model)
    assert_same(output(merged, x), output(model, x))
    assert cost(merged, (3, 4, 4)).multiply_adds == cost(model, (3, 4, 4)).multiply_adds


def test_a_branch_may_bear_the_name_of_the_merged_convolution():
    rng = np.random.default_rng(0)
    third = nn.Sequential({"z": nn.MaxPool2d(1), "b": nn.Conv2d(3, 4, 1, rng=rng)})
    model = nn.Concat({"a": nn.Conv2d(3, 3, 1, rng=rng), "b": nn.Conv2d(3, 2, 1, rng=rng), "a_and": third})
    x = rng.normal(size=(2, 3, 4, 4)).astype(np.float32)
    assert_same(output(merge_parallel_convs(model.eval()), x), output(model, x))


@pytest.mark.parametrize("sizes", [(1, 1), (1, 3)], ids=["merged", "apart"])
def test_a_merged_model_refuses_as_many_channels_as_the_original_does(sizes):
    model = nn.Concat(*[nn.Conv2d(3, 2, size, padding=size // 2) for size in sizes]).eval()
    for network in (model, merge_parallel_convs(model)):
        for channels in (2, 4):
            with pytest.raises(ValueError, match="expected weight"):
                network(np.zeros((1, channels, 4, 4), np.float32))


# ---- forward hooks


def listening(model, path, seen):
    model.layer(path).register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    return model


@pytest.mark.parametrize("path", ["0", "0.0", "0.1", "1", "1.0"])
def test_what_a_hook_looks_at_is_not_fused_away_and_hears_no_trial_run(path):
    rng = np.random.default_rng(0)
    layers = nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng), nn.BatchNorm2d(2)), nn.Sequential(nn.ReLU())
    seen = []
    model = listening(settled(nn.Sequential(*layers), rng), path, seen)
    x = rng.normal(size=(2, 1, 5, 5)).astype(np.float32)
    fused = fuse(model)
    assert seen == []
    assert_same(output(fused, x), output(model, x))
    assert seen == [(2, 2, 3, 3)] * 2


def test_a_concat_with_a_hook_within_is_not_merged():
    seen = []
    model = listening(nn.Concat(nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)).eval(), "1", seen)
    assert repr(merge_parallel_convs(model)) == repr(model)
    merge_parallel_convs(model)(np.zeros((1, 1, 4, 4), np.float32))
    assert seen == [(1, 2, 4, 4)]


def test_branches_that_differ_are_not_merged():
    rng = np.random.default_rng(0)
    settings = [{}, {"stride": 2}, {"padding": 1}, {"dilation": 2}, {"groups": 2}]
    branches = [
        nn.Sequential(nn.Conv2d(2, 2, 3, rng=rng, **own), nn.Conv2d(2, 2, 1, rng=rng)) for own in settings
    ]
    merged = merge_parallel_convs(nn.Concat(*branches).eval())
    assert len(merged.merged) == 0 and len(kinds(merged)) == 10
    with pytest.raises(ValueError, match="differ in height or width"):
        merged(np.zeros((1, 2, 7, 7), np.float32))


def test_a_concat_whose_branch_does_not_end_in_a_convolution_stays():
    rng = np.random.default_rng(0)
    model = nn.Concat(nn.Conv2d(2, 2, 1, rng=rng), nn.Identity()).eval()
    assert repr(merge_parallel_convs(model)) == repr(model)


def test_outputs_written_in_place_have_no_gradients_and_say_so():
    model, x = made("inception")
    merged = merge_parallel_convs(fuse(model, x[:1]))
    with pytest.raises(ValueError, match="no gradients"):
        merged(Tensor(x, requires_grad=True))
    first = output(merged, x)
    kept = first.copy()
    output(merged, -x)
    assert np.array_equal(first, kept)  # the next call writes to a new array
    assert np.array_equal(output(copy.deepcopy(merged), x), kept)


# ---- the flow


def test_the_flow_names_what_each_step_reads():
    model, x = made("tiny_resnet")
    steps = flow(model, x)
    paths = [step.path for step in steps]
    join = steps[paths.index("stage2.block1.residual")]
    assert [paths[i] for i in join.sources] == [
        "stage2.block1.residual.body.bn2",
        "stage2.block1.residual.shortcut.bn",
    ]
    straight = steps[paths.index("stage1.block1.residual")]
    assert [paths[i] for i in straight.sources] == ["stage1.block1.residual.body.bn2", "stem.relu"]
    assert steps[0].sources == (INPUT,) and steps[0].shape == (5, 4, 8, 8)


# ---- what is refused


class Matrix(nn.Module):
    def __init__(self):
        self.w = nn.Parameter(np.ones((3, 3), np.float32))

    def forward(self, x):
        return x @ self.w


def test_bad_input_is_refused():
    conv, bn = nn.Conv2d(1, 2, 3).eval(), nn.BatchNorm2d(2)
    with pytest.raises(ValueError, match="call eval"):
        fold_batchnorm(conv, bn)
    with pytest.raises(ValueError, match="for 3 channels, but the layer before it gives 2"):
        fold_batchnorm(conv, nn.BatchNorm2d(3).eval())
    two = np.ones(2)
    for arguments, error, message in (
        ((np.ones((2, 3)), None, np.ones(3), two), ValueError, r"mean must have shape \(2,\), got \(3,\)"),
        (([[1.0]], None, [0.0], [1.0]), TypeError, "weight must be a ndarray"),
        ((np.ones((2, 3), int), None, two, two), TypeError, "weight must be floats, got"),
        ((np.ones((2, 3)), None, two, None), TypeError, "var must be real numbers, got None"),
        ((np.ones((2, 3)), None, two, -two), ValueError, r"var \+ eps must be above 0"),
        ((np.ones((2, 3)), None, two, 0 * two, two, two, 0.0), ValueError, r"var \+ eps must be above 0"),
    ):
        with pytest.raises(error, match=message):
            folded(*arguments)
    with pytest.raises(TypeError, match="layer must be a Conv2d or Linear, got ReLU"):
        fold_batchnorm(nn.ReLU(), bn)
    with pytest.raises(TypeError, match="must be a Module"):
        fuse("model")
    with pytest.raises(TypeError, match="must be a Module, got None"):
        fuse(None, np.zeros((1, 1, 8, 8)))
    with pytest.raises(ValueError, match=r"0: the multiply-adds of a QuantizedConv2d cannot be"):
        cost(quantize_model(nn.Sequential(conv).eval(), np.ones((1, 1, 8, 8))), (1, 8, 8))
    for bits in ({}, {"activation_bits": 32}, {"weight_bits": 32, "activation_bits": 32}):
        rounded = prepare_qat(nn.Sequential(conv, nn.ReLU()).eval(), np.ones((1, 1, 8, 8)), **bits)
        with pytest.raises(ValueError, match="multiply-adds of a RoundedWeights cannot be counted"):
            cost(rounded, (1, 8, 8))
    with pytest.raises(ValueError, match="the model: the multiply-adds of a Matrix"):
        cost(Matrix(), (3,))
    with pytest.raises(TypeError, match="must be a Module"):
        merge_parallel_convs(None)
    with pytest.raises(TypeError, match="must be a Module"):
        cost(3, (1, 8, 8))
    with pytest.raises(TypeError, match="input_shape must be a tuple"):
        cost(conv, 8)
    with pytest.raises(ValueError, match="larger than the padded image"):
        cost(conv, (1, 2, 2))
