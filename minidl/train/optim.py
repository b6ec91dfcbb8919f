"""Optimizers: how parameters move, given their gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minidl.engine.checks import check_number, positive_number
from minidl.engine.tensor import Tensor

Parameters = Iterable[Tensor] | Iterable[dict]


class Optimizer:
    """What the optimizers share: groups of parameters, each with its own settings, and a state per parameter.

    ``parameters`` are Tensors, or groups: dicts with "params" and whatever settings differ from the keywords,
    such as ``[{"params": body, "lr": 1e-4}, {"params": head}]``. ``step`` passes over a parameter whose grad
    is None or that requires none any more: neither weight decay nor momentum moves what is frozen.
    """

    state_names: tuple[str, ...] = ()  # of each parameter; "step" is a number, the others have its shape

    def __init__(self, parameters: Parameters, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        given = several(parameters)
        if not given:
            raise ValueError("there are no parameters to optimize")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Optimize more parameters: {"params": [...]} and the settings that differ from the optimizer's."""
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(f"a group of parameters is a dict with 'params', got {type(group).__name__}")
        unknown = sorted(set(group) - {"params", *self.defaults})
        if unknown:
            raise ValueError(f"unknown settings {unknown}; there are {', '.join(self.defaults)}")
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        known = set(self.parameters())
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"expected Tensors to optimize, got {type(p).__name__}")
            if p.op is not None or p.dtype.kind != "f":
                raise ValueError(f"only floating leaves can be optimized, got {p!r}")
            if p in known:
                raise ValueError(f"{p!r} is given twice: each step would move it twice")
            known.add(p)
        group = {**self.defaults, **group, "params": params}
        self.check_settings(group)
        self.param_groups.append({**group, "initial_lr": group["lr"]})

    def parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    @property
    def lr(self) -> float:
        """The learning rate; of several groups, the highest. Assigning keeps the proportions that the groups
        were given at first."""
        return max(group["lr"] for group in self.param_groups)

    @lr.setter
    def lr(self, lr: float) -> None:
        lr = check_number("lr", lr, 0)
        highest = max(group["initial_lr"] for group in self.param_groups)
        for group in self.param_groups:
            alike = (
                group["initial_lr"] == highest
            )  # then it is lr to the last bit, also where all began with 0
            group["lr"] = lr if alike else lr * group["initial_lr"] / highest

    def zero_grad(self) -> None:
        for p in self.parameters():
            p.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None or not p.requires_grad:
                    continue
                if p.grad.shape != p.shape:
                    raise ValueError(f"the grad of {p!r} must have its shape, got {p.grad.shape}")
                mask = getattr(p, "mask", None)  # of a pruned Parameter
                grad = p.grad if mask is None else np.where(mask, p.grad, 0)
                # In place, and as an assignment, so that backward through an older graph is refused.
                p.data -= self.update(p, grad, self.state.setdefault(p, {}), group)
                if mask is not None:
                    p.data[~mask] = 0  # whatever momentum was left from before

    def update(self, p: Tensor, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any]) -> np.ndarray:
        """What to subtract from ``p``. ``state`` is empty at first, and kept; ``grad`` stays as is."""
        raise NotImplementedError(f"{type(self).__name__}.update")

    def check_settings(self, group: dict[str, Any]) -> None:
        """ValueError or TypeError for settings that make no sense."""
        check_number("lr", group["lr"], 0)
        check_number("weight_decay", group["weight_decay"], 0)

    # ---- state, laid out as PyTorch does

    def state_dict(self) -> dict[str, Any]:
        """{"kind": the class's name, "state": {number of a parameter: copies of its state}, "param_groups":
        settings and numbers}"""
        number = {p: i for i, p in enumerate(self.parameters())}
        state = {
            number[p]: {key: np.copy(value) if np.ndim(value) else value for key, value in s.items()}
            for p, s in self.state.items()
        }
        groups = [{**group, "params": [number[p] for p in group["params"]]} for group in self.param_groups]
        return {"kind": type(self).__name__, "state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the settings and state of an optimizer of this kind over parameters of the same shapes.

        What CPU tensors of PyTorch hold is taken as well. Raises one ValueError that lists what does not fit;
        then nothing has been loaded.
        """
        problems = self.state_problems(state_dict)
        if problems:
            raise ValueError("the state does not fit the optimizer:\n  " + "\n  ".join(problems))
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update({key: saved[key] for key in [*self.defaults, "initial_lr"] if key in saved})
        params = self.parameters()
        self.state = {
            params[i]: {
                key: int(s[key]) if key == "step" else np.asarray(s[key]).astype(params[i].dtype)
                for key in self.state_names
            }
            for i, s in state_dict["state"].items()
            if any(value is not None for value in s.values())  # PyTorch's SGD without momentum keeps a None
        }

    def state_problems(self, state_dict: Mapping[str, Any]) -> list[str]:
        """What keeps ``state_dict`` from being loaded, a line each; empty if nothing does."""
        kind = type(self).__name__
        try:
            if state_dict.get("kind", kind) != kind:  # PyTorch's state does not say
                return [f"it is the state of {state_dict['kind']}, not of {kind}"]
            state, groups = dict(state_dict["state"]), list(state_dict["param_groups"])
            sizes = [len(group["params"]) for group in groups]
            for group in groups:
                self.check_settings({key: group[key] for key in self.defaults})
                check_number("initial_lr", group.get("initial_lr", group["lr"]), 0)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            return [f"expected the settings and state of {kind}: {error!r}"]
        expected = [len(group["params"]) for group in self.param_groups]
        if sizes != expected:
            return [f"the groups must have {expected} parameters, got {sizes}"]
        params, problems = self.parameters(), []
        for i, s in state.items():
            if not isinstance(i, int) or not 0 <= i < len(params):
                problems.append(f"there is no parameter {i!r} of {len(params)}")
                continue
            given = {key for key, value in s.items() if value is not None}
            if given and given != set(self.state_names):
                problems.append(f"parameter {i}: needs {sorted(self.state_names)}, got {sorted(given)}")
                continue
            for key in given:
                value, shape = np.asarray(s[key]), () if key == "step" else params[i].shape
                if value.shape != shape or value.dtype.kind not in "fiu" or not np.isfinite(value).all():
                    problems.append(
                        f"parameter {i}: {key} must be finite {shape}, got {value.dtype} {value.shape}"
                    )
                elif key in ("step", "exp_avg_sq") and value.min(initial=0) < 0:
                    problems.append(f"parameter {i}: {key} must be at least 0, got {value.min()}")
        return problems


class SGD(Optimizer):
    """Stochastic gradient descent with momentum mu and weight decay lambda, as PyTorch defines them:

    g = grad + lambda p        b = mu b + g,  at first b = g
    p -= lr b,    with Nesterov's momentum  p -= lr (g + mu b)
    """

    state_names = ("momentum_buffer",)

    def __init__(
        self,
        parameters: Parameters,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        )

    def check_settings(self, group: dict[str, Any]) -> None:
        super().check_settings(group)
        check_number("momentum", group["momentum"], 0)
        if not isinstance(group["nesterov"], bool):
            raise TypeError(f"nesterov must be True or False, got {group['nesterov']!r}")
        if group["nesterov"] and group["momentum"] == 0:
            raise ValueError("nesterov needs a momentum above 0")

    def update(self, p, grad, state, group):
        lr, momentum, weight_decay = group["lr"], group["momentum"], group["weight_decay"]
        if weight_decay:
            grad = grad + weight_decay * p.data
        if momentum == 0:
            return lr * grad
        if not state:
            state["momentum_buffer"] = grad.astype(p.dtype)
        else:
            state["momentum_buffer"] *= momentum
            state["momentum_buffer"] += grad
        if group["nesterov"]:
            return lr * (grad + momentum * state["momentum_buffer"])
        return lr * state["momentum_buffer"]


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), with weight decay lambda added to the gradient:

    g = grad + lambda p        m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
    p -= lr m_hat / (sqrt(v_hat) + eps),    m_hat = m / (1 - beta1^t),  v_hat = v / (1 - beta2^t)
    """

    state_names = ("step", "exp_avg", "exp_avg_sq")

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def check_settings(self, group: dict[str, Any]) -> None:
        super().check_settings(group)
        positive_number("eps", group["eps"])  # or a gradient of 0 would give 0 / 0
        if not isinstance(group["betas"], tuple | list) or len(group["betas"]) != 2:
            raise TypeError(f"betas must be a pair of numbers, got {group['betas']!r}")
        for beta in group["betas"]:
            if check_number("each of betas", beta, 0, 1) == 1:
                raise ValueError("each of betas must be below 1, or nothing is ever averaged in")

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
        # The corrections are numbers: dividing by them before the arrays meet saves two passes.
        denominator = np.sqrt(v)
        denominator /= math.sqrt(1 - beta2**t)
        denominator += eps
        return (group["lr"] / (1 - beta1**t)) * m / denominator


class AdamW(Adam):
    """Adam with weight decay on the parameter itself: p -= lr lambda p too (Loshchilov and Hutter 2019)."""

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def update(self, p, grad, state, group):
        return self.adam(p, grad, state, group) + (group["lr"] * group["weight_decay"]) * p.data


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients by one factor so that their common L2 norm is at most ``max_norm``; return the norm
    that it was. Pruned weights (False in ``Parameter.mask``) do not count, since no step moves them.
    FloatingPointError, and nothing scaled, if the norm is not finite (Pascanu et al. 2013)."""
    positive_number("max_norm", max_norm)
    parameters = [p for p in several(parameters) if p.grad is not None]
    grads = [p.grad for p in parameters]
    masks = [True if getattr(p, "mask", None) is None else p.mask for p in parameters]
    squares = [
        float(np.square(grad, dtype=np.float64).sum(where=mask))
        for grad, mask in zip(grads, masks, strict=True)
    ]
    norm = math.sqrt(sum(squares))
    if not math.isfinite(norm):
        raise FloatingPointError(
            f"the norm of the gradients is {norm}: minidl.detect_anomaly() finds the cause"
        )
    if norm > max_norm:
        for grad in grads:
            grad *= max_norm / norm
    return norm


def several(parameters: Iterable) -> list:
    """The parameters as a list. A lone Tensor would go through as its rows."""
    if isinstance(parameters, Tensor | dict) or not isinstance(parameters, Iterable):
        raise TypeError(f"expected parameters, such as model.parameters(), got {type(parameters).__name__}")
    return list(parameters)
