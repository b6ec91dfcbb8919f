# %% [markdown]
# # 01 Autograd
# A network learns by changing each weight a little. In which direction must a weight
# change to make the error smaller? The gradient gives the answer. What must a program
# store while it computes a number, so that it can find all gradients afterwards?
#
# Exercises: 01.1 Mul, 01.2 Sigmoid, 01.3 unbroadcast, 01.4 topological_order,
# 01.5 MatMul, 01.6 tape_gradients.
#
# ## A number with its history
# A `Tensor` is a NumPy array that stores the operation that made it, and the tensors
# that went into this operation, its **parents**. All tensors together form a **graph**.
# A tensor that no operation made is a **leaf**. The picture shows the graph of y = a ·
# b + c, inputs above and the result below. Each box shows a value and a gradient
# (grad). The gradient of a is the slope dy/da: when a grows by a small amount, y
# changes by -3 times this amount. `requires_grad` says that a gradient is wanted; a
# printed tensor shows this as "grad".

# %%
import inspect

import numpy as np

from minidl import Op, Tensor, apply, detect_anomaly, gradcheck
from minidl.classroom.claims import claim
from minidl.engine.backward import topological_order
from minidl.engine.elementwise import Mul
from minidl.engine.op import unbroadcast
from minidl.figures import curves_with_bands, draw_graph, save

a = Tensor(2.0, requires_grad=True, name="a")
b = Tensor(-3.0, requires_grad=True, name="b")
c = Tensor(10.0, requires_grad=True, name="c")
product = a * b
y = product + c
product.name, y.name = "product", "y"
product.retain_grad()  # without this line only the leaves keep their gradients
y.retain_grad()
y.backward()
save(draw_graph(y), "01_autograd/graph", alt="The graph of a times b plus c")
print("y was computed by", type(y.op).__name__, "from")
for parent in y.parents:
    print("   ", parent)

# %% [markdown]
# ## A gradient by hand
# How much does y change when a changes a little? The **chain rule** multiplies the
# slopes along the path from y back to a.
#
# $$\frac{\partial y}{\partial a} =
# \frac{\partial y}{\partial\, \text{product}} \cdot
# \frac{\partial\, \text{product}}{\partial a} = 1 \cdot b = -3$$
#
# The slope of a sum is 1. The slope of a product is the other factor. The last line
# checks the slope: it adds h to a and divides the change of y by h.

# %%
dy_dproduct = 1.0
dproduct_da, dproduct_db = b.item(), a.item()
by_hand = {"a": dy_dproduct * dproduct_da, "b": dy_dproduct * dproduct_db, "c": 1.0}
by_engine = {"a": a.grad.item(), "b": b.grad.item(), "c": c.grad.item()}
print("by hand  ", by_hand)
print("by engine", by_engine)
assert by_hand == by_engine

h = 0.001
moved = (a.item() + h) * b.item() + c.item()
print(f"by a small step: {(moved - y.item()) / h:.3f}")

# %% [markdown]
# ## Forward and backward of one operation
# Each operation has two functions. `forward` computes its result. `backward` gets dy /
# d(result), the slope of the final number y, and returns dy / d(input) for each input.
# `forward` saves what `backward` needs, here a and b. All saved arrays must stay in
# memory until the backward pass has used them. That is why training needs more memory
# than prediction; inside `no_grad()` a tensor stores no history. This is the whole
# multiplication. (`needs` says which inputs need a gradient. `unbroadcast` is explained
# below.)

# %%
print(inspect.getsource(Mul))

# %% [markdown]
# ## The backward pass
# Start at y with dy/dy = 1. Walk from the result to the inputs. At each tensor, compute
# the gradients of its parents with `backward`, and add them to the gradients that the
# parents already have. This is the whole algorithm, **backpropagation**, also called
# **reverse mode** of automatic differentiation.
#
# One walk gives the slopes of one result with respect to all inputs, and costs about as
# much as a few forward passes: the backward function of a matrix product, for example,
# computes two matrix products. ([Lesson 14](14_occlusion_gradients.py) measures the
# time on a real network.) **Forward mode** goes from an input to the results: one pass
# gives the slopes of all results with respect to one input. A network has one loss and
# often millions of weights. Reverse mode needs one pass for them, and forward mode
# needs one for each weight.


