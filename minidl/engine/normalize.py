"""Batch normalisation."""

from __future__ import annotations

import numpy as np

from minidl.engine import jit, kernels
from minidl.engine.checks import require
from minidl.engine.op import Op
from minidl.engine.reduce import sum_by_channel


class BatchNorm(Op):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, per channel of x (N, C) or (N, C, H, W)

    ``mean`` and ``var`` (divided by n) come from the batch, or from ``__init__`` in evaluation mode. The
    latter are constants for the gradient. For batch statistics, with x_hat the normalised input, and mean
    over the values of a channel:

        dL/dx = gamma / sqrt(var + eps) * (g - mean(g) - x_hat mean(g x_hat))

    (Ioffe and Szegedy 2015).
    """

    def __init__(
        self, mean: np.ndarray | None = None, var: np.ndarray | None = None, eps: float = 1e-5
    ) -> None:
        self.mean, self.var, self.eps = mean, var, eps
        self.uses_batch = mean is None

    def forward(self, x, gamma, beta):
        fits = x.ndim >= 2 and gamma.shape == beta.shape == x.shape[1:2]
        require(fits, "expected x (N, C, ...), gamma (C,) and beta (C,)")
        self.per_channel = (1, -1) + (1,) * (x.ndim - 2)  # reshapes (C,) so that it broadcasts against x
        self.n = x.size // x.shape[1] if x.size else 0
        if self.uses_batch:
            require(self.n > 1, "batch statistics need more than 1 value per channel")
            self.mean = sum_by_channel(x) / x.dtype.type(self.n)
            centred = x - self.mean.reshape(self.per_channel)
            self.var = sum_by_channel(centred**2) / x.dtype.type(self.n)
        self.gamma, self.x, self.mean_of_x = gamma, x, self.mean.astype(x.dtype)
        self.inv_std = 1 / np.sqrt(self.var.astype(x.dtype) + x.dtype.type(self.eps))
        return self.scaled(x, self.mean_of_x, gamma * self.inv_std, beta)

    def scaled(self, x, mean, scale, beta):
        """(x - mean) scale + beta for each channel."""
        if not jit.pays_to_compile(x):
            y = x - mean.reshape(self.per_channel)
            y *= scale.reshape(self.per_channel)
            y += beta.reshape(self.per_channel)
            return y
        y = np.empty(x.shape, x.dtype)
        planes = [np.ascontiguousarray(array).reshape(-1, x[0, 0].size) for array in (x, y)]
        channels = [np.ascontiguousarray(array) for array in (mean, scale, beta)]
        jit.run(0.4 * x.size, (kernels.normalize, len(planes[0]), planes[0], *channels, planes[1]))
        return y

    def backward(self, grad):
        need_x, need_gamma, need_beta = self.needs
        through_batch = need_x and self.uses_batch  # then grad_x also needs both sums
        grad_beta = sum_by_channel(grad) if need_beta or through_batch else None
        zero, scale = np.zeros_like(self.gamma), self.gamma * self.inv_std
        grad_gamma = None
        if need_gamma or through_batch:
            x_hat = self.scaled(self.x, self.mean_of_x, self.inv_std, zero)
            grad_gamma = sum_by_channel(grad * x_hat)
        if not need_x:
            return None, grad_gamma, grad_beta
        if self.uses_batch:
            n = grad.dtype.type(self.n)
            x_hat *= (grad_gamma / n).reshape(self.per_channel)
            grad_x = self.scaled(np.subtract(grad, x_hat, out=x_hat), grad_beta / n, scale, zero)
        else:
            grad_x = self.scaled(grad, zero, scale, zero)
        return grad_x, grad_gamma, grad_beta
