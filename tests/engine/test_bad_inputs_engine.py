"""Public functions of the engine refuse bad input with an error that says what was expected and what came."""

import numpy as np
import pytest

import minidl
from minidl import Op, Tensor, apply, grad, gradcheck
from minidl.engine import loss, normalize, reduce, trace
from minidl.engine.checks import check_int, check_number, positive_number
from minidl.engine.elementwise import Mul, relu_rule
from minidl.engine.linalg import Linear
from minidl.engine.random import default_rng_or
from minidl.nn.calls import modules

T = Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
LEAF = Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
NUMBER = Tensor(1.0)
INTEGERS = Tensor(np.arange(3))
LOGITS = np.zeros((2, 3), np.float32)


def cross_entropy(labels, z=LOGITS, **options):
    return apply(loss.CrossEntropy(labels, **options), z)


def batch_norm(x, gamma, beta, **options):
    return apply(normalize.BatchNorm(**options), x, gamma, beta)


TENSOR = [
    (lambda: Tensor(T), TypeError, r"data is a Tensor already.*data.detach\(\)"),
    (lambda: Tensor([T, T]), TypeError, "Tensors in a list would leave the graph: use minidl.stack"),
    (lambda: Tensor("text"), TypeError, "a Tensor holds float32/64, integers or bools, not <U4"),
    (lambda: Tensor([None]), TypeError, "a Tensor holds float32/64, integers or bools, not object"),
    (lambda: Tensor([1j]), TypeError, "integers or bools, not complex128"),
    (lambda: Tensor(np.zeros(2, "datetime64[s]")), TypeError, "not datetime64"),
    (lambda: Tensor([[1, 2], [3]]), ValueError, "data must be an array.* rows are of different lengths"),
    (lambda: Tensor([1.0], dtype=np.float16), TypeError, "not float64 as float16"),
    (lambda: Tensor([1.0], dtype=np.complex64), TypeError, "as complex64"),
    (lambda: Tensor([255.0, 256.0], dtype=np.uint8), ValueError, r"uint8 holds 0 \.\.\. 255, got 256"),
    (lambda: Tensor([np.nan], dtype=np.int64), ValueError, "int64 holds .* got nan"),
    (lambda: Tensor([2.0**63], dtype=np.int64), ValueError, r"int64 holds .* got 9\.22"),
    (lambda: Tensor(np.array([-1]), dtype=np.uint8), ValueError, "uint8 holds .* got -1"),
    (lambda: Tensor(np.arange(3), requires_grad=True), TypeError, "only floating tensors can .*, not int64"),
    (lambda: Tensor(None), TypeError, "a Tensor holds numbers, got None, which a function without a return"),
    (lambda: INTEGERS.requires_grad_(), TypeError, "only floating tensors can require a gradient, not int64"),
    (lambda: (LEAF * 2).requires_grad_(False), ValueError, r"use t.detach\(\) instead"),
    (lambda: setattr(Tensor([1.0]), "data", np.ones(2)), ValueError, r"shape \(1,\) .* got \(2,\)"),
    (lambda: T.item(), ValueError, r"only a tensor of one element .* has shape \(2, 3\)"),
    (lambda: bool(T), ValueError, "only a tensor of one element"),
    (lambda: len(NUMBER), TypeError, "without axes has no len"),
    (lambda: T.__setitem__(0, 1), TypeError, "Make a new tensor with minidl.where"),
    (lambda: T.__lt__(np.zeros(4)), ValueError, r"cannot compare shape \(2, 3\) with shape \(4,\)"),
    (lambda: T.__lt__([[1], [1, 2]]), ValueError, r"cannot compare shape \(2, 3\) with a list"),
    (lambda: T.__lt__("a"), TypeError, r"cannot compare shape \(2, 3\) with a str"),
    (lambda: T.__ge__(None), TypeError, r"cannot compare shape \(2, 3\) with a NoneType"),
    (lambda: T.__gt__(10**400), TypeError, r"cannot compare shape \(2, 3\) with a int"),
    (lambda: T[2**63], ValueError, "GetItem of inputs of shape"),
]

