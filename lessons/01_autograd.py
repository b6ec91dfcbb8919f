"""01 Autograd: how a program knows the slope of a number that it has computed.

Question: what must a framework remember while it computes, so that every gradient can be had afterwards?
Measured: gradients by hand, by the engine and by differences; a curve learned with nothing but gradients.
Exercises: 01.1 Mul, 01.2 Sigmoid, 01.3 unbroadcast, 01.4 topological_order.
"""

# %% [markdown]
# ## A number that remembers
# A `Tensor` is a NumPy array that remembers the operation it came from. Computing with tensors looks like
# computing with numbers, and gives the same results.

# %%
import inspect

import numpy as np

from minidl import Op, Tensor, apply, detect_anomaly, gradcheck
from minidl.engine.backward import topological_order
from minidl.engine.elementwise import Mul
from minidl.engine.op import unbroadcast
from minidl.figures import curves_with_bands, draw_graph, save

a = Tensor(2.0, requires_grad=True, name="a")
b = Tensor(-3.0, requires_grad=True, name="b")
c = Tensor(10.0, requires_grad=True, name="c")
product = a * b
y = product + c

print(y)
print("computed by", type(y.op).__name__, "from", y.parents)
assert y.item() == 2.0 * -3.0 + 10.0

# %% [markdown]
# ## The memory is a graph
# Each tensor points to its parents, so the last one holds the whole computation.

# %%
save(draw_graph(y), "01_autograd/graph")

# %% [markdown]
# ## A gradient by hand
# How much does y move when a moves a little? The chain rule multiplies the local slopes along the path, from
# y back to a:
#
#     dy/dproduct = 1        dproduct/da = b        dy/da = dy/dproduct · dproduct/da = 1 · b = -3

# %%
dy_dproduct = 1.0
dproduct_da, dproduct_db = b.item(), a.item()
by_hand = {"a": dy_dproduct * dproduct_da, "b": dy_dproduct * dproduct_db, "c": 1.0}

y.backward()
by_engine = {"a": a.grad.item(), "b": b.grad.item(), "c": c.grad.item()}

print("by hand  ", by_hand)
print("by engine", by_engine)
assert by_hand == by_engine

# %% [markdown]
# ## An operation knows two things
# How to compute its result, and how to turn the gradient of its result into the gradients of its inputs. This
# is all of the multiplication. (`needs` says which inputs somebody wants the gradient of; `unbroadcast` comes
# below.)

# %%
print(inspect.getsource(Mul))

# %% [markdown]
# ## The backward pass, spelled out
# Start with dy/dy = 1. Walk from the result towards the leaves; at each tensor ask its operation for the
# gradients of the parents, and add them to what the parents have collected so far.


# %%
def backward_along(order):
    grads = {order[0]: np.ones_like(order[0].data)}
    for tensor in order:
        if tensor.op is None:
            continue  # a leaf: nothing further back
        grads_of_parents = tensor.op.backward(grads[tensor])
        for parent, grad in zip(tensor.parents, grads_of_parents, strict=True):
            if grad is not None:  # None: a constant, whose gradient nobody wants
                grads[parent] = grads.get(parent, 0) + grad
    return grads


order = topological_order(y, lambda tensor: tensor.parents)
grads = backward_along(order)
for tensor in (a, b, c):
    print(f"dy/d{tensor.name} = {grads[tensor]:+.0f}   the engine says {tensor.grad:+.0f}")
    assert grads[tensor] == tensor.grad

# %% [markdown]
# ## Why the order must be topological
# A tensor may pass its gradient on only when *all* who used it have handed theirs in. The smallest case where
# this can go wrong has a computed tensor that is used both at once and further away:
#
#     u = 2x        v = 3u        w = u + v        so w = 8x and dw/dx = 8

# %%
x = Tensor(1.0, requires_grad=True, name="x")
u = x * 2
v = u * 3
w = u + v
u.name, v.name, w.name = "u", "v", "w"

too_early = backward_along([w, u, v, x])  # u passes on its 1 before v has handed in its 3
in_order = backward_along([w, v, u, x])

print(f"u before v: dw/dx = {too_early[x]:.0f}      v before u: dw/dx = {in_order[x]:.0f}")
in_topological_order = topological_order(w, lambda tensor: [p for p in tensor.parents if p.requires_grad])
print("topological_order gives", " ".join(tensor.name for tensor in in_topological_order))
assert too_early[x] == 2 and in_order[x] == 8

# %% [markdown]
# ## Used twice: gradients add up
# In x·x + x the leaf x is reached on three ways, and d(x² + x)/dx = 2x + 1 is the sum of what comes along
# them.

# %%
x = Tensor(5.0, requires_grad=True)
(x * x + x).backward()
print("d(x² + x)/dx at 5 =", x.grad)
assert x.grad == 2 * 5 + 1

# %% [markdown]
# ## Broadcasting, backwards
# NumPy stretches a bias of shape (3,) over all rows of a (4, 3) array. Stretching is using one number four
# times, so its gradient is the sum of four: the gradient is summed over the axes that were stretched.

