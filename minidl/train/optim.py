"""Optimizers: they update parameters by their gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minidl.engine.backward import own_gradient
from minidl.engine.checks import (
    check_flag,
    check_instance,
    check_number,
    positive_number,
    require,
    shown,
)
from minidl.engine.tensor import Tensor

Parameters = Iterable[Tensor] | Iterable[dict]
# Other keys in PyTorch's groups. They do not change a step.
WITHOUT_EFFECT = {"params", "param_names", "initial_lr", "foreach", "capturable", "differentiable", "fused"}


class Optimizer:
    """The base of all optimizers: groups of parameters with their own settings, and a state per parameter.

    ``parameters`` are Tensors, or groups: dicts with "params" and the settings that differ from the keywords,
    such as ``[{"params": body, "lr": 1e-4}, {"params": head}]``. ``step`` skips a parameter if its
    grad is None or if it requires no gradient. So neither weight decay nor momentum changes a frozen
    parameter.

    >>> from minidl import nn, train
    >>> body, head = nn.Linear(4, 8).parameters(), nn.Linear(8, 2).parameters()
    >>> optimizer = train.SGD([{"params": body, "lr": 0.01}, {"params": head}], lr=0.1)
    >>> [group["lr"] for group in optimizer.param_groups]
    [0.01, 0.1]
    """

    state_names: tuple[
        str, ...
    ] = ()  # the state of each parameter; "step" is a number, the others have the parameter's shape

    fixed: dict[str, bool] = {}  # settings that PyTorch's groups name, and the only value that fits here

    def __init__(self, parameters: Parameters, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        given = several(parameters)
        require(len(given) > 0, "there are no parameters to optimize")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Optimize more parameters: {"params": [...]} and the settings that differ from the optimizer's."""
        is_group = isinstance(group, dict) and "params" in group
        require(is_group, f"a group of parameters is a dict with 'params', got {shown(group)}", TypeError)
        unknown = sorted(map(str, {*group} - {"params", *self.defaults}))
        require(not unknown, f"unknown settings {unknown}; known are {', '.join(self.defaults)}")
        params = [group["params"]] if isinstance(group["params"], Tensor) else several(group["params"])
        known = set(self.parameters())
        for p in params:
            is_leaf = check_instance("each of parameters", p, Tensor).op is None and p.dtype.kind == "f"
            require(is_leaf, f"only floating leaves can be optimized, got {p!r}")
            require(p not in known, f"{p!r} is given twice: each step would move it twice")
            known.add(p)
        group = {**self.defaults, **group, "params": params}
        self.check_settings(group)
        self.param_groups.append({**group, "initial_lr": group["lr"]})

    def parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    @property
    def lr(self) -> float:
        """The learning rate; with several groups, the highest.

        An assignment keeps the groups' first proportions.
        """
        return max(group["lr"] for group in self.param_groups)

    @lr.setter
    def lr(self, lr: float) -> None:
        lr = check_number("lr", lr, 0)
        highest = max(group["initial_lr"] for group in self.param_groups)
        for group in self.param_groups:
            is_highest = group["initial_lr"] == highest  # as all are that began with 0
            group["lr"] = lr if is_highest else lr * group["initial_lr"] / highest

    def zero_grad(self) -> None:
        for p in self.parameters():
            p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                grad = own_gradient(p)
                if grad is None or not p.requires_grad:
                    continue
                mask = getattr(p, "mask", None)  # of a pruned Parameter
                grad = grad if mask is None else np.where(mask, grad, 0)
                grad = -grad if group["maximize"] else grad
                # The assignment makes a new version, so that backward refuses an older graph.
                p.data -= self.update(p, grad, self.state.setdefault(p, {}), group)
                if mask is not None:
                    p.data[~mask] = 0  # also remove the effect of old momentum

    def update(self, p: Tensor, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any]) -> np.ndarray:
        """The array to subtract from ``p``.

        ``state`` is empty at first, and kept; ``grad`` must not change.
        """
        raise NotImplementedError(f"{type(self).__name__}.update")

    def check_settings(self, group: dict[str, Any]) -> None:
        """ValueError or TypeError for senseless settings. A name means the same in all optimizers.

        Numbers become Python's, because those of NumPy could change the dtype of the state.
        """
        for name in ("lr", "weight_decay", "momentum"):
            if name in group:
                group[name] = check_number(name, group[name], 0)
        if "eps" in group:  # with eps = 0, a gradient of 0 would give 0 / 0
            group["eps"] = positive_number("eps", group["eps"])
        for name in ("maximize", "nesterov", "centered"):
            check_flag(name, group.get(name, False))

    # ---- state, in PyTorch's layout

    def state_dict(self) -> dict[str, Any]:
        """{"kind": name of the class, "state": {index of a parameter: copies of its state}, "param_groups":
        settings and numbers}"""
        number = {p: i for i, p in enumerate(self.parameters())}
        state = {
            number[p]: {key: np.copy(value) if np.ndim(value) else value for key, value in s.items()}
            for p, s in self.state.items()
        }
        groups = [{**group, "params": [number[p] for p in group["params"]]} for group in self.param_groups]
        return {"kind": type(self).__name__, "state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load the settings and state of an optimizer of the same kind, for parameters of the same shapes.

        CPU tensors of PyTorch are accepted, except for settings that change the steps and are unknown here,
        such as amsgrad. Without "initial_lr", the groups keep the proportions of its lr. If something does
        not fit, one ValueError lists all problems, and nothing is loaded.
        """
        problems = self.state_problems(state_dict)
        require(not problems, "\n  ".join(["the state does not fit the optimizer:", *problems]))
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update({key: saved[key] for key in self.defaults})
            group["initial_lr"] = saved.get("initial_lr", saved["lr"])
        params, names = self.parameters(), self.names_of_each(self.param_groups)
        self.state = {
            params[i]: {
                key: int(s[key]) if key == "step" else np.asarray(s[key]).astype(params[i].dtype)
                for key in names[i]
            }
            for i, s in state_dict["state"].items()
            if any(value is not None for value in s.values())  # PyTorch's SGD without momentum keeps a None
        }

    def state_problems(self, state_dict: Mapping[str, Any]) -> list[str]:
        """The reasons why ``state_dict`` cannot be loaded, one line each; empty if it can."""
        kind = type(self).__name__
        try:
            if state_dict.get("kind", kind) != kind:  # PyTorch's state does not say
                return [f"it is the state of {state_dict['kind']}, not of {kind}"]
            state = {i: {**entry} for i, entry in state_dict["state"].items()}
            groups = [{**group} for group in state_dict["param_groups"]]
            sizes = [len(group["params"]) for group in groups]
            if other := self.other_settings(groups, by_pytorch="kind" not in state_dict):
                return other
            for group in groups:
                self.check_settings({key: group[key] for key in self.defaults})
                check_number("initial_lr", group.get("initial_lr", group["lr"]), 0)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            return [f"expected the settings and state of {kind}: {error!r}"]
        expected = [len(group["params"]) for group in self.param_groups]
        if sizes != expected:
            return [f"the groups must have {expected} parameters, got {sizes}"]
        params, names, problems = self.parameters(), self.names_of_each(groups), []
        for i, s in state.items():
            if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < len(params):
                problems.append(f"there is no parameter {i!r} of {len(params)}")
            else:
                found = self.entry_problems(params[i], s, names[i])
                problems += [f"parameter {i}: {problem}" for problem in found]
        return problems

    def other_settings(self, groups: list[dict[str, Any]], by_pytorch: bool) -> list[str]:
        """The settings of the groups that another kind of optimizer has, and those that it lacks."""
        problems, kind = [], type(self).__name__
        # RAdam's groups differ from Adam's only here: they have no amsgrad.
        needed = [*self.defaults, *(["amsgrad"] if by_pytorch and "amsgrad" in self.fixed else [])]
        for group in groups:
            missing = [name for name in needed if name not in group]
            problems += [f"it was made without {', '.join(missing)}, not as {kind}"] if missing else []
            for name in {*group} - WITHOUT_EFFECT - {*self.defaults}:
                if bool(group[name]) != self.fixed.get(name, False):
                    problems.append(f"it was made with {name}={group[name]!r}, not as {kind}")
        return problems

    def names_of_each(self, groups: list[dict[str, Any]]) -> list[tuple[str, ...]]:
        """For each parameter the names of the state that an optimizer with these groups keeps."""
        return [self.names_in(group) for group in groups for _ in group["params"]]

    def names_in(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        """The names of the state of each parameter in a group with these settings."""
        return self.state_names

    def entry_problems(self, p: Tensor, entry: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
        """The reasons why the state of one parameter cannot be loaded."""
        given = {key: np.asarray(value) for key, value in entry.items() if value is not None}
        if given and set(given) != set(names):
            return [f"needs {sorted(names)}, got {sorted(given)}"]
        problems = []
        for key, value in given.items():
            shape = () if key == "step" else p.shape
            if value.shape != shape or value.dtype.kind not in "fiu" or not np.isfinite(value).all():
                problems.append(f"{key} must be finite {shape}, got {value.dtype} {value.shape}")
            elif key in ("step", "exp_avg_sq", "square_avg") and value.min(initial=0) < 0:
                problems.append(f"{key} must be at least 0, got {value.min()}")
        return problems


class SGD(Optimizer):
    """Stochastic gradient descent with momentum mu and weight decay lambda, as PyTorch defines them:

        g = grad + lambda p        b = mu b + (1 - dampening) g,  at first b = g
        p -= lr b,    with Nesterov's momentum  p -= lr (g + mu b)

    maximize: increase the loss, as if grad were -grad.

    >>> from minidl import nn, train
    >>> weight = nn.Parameter([3.0])
    >>> (weight * weight).sum().backward()  # the gradient is 6
    >>> train.SGD([weight], lr=0.1).step()
    >>> print(weight.data.round(3))
    [2.4]
    """

    state_names = ("momentum_buffer",)

    def __init__(
        self,
        parameters: Parameters,
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(parameters, {**settings, "nesterov": nesterov, "maximize": maximize})

    def check_settings(self, group: dict[str, Any]) -> None:
        super().check_settings(group)
        group["dampening"] = check_number("dampening", group["dampening"])
        fits = not group["nesterov"] or (group["momentum"] > 0 and group["dampening"] == 0)
        require(fits, "nesterov needs a momentum above 0 and no dampening")

    def update(self, p, grad, state, group):
        lr, momentum, dampening = group["lr"], group["momentum"], group["dampening"]
        if group["weight_decay"]:
            grad = grad + group["weight_decay"] * p.data
        if momentum == 0:
            return lr * grad
        if not state:
            state["momentum_buffer"] = grad.astype(p.dtype)
        else:
            state["momentum_buffer"] *= momentum
            state["momentum_buffer"] += grad if dampening == 0 else (1 - dampening) * grad
        if group["nesterov"]:
            return lr * (grad + momentum * state["momentum_buffer"])
        return lr * state["momentum_buffer"]


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients by one factor so that their common L2 norm is at most ``max_norm``.

    Returns the norm before scaling. Pruned weights (False in ``Parameter.mask``) do not count, because no
    step moves them. FloatingPointError, without scaling, if the norm is not finite (Pascanu et al. 2013).

    >>> from minidl import nn, train
    >>> weight = nn.Parameter([1.0, 1.0])
    >>> weight.grad = np.float32([3, 4])
    >>> print(train.clip_grad_norm([weight], max_norm=1.0), weight.grad)
    5.0 [0.6 0.8]
    """
    positive_number("max_norm", max_norm)
    given, squares = several(parameters), 0.0
    for p in given:
        grad, mask = own_gradient(check_instance("each parameter", p, Tensor)), getattr(p, "mask", None)
        if grad is not None:
            squares += float(np.square(grad, dtype=np.float64).sum(where=True if mask is None else mask))
    norm = math.sqrt(squares)
    why = f"the norm of the gradients is {norm}: minidl.detect_anomaly() finds the cause"
    require(math.isfinite(norm), why, FloatingPointError)
    if norm > max_norm:
        for p in given:
            if p.grad is not None:
                p.grad *= max_norm / norm
    return norm


def optimizer_settings(state: dict[str, Any]) -> dict[str, Any]:
    """The settings of an optimizer's state as JSON values: all except the present lr."""
    given = {"optimizer": state["kind"]}
    for i, group in enumerate(state["param_groups"]):
        for name, value in group.items():
            if name not in ("lr", "params"):
                value = list(value) if isinstance(value, tuple) else value
                given[f"{name.removeprefix('initial_')} of group {i}"] = value
    return given


def several(parameters: Iterable) -> list:
    """The parameters as a list. A single Tensor is refused: a loop over it would give its rows."""
    lone = isinstance(parameters, Tensor | dict | str | bytes | np.ndarray)
    wanted = "parameters must be Tensors or groups of them, such as model.parameters()"
    require(not lone and isinstance(parameters, Iterable), f"{wanted}, got {shown(parameters)}", TypeError)
    return list(parameters)
