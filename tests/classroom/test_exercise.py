"""Exercises of each kind, small ones made for these tests, and what checking them finds."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_equal, assert_gradients, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.recognize import calls_of
from minidl.classroom.returned import WrongAnswer
from minidl.classroom.strategies import arrays, broadcastable_pairs, logits, shapes, temperatures
from minidl.engine.op import Op, unbroadcast
from minidl.engine.reduce import stable_softmax
from minidl.engine.tensor import Tensor

# ---- function: arrays -> arrays

softmax = Exercise("90.1", stable_softmax, points=2, hints=("Each row is a probability.", "Subtract max."))


@softmax.law("each row sums to 1")
@given(z=logits(), temperature=temperatures())
def rows_sum_to_one(softmax, z, temperature):
    assert_close(softmax(z, temperature=temperature).sum(axis=-1), 1.0)


@softmax.law("moving all logits together changes nothing")
@given(z=logits(), shift=st.sampled_from([0.0, 1.0, -1000.0, 1000.0]))
def shift_changes_nothing(softmax, z, shift):
    assert_close(softmax(z + shift), softmax(z))


@softmax.law("worked example: logits 0 and ln 3 give 1/4 and 3/4")
def quarter_and_three(softmax):
    assert_close(softmax(np.array([[0.0, np.log(3.0)]])), [[0.25, 0.75]])


@softmax.mistake("summed over the wrong axis", breaks="each row sums to 1")
def sums_over_wrong_axis(z, axis=-1, temperature=1.0):
    p = np.exp(z / temperature)
    return p / p.sum(axis=0, keepdims=True)


@softmax.mistake("exp of large logits overflows", breaks="moving all logits together changes nothing")
def without_subtracting(z, axis=-1, temperature=1.0):
    with np.errstate(all="ignore"):
        p = np.exp(z / temperature)
        return p / p.sum(axis=axis, keepdims=True)


# ---- op: forward and backward are the exercise


class ScaledProduct(Op):
    """y = scale a b"""

    def __init__(self, scale=1.0):
        self.scale = scale

    def forward(self, a, b):
        self.a, self.b = a, b
        return self.scale * a * b

    def backward(self, grad):
        grad_a, grad_b = self.scale * grad * self.b, self.scale * grad * self.a
        return unbroadcast(grad_a, self.a.shape), unbroadcast(grad_b, self.b.shape)


product = Exercise("90.2", ScaledProduct, kind="op", points=3, hints=("A gradient has its input's shape.",))


@product.law("worked example: 2 * 3 * 5")
def two_three_five(product):
    y, (grad_a, grad_b) = product(np.array(3.0), np.array(5.0), grad=np.array(1.0), scale=2.0)
    assert_close(y, np.array(30.0))
    assert_close(grad_a, np.array(10.0))
    assert_close(grad_b, np.array(6.0))


@product.law("the gradients are those of finite differences")
@given(pair=broadcastable_pairs(), scale=st.sampled_from([1.0, 2.0]))
def slopes(product, pair, scale):
    assert_gradients(product, *pair, scale=scale)


@product.mistake("leaves the gradient broadcast", breaks="the gradients are those of finite differences")
class LeavesBroadcast(ScaledProduct):
    def backward(self, grad):
        return self.scale * grad * self.b, self.scale * grad * self.a


# ---- tensor: Tensors -> Tensor


def squared_error(prediction: Tensor, target, weight=1.0) -> Tensor:
    """weight * mean (prediction - target)^2"""
    return ((prediction - target) ** 2).mean() * weight


squares = Exercise("90.3", squared_error, kind="tensor", points=2, hints=("Mean, not sum.",))


@squares.law("worked example: errors 1 and 3")
def one_and_three(loss):
    value, (grad, grad_target) = loss(np.array([1.0, 3.0]), np.array([0, 0]), grad=np.array(1.0))
    assert_close(value, np.array(5.0))
    assert_close(grad, [1.0, 3.0])
    assert grad_target is None  # integers have no gradient


@squares.law("the gradients are those of finite differences")
@given(x=arrays(shapes(max_dims=2)), weight=st.sampled_from([1.0, 3.0]))
def slopes_of_squares(loss, x, weight):
    assert_gradients(loss, x, x[::-1] + 1, weight=weight)


@squares.mistake("sums instead of averaging", breaks="worked example: errors 1 and 3")
def sums_squares(prediction, target, weight=1.0):
    return ((prediction - target) ** 2).sum() * weight


# ---- kernel: loops that fill an output array


def running_sum(x, sums):
    """sums[i] = x[0] + ... + x[i]"""
    total = 0.0
    for i in range(len(x)):
        total += x[i]
        sums[i] = total


sums = Exercise("90.4", running_sum, kind="kernel", writes=("sums",), points=1, hints=("Keep a total.",))


@sums.law("worked example: 1 2 3")
def one_two_three(running_sum):
    assert_close(running_sum(np.array([1.0, 2.0, 3.0]), np.zeros(3)), [1.0, 3.0, 6.0])


@sums.law("steps back to the input")
@given(x=arrays(shapes(max_dims=1)))
def differences(running_sum, x):
    sums = running_sum(x, np.full(x.shape, np.nan))
    assert_close(np.diff(sums, prepend=0.0), x)


@sums.mistake("writes one place too far", breaks="worked example: 1 2 3")
def one_too_far(x, sums):
    total = 0.0
    for i in range(len(x)):
        total += x[i]
        sums[i + 1] = total


EXERCISES = [softmax, product, squares, sums]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_reference_passes_each_law_and_is_called_by_it(exercise):
    results = exercise.check(exercise.target)
    assert len(results) == len(exercise.laws)
    assert all(result.passed and result.calls > 0 for result in results), results


@pytest.mark.parametrize(
    "exercise, mistake", [(e, m) for e in EXERCISES for m in e.mistakes], ids=lambda x: x.__repr__()[:40]
)
def test_a_mistake_fails_the_law_it_names(exercise, mistake):
    assert not exercise.try_law(mistake.breaks, mistake.implementation).passed


def test_worked_examples_come_first_and_the_first_failure_ends_a_check():
    assert [law.text for law in softmax.laws][0].startswith("worked example")
    results = softmax.check(without_subtracting)
    assert [result.passed for result in results] == [True, True, False]
    assert len(softmax.check(lambda z, temperature=1.0: z)) == 1


def test_a_failure_carries_the_shrunk_case_and_says_what_differs():
    result = softmax.try_law("each row sums to 1", sums_over_wrong_axis)
    assert_equal(result.case["z"], np.zeros((1, 2)))  # one row, two classes: the smallest case that fails
    assert result.case["temperature"] == 1.0
    assert result.message.splitlines()[0] == "differs at [0]: yours 2, expected 1"
    assert "z = [[0., 0.]]   (1×2 float64)" in str(result)


def test_every_check_tries_the_same_cases_and_prints_nothing(capsys):
    def seen():
        cases = []

        def keeps(z, temperature):
            cases.append((z.tolist(), temperature))
            return stable_softmax(z, temperature=temperature) * (1 + (z.sum() > 3))

        return softmax.try_law("each row sums to 1", keeps), cases

    (first, first_cases), (second, second_cases) = seen(), seen()
    assert first_cases == second_cases and len(first_cases) > 10
    assert str(first) == str(second) and not first.passed
    assert capsys.readouterr() == ("", "")


def test_the_law_works_by_itself_with_the_implementation_as_its_argument():
    softmax.check(stable_softmax)
    assert rows_sum_to_one.hypothesis.inner_test.__module__ == __name__  # a check leaves it as it was
    assert not hasattr(rows_sum_to_one.hypothesis.inner_test, "__wrapped__")
    rows_sum_to_one(stable_softmax)
    with pytest.raises(AssertionError):
        rows_sum_to_one(sums_over_wrong_axis)


def test_a_law_that_never_calls_the_implementation_cannot_pass():
    empty = Exercise("90.5", stable_softmax, points=1, hints=("none",))

    @empty.law("holds for the reference")
    def forgets_its_argument(softmax):
        assert_close(stable_softmax(np.zeros((1, 2))), 0.5)

    result = empty.try_law("holds for the reference", stable_softmax)
    assert not result.passed
    assert result.message == "0 calls: the law never called stable_softmax"


def test_a_laws_own_error_is_not_taken_for_the_implementations():
    broken = Exercise("90.5", stable_softmax, points=1, hints=("none",))

    @broken.law("cannot draw its case")
    @given(z=st.builds(lambda: 1 / 0))
    def divides(softmax, z):
        softmax(z)

    with pytest.raises(ZeroDivisionError):
        broken.try_law("cannot draw its case", stable_softmax)


def failure(implementation, law="each row sums to 1", exercise=softmax):
    result = exercise.try_law(law, implementation)
    assert not result.passed
    return result.message


def test_a_stub_is_explained():
    def stub(z, axis=-1, temperature=1.0):
        raise NotImplementedError

    assert failure(stub) == "stub is not written yet: it raises NotImplementedError"


def test_an_error_in_the_implementation_names_its_line():
    def divides_by_zero(z, temperature):
        return 1 / 0

    line = divides_by_zero.__code__.co_firstlineno + 1
    assert failure(divides_by_zero) == (
        f"divides_by_zero raised ZeroDivisionError: division by zero\nat line {line}: return 1 / 0"
    )


def test_an_assert_of_the_implementation_is_not_taken_for_the_laws():
    def asserts(z, temperature):
        assert z.ndim == 7, "seven axes"

    message = failure(asserts)
    assert message.startswith("asserts raised AssertionError: seven axes")
    assert message.endswith('assert z.ndim == 7, "seven axes"')


def test_an_answer_that_the_law_cannot_use_is_explained():
    message = failure(lambda z, temperature: 3)
    assert message.startswith("the law cannot use the answer: AttributeError: 'int' object")
    assert "softmax(z, temperature=temperature).sum(axis=-1)" in message


@pytest.mark.parametrize(
    "body, message",
    [
        (lambda z: None, "returned None: is a return missing?"),
        (lambda z: Tensor(z), "returned Tensor; must be numbers, arrays"),
        (lambda z: np.array([None]), "returned an array of object; must be"),
        (lambda z: (z, {1, 2}), "returned set; must be"),
        (lambda z: exit(), "raised SystemExit instead of returning"),
        (lambda z: pytest.skip("nothing to see"), "raised Skipped instead of returning"),
    ],
)
def test_an_answer_of_no_use_is_named(body, message):
    def implementation(z, temperature):
        return body(z)

    assert failure(implementation).startswith(f"implementation {message}")


def test_rejecting_the_case_through_hypothesis_does_not_pass():
    from hypothesis import assume

    def rejects(z, temperature):
        assume(False)

    assert failure(rejects) == "rejects raised UnsatisfiedAssumption instead of returning"


def test_a_changed_input_is_named_with_both_values():
    def in_place(z, temperature):
        z -= 1.0
        return stable_softmax(z)

    assert failure(in_place) == "in_place changed its input 0 from [[0.]] to [[-1.]]"


def test_an_input_that_is_changed_before_an_error_is_named_with_the_error():
    exercise = Exercise("90.7", lambda x: None, points=1, hints=("refuse",))

    @exercise.law("refused")
    def refused(refuses):
        assert_refuses("a zero", refuses, np.zeros(1))

    def changes_and_refuses(x):
        x += 1.0
        raise ValueError("no zeros")

    said = "changes_and_refuses changed its input 0 from [0.] to [1.], before it raised ValueError: no zeros"
    assert failure(changes_and_refuses, "refused", exercise).startswith(said + "\nat line")


def test_a_changed_parameter_is_named():
    exercise = Exercise("90.6", lambda x, axes: x.sum(axis=tuple(axes)), points=1, hints=("sum",))

    @exercise.law("sums")
    def sums_all(total):
        assert_close(total(np.ones((2, 2)), axes=[0, 1]), np.array(4.0))

    def consumes(x, axes):
        axes.pop()
        return 4.0

    assert exercise.try_law("sums", exercise.target).passed
    assert failure(consumes, "sums", exercise) == "consumes changed its axes from [0, 1] to [0]"


def test_an_answer_kept_and_changed_later_does_not_reach_the_law():
    kept = np.zeros(())

    def reuses_its_array(x):
        kept[...] = x.sum()
        return kept

    implementation = softmax.adapt(reuses_its_array)
    assert implementation(np.array([1.0])) == 1.0
    first = implementation(np.array([2.0]))
    implementation(np.array([3.0]))
    assert first == 2.0


def test_an_unseeded_answer_is_explained():
    generator = random.Random(0)
    message = failure(lambda z, temperature: stable_softmax(z) * generator.choice([1.0, 1.0, 1.0, 1.5]))
    assert "gave different answers to the same call" in message


def test_ctrl_c_ends_the_check():
    def interrupted(z):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        softmax.check(interrupted)


@pytest.mark.parametrize(
    "grads, message",
    [
        (lambda g: g, "gave 1 gradients for 2 inputs"),
        (lambda g: (g, None), "the gradient of input 1 must have its shape (2,), got None"),
        (lambda g: (g, g.sum()), "the gradient of input 1 must have its shape (2,), got shape ()"),
        (lambda g: (g, "g"), "the gradient of input 1 must have its shape (2,), got shape ()"),
    ],
)
def test_an_op_gives_one_gradient_of_the_right_shape_per_input(grads, message):
    class Wrong(ScaledProduct):
        def backward(self, grad):
            return grads(grad)

    with pytest.raises(WrongAnswer) as error:
        product.adapt(Wrong)(np.ones(2), np.ones(2), grad=np.ones(2))
    assert message in str(error.value)


def test_an_op_does_not_compute_its_gradients_in_the_array_that_it_returned():
    class Overwriting(ScaledProduct):
        def forward(self, a, b):
            self.y = super().forward(a, b)
            return self.y

        def backward(self, grad):
            self.y *= 0
            return super().backward(grad)

    adapted = product.adapt(Overwriting)
    for grad in (np.ones(2), np.array([np.nan, 1.0])):
        with pytest.raises(WrongAnswer, match="Overwriting.backward changed the array that forward returned"):
            adapted(np.ones(2), np.ones(2), grad=grad)
    assert product.adapt(ScaledProduct)(np.array([np.nan, 1]), np.ones(2), grad=np.ones(2))  # NaN equals NaN


def test_an_op_keeps_its_arrays_although_a_second_op_of_its_class_goes_forward():
    class OnTheClass(ScaledProduct):
        kept = []

        def forward(self, a, b):
            self.kept[:] = [b, a]
            return super().forward(a, b)

        def backward(self, grad):
            return tuple(grad * x for x in self.kept)

    with pytest.raises(WrongAnswer, match="after a second OnTheClass went forward: forward must keep its"):
        product.adapt(OnTheClass)(np.array([1.0, 2.0]), np.ones(2), grad=np.ones(2))


def test_equal_inputs_of_an_op_are_one_array():
    seen = []

    class Watched(ScaledProduct):
        def forward(self, a, b):
            seen.append(a is b)
            return super().forward(a, b)

    for b in (np.ones(2), np.ones((2, 1)), np.ones(2, np.float32)):
        product.adapt(Watched)(np.ones(2), b)
    assert seen == [True, False, False]


def test_an_op_is_new_in_each_call_and_knows_what_is_needed():
    seen = []

    class Watched(ScaledProduct):
        def forward(self, a, b):
            seen.append(self)
            return super().forward(a, b)

        def backward(self, grad):
            return self.b * grad, None

    adapted = product.adapt(Watched)
    _, (grad_a, grad_b) = adapted(np.ones(2), np.array([1, 2]), grad=np.ones(2))
    assert_close(grad_a, [1.0, 2.0])
    assert grad_b is None  # integers have no gradient
    assert adapted(np.ones(2), np.ones(2))[1] == ()
    assert seen[0].needs == (True, False) and seen[-1].needs == (True, True)
    assert seen[0] is not seen[-1]
    assert adapted.calls == 2


def test_only_an_op_class_can_answer_an_op_exercise():
    with pytest.raises(TypeError, match="expected a subclass of Op with forward and backward, got"):
        product.adapt(lambda a, b: a)
    with pytest.raises(TypeError, match="expected a function, got 3"):
        softmax.adapt(3)


def test_a_tensor_function_must_return_a_tensor():
    with pytest.raises(WrongAnswer, match="returned ndarray, must return a Tensor"):
        squares.adapt(lambda prediction, target: prediction.data)(np.ones(2), np.ones(2))


def test_a_tensor_function_may_not_change_the_tensors_that_it_gets():
    def freezes(prediction, target):
        target.requires_grad = False
        return ((prediction - target) ** 2).sum()

    def moves(prediction, target):
        target.data = target.data + 1
        return ((prediction - target) ** 2).sum()

    for answer in (freezes, moves):
        with pytest.raises(WrongAnswer, match="changed a Tensor that it got"):
            squares.adapt(answer)(np.ones(2), np.ones(2))


def test_an_input_that_a_loss_does_not_depend_on_has_gradient_zero():
    _, (_, grad_target) = squares.adapt(lambda p, t: (p * t.detach()).sum())(
        np.ones(2), np.ones(2), grad=np.array(1.0)
    )
    assert_close(grad_target, [0.0, 0.0])


def test_a_kernel_fills_a_copy_and_may_not_return_anything():
    out = np.zeros(2)
    adapted = sums.adapt(running_sum)
    assert_close(adapted(np.ones(2), out), [1.0, 2.0])
    assert_close(out, [0.0, 0.0])
    with pytest.raises(WrongAnswer, match="a kernel only fills its output array"):
        sums.adapt(lambda x, sums: x)(np.ones(2), out)


def test_a_kernel_is_checked_alike_compiled_or_not_and_its_bounds_always():
    numba = pytest.importorskip("numba")
    assert all(result.passed for result in sums.check(numba.njit(running_sum)))
    assert "IndexError" in failure(numba.njit(one_too_far), "worked example: 1 2 3", sums)


def test_several_written_arrays_come_as_a_tuple():
    def low_and_high(x, low, high):
        low[0], high[0] = x.min(), x.max()

    both = Exercise("90.7", low_and_high, kind="kernel", writes=("low", "high"), points=1, hints=("min",))
    low, high = both.adapt(low_and_high)(np.array([3.0, 1.0]), np.zeros(1), np.zeros(1))
    assert (low, high) == (1.0, 3.0)


def test_an_adapted_implementation_keeps_its_count_and_its_last_call():
    adapted = softmax.adapt(stable_softmax)
    assert softmax.adapt(adapted) is adapted
    adapted(np.zeros((1, 2)), temperature=2.0)
    (z,), params = adapted.last_call.arguments, adapted.last_call.params
    assert z.shape == (1, 2) and params == {"temperature": 2.0}
    assert softmax.check(adapted)[0].calls == 1
    assert adapted.calls > 3


def test_mistakes_are_told_apart_on_the_cases_of_the_law_whether_it_holds_or_not():
    law = softmax.find_law("each row sums to 1")
    right, wrong = (
        calls_of(softmax, law, softmax.adapt(answer)) for answer in (stable_softmax, sums_over_wrong_axis)
    )
    assert len(right) == len(wrong) == 60
    for one, other in zip(right, wrong, strict=True):
        np.testing.assert_equal((one.arguments, one.params), (other.arguments, other.params))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"number": "9.1"}, "number must be a lesson and a place, such as '09.1', got '9.1'"),
        ({"kind": "loop"}, "kind must be one of 'function', 'op', 'tensor', 'kernel', 'model', got 'loop'"),
        ({"points": 0}, "points must be at least 1, got 0"),
        ({"level": 4}, "level must be within [1, 3], got 4"),
        ({"title": "two\nlines"}, "title must be one line, got 'two\\nlines'"),
        ({"helpers": ("squre",)}, "helpers names 'squre', but test_exercise has no such"),
        ({"minutes": 0}, "minutes must be at least 1, got 0"),
        ({"hints": ()}, "hints must be a tuple of at least one text"),
        ({"hints": "one"}, "hints must be a tuple of at least one text"),
        ({"writes": ("x",)}, "writes is a tuple of the arrays that a kernel fills, or the models"),
        ({"kind": "kernel"}, "writes is a tuple of the arrays that a kernel fills, or the models"),
        ({"kind": "kernel", "writes": ("y",)}, "writes names 'y', but running_sum takes x, sums"),
    ],
)
def test_an_exercise_that_makes_no_sense_is_refused(change, message):
    settings = {"number": "90.8", "target": running_sum, "points": 1, "hints": ("a",)} | change
    with pytest.raises(ValueError) as error:
        Exercise(**settings)
    assert message in str(error.value)


def test_a_law_has_its_text_for_itself_and_a_mistake_names_one():
    with pytest.raises(ValueError, match="90.1 already has a law 'each row sums to 1'"):
        softmax.law("each row sums to 1")
    with pytest.raises(ValueError, match="90.1 has no law 'rows'; its laws: worked example"):
        softmax.mistake("wrong", breaks="rows")