# %%
def backward_along(order):
    """The gradients of order[0] with respect to all tensors in this order."""
    grads = {order[0]: np.ones_like(order[0].data)}
    for tensor in order:
        if tensor.op is None:
            continue  # an input: nothing comes before it
        grads_of_parents = tensor.op.backward(grads[tensor])
        for parent, grad in zip(tensor.parents, grads_of_parents, strict=True):
            if grad is not None:  # None: a constant, which needs no gradient
                grads[parent] = grads.get(parent, 0) + grad
    return grads


order = topological_order(y, lambda tensor: tensor.parents)
grads = backward_along(order)
for tensor in (a, b, c):
    print(f"dy/d{tensor.name} = {grads[tensor]:+.0f}   the engine: {tensor.grad:+.0f}")
    assert grads[tensor] == tensor.grad

# %% [markdown]
# ## In which order?
# A tensor may pass its gradient on only after *all* tensors that used it have given
# theirs. Such an order is called **topological**. In the next graph, u is used twice:
# by v and by w. So the backward pass must visit v before u: u gets 1 from w and 3 from
# v, and passes on their sum, 4.
#
# $$u = 2x \qquad v = 3u \qquad w = u + v = 8x \qquad \frac{dw}{dx} = 8$$

# %%
x = Tensor(1.0, requires_grad=True, name="x")
u = x * 2
v = u * 3
w = u + v
u.name, v.name, w.name = "u", "v", "w"
for tensor in (u, v, w):
    tensor.retain_grad()
w.backward()
save(draw_graph(w), "01_autograd/used_twice", alt="A graph in which u is used twice")

too_early = backward_along([w, u, v, x])  # u passes on the 1 from w, without the 3
in_order = backward_along([w, v, u, x])
print(f"u before v: dw/dx = {too_early[x]:.0f}, which is wrong")
print(f"v before u: dw/dx = {in_order[x]:.0f}")
found = topological_order(w, lambda tensor: tensor.parents)
print("topological_order:", " ".join(tensor.name for tensor in found if tensor.name))
assert too_early[x] == 2 and in_order[x] == 8

# %% [markdown]
# ## Used several times: gradients add up
# In x · x + x the input x is used three times. Three paths lead from the result back to
# x, and each path brings a gradient: x, x and 1. Their sum is 2x + 1.
#
# Broadcasting uses a number several times, too. NumPy adds a bias of shape (3,) to all
# rows of a (4, 3) array. So each number of the bias is used four times, once in each
# row, and its gradient is the sum of four gradients. `unbroadcast` sums over the axes
# that NumPy has stretched.

# %%
x = Tensor(5.0, requires_grad=True)
(x * x + x).backward()
print("d(x² + x)/dx at 5 =", x.grad)
assert x.grad == 2 * 5 + 1

rows = Tensor(np.zeros((4, 3), np.float32))
bias = Tensor([1.0, 2.0, 3.0], requires_grad=True)
grad = np.arange(12, dtype=np.float32).reshape(4, 3)  # what arrives at rows + bias
(rows + bias).backward(grad)
print("the gradient that arrives, (4, 3):\n", grad)
print("the gradient of the bias,  (3,):  ", bias.grad)
assert np.array_equal(bias.grad, grad.sum(axis=0))
assert np.array_equal(bias.grad, unbroadcast(grad, (3,)))

# %% [markdown]
# ## The gradient of a matrix product
# The matrix product is the main operation of a network. Let G = ∂L/∂Y be the gradient
# that arrives at Y = XW. The chain rule gives
#
# $$\frac{\partial L}{\partial W} = X^\top G \qquad
# \frac{\partial L}{\partial X} = G\, W^\top$$
#
# The shapes help to remember the formulas. Each gradient has the shape of its own
# variable. Let X have the shape (N, in), W (in, out) and G (N, out). Of the products of
# X and G only XᵀG has the shape of W, and of those of G and W only GWᵀ has that of X.