GRAPH = [
    (lambda: apply(Mul, T, T), TypeError, "apply needs an unused instance, got <class .*Mul"),
    (lambda: apply(np.multiply, T, T), TypeError, "an Op is its own context"),
    (lambda: apply(Op(), T), NotImplementedError, "Op.forward"),
    (
        lambda: T.sum().backward(),
        ValueError,
        "depends on nothing that requires a gradient; set requires_grad",
    ),
    (lambda: (LEAF * 2).backward(), ValueError, r"backward from shape \(2, 3\) needs a gradient .*\.sum\(\)"),
    (lambda: (LEAF * 2).backward(np.ones(3)), ValueError, r"gradient has shape \(3,\), the tensor \(2, 3\)"),
    (lambda: T.retain_grad(), ValueError, "requires no gradient, so there is no gradient to retain"),
    (lambda: grad(1.0, LEAF), TypeError, "grad takes Tensors, got float"),
    (lambda: grad(LEAF.sum(), np.ones(3)), TypeError, "grad takes Tensors, got ndarray"),
    (lambda: grad(LEAF.sum(), [LEAF, "w"]), TypeError, "grad takes Tensors, got str"),
    (lambda: grad(LEAF.sum(), T), ValueError, r"no gradient flows from the output to inputs\[0\]"),
    (lambda: grad(LEAF * 2, LEAF), ValueError, "needs a gradient of that shape to start from"),
    (lambda: gradcheck(lambda x: x, INTEGERS), ValueError, "at least one floating input"),
    (lambda: gradcheck(lambda x: 1.0, T), TypeError, r"the result of <lambda> must be a Tensor, got 1\.0"),
    (
        lambda: relu_rule("guided").__enter__(),
        TypeError,
        r"rule must be a function of \(grad, x\), got 'guided'",
    ),
    (lambda: trace.graph(1.0), TypeError, r"tensor must be a Tensor, got 1\.0"),
    (lambda: modules(abs, T), TypeError, "model must be a Module, got <built-in function abs>"),
    (lambda: minidl.manual_seed("zero"), (TypeError, ValueError), "zero|SeedSequence"),
    (lambda: minidl.manual_seed(-1), ValueError, "seed must be at least 0, got -1"),
    (lambda: default_rng_or(0), TypeError, r"must be a np.random.Generator, such as .*, got 0"),
]

