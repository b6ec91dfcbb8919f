"""RMSprop: each parameter's step is divided by the root of its gradients' mean square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minidl.engine.checks import check_number
from minidl.train.optim import Optimizer, Parameters


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012), with weight decay lambda and momentum mu as PyTorch defines them:

        g = grad + lambda p        v = alpha v + (1 - alpha) g^2        d = g / (sqrt(v) + eps)
        p -= lr d,    with momentum  b = mu b + d,  p -= lr b

    centered: also m = alpha m + (1 - alpha) g is kept, and the deviation sqrt(v - m^2) replaces sqrt(v).

    >>> from minidl import nn, train
    >>> weight = nn.Parameter([3.0])
    >>> (weight * weight).sum().backward()
    >>> train.RMSprop([weight], lr=0.1, alpha=0.75).step()  # v = 0.25 * 6^2 = 9, the step is 0.1 * 6 / 3
    >>> print(weight.data.round(3))
    [2.8]
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(parameters, {**settings, "centered": centered, "maximize": maximize})

    def names_in(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        """As in PyTorch, only the state that the group uses."""
        momentum, mean = ["momentum_buffer"] * (group["momentum"] > 0), ["grad_avg"] * group["centered"]
        return ("step", "square_avg", *momentum, *mean)

    def check_settings(self, group: dict[str, Any]) -> None:
        super().check_settings(group)
        group["alpha"] = check_number("alpha", group["alpha"], 0, 1)

    def update(self, p, grad, state, group):
        alpha = group["alpha"]
        for name in self.names_in(group):
            if name not in state:
                state[name] = 0 if name == "step" else np.zeros_like(p.data)
        state["step"] += 1
        g = grad + group["weight_decay"] * p.data if group["weight_decay"] else grad
        v = state["square_avg"] = alpha * state["square_avg"] + (1 - alpha) * g * g
        if group["centered"]:
            m = state["grad_avg"] = alpha * state["grad_avg"] + (1 - alpha) * g
            v = np.maximum(v - m * m, 0)  # rounding can make the difference negative
        d = g / (np.sqrt(v) + group["eps"])
        if group["momentum"] == 0:
            return group["lr"] * d
        state["momentum_buffer"] = group["momentum"] * state["momentum_buffer"] + d
        return group["lr"] * state["momentum_buffer"]
