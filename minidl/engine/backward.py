"""The backward pass: it carries gradients from an output back to all tensors that the output depends on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.engine.checks import number_array, require, shown
from minidl.engine.holding import array_of
from minidl.engine.value import Value

if TYPE_CHECKING:
    from minidl.engine.op import Op
    from minidl.engine.tensor import Tensor

# detect_anomaly (trace.py) puts a function check(op, result, inputs, direction) here; direction is "forward"
# or "backward".
anomaly_check: ContextVar[Callable[[Op, np.ndarray, list[np.ndarray], str], None] | None]
anomaly_check = ContextVar("anomaly_check", default=None)


def topological_order(root: Hashable, parents_of: Callable[[Any], Iterable]) -> list:
    """List every node that can be reached from ``root``, once, and each node before all of its parents.

    ``parents_of(node)`` gives the parents of a node. Nodes are compared by ==.

    The search is depth-first. It uses a list as its stack, because Python's recursion limit is too low for a
    long chain. A node is finished when all of its parents are finished. The result is the reverse of this
    order. Any other order with each node before its parents is also right.

    >>> from minidl.engine.backward import topological_order
    >>> topological_order("w", {"w": ["v", "u"], "v": ["u"], "u": []}.get)
    ['w', 'v', 'u']
    """
    finished, seen = [], {root}
    stack = [(root, iter(parents_of(root)))]
    while stack:
        node, parents = stack[-1]
        for parent in parents:
            if parent not in seen:
                seen.add(parent)
                stack.append((parent, iter(parents_of(parent))))
                break
        else:
            finished.append(node)
            stack.pop()
    return finished[::-1]


def differentiable_parents(tensor: Tensor) -> list[Tensor]:
    return [parent for parent in tensor.parents if parent.requires_grad]


def backward(output: Tensor, grad_output: Any = None) -> None:
    """Add d(output . grad_output) / d(leaf) to the ``.grad`` of every leaf that requires one."""
    order = topological_order(output, differentiable_parents)
    keep = {t for t in order if t.op is None or t.retains_grad}
    # Write .grad last, so that an error above leaves every .grad as it was.
    found = gradients(order, first_gradient(output, grad_output), set(order), keep)
    before = {tensor: own_gradient(tensor) for tensor in found}
    for tensor, grad in found.items():
        if before[tensor] is None:
            tensor.grad = np.array(grad)
        else:
            tensor.grad += grad


def own_gradient(tensor: Tensor) -> np.ndarray | None:
    """``tensor.grad``, which any code can assign: None, or a floating array of the tensor's shape."""
    grad = tensor.grad
    if grad is None:
        return None
    if not isinstance(grad, np.ndarray | np.generic) or grad.dtype.kind != "f":
        raise TypeError(f"the grad of {tensor!r} must be a NumPy array of floats, got {shown(grad)}")
    if grad.shape != tensor.shape:
        raise ValueError(f"the grad of {tensor!r} must have its shape, got {grad.shape}")
    return grad


def grad(
    output: Tensor, inputs: Tensor | Sequence[Tensor], grad_output: Any = None
) -> np.ndarray | tuple[np.ndarray, ...]:
    """d(output . grad_output) / d(input) for any tensors of the graph; no ``.grad`` is touched.

    Returns an array for a Tensor, a tuple of arrays for a sequence of them. Only gradients
    between the inputs and the output are computed. Raises ValueError if the output does not depend on an
    input.

    >>> from minidl import Tensor, grad
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> print(grad((x * x).sum(), x))
    [2. 4.]
    """
    wanted = tuple(inputs) if isinstance(inputs, list | tuple) else (inputs,)
    for tensor in (output, *wanted):
        require(isinstance(tensor, Value), f"grad takes Tensors, got {type(tensor).__name__}", TypeError)
    order = topological_order(output, differentiable_parents)
    between = set(wanted)
    for tensor in reversed(order):
        if not between.isdisjoint(tensor.parents):
            between.add(tensor)
    grads = gradients(order, first_gradient(output, grad_output), between, set(wanted))
    for i, tensor in enumerate(wanted):
        if tensor not in grads:
            raise ValueError(f"no gradient flows from the output to inputs[{i}], {tensor!r}")
    found = tuple(np.array(grads[tensor]) for tensor in wanted)
    return found if isinstance(inputs, list | tuple) else found[0]


