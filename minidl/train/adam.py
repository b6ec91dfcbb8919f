"""Adam and AdamW: each parameter's step is divided by the root of its gradients' mean square."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.engine.checks import check_number, check_pair, require
from minidl.train.optim import Optimizer, Parameters


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), with weight decay lambda added to the gradient:

        g = grad + lambda p        m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
        p -= lr m_hat / (sqrt(v_hat) + eps),    m_hat = m / (1 - beta1^t),  v_hat = v / (1 - beta2^t)

    >>> from minidl import nn, train
    >>> weight = nn.Parameter([3.0])
    >>> (weight * weight).sum().backward()
    >>> train.Adam([weight], lr=0.1).step()  # the first step is lr, whatever the size of the gradient
    >>> print(weight.data.round(3))
    [2.9]
    """

    state_names = ("step", "exp_avg", "exp_avg_sq")
    fixed = {"amsgrad": False, "decoupled_weight_decay": False}

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(parameters, settings)

    def check_settings(self, group: dict[str, Any]) -> None:
        super().check_settings(group)
        betas = check_pair("betas", group["betas"], "of numbers")
        group["betas"] = tuple(check_number("each of betas", beta, 0, 1) for beta in betas)
        averages = max(group["betas"]) < 1
        require(averages, "each of betas must be below 1: at 1 the averages would ignore new values")

    def update(self, p, grad, state, group):
        if group["weight_decay"]:
            grad = grad + group["weight_decay"] * p.data
        return self.adam(p, grad, state, group)

    def adam(self, p, grad, state, group):
        (beta1, beta2), eps = group["betas"], group["eps"]
        if not state:
            state.update(step=0, exp_avg=np.zeros_like(p.data), exp_avg_sq=np.zeros_like(p.data))
        state["step"] += 1
        t, m, v = state["step"], state["exp_avg"], state["exp_avg_sq"]
        m *= beta1
        m += (1 - beta1) * grad
        v *= beta2
        v += (1 - beta2) * grad * grad
        # The corrections are numbers, so they join the scalar factors: this saves two passes over the arrays.
        denominator = np.sqrt(v)
        denominator /= math.sqrt(1 - beta2**t)
        denominator += eps
        return (group["lr"] / (1 - beta1**t)) * m / denominator


class AdamW(Adam):
    """Adam with weight decay on the parameter itself: p -= lr lambda p too (Loshchilov and Hutter 2019).

    >>> from minidl import nn, train
    >>> weight = nn.Parameter([3.0])
    >>> (weight * weight).sum().backward()
    >>> train.AdamW([weight], lr=0.1, weight_decay=0.5).step()  # 3 - 0.1 - 0.1 * 0.5 * 3
    >>> print(weight.data.round(3))
    [2.75]
    """

    fixed = {"amsgrad": False, "decoupled_weight_decay": True}

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, maximize=maximize)

    def update(self, p, grad, state, group):
        return self.adam(p, grad, state, group) + (group["lr"] * group["weight_decay"]) * p.data
