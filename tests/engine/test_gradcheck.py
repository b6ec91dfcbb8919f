"""gradcheck itself: what it catches, and what it says."""

import re

import numpy as np
import pytest

import minidl
from minidl import Op, Tensor, apply, gradcheck, no_grad
from minidl.engine.gradcheck import GradcheckError

X = np.array([[1.0, -2.0], [3.0, 0.5]])


def named(name, op):
    """The Op as a function of that name."""

    def function(x):
        return apply(op(), x)

    function.__name__ = name
    return function


class Square(Op):
    """y = x^2, whose derivative is multiplied by ``slip`` at one index"""

    slip, index = 1.0, (1, 0)

    def forward(self, x):
        self.x = x
        return x**2

    def backward(self, grad):
        grad_x = 2 * self.x * grad
        grad_x[self.index] *= self.slip
        return grad_x


def square_with_slip(slip):
    op = type("Slipped", (Square,), {"slip": slip})

    def square(a, x):
        return apply(op(), x) + a

    return square


def test_a_right_gradient_passes_with_the_largest_relative_error():
    assert 0 <= gradcheck(square_with_slip(1.0), 2.0, X) < 1e-8


def test_a_wrong_gradient_is_named_by_function_input_index_expected_and_got():
    with pytest.raises(GradcheckError) as caught:
        gradcheck(square_with_slip(1.01), 2.0, X)
    message = str(caught.value)
    assert message.startswith("square, input 1, index (1, 0): expected ")
    expected, got = (float(number) for number in re.findall(r"(?:expected|got) ([\d.]+)", message))
    assert got == pytest.approx(1.01 * expected, rel=1e-6)
    assert "a relative error of 0.0099" in message


def test_the_numbers_for_a_single_output_are_the_slopes_of_the_formula():
    class Cube(Op):
        """y = x^3, whose derivative 3 x^2 is given as 2 x^2"""

        def forward(self, x):
            self.x = x
            return x**3

        def backward(self, grad):
            return grad * 2 * self.x**2

    for x in (1.0, np.ones(1), np.ones((1, 1))):
        with pytest.raises(GradcheckError, match=r"expected (3|3\.00000\d+|2\.99999\d+) by .*, got 2 from"):
            gradcheck(named("cube", Cube), x)


def test_a_backward_that_forgets_the_gradient_from_above_is_caught_for_a_single_output():
    class Forgets(Square):
        def backward(self, grad):
            return 2 * self.x

    with pytest.raises(GradcheckError, match="expected (6|6.0000|5.9999)"):
        gradcheck(named("forgets", Forgets), 3.0)


@pytest.mark.parametrize("slip", [0.0, -1.0, 0.9, 1 + 1e-4, np.nan, np.inf])
def test_any_slip_above_the_tolerance_is_caught(slip):
    with pytest.raises(GradcheckError, match=r"square, input 1, index \(1, 0\)"):
        gradcheck(square_with_slip(slip), 2.0, X)


def test_a_wrong_order_of_gradients_is_caught():
    class Swapped(Op):
        def forward(self, a, b):
            self.a, self.b = a, b
            return a * b

        def backward(self, grad):
            return grad * self.a, grad * self.b

    with pytest.raises(GradcheckError, match=r"input 0, index \(0, 0\)"):
        gradcheck(lambda a, b: apply(Swapped(), a, b), X, X + 0.3)


def test_a_transposed_gradient_is_caught_though_its_sum_is_right():
    class Transposed(Op):
        def forward(self, x):
            return x * 1

        def backward(self, grad):
            return grad.T

    with pytest.raises(GradcheckError, match="by finite differences"):
        gradcheck(lambda x: apply(Transposed(), x), X)


