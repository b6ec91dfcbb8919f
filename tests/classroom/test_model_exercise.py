"""Exercises of kind model: what a law sees of a model, and what an implementation may do to it."""

import copy
from typing import NamedTuple

import numpy as np
import pytest

from minidl import Tensor, no_grad
from minidl.classroom import replay
from minidl.classroom.builders import Built
from minidl.classroom.exercise import Exercise
from minidl.classroom.returned import WrongAnswer
from minidl.compress.prune import PruneResult, PruneStep
from minidl.explain.patches import Span
from minidl.nn.layers import Linear, ReLU

MODEL = Built("small_cnn", seed=2, num_classes=3, widths=(4,), pool_after=())
X = np.linspace(-1, 1, 2 * 64).reshape(2, 1, 8, 8)


def logits(model, x):
    """A model's outputs as an array."""
    with no_grad():
        return model(x)


def new_head(model, classes, rng):
    """The model with another last layer, the only one that learns."""
    model.requires_grad_(False)
    model.head = Linear(model.head.in_features, classes, rng=rng)
    return model


def smaller(model, factor=0.5):
    """Every parameter times the factor, in place."""
    for parameter in model.parameters():
        parameter.data = parameter.data * factor


class Outputs(NamedTuple):
    logits: Tensor
    best: np.ndarray


def pair_of_outputs(model, x):
    """A model's outputs and the class of each."""
    return Outputs(model(x), model(x).data.argmax(axis=1))


def exercise(function, **options):
    return Exercise("91.1", function, kind="model", points=1, hints=("Look.",), **options)


def test_a_built_model_is_given_and_a_tensor_comes_back_as_an_array():
    answer = exercise(logits).adapt(logits)(MODEL, X)
    assert type(answer) is np.ndarray and answer.dtype == np.float32
    np.testing.assert_array_equal(answer, MODEL.build()(X).data)


def test_a_returned_model_shows_its_state_and_what_learns():
    found = exercise(new_head).adapt(new_head)(MODEL, 5, np.random.default_rng(0))
    assert found["requires_grad"] == ["head.weight", "head.bias"] and found["training"] is False
    assert found["state"]["head.weight"].shape == (5, 4)
    before = MODEL.build().state_dict()
    for name in ("block1.conv.weight", "block1.bn.running_var"):
        np.testing.assert_array_equal(found["state"][name], before[name])


def test_a_law_sees_which_layers_are_in_another_mode_than_the_model():
    own_flag = Built(MODEL.builder, MODEL.seed, **MODEL.settings, training=("",))
    model = own_flag.build()
    assert model.training and not any(part.training for part in model.children())
    found = exercise(new_head).adapt(new_head)(own_flag, 5, np.random.default_rng(0))
    assert found["training"] is True and "block1" in found["other_mode"]
    assert "head" not in found["other_mode"] and "" not in found["other_mode"]


def test_a_law_sees_whether_a_model_came_back_changed_or_a_new_one_and_what_its_layers_are():
    found = exercise(new_head).adapt(new_head)(MODEL, 5, np.random.default_rng(0))
    assert found["given"] is True and "(head): Linear(4, 5)" in found["layers"]
    found = exercise(new_head).adapt(lambda model, *rest: new_head(copy.deepcopy(model), *rest))(
        MODEL, 5, None
    )
    assert found["given"] is False
    shallow = exercise(new_head).adapt(lambda model, *rest: copy.copy(model))(MODEL, 5, None)
    assert shallow["given"] is True  # the parts are those of the model
    for copied in (False, True):  # also where the model is a part of the answer
        beside = exercise(new_head).adapt(
            lambda model, *rest, copied=copied: (1, copy.deepcopy(model) if copied else model)
        )
        assert beside(MODEL, 5, None)[1]["given"] is not copied


def test_a_single_layer_has_the_numbers_that_it_is_given():
    layer = Built("conv2d", weight=((((2.0, 4.0),),),), bias=(1.0,), stride=2)
    assert layer.build().weight.shape == (1, 1, 1, 2) and layer.build().stride == (2, 2)
    assert repr(layer) == "conv2d(weight=((((2.0, 4.0),),),), bias=(1.0,), stride=2)"
    norm = Built("batch_norm", mean=(3.0,), var=(4.0,), weight=(6.0,), bias=(5.0,), eps=0.0)
    np.testing.assert_array_equal(norm.build()(np.array([[5.0]], np.float32)).data, [[11.0]])
    assert not norm.build().training
    plain = Built("batch_norm", mean=(3.0,), var=(4.0,), training=True, frozen=True).build()
    assert plain.training and plain.frozen and plain.weight is None
    assert Built("linear", weight=((2.0,),)).build().bias is None


