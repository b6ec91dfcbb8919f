"""detect_anomaly names where the first NaN or Inf was born: the operation and the line of the user's code."""

import inspect
import re

import numpy as np
import pytest

from minidl import Tensor, detect_anomaly

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def line_of(marker):
    """file:number: text, of the line of this file that ends in the comment."""
    import linecache

    for number, line in enumerate(linecache.getlines(__file__), 1):
        if line.rstrip().endswith(f"# {marker}"):
            return f"{__file__}:{number}: {line.strip()}"
    raise LookupError(marker)


def caught_in(function):
    with pytest.raises(FloatingPointError) as caught, detect_anomaly():
        function()
    return str(caught.value)


def test_a_nan_born_forward_names_the_op_its_index_and_the_users_line():
    def compute():
        x = Tensor([[1.0, 2.0], [3.0, -1.0]])
        y = x * 2
        return y.log().sum()  # born forward

    message = caught_in(compute)
    assert message.startswith("NaN born in the forward pass of Log, index (1, 1) of shape (2, 2)\n")
    assert message.endswith(line_of("born forward"))


def test_an_inf_born_forward_is_named_as_such():
    assert caught_in(lambda: 1 / Tensor([0.0])).startswith("Inf born in the forward pass of Div, index (0,)")
    assert caught_in(lambda: Tensor([200.0]).exp()).startswith("Inf born in the forward pass of Exp")


def test_an_op_that_was_handed_the_nan_says_which_input():
    message = caught_in(lambda: Tensor([1.0]) + Tensor([np.nan]))
    assert message.startswith("NaN handed on by the forward pass of Add, index (0,) of shape (1,)")
    assert "; its input 1 was not finite to begin with" in message


def test_a_nan_born_backward_names_the_line_that_ran_forward():
    def compute():
        x = Tensor([4.0, 0.0], requires_grad=True)
        root = x.sqrt()  # born backward
        y = (root * 3).sum()
        y.backward()

    message = caught_in(compute)
    assert message.startswith("Inf born in the backward pass of Sqrt, index (1,) of shape (2,)\n")
    assert message.endswith(line_of("born backward"))


def test_a_gradient_that_was_nan_to_begin_with_is_not_blamed_on_the_op():
    x = Tensor([4.0], requires_grad=True)
    message = caught_in(lambda: (x * 1).backward([np.nan]))
    assert message.startswith("NaN handed on by the backward pass of Mul")
    assert "; the gradient it was given was not finite to begin with" in message


def test_a_graph_built_before_the_block_is_still_searched():
    x = Tensor([0.0], requires_grad=True)
    y = x.sqrt()
    message = caught_in(y.backward)
    assert message.startswith("Inf born in the backward pass of Sqrt")
    assert "built outside detect_anomaly()" in message


def test_grads_stay_as_they_were_and_the_search_ends_with_the_block():
    x = Tensor([0.0], requires_grad=True)
    caught_in(lambda: x.sqrt().backward())
    assert x.grad is None
    assert np.isinf(Tensor([0.0]).log().data).all()
    with detect_anomaly():
        assert (Tensor([1.0]).log() + 1).item() == 1


def test_a_folder_whose_name_begins_like_the_package_is_user_code(tmp_path):
    from minidl.engine import trace

    users = compile("y = x.log()", trace._PACKAGE.rstrip("/\\") + "_course.py", "exec")
    message = caught_in(lambda: exec(users, {"x": Tensor([-1.0])}))
    assert re.search(r"_course.py:1:", message)


def test_the_line_is_that_of_the_caller_of_the_librarys_own_functions():
    from minidl.engine.functions import concatenate

    def compute():
        return concatenate([Tensor([np.nan]), Tensor([1.0])])

    assert f":{inspect.getsourcelines(compute)[1] + 1}: return concatenate" in caught_in(compute)