def test_a_gradient_of_the_wrong_shape_is_caught():
    class Summed(Op):
        def forward(self, a, b):
            return a + b

        def backward(self, grad):
            return grad, grad  # the second is not summed over the broadcast axis of b

    with pytest.raises(ValueError, match=r"Summed.backward gave a gradient of shape \(2, 2\)"):
        gradcheck(lambda a, b: apply(Summed(), a, b), X, X[:1])


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_an_input_written_into_is_caught(where):
    class Writes(Op):
        def forward(self, x):
            self.x = x
            y = 3 * x
            if where == "forward":
                x += 1
            return y

        def backward(self, grad):
            if where == "backward":
                self.x += 1
            return 3 * grad

    with pytest.raises(GradcheckError, match="writes changed its input 0 in place"):
        gradcheck(named("writes", Writes), X)


def test_a_backward_that_writes_into_its_gradient_is_caught():
    class Masks(Op):
        def forward(self, x):
            self.x = x
            return np.maximum(x, 0)

        def backward(self, grad):
            grad[self.x <= 0] = 0
            return grad

    with pytest.raises(GradcheckError, match="masks: Masks.backward changed the gradient given to it"):
        gradcheck(named("masks", Masks), X)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_float32_that_becomes_float64_is_caught(where):
    class Leaks(Op):
        def forward(self, x):
            return x * np.float64(2) * np.ones(1) if where == "forward" else x * 2

        def backward(self, grad):
            return grad * 2 * np.ones(1)

    with pytest.raises((TypeError, ValueError), match=f"Leaks.{where} .*float64"):
        gradcheck(named("leaks", Leaks), X)


def test_a_function_that_leaves_float32_outside_of_the_ops_is_caught():
    def widen(x):
        return x * Tensor(np.ones(2))

    with pytest.raises(GradcheckError, match="widen turned float32 inputs into float64"):
        gradcheck(widen, X)


def test_a_random_function_is_caught_and_one_with_its_own_seed_passes():
    def noisy(x):
        return x * np.random.default_rng().normal(size=x.shape)

    def seeded(x):
        return x * np.random.default_rng(0).normal(size=x.shape)

    with pytest.raises(GradcheckError, match="noisy gives another value on the same inputs: fix the seed"):
        gradcheck(noisy, X)
    gradcheck(seeded, X)


def test_a_function_that_leaves_the_graph_has_gradient_0_where_differences_say_otherwise():
    def leaves(x):
        return (x * Tensor(x.data)).sum()

    with pytest.raises(GradcheckError, match=r"leaves, input 0, index \(0, 0\): expected"):
        gradcheck(leaves, X)
    with pytest.raises(GradcheckError, match="got 0 from backward"), no_grad():
        gradcheck(Tensor.exp, X)


def test_an_input_without_influence_passes_with_gradient_0():
    assert gradcheck(lambda a, b: a * 2, X, X) < 1e-8


def test_infinite_or_nan_values_are_refused():
    with pytest.raises(GradcheckError, match="log is not finite at these inputs"), np.errstate(all="ignore"):
        gradcheck(Tensor.log, np.array([1.0, -1.0]))


def test_only_floating_inputs_are_checked_and_the_given_arrays_stay():
    labels, x = np.array([1, 0]), X.astype(np.float32)
    before = x.copy()
    leaf = Tensor(X, requires_grad=True)
    gradcheck(lambda x, y, labels: x[labels] * y, x, leaf, labels)
    assert np.array_equal(x, before)
    assert leaf.grad is None
    with pytest.raises(ValueError, match="at least one floating input"):
        gradcheck(lambda labels: labels, labels)
    with pytest.raises(TypeError, match="the result of .* must be a Tensor, got an array"):
        gradcheck(lambda x: x.data, X)


def test_large_inputs_take_larger_steps():
    gradcheck(lambda x: x * 2, np.array([1e12, -3e11]))  # a step of 1e-6 is lost in these large numbers
    gradcheck(minidl.maximum, np.array([1e4]), np.array([1e4 + 1]))


@pytest.mark.parametrize("function", [lambda: 1, lambda a: a, 3])
def test_a_function_that_does_not_take_the_inputs_is_refused(function):
    with pytest.raises(TypeError, match="function must be a function of x, x, got"):
        gradcheck(function, [1.0], [2.0])