def test_a_record_of_a_model_and_numbers_comes_back_as_a_tuple():
    class Record(NamedTuple):
        model: object
        losses: list

    found = exercise(logits).adapt(lambda model, x: Record(copy.deepcopy(model), [1.0]))(MODEL, X)
    assert type(found) is tuple and found[1] == [1.0] and found[0]["training"] is False


def test_a_model_that_is_written_comes_back_beside_the_answer():
    returned, after = exercise(smaller, writes=("model",)).adapt(smaller)(MODEL, factor=0.25)
    assert returned is None
    np.testing.assert_array_equal(after["state"]["head.bias"], MODEL.build().head.bias.data / 4)


def test_a_hook_that_is_left_in_a_trained_model_is_a_mistake():
    def hooked(model, factor=0.5):
        model.head.register_forward_hook(lambda module, inputs, output: output)
        smaller(model, factor)

    task = exercise(smaller, writes=("model",))
    with pytest.raises(WrongAnswer, match="hooked left a forward hook in its model"):
        task.adapt(hooked)(MODEL)


def test_a_trained_model_keeps_its_hooks_and_the_forward_of_each_layer():
    def without_hooks(model, factor=0.5):
        smaller(model, factor)
        for part in model.modules():
            part._hooks = ()

    def wrapped(model, factor=0.5):
        smaller(model, factor)
        forward = model.middle.forward
        model.middle.forward = lambda x: forward(x)

    def new_layer(model, factor=0.5):  # the hook of the old layer goes with it
        smaller(model, factor)
        model.act = model.middle[1] = ReLU()

    task, model = exercise(smaller, writes=("model",)), Built("shared_relu", in_features=3, num_classes=2)
    with pytest.raises(WrongAnswer, match="without_hooks removed a forward hook that its model had"):
        task.adapt(without_hooks)(model)
    with pytest.raises(WrongAnswer, match="wrapped left a forward of its own in a layer of its model"):
        task.adapt(wrapped)(model)
    task.adapt(new_layer)(model)


def test_a_mask_is_part_of_a_model():
    with pytest.raises(WrongAnswer, match="changed its model: weight.mask is not what it was"):
        exercise(logits).adapt(unmasked)(MASKED, X)


MASKED = Built("batch_norm", mean=(0.0,), var=(1.0,), weight=(2.0,), bias=(1.0,), mask=(False,))


def unmasked(model, x):
    model.weight.mask = None
    return x


def test_layers_of_a_model_may_be_in_training_mode_or_frozen_by_themselves():
    settings = {**MODEL.settings, "training": ("block1",), "requires_grad": ("head",)}
    model = Built("small_cnn", seed=2, **settings).build()
    assert not model.training and model.block1.training and not model.head.training
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    with pytest.raises(ValueError):
        Built("small_cnn", seed=2, **{**settings, "training": ("block7",)}).build()
    layer = Built("linear", weight=((2.0,),), bias=(1.0,), requires_grad=("weight",)).build()
    assert layer.weight.requires_grad and not layer.bias.requires_grad


def test_a_model_may_refuse_to_run_with_a_graph():
    model = Built("small_cnn", **MODEL.settings, graph=False).build()
    assert logits(model, X).shape == (2, 3)
    with pytest.raises(RuntimeError, match="with a graph"):
        model(X)
    assert model.requires_grad_(False)(X).shape == (2, 3)  # no parameter needs a graph


def test_a_filter_of_a_model_may_be_zero():
    model = Built(MODEL.builder, MODEL.seed, **MODEL.settings, zeros=("block1.conv.weight",)).build()
    assert not model.block1.conv.weight.data[0].any() and model.block1.conv.weight.data[1:].all()
    assert model.block1.bn.weight.data.all()


def test_every_second_parameter_of_a_model_has_no_gradient():
    parameters = list(MODEL.build().parameters())
    assert [p.grad is None for p in parameters] == [bool(i % 2) for i in range(len(parameters))]
    assert Built("linear", weight=((2.0,),)).build().weight.grad is not None


