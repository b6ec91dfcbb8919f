"""Batch normalisation."""

from __future__ import annotations

import numpy as np

from minidl.engine.checks import require
from minidl.engine.op import Op


class BatchNorm(Op):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, per channel of x (N, C) or (N, C, H, W)

    ``mean`` and ``var`` (divided by n) are those of the batch, or those given to ``__init__`` (evaluation),
    which are constants to the gradient. With x_hat the normalised input and n values per channel, on batch
    statistics

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
        self.axes = (0, *range(2, x.ndim))  # all but the channels
        self.per_channel = (1, -1) + (1,) * (x.ndim - 2)  # a channel's number laid beside x
        self.n = x.size // x.shape[1] if x.size else 0
        if self.uses_batch:
            require(self.n > 1, "batch statistics need more than 1 value per channel")
            self.mean = x.mean(axis=self.axes)
            centred = x - self.mean.reshape(self.per_channel)
            self.var = (centred**2).mean(axis=self.axes)
        else:
            centred = x - self.mean.astype(x.dtype).reshape(self.per_channel)
        self.gamma = gamma
        self.inv_std = 1 / np.sqrt(self.var.astype(x.dtype) + x.dtype.type(self.eps))
        self.x_hat = np.multiply(centred, self.inv_std.reshape(self.per_channel), out=centred)
        y = self.x_hat * gamma.reshape(self.per_channel)
        y += beta.reshape(self.per_channel)
        return y

    def backward(self, grad):
        need_x, need_gamma, need_beta = self.needs
        through_batch = need_x and self.uses_batch  # then both sums are part of grad_x as well
        grad_beta = grad.sum(axis=self.axes) if need_beta or through_batch else None
        grad_gamma = (grad * self.x_hat).sum(axis=self.axes) if need_gamma or through_batch else None
        if not need_x:
            return None, grad_gamma, grad_beta
        grad_x = grad
        if self.uses_batch:
            mean_g = (grad_beta / grad.dtype.type(self.n)).reshape(self.per_channel)
            mean_g_x_hat = (grad_gamma / grad.dtype.type(self.n)).reshape(self.per_channel)
            grad_x = grad - mean_g - self.x_hat * mean_g_x_hat
        return grad_x * (self.gamma * self.inv_std).reshape(self.per_channel), grad_gamma, grad_beta
