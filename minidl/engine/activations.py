"""Activations besides ReLU, sigmoid and tanh: functions of each element that bend at 0 or near it."""

from __future__ import annotations

import numpy as np

from minidl.engine.checks import check_number, positive_number
from minidl.engine.elementwise import Sigmoid, where_kept
from minidl.engine.op import Op


class LeakyReLU(Op):
    """y = x where x > 0, otherwise negative_slope x;  at 0 the slope is negative_slope"""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = check_number("negative_slope", negative_slope)

    def forward(self, x):
        self.slope = np.where(x > 0, 1, self.negative_slope).astype(x.dtype)
        return x * self.slope if self.negative_slope else np.maximum(x, 0)

    def backward(self, grad):
        with np.errstate(invalid="ignore"):  # infinity * 0 is NaN; where_kept drops it
            return where_kept(self.slope != 0, grad * self.slope)


class GELU(Op):
    """y = x Phi(x), Phi the normal distribution function;  dy/dx = Phi(x) + x phi(x).  Exact, by erf."""

    def forward(self, x):
        from scipy.special import erf

        self.Phi = (1 + erf(x / np.sqrt(2).astype(x.dtype))) / 2
        self.near = np.clip(x, -1000, 1000)  # beyond, Phi is 0 or 1, and infinity * 0 would be NaN
        return np.maximum(x, -1000) * self.Phi

    def backward(self, grad):
        phi = np.exp(-(self.near**2) / 2) / np.sqrt(2 * np.pi).astype(grad.dtype)
        return grad * (self.Phi + self.near * phi)


class GELUTanh(Op):
    """y = x P(x), P(x) = (1 + tanh u) / 2, u = a (x + b x^3), a = sqrt(2 / pi), b = 0.044715: almost GELU;
    dy/dx = P + x P',  P' = (1 - tanh^2 u) a (1 + 3 b x^2) / 2
    """

    def forward(self, x):
        near = np.clip(x, -10, 10)  # beyond, tanh u is 1 or -1, and x^3 could overflow
        a, b = np.sqrt(2 / np.pi).astype(x.dtype), x.dtype.type(0.044715)
        tanh = np.tanh(a * (near + b * near**3))
        P, slope = (1 + tanh) / 2, (1 - tanh**2) * a * (1 + 3 * b * near**2) / 2
        self.slope = P + near * slope
        return np.maximum(x, -10) * P

    def backward(self, grad):
        return grad * self.slope


class ELU(Op):
    """y = x where x > 0, otherwise alpha (e^x - 1);  dy/dx = 1 or alpha e^x"""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = check_number("alpha", alpha)

    def forward(self, x):
        negative, alpha = np.minimum(x, 0), x.dtype.type(self.alpha)
        self.slope = np.where(x > 0, 1, alpha * np.exp(negative))
        return np.where(x > 0, x, alpha * np.expm1(negative))

    def backward(self, grad):
        return grad * self.slope


class Softplus(Op):
    """y = log(1 + e^(beta x)) / beta, and x where beta x > threshold;  dy/dx = 1 / (1 + e^(-beta x))"""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = positive_number("beta", beta), check_number("threshold", threshold)

    def forward(self, x):
        beta = x.dtype.type(self.beta)
        scaled = beta * x
        self.slope = np.where(scaled > self.threshold, 1, np.exp(-np.logaddexp(-scaled, 0)))
        return np.where(scaled > self.threshold, x, np.logaddexp(scaled, 0) / beta)

    def backward(self, grad):
        return grad * self.slope


class Hardsigmoid(Op):
    """y = (x + 3) / 6 kept within [0, 1];  dy/dx = 1/6 where -3 < x < 3, otherwise 0"""

    def forward(self, x):
        self.x = x
        return np.clip(x + 3, 0, 6) / 6

    def backward(self, grad):
        return where_kept((self.x > -3) & (self.x < 3), grad / 6)


class Hardswish(Op):
    """y = x (x + 3) / 6 where -3 < x < 3, x above and 0 below;  dy/dx = x/3 + 1/2, 1 above and 0 below"""

    def forward(self, x):
        self.x = x
        return np.maximum(x, -3) * (np.clip(x + 3, 0, 6) / 6)

    def backward(self, grad):
        with np.errstate(invalid="ignore"):  # infinity * 0 is NaN; where_kept drops it
            return where_kept(self.x > -3, grad * np.where(self.x < 3, self.x / 3 + 0.5, 1))


class SiLU(Op):
    """y = x p with p = 1 / (1 + e^-x);  dy/dx = p (1 + x (1 - p))"""

    def forward(self, x):
        self.p = Sigmoid().forward(x)
        self.near = np.clip(x, -1000, 1000)  # beyond, p is 0 or 1, and infinity * 0 would be NaN
        return np.maximum(x, -1000) * self.p

    def backward(self, grad):
        return grad * self.p * (1 + self.near * (1 - self.p))