def test_all_parameters_of_a_model_may_be_scaled():
    large = Built("small_cnn", seed=2, **MODEL.settings, scale=1000)
    for one, other in zip(MODEL.build().parameters(), large.build().parameters(), strict=True):
        assert other.dtype == np.float32
        np.testing.assert_allclose(other.data, 1000 * one.data, rtol=1e-6)
    with pytest.raises(TypeError):
        Built("linear", weight=((2.0,),), scale=2)


def fill_gradients(model):
    """Gradients of 0 where there are none."""
    for parameter in model.parameters():
        parameter.grad = np.zeros_like(parameter.data) if parameter.grad is None else parameter.grad


def test_every_batch_norm_of_a_model_may_be_frozen():
    settings = {**MODEL.settings, "frozen": True}
    frozen, learning = (
        Built("small_cnn", seed=2, **settings).build(),
        Built("small_cnn", seed=2, **MODEL.settings).build(),
    )
    assert frozen.block1.bn.frozen and not learning.block1.bn.frozen
    assert frozen.block1.bn.running_mean.tobytes() == learning.block1.bn.running_mean.tobytes()
    with pytest.raises(TypeError, match="linear has no setting frozen"):
        Built("linear", weight=((2.0,),), frozen=True)


def test_an_array_with_axes_is_no_number():
    def mean(x: np.ndarray) -> float:
        return x.mean()

    task = Exercise("91.2", mean, points=1, hints=("Look.",))
    assert task.adapt(mean)(X) == X.mean()
    with pytest.raises(WrongAnswer, match=r"returned an array of shape \(1,\): its signature says float"):
        task.adapt(lambda x: x.mean(keepdims=True).reshape(1))(X)


@pytest.mark.parametrize("kind", ["function", "model"])
def test_a_plain_tuple_is_no_named_tuple(kind):
    def next_span(x: np.ndarray) -> Span:
        return Span(x.size, 1, 0)

    task = Exercise("91.2", next_span, kind=kind, points=1, hints=("Look.",))
    assert task.adapt(next_span)(X) == (X.size, 1, 0)
    with pytest.raises(WrongAnswer, match=r"returned \(.*\): its signature says Span"):
        task.adapt(lambda x: (x.size, 1, 0))(X)

    def pruned(x: np.ndarray) -> PruneResult:  # its history is a list of NamedTuples
        return PruneResult(x, [PruneStep(0.0, 0.0, 1.0, 0.5)], 0)

    task = Exercise("91.2", pruned, kind=kind, points=1, hints=("Look.",))
    task.adapt(pruned)(X)
    with pytest.raises(WrongAnswer, match=r"whose history has \(0, .*\): PruneResult says PruneStep"):
        task.adapt(lambda x: PruneResult(x, [(0.0, 0.0, 1.0, 0.5)], 0))(X)


@pytest.mark.parametrize("writes", [(), ("model",)])
def test_a_list_is_no_array_also_beside_a_model(writes):
    def logits(model, x) -> "np.ndarray":
        return model(x)

    task = Exercise("91.2", logits, kind="model", writes=writes, points=1, hints=("Look.",))
    task.adapt(logits)(MODEL, X)
    with pytest.raises(WrongAnswer, match=r"returned a list .*: its signature says np.ndarray"):
        task.adapt(lambda model, x: model(x).data.tolist())(MODEL, X)


def test_a_tensor_is_no_number():
    def loss(model, x) -> float:
        return model(x).sum().item()

    task = Exercise("91.2", loss, kind="model", points=1, hints=("Look.",))
    task.adapt(loss)(MODEL, X)
    with pytest.raises(WrongAnswer, match="returned a Tensor: its signature says float"):
        task.adapt(lambda model, x: model(x).sum())(MODEL, X)


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda model: smaller(model), "is not what it was"),
        (lambda model: model.train(), "training was False, is True"),
        (lambda model: model.head.requires_grad_(False), "requires_grad was"),
        (lambda model: model.zero_grad(), "weight.grad is not what it was"),
        (fill_gradients, "block1.bn.weight.grad is not what it was"),
        (lambda model: model(Tensor(X)).sum().backward(), "weight.grad is not what it was"),
        (lambda model: model.head.train(), "a layer's mode or a forward hook is not as it was"),
        (lambda model: model.head.register_forward_hook(str), "a forward hook is not as it was"),
    ],
)
def test_another_model_must_stay_as_it_was(change, says):
    def careless(model, x):
        change(model)
        return x

    task = exercise(logits)

    @task.law("outputs")
    def outputs(logits):
        logits(MODEL, X)

    assert task.check(logits)[0].passed
    (result,) = task.check(careless)
    assert not result.passed and result.message.startswith("careless changed its model: ")
    assert says in result.message


