"""Exercises of lesson 04, continued: the loss and the gradient of the linear probe."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, labels, quarters
from minidl.transfer import features as reference

# ---- 04.3 probe_loss

probe = Exercise(
    "04.3",
    reference.probe_loss,
    title="the loss of a head, and its gradients",
    level=2,
    minutes=25,
    points=4,
    hints=(
        "Softmax and cross-entropy together have a simple gradient: the prediction minus the target.",
        "error = (P - Y) / N of shape (N, K). W meets the features, b meets 1; l2 adds l2·W to dL/dW.",
        "stable_log_softmax(F @ W.T + b) gives log P; dL/dW = error.T @ F + ...",
    ),
)


@st.composite
def problems(draw):
    """weight (3, 2), bias (3,), features (4, 2), labels (4,), l2."""
    k, d = draw(st.sampled_from([(3, 2), (2, 1), (4, 5), (3, 3)]))
    return (
        draw(arrays((k, d))),
        draw(arrays((k,))),
        draw(arrays((4, d))),
        draw(labels(4, k)),
        draw(quarters(0, 1)),
    )


@probe.law("with weights of 0 and two classes the loss is ln 2, and the gradients agree with those by hand")
def worked_probe(probe_loss):
    features, classes = np.array([[2.0], [4.0]]), np.array([0, 1])
    loss, grad_weight, grad_bias = probe_loss(np.zeros((2, 1)), np.zeros(2), features, classes, 1.0)
    assert_close(loss, np.log(2))
    assert_close(grad_weight, [[0.5], [-0.5]])
    assert_close(grad_bias, [0.0, 0.0])
    # 300 examples i of class i with the feature i: dL/dW for class k is (mean of i - k) / 300
    numbers = np.arange(300, dtype=np.uint16)
    features = numbers.reshape(300, 1).astype(np.float64)
    loss, grad_weight, _ = probe_loss(np.zeros((300, 1)), np.zeros(300), features, numbers, 1.0)
    assert_close(loss, np.log(300))
    assert_close(grad_weight, (149.5 - features) / 300)


@probe.law("the gradients agree with central differences of the loss")
@given(problem=problems())
def has_its_slopes(probe_loss, problem):
    weight, bias, features, classes, l2 = problem
    _, grad_weight, grad_bias = probe_loss(*problem)
    direction_w = np.cos(np.arange(float(weight.size))).reshape(weight.shape)
    direction_b = np.cos(np.arange(float(len(bias))) + 7)
    ends = [
        probe_loss(weight + h * direction_w, bias + h * direction_b, features, classes, l2)[0]
        for h in (1e-5, -1e-5)
    ]
    slope = np.sum(grad_weight * direction_w) + np.sum(grad_bias * direction_b)
    assert_close((ends[0] - ends[1]) / 2e-5, slope, rtol=1e-5, atol=1e-6)


@probe.law("without l2 the gradients sum to 0 over the classes")
@given(problem=problems())
def sums_to_zero(probe_loss, problem):
    _, grad_weight, grad_bias = probe_loss(*problem[:4], 0.0)
    assert_close(np.sum(grad_weight, axis=0), 0.0, atol=1e-9)
    assert_close(np.sum(grad_bias), 0.0, atol=1e-9)


@probe.law("loss and gradients are the means of each example's; giving each example twice changes nothing")
@given(problem=problems())
def is_a_mean(probe_loss, problem):
    weight, bias, features, classes, l2 = problem
    once = probe_loss(*problem)
    alone = [probe_loss(weight, bias, features[i : i + 1], classes[i : i + 1], l2) for i in range(4)]
    twice = probe_loss(weight, bias, np.tile(features, (2, 1)), np.tile(classes, 2), l2)
    for one, two, parts in zip(once, twice, zip(*alone, strict=True), strict=True):
        assert_close(two, np.array(one), atol=1e-9)
        assert_close(one, np.mean(parts, axis=0), atol=1e-9)


@probe.law("logits of ten thousand do not overflow")
def is_stable(probe_loss):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        weight, bias = np.array([[1e4], [0.0]]), np.zeros(2)
        loss, _, grad_bias = probe_loss(weight, bias, np.array([[1.0]]), np.array([1]), 0.0)
        beside, _, _ = probe_loss(weight, bias, np.array([[1.0], [0.0]]), np.array([0, 0]), 0.0)
        below, _, _ = probe_loss(weight, bias, np.array([[-1.0]]), np.array([0]), 0.0)
        _, _, sure = probe_loss(weight, bias, np.array([[0.005]]), np.array([0]), 0.0)  # logits 50 and 0
    assert_close(loss, 1e4)
    assert_close(grad_bias, [1.0, -1.0])
    assert_close(below, 1e4)
    assert_close(sure[1], np.exp(-50), atol=0)
    assert_close(beside, np.log(2) / 2)  # a row of equal logits beside a row of large logits


@probe.law("everything is computed in float64, also if some or all of weight, bias and features are float32")
def gradients_in_float64(probe_loss):
    weight, bias, features = (np.ones(shape) for shape in ((2, 3), (2,), (4, 3)))
    weight[0, 0], bias[1], features[:, 1] = 0.1, 0.7, [0.3, 0.7, -0.2, 0.9]
    for kinds in ("fff", "fdd", "dfd", "ddf"):  # float32 and float64
        given = [x.astype(kind) for x, kind in zip((weight, bias, features), kinds, strict=True)]
        narrow, wide = (
            probe_loss(*some, np.array([0, 1, 1, 0]), 0.3) for some in (given, map(np.float64, given))
        )
        assert_close(narrow[0], wide[0], rtol=1e-12)
        for grad, expected in zip(narrow[1:], wide[1:], strict=True):
            assert_dtype(grad, np.float64)
            assert_close(grad, expected, rtol=1e-12, atol=1e-15)


@probe.law("weights 1 and 3 with l2 = 0.1 add 1/2 to the loss, 0.1 and 0.3 to dL/dW, and nothing to dL/db")
def worked_decay(probe_loss):
    given = np.array([[1.0], [3.0]]), np.array([2.0, -5.0]), np.array([[2.0], [4.0]]), np.array([0, 1])
    without, decayed = probe_loss(*given, 0.0), probe_loss(*given, 0.1)
    assert_close(decayed[0] - without[0], 0.5, rtol=1e-10, atol=0)
    assert_close(decayed[1] - without[1], [[0.1], [0.3]], rtol=1e-10, atol=0)
    assert_close(decayed[2] - without[2], [0.0, 0.0])
    large = np.array([[1e8], [3e8]]), np.zeros(2), np.zeros((2, 1)), np.array([0, 1])
    little = probe_loss(*large, 1e-9)  # 5e-10 times 1e17
    assert_close(little[0], 5e7 + np.log(2))
    assert_close(little[1], [[0.1], [0.3]])
    alone = probe_loss(np.array([[2.0]]), np.array([0.5]), np.array([[3.0]]), np.array([0]), 5.0)
    assert_close(alone[0], 10.0)  # one class and one example: only the decay is left
    assert_close(alone[1], [[10.0]])
    assert_close(alone[2], [0.0])


@probe.law("ValueError for a label of -1 or K, and for an l2 below 0")
def probe_refuses(probe_loss):
    for classes in (2, 1):
        given = np.ones((classes, 1)), np.zeros(classes), np.array([[2.0], [4.0], [1.0]])
        for label in (-1, -100, classes, 9):
            for l2 in (0.5, 0.0):
                which = f"a label {label} where K is {classes}, with l2 = {l2},"
                assert_refuses(which, probe_loss, *given, np.array([0, label, 0]), l2)
        for l2 in (-0.25, -1e-300):
            assert_refuses(f"an l2 of {l2}", probe_loss, *given, np.array([0, classes - 1, 0]), l2)


@probe.mistake("summed over the examples", breaks=probe.laws[0].text)
def summed(weight, bias, features, labels, l2):
    loss, grad_weight, grad_bias = reference.probe_loss(weight, bias, features, labels, l2 / len(labels))
    return len(labels) * loss, len(labels) * grad_weight, len(labels) * grad_bias


@probe.mistake(
    "the l2 term is in the loss, but not in the gradient",
    breaks="the gradients agree with central differences of the loss",
)
def decay_without_slope(weight, bias, features, labels, l2):
    loss, grad_weight, grad_bias = reference.probe_loss(weight, bias, features, labels, l2)
    return loss, grad_weight - l2 * weight, grad_bias


@probe.mistake(
    "applies l2 to the bias too", breaks="the gradients agree with central differences of the loss"
)
def decayed_bias(weight, bias, features, labels, l2):
    loss, grad_weight, grad_bias = reference.probe_loss(weight, bias, features, labels, l2)
    return loss, grad_weight, grad_bias + l2 * bias


@probe.mistake(
    "takes the exponentials of the logits directly, which overflows",
    breaks="logits of ten thousand do not overflow",
)
def overflowing(weight, bias, features, labels, l2):
    reference.probe_loss(weight, bias, features, labels, l2)  # refuses bad input
    P = np.exp(features @ weight.T + bias)
    P /= P.sum(axis=1, keepdims=True)
    error = (P - np.eye(len(bias))[labels]) / len(labels)
    loss = -np.log(P[np.arange(len(labels)), labels]).mean() + l2 / 2 * np.sum(weight**2)
    return loss, error.T @ features + l2 * weight, error.sum(axis=0)