def first_gradient(output: Tensor, grad_output: Any) -> np.ndarray:
    """The gradient that the backward pass starts with: the given one, or 1 for an output of one element."""
    if not output.requires_grad:
        mend = "set requires_grad=True on an input, and compute outside no_grad()"
        raise ValueError(f"{output!r} depends on nothing that requires a gradient; {mend}")
    refuse_integers(output)
    if grad_output is None:
        what = f"backward from shape {output.shape} needs a gradient of that shape to start from"
        require(output.size == 1, f"{what}; or reduce the tensor to a number first, with .sum() or .mean()")
        return np.ones_like(output.data)
    grad_output = number_array("gradient", grad_output)
    fits = grad_output.shape == output.shape
    require(fits, f"the gradient has shape {grad_output.shape}, the tensor {output.shape}")
    return array_of(grad_output, output.dtype).copy()  # an Op may write into its own


def refuse_integers(tensor: Tensor) -> None:
    """An assignment ``t.requires_grad = True`` is not checked, and a gradient would be cut to integers."""
    is_float = tensor.dtype.kind == "f"
    require(is_float, f"only floating tensors can require a gradient, not {tensor.dtype}", TypeError)


def gradients(
    order: list[Tensor], first: np.ndarray, along: set[Tensor], keep: set[Tensor]
) -> dict[Tensor, np.ndarray]:
    """Walk along ``order`` and return the gradients of the tensors in ``keep``.

    The first tensor starts with the gradient ``first``. Only tensors in ``along`` get a gradient. A gradient
    that is not kept is dropped as soon as the walk has used it.
    """
    grads = {order[0]: first}
    for tensor in order:
        if tensor.op is None or tensor not in grads:
            continue
        grad = grads[tensor] if tensor in keep else grads.pop(tensor)
        if along.isdisjoint(tensor.parents):
            continue
        for parent, grad_parent in zip(tensor.parents, backward_one(tensor, grad, along), strict=True):
            if grad_parent is not None:
                # Make a new array, never use +=: the Op may return the same array for several parents.
                grads[parent] = grads[parent] + grad_parent if parent in grads else grad_parent
    return {tensor: grads[tensor] for tensor in keep if tensor in grads}


def backward_one(tensor: Tensor, grad: np.ndarray, along: set[Tensor]) -> list[np.ndarray | None]:
    """Run one Op backward, and check the shapes and dtypes of the gradients that it returned."""
    op, name = tensor.op, type(tensor.op).__name__
    if tensor.version != tensor.versions[-1]:
        raise ValueError(f"the result of {name} was changed after the forward pass, {tensor!r}: run it again")
    needs = []
    for i, parent in enumerate(tensor.parents):
        needs.append(parent.requires_grad and parent in along)
        if parent.version != tensor.versions[i]:
            changed = f"input {i} of {name} was changed after the forward pass"
            raise ValueError(f"{changed}, {parent!r}: run it again")
    op.needs = tuple(needs)
    grad = np.asarray(grad)  # NumPy turns arrays of shape () into plain numbers
    grads = op.backward(grad)
    grads = grads if isinstance(grads, tuple | list) else (grads,)
    rule = getattr(op, "rule", None)  # of a ReLU, given to relu_rule
    by = f"{name}.backward" if rule is None else f"relu_rule's {getattr(rule, '__name__', 'rule')}(grad, x)"
    fits = len(grads) == len(needs)
    require(fits, f"{by} gave {len(grads)} gradients for {len(needs)} inputs")

    wanted: list[np.ndarray | None] = []
    for parent, need, grad_parent in zip(tensor.parents, needs, grads, strict=True):
        if not need:
            wanted.append(None)
            continue
        refuse_integers(parent)
        shape, dtype = getattr(grad_parent, "shape", None), getattr(grad_parent, "dtype", None)
        # Shape () may have any dtype: before version 2, NumPy turns such a float32 times 2 into float64.
        if shape != parent.shape or (shape and dtype != tensor.dtype):
            what = shown(grad_parent) if shape is None else f"a gradient of shape {shape} and dtype {dtype}"
            gave = f"{by} gave {what}"
            raise ValueError(f"{gave}, expected {parent.shape} and {tensor.dtype}, for {parent!r}")
        if check := anomaly_check.get():
            check(op, grad_parent, [grad], "backward")
        wanted.append(np.asarray(grad_parent, parent.dtype))
    return wanted