def test_the_class_of_a_layer_must_keep_its_forward(monkeypatch):
    def careless(model, x):
        monkeypatch.setattr(ReLU, "forward", lambda self, x: x.relu())  # for all models, until it is undone
        return x

    def careful(model, x):
        with monkeypatch.context() as patch:
            patch.setattr(ReLU, "forward", lambda self, x: x.relu())
            return x

    exercise(logits).adapt(careful)(MODEL, X)
    with pytest.raises(WrongAnswer, match="careless changed its model: a layer, its forward, "):
        exercise(logits).adapt(careless)(MODEL, X)


def hooked_or_trained(model, x):
    model.head.register_forward_hook(lambda module, inputs, output: output)
    if not isinstance(x, np.ndarray):
        raise ValueError("no images")
    raise NotImplementedError


def test_a_model_must_stay_as_it_was_where_the_function_raises_an_error_too():
    def careless(model, x):
        model.train()
        raise ValueError("no images")

    def careful(model, x):
        raise ValueError("no images")

    def trains(model, factor=0.5):
        smaller(model)
        raise ValueError("no images")

    said = "changed its model: training was False, is True, before it raised ValueError: no images\nat line"
    with pytest.raises(WrongAnswer, match=f"^careless {said}"):
        exercise(logits).adapt(careless)(MODEL, X)
    with pytest.raises(WrongAnswer, match="a forward hook is not as it was, before it raised ValueError"):
        exercise(logits).adapt(hooked_or_trained)(MODEL, None)
    with pytest.raises(ValueError, match="^no images$"):
        exercise(logits).adapt(careful)(MODEL, X)
    with pytest.raises(NotImplementedError):  # it is not written yet, whatever it has done so far
        exercise(logits).adapt(hooked_or_trained)(MODEL, X)
    training = exercise(smaller, writes=("model",))
    with pytest.raises(ValueError, match="^no images$"):  # a model that it trains may be another by then
        training.adapt(trains)(MODEL)
    with pytest.raises(WrongAnswer, match="left a forward hook in its model, before it raised ValueError"):
        training.adapt(hooked_or_trained)(MODEL, None)


def test_a_named_tuple_comes_back_as_a_tuple():
    answer = exercise(pair_of_outputs).adapt(pair_of_outputs)(MODEL, X)
    assert type(answer) is tuple and [part.shape for part in answer] == [(2, 3), (2,)]


def test_a_case_names_the_builder_and_the_replay_builds_the_model():
    task = exercise(logits)

    @task.law("outputs are positive")
    def positive(logits):
        assert (logits(MODEL, x=X) > 0).all(), "an output is negative"

    implementation = task.adapt(logits)
    task.try_law("outputs are positive", implementation)
    imports = set()
    text = replay.call_text(task, implementation.told, implementation.last_call, imports)
    assert (
        "model = Built('small_cnn', seed=2, num_classes=3, widths=(4,), pool_after=())\nmodel = model.build()"
        in text
    )
    assert repr(MODEL) == "small_cnn(seed=2, num_classes=3, widths=(4,), pool_after=())"
    names = {"logits": logits, "breakpoint": lambda: None}
    exec("\n".join([*imports, "import numpy as np", text]), names)
    np.testing.assert_array_equal(names["answer"].data, implementation.last_call.answer)


def test_an_unknown_builder_is_refused():
    with pytest.raises(ValueError, match="builder must be one of"):
        Built("large_cnn")


@pytest.mark.parametrize(
    "seed, settings, error, says",
    [
        ("a", {}, TypeError, "seed must be"),
        (-1, {}, ValueError, "seed must be at least 0"),
        (0, {"widht": 3}, TypeError, "small_cnn has no setting widht"),
        (0, {"rng": 3}, TypeError, "small_cnn has no setting rng"),
    ],
)
def test_a_description_that_builds_nothing_is_refused_before_the_answer(seed, settings, error, says):
    with pytest.raises(error, match=says):
        Built("small_cnn", seed, **settings)