# %%
rng = np.random.default_rng(0)
X = Tensor(rng.normal(size=(4, 3)), requires_grad=True)
W = Tensor(rng.normal(size=(3, 2)), requires_grad=True)
G = rng.normal(size=(4, 2))
(X @ W).backward(G)
print("shape of the gradient of W:", W.grad.shape)
assert np.allclose(W.grad, X.data.T @ G)
assert np.allclose(X.grad, G @ W.data.T)

# %% [markdown]
# ## A function with a kink
# Most networks of this course use ReLU(x) = max(x, 0). Its slope is 1 for x > 0 and 0
# for x < 0. At x = 0 the slope is not defined, and the library takes 0. If the input of
# a unit is negative for every example, no gradient passes, and the weights before the
# unit stop learning. Such a unit is called **dead**.

# %%
x = Tensor([-2.0, 0.0, 3.0], requires_grad=True)
x.relu().sum().backward()
print("the slope of ReLU at -2, 0 and 3:", x.grad)
assert np.array_equal(x.grad, [0, 0, 1])

# %% [markdown]
# ## Is a gradient right?
# Finite differences check it. They are approximate and need two evaluations for each
# number of the input, while `backward` is exact up to rounding.
#
# $$f'(x) \approx \frac{f(x + h) - f(x - h)}{2h}$$
#
# `gradcheck` computes this for every number of every input and compares it with
# `backward`. Here is an operation of our own with a mistake: the derivative of x³ is
# 3x², not 2x². At x = 1 the slope is 3, and `backward` says 2.


# %%
class Cube(Op):
    """y = x³, with a mistake in backward"""

    def forward(self, x):
        self.x = x
        return x**3

    def backward(self, grad):
        return grad * 2 * self.x**2


def cube(x):
    return apply(Cube(), x)


message = ""
try:
    gradcheck(cube, 1.0)
except AssertionError as error:
    message = str(error)
print(message)
assert "expected 3" in message and "got 2" in message

# %% [markdown]
# The step h must be neither too large nor too small. A large h gives an error because
# the curve bends: for x³ the error is exactly h². A very small h gives a rounding
# error, because two almost equal numbers are subtracted and the difference is divided
# by the tiny h. `gradcheck` uses h = 10⁻⁶ and computes in float64.


# %%
class RightCube(Cube):
    """y = x³;  dy/dx = 3x²"""

    def backward(self, grad):
        return grad * 3 * self.x**2


def right_cube(x):
    return apply(RightCube(), x)


for h in (1e-1, 1e-3, 1e-6, 1e-9, 1e-13):
    slope = ((1 + h) ** 3 - (1 - h) ** 3) / (2 * h)
    print(f"h = {h:.0e}: error of the finite difference {abs(slope - 3):.0e}")
worst = gradcheck(right_cube, np.array([1.0, 2.0, -0.5]))
print(f"gradcheck, largest relative error: {worst:.1e}")
assert worst < 1e-6

# %% [markdown]
# ## Gradients are enough to learn
# A small network has to follow the curve sin 2x. It has 32 tanh units, and its weights
# are random at first. The program repeats four steps: compute the prediction, compute
# the error, compute the gradients, and change every weight a little against its
# gradient. The **learning rate** η, here 0.04, says how much. The network gets only 64
# points of the curve. After 5,000 steps its curve is close to the sine, except at the
# left end: 0.44 instead of 0.28 at x = -3. Other lessons replace the last step by
# better optimizers. `claim` prints HOLDS if a statement is true in this run.
#
# $$\hat y = \tanh(x W_1 + b_1)\, W_2 + b_2 \qquad
# L = \frac{1}{N}\sum_n (\hat y_n - y_n)^2$$
#
# $$W \leftarrow W - \eta\, \frac{\partial L}{\partial W}$$