ELEMENTWISE = [
    (lambda: T + np.zeros(4), ValueError, r"^Add of inputs of shape \(2, 3\) and \(4,\)"),
    (lambda: np.zeros(4) - T, ValueError, r"^Sub of inputs of shape \(4,\) and \(2, 3\)"),
    (lambda: T * np.zeros((3, 2)), ValueError, r"^Mul of inputs of shape \(2, 3\) and \(3, 2\)"),
    (lambda: T / np.zeros(2), ValueError, r"^Div of inputs of shape"),
    (lambda: T ** np.zeros(2), ValueError, r"^Pow of inputs of shape"),
    (lambda: T + None, TypeError, "a Tensor holds numbers, got None"),
    (lambda: T * "2", TypeError, "integers or bools, not <U1"),
    (lambda: T * 1j, TypeError, "not complex128"),
    (lambda: T + [T, T], TypeError, "Tensors in a list would leave the graph"),
    (lambda: T // 2, TypeError, "unsupported operand"),
    (lambda: minidl.maximum(T, np.zeros(4)), ValueError, r"^Maximum of inputs of shape \(2, 3\) and \(4,\)"),
    (lambda: minidl.minimum(T, np.zeros(4)), ValueError, r"^Minimum of inputs of shape"),
    (
        lambda: minidl.where(np.zeros(3), T, T),
        TypeError,
        r"condition must be bools, got an array \(3,\) of float64",
    ),
    (lambda: minidl.where(T.data > 1, T, np.zeros(4)), ValueError, r"^Where of inputs of shape .* \(4,\)"),
    (lambda: minidl.where([True] * 4, T, T), ValueError, "^Where of inputs of shape"),
    (lambda: T.clip(2, 1), ValueError, "clip needs low <= high, got 2 and 1"),
    (lambda: T.clip("0"), TypeError, "low must be a number, got '0'"),
    (lambda: T.clip(0, np.ones(3)), TypeError, "high must be a number, got an array"),
    (lambda: T.clip(np.nan), ValueError, "low must be a number, got nan"),
    (lambda: T.leaky_relu("0.1"), TypeError, "negative_slope must be a number, got '0.1'"),
    (lambda: T.leaky_relu(None), TypeError, "negative_slope must be a number, got None"),
    (lambda: check_number("p", True), TypeError, "p must be a number, got True"),
    (lambda: check_number("p", 2, 0, 1), ValueError, r"p must be finite and within \[0, 1\], got 2"),
    (lambda: check_number("p", np.inf, 0), ValueError, "p must be finite and at least 0, got inf"),
    (lambda: check_number("p", np.nan, 0, finite=False), ValueError, "p must be at least 0, got nan"),
    (lambda: check_number("p", np.ones((9, 9))), TypeError, r"p must be a number, got an array \(9, 9\)$"),
    (lambda: positive_number("p", 0), ValueError, "p must be above 0, got 0"),
    (lambda: positive_number("p", np.inf), ValueError, "p must be finite, got inf"),
    (lambda: check_int("n", True, 0), TypeError, "n must be an integer, got True"),
    (lambda: check_int("n", -1, 0), ValueError, "n must be at least 0, got -1"),
]

REDUCTIONS = [
    (lambda: T.sum(axis=2), ValueError, r"axis of an array of 2 dimensions must be within \[-2, 1\], got 2"),
    (
        lambda: T.mean(axis=(0, -3)),
        ValueError,
        r"axis of an array of 2 dimensions must be within \[-2, 1\], got -3",
    ),
    (lambda: T.max(axis=(0, -2)), ValueError, r"axis \(0, -2\) names an axis twice"),
    (lambda: T.min(axis=0.0), TypeError, r"axis of an array of 2 dimensions must be an integer, got 0\.0"),
    (lambda: T.sum(axis="0"), TypeError, "axis of an array of 2 dimensions must be an integer, got '0'"),
    (
        lambda: NUMBER.sum(axis=0),
        ValueError,
        r"axis of an array of 0 dimensions must be within \[0, -1\], got 0",
    ),
    (
        lambda: NUMBER.softmax(),
        ValueError,
        r"axis of an array of 0 dimensions must be within \[0, -1\], got -1",
    ),
    (
        lambda: T[:0].mean(axis=0),
        ValueError,
        r"Mean of inputs of shape \(0, 3\): nothing to reduce over axes \(0,\)",
    ),
    (lambda: T[:0].max(), ValueError, r"^Max of .*: nothing to reduce"),
    (lambda: T[:0].min(axis=0), ValueError, r"^Min of .*: nothing to reduce"),
    (lambda: T[:, :0].var(axis=1), ValueError, r"^Var of .*: nothing to reduce"),
    (lambda: T[:, :0].logsumexp(axis=1), ValueError, r"^LogSumExp of .*: nothing to reduce"),
    (lambda: T[:, :0].softmax(), ValueError, r"^Softmax of .*: nothing to reduce"),
    (lambda: T[:, :0].log_softmax(), ValueError, r"^LogSoftmax of .*: nothing to reduce"),
    (lambda: T.var(axis=0, ddof=2), ValueError, "ddof must be below the number of values 2, got 2"),
    (lambda: T.var(ddof=-1), ValueError, "ddof must be at least 0, got -1"),
    (lambda: T.var(ddof="1"), TypeError, "ddof must be an integer, got '1'"),
    (lambda: T.softmax(temperature=0), ValueError, "temperature must be a finite number > 0, got 0"),
    (lambda: T.softmax(temperature=-1.0), ValueError, r"temperature must be a finite number > 0, got -1\.0"),
    (
        lambda: T.softmax(temperature=1e-50),
        ValueError,
        "temperature must be a finite number > 0, got 1e-50",
    ),
    (
        lambda: T.log_softmax(temperature=np.inf),
        ValueError,
        "temperature must be a finite number > 0, got inf",
    ),
    (lambda: T.log_softmax(temperature=np.nan), ValueError, "temperature must be a number, got nan"),
    (lambda: T.softmax(temperature="1"), TypeError, "temperature must be a number, got '1'"),
    (lambda: T.softmax(temperature=T), TypeError, "temperature must be a number, got Tensor"),
    (lambda: reduce.check_temperature(None), TypeError, "temperature must be a number, got None"),
]

SHAPES = [
    (lambda: T.reshape(4), ValueError, r"^Reshape of inputs of shape \(2, 3\): .*\(4,\)"),
    (lambda: T.reshape(-1, -1), ValueError, "^Reshape of inputs of shape"),
    (lambda: T.reshape("a"), TypeError, "integer"),
    (lambda: T.reshape(1.5), TypeError, "each length of a shape, .* must be an integer, got 1.5"),
    (lambda: T.reshape(-2), ValueError, "each length of a shape, or -1 for what is left, .* got -2"),
    (lambda: minidl.concatenate([T, T], axis=None), TypeError, "axis must be an integer, got None"),
    (lambda: minidl.stack([T, T], axis=None), TypeError, "axis must be an integer, got None"),
    (lambda: T.transpose(0), ValueError, r"transpose needs all 2 axes, got \(0,\)"),
    (lambda: T.transpose(0, 0), ValueError, "names an axis twice"),
    (
        lambda: T.transpose(0, 2),
        ValueError,
        r"axis of an array of 2 dimensions must be within \[-2, 1\], got 2",
    ),
    (
        lambda: T.transpose("a", "b"),
        TypeError,
        "axis of an array of 2 dimensions must be an integer, got 'a'",
    ),
    (lambda: T.flatten(2), ValueError, r"start_dim must be within \[-2, 1\], got 2"),
    (lambda: NUMBER.flatten(1), ValueError, r"start_dim must be within \[0, 0\], got 1"),
    (lambda: T.squeeze(0), ValueError, r"shape \(2, 3\): squeeze needs axes of length 1, got axis 0"),
    (lambda: T.squeeze(5), ValueError, r"axis of an array of 2 dimensions must be within \[-2, 1\], got 5"),
    (lambda: T.expand_dims(4), ValueError, "^ExpandDims of .* 4 is out of bounds"),
    (lambda: T.expand_dims((0, 0)), ValueError, "^ExpandDims of .* repeated"),
    (lambda: T.broadcast_to(3, 2), ValueError, r"^BroadcastTo of inputs of shape \(2, 3\)"),
    (lambda: T[2], IndexError, "index 2 is out of bounds for axis 0 with size 2"),
    (lambda: T[0, 0, 0], IndexError, "too many indices"),
    (lambda: T[0.5], IndexError, "only integers, slices"),
    (lambda: T["0"], IndexError, "only integers, slices"),
    (lambda: T[[0, 7]], IndexError, "index 7 is out of bounds"),
    (lambda: T[np.zeros(3, bool)], IndexError, "boolean index did not match"),
    (lambda: minidl.concatenate([]), ValueError, "^Concatenate of .*need at least one"),
    (lambda: minidl.concatenate([T, T[0]]), ValueError, r"^Concatenate of .* \(2, 3\) and \(3,\)"),
    (lambda: minidl.concatenate([T, T], axis=2), ValueError, "^Concatenate of .* axis 2 is out of bounds"),
    (lambda: minidl.concatenate([T, T[:, 1:]]), ValueError, r"^Concatenate of .* \(2, 3\) and \(2, 2\)"),
    (lambda: minidl.concatenate(5), TypeError, "tensors must be a tuple or list, got 5"),
    (lambda: minidl.stack([]), ValueError, "^Stack of .*need at least one"),
    (lambda: minidl.stack([T, T[0]]), ValueError, r"^Stack of .* \(2, 3\) and \(3,\): .*same shape"),
    (lambda: minidl.stack([T], axis=3), ValueError, "^Stack of .* axis 3 is out of bounds"),
    (lambda: minidl.pad(T, 1), TypeError, "pad_width must be a tuple or list, got 1"),
    (lambda: minidl.pad(T, [(1, 1)]), ValueError, "pad_width needs 2 pairs"),
    (
        lambda: minidl.pad(T, [(1, 1), (0, -1)]),
        ValueError,
        "each number of pad_width must be at least 0, got -1",
    ),
    (
        lambda: minidl.pad(T, [(1, 1), (0.5, 1)]),
        TypeError,
        "each number of pad_width must be an integer, got 0.5",
    ),
    (lambda: minidl.pad(T, [(1, 1), (0, 1)], value="0"), TypeError, "value must be a number, got '0'"),
]

PRODUCTS_AND_LAYERS = [
    (lambda: T @ T, ValueError, r"^MatMul of inputs of shape \(2, 3\) and \(2, 3\)"),
    (lambda: T @ 2.0, ValueError, r"^MatMul of inputs of shape \(2, 3\) and \(\)"),
    (lambda: np.ones(4) @ T, ValueError, r"^MatMul of inputs of shape \(4,\) and \(2, 3\)"),
    (
        lambda: apply(Linear(), T, np.ones((4, 2))),
        ValueError,
        r"\(2, 3\) and \(4, 2\): expected x \(\.\.\., in\) and weight \(out, in\)",
    ),
    (lambda: apply(Linear(), NUMBER, T), ValueError, "expected x"),
    (lambda: apply(Linear(), T, T, np.ones(3)), ValueError, r"\(3,\): expected bias \(2,\)"),
    (
        lambda: batch_norm(T, np.ones(2), np.ones(3)),
        ValueError,
        r"\(2, 3\) and \(2,\) and \(3,\): expected x \(N, C, \.\.\.\), gamma \(C,\) and beta",
    ),
    (lambda: batch_norm(T[0], np.ones(3), np.ones(3)), ValueError, r"expected x \(N, C, \.\.\.\)"),
    (
        lambda: batch_norm(T[:1], np.ones(3), np.ones(3)),
        ValueError,
        r"shape \(1, 3\) .*: batch statistics need more than 1 value per channel",
    ),
    (lambda: batch_norm(T[:0], np.ones(3), np.ones(3)), ValueError, "more than 1 value per channel"),
]

LOSSES = [
    (
        lambda: cross_entropy([0, 3]),
        ValueError,
        r"labels must be in 0 \.\.\. 2, got 3 at index 1",
    ),
    (lambda: cross_entropy([-1, 0]), ValueError, "got -1 at index 0"),
    (
        lambda: cross_entropy([0.0, 1.0]),
        TypeError,
        r"labels must be integers, got an array \(2,\) of float64",
    ),
    (
        lambda: cross_entropy([True, False]),
        TypeError,
        r"labels must be real numbers, got \[True, False\] of bool",
    ),
    (
        lambda: cross_entropy([0]),
        ValueError,
        r"labels must be \(2,\) classes or rows \(2, 3\), got shape \(1,\)",
    ),
    (lambda: cross_entropy(0), ValueError, r"labels must be \(2,\) classes or rows \(2, 3\), got shape \(\)"),
    (
        lambda: cross_entropy([[1.0, 0.0]]),
        ValueError,
        r"labels, as rows of probabilities,.*have shape \(2, 3\), got \(1, 2\)",
    ),
    (lambda: cross_entropy(np.full((2, 3), 0.5)), ValueError, "labels must be rows of sum 1, or classes"),
    (
        lambda: cross_entropy(np.array([[2.0, -1, 0], [1, 0, 0]])),
        ValueError,
        r"labels, as rows of probabilities, must be at least 0, got -1\.0",
    ),
    (
        lambda: cross_entropy(np.full((2, 3), np.nan)),
        ValueError,
        "labels, as rows of probabilities, must be finite, got nan",
    ),
    (lambda: cross_entropy([], LOGITS[:0]), ValueError, r"logits must not be empty, got shape \(0, 3\)"),
    (
        lambda: cross_entropy([0, 1], LOGITS[:, :0]),
        ValueError,
        r"logits must not be empty, got shape \(2, 0\)",
    ),
    (lambda: cross_entropy([0, 1], LOGITS[0]), ValueError, r"logits must have shape .*, got \(3,\)"),
    (
        lambda: cross_entropy([0, 1], reduction="avg"),
        ValueError,
        "reduction must be one of 'mean', 'sum', 'none', got 'avg'",
    ),
    (lambda: cross_entropy([0, 1], label_smoothing=1.1), ValueError, r"within \[0, 1\], got 1.1"),
    (
        lambda: cross_entropy([0, 1], label_smoothing="0"),
        TypeError,
        "label_smoothing must be a number, got '0'",
    ),
    (
        lambda: cross_entropy([0, 1], temperature=0.0),
        ValueError,
        r"temperature must be a finite number > 0, got 0\.0",
    ),
    (
        lambda: cross_entropy([0, 1], weight=np.ones(2)),
        ValueError,
        r"weight must have shape \(3,\), got \(2,\)",
    ),
    (
        lambda: cross_entropy([0, 1], weight=np.array([1, -1, 1])),
        ValueError,
        "weight must be at least 0, got -1",
    ),
    (
        lambda: cross_entropy([0, 1], weight=np.array([1, np.nan, 1])),
        ValueError,
        "weight must be finite, got nan",
    ),
    (
        lambda: cross_entropy([0, 1], weight=np.array([0, 0, 1.0])),
        ValueError,
        "weight is 0 for all labels of the batch: the mean is undefined",
    ),
    (lambda: loss.one_hot(np.array([[0]]), 3), ValueError, r"labels must have shape \(N,\), got \(1, 1\)"),
    (lambda: loss.one_hot(np.array([3]), 3), ValueError, "labels must be in 0 ... 2"),
    (
        lambda: loss.one_hot(np.array([0.5]), 3),
        TypeError,
        r"labels must be integers, got an array \(1,\) of float64",
    ),
]

CASES = [*TENSOR, *GRAPH, *ELEMENTWISE, *REDUCTIONS, *SHAPES, *PRODUCTS_AND_LAYERS, *LOSSES]


@pytest.mark.parametrize(("call", "error", "message"), CASES, ids=[message for _, _, message in CASES])
def test_bad_input_is_refused_with_type_and_message(call, error, message):
    with pytest.raises(error, match=message):
        call()