# %%
rows = Tensor(np.zeros((4, 3), np.float32))
bias = Tensor([1.0, 2.0, 3.0], requires_grad=True)
upstream = np.arange(12.0, dtype=np.float32).reshape(4, 3)
(rows + bias).backward(upstream)

print("gradient that arrives, (4, 3):\n", upstream)
print("gradient of the bias,  (3,):  ", bias.grad)
assert np.array_equal(bias.grad, upstream.sum(axis=0))
assert np.array_equal(bias.grad, unbroadcast(upstream, (3,)))

# %% [markdown]
# ## Is a gradient right? Ask the definition
# `gradcheck` moves every input a little to both sides and compares the change with what `backward` claims.
# Here is an operation of our own with a mistake in it: the derivative of x³ is 3x², not 2x².


# %%
class Cube(Op):
    def forward(self, x):
        self.x = x
        return x**3

    def backward(self, grad):
        return grad * 2 * self.x**2


class RightCube(Cube):
    def backward(self, grad):
        return grad * 3 * self.x**2


def cube(x):
    return apply(Cube(), x)


try:
    gradcheck(cube, np.array([1.0, 2.0]))
    found = False
except AssertionError as error:
    found = True
    print("wrong:", error)
worst = gradcheck(lambda x: apply(RightCube(), x), np.array([1.0, 2.0]))
print(f"right: largest relative difference {worst:.1e}")
assert found and worst < 1e-6

# %% [markdown]
# ## Gradients are enough to learn
# Thirty-two tanh units shall follow a sine. The program never sees a formula for the answer: it computes the
# error, asks for the gradient, and moves every weight a little against it. That loop is all of training.

# %%
rng = np.random.default_rng(0)
inputs = np.linspace(-3, 3, 64, dtype=np.float32).reshape(-1, 1)
targets = np.sin(2 * inputs)

losses = []
W1 = Tensor(2 * rng.normal(size=(1, 32)).astype(np.float32), requires_grad=True, name="W1")
b1 = Tensor(2 * rng.normal(size=32).astype(np.float32), requires_grad=True, name="b1")
W2 = Tensor(rng.normal(size=(32, 1)).astype(np.float32) / 4, requires_grad=True, name="W2")
b2 = Tensor(np.zeros(1, np.float32), requires_grad=True, name="b2")

for _step in range(5000):
    hidden = (inputs @ W1 + b1).tanh()  # (64, 32)
    prediction = hidden @ W2 + b2  # (64, 1)
    loss = ((prediction - targets) ** 2).mean()
    loss.backward()
    for weight in (W1, b1, W2, b2):
        weight.data -= 0.04 * weight.grad
        weight.zero_grad()  # backward adds to .grad: without this, old gradients would stay in
    losses.append(loss.item())

print(f"mean squared error: {losses[0]:.3f} at first, {losses[-1]:.5f} after {len(losses)} steps")
assert losses[-1] < 0.05 * losses[0]

# %%
curves = {"sin 2x": targets.T, "32 tanh units": prediction.data.T}
save(
    curves_with_bands(
        inputs[:, 0], curves, xlabel="x", ylabel="value", title="A sine learned from its values"
    ),
    "01_autograd/sine",
)
steps = np.arange(1, len(losses) + 1)
save(
    curves_with_bands(
        steps, {"mean squared error": np.array([losses])}, xlabel="step", ylabel="loss", log_y=True
    ),
    "01_autograd/loss",
)

# %% [markdown]
# ## A NaN, and where it was born
# Dividing by a standard deviation is common, and fine as long as the values differ. When they are all equal,
# forward still looks well: 0/(0 + 1) = 0. But the slope of the square root at 0 is infinite, and 0 · ∞ is not
# a number.

# %%
values = Tensor([0.5, 0.5, 0.5], requires_grad=True)


def standardise(values):
    centred = values - values.mean()
    deviation = (centred**2).mean().sqrt()
    return centred / (deviation + 1.0)


with np.errstate(all="ignore"):  # NumPy would warn, from deep inside
    standardise(values).sum().backward()
print("gradient without looking:", values.grad)
assert np.isnan(values.grad).all()

# %% [markdown]
# By the time the NaN shows it has spread everywhere. Under `detect_anomaly` the first bad number stops the
# program, and the message names the operation and the line that asked for it.

# %%
message = ""
try:
    with detect_anomaly(), np.errstate(all="ignore"):
        standardise(values).sum().backward()
except FloatingPointError as error:
    message = str(error)
    print(message)
assert "Sqrt" in message and "deviation = " in message

# %% [markdown]
# ## Step into it
# Put a breakpoint on `product = a * b` and step in: three frames, `Tensor.__mul__`, `apply`, `Mul.forward`.
# The saved `a` and `b` stand in the variable pane. Then break in `Mul.backward` and watch the gradient come
# back.