# %%
rng = np.random.default_rng(0)
x = np.linspace(-3, 3, 64, dtype=np.float32).reshape(-1, 1)  # (64, 1)
y = np.sin(2 * x)
W1 = Tensor(2 * rng.normal(size=(1, 32)).astype(np.float32), requires_grad=True)
b1 = Tensor(2 * rng.normal(size=32).astype(np.float32), requires_grad=True)
W2 = Tensor(rng.normal(size=(32, 1)).astype(np.float32) / 4, requires_grad=True)
b2 = Tensor(np.zeros(1, np.float32), requires_grad=True)

learning_rate, curves, losses = 0.04, {"sin 2x": y.T}, []
for step in range(5001):
    prediction = (x @ W1 + b1).tanh() @ W2 + b2  # (64, 1)
    loss = ((prediction - y) ** 2).mean()
    losses.append(loss.item())
    if step in (0, 200, 5000):
        curves[f"after {step} steps"] = prediction.data.T
    loss.backward()
    for weight in (W1, b1, W2, b2):
        weight.data -= learning_rate * weight.grad
        weight.zero_grad()  # backward adds to what .grad holds

# %%
figure = curves_with_bands(x[:, 0], curves, xlabel="x", ylabel="y")
save(figure, "01_autograd/sine", alt="The curve that the network has learned")
claim(
    "the error falls below a hundredth of its start",
    losses[-1] < 0.01 * losses[0],
    {"at first": losses[0], "at last": losses[-1]},
)

# %% [markdown]
# ## Find the line that makes a NaN
# The function below divides by the standard deviation plus 1, so it never divides by 0.
# When all values are equal, the result is fine: 0 / (0 + 1) = 0. But the gradient is
# **NaN**, not a number: the centred values are 0, and the slope of the square root at 0
# is infinite. The chain rule multiplies 0 by infinity. `detect_anomaly` stops at the
# first bad number. Its message names the operation, the file (in a notebook: the cell)
# and the line.

# %%
values = Tensor([0.5, 0.5, 0.5], requires_grad=True)


def standardise(values):
    centred = values - values.mean()
    deviation = (centred**2).mean().sqrt()
    return centred / (deviation + 1.0)


message = ""
try:
    with detect_anomaly(), np.errstate(all="ignore"):
        standardise(values).sum().backward()
except FloatingPointError as error:
    message = str(error)
print(message)
assert "Sqrt" in message and "deviation = " in message

# %% [markdown]
# ## What to remember
# A tensor stores its operation and its parents, so a result holds the graph of its
# whole computation. Each operation turns the gradient of its output into gradients of
# its inputs, and needs saved values for this. The backward pass visits the graph from
# the result to the inputs, in topological order, and adds the gradients of different
# paths. One pass gives the gradients of all weights. Finite differences check a
# gradient. Training is a loop: predict, measure the error, compute gradients, and
# change each weight a little against its gradient.

# %% [markdown]
# ## Try it
# - Leave out `weight.zero_grad()`. What happens to the error, and why?
# - Give the network 4 units instead of 32. Where does its curve leave the sine?
# - Step into a multiplication with the debugger. A breakpoint in `Mul.forward` is
#   quicker than stepping from `a * b`. Look at `self.a` and `self.b`, then break in
#   `Mul.backward`:
#
#       python -m pdb -c "from minidl.engine.elementwise import Mul" \
#           -c "break Mul.forward" -c continue lessons/01_autograd.py
#
# ## Exercises
# `python -m lessons start 01` begins the exercises 01.1 Mul, 01.2 Sigmoid, 01.3
# unbroadcast, 01.4 topological_order, 01.5 MatMul and 01.6 tape_gradients, a whole
# small autograd.
#
# ## Papers
# - D. Rumelhart, G. Hinton, R. Williams (1986): Learning representations by
#   back-propagating errors.
# - A. Baydin, B. Pearlmutter, A. Radul, J. Siskind (2018): Automatic differentiation in
#   machine learning: a survey.
