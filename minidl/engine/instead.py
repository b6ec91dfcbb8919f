"""PyTorch's names that minidl does not have, and what to write instead: the words of AttributeErrors."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from types import ModuleType

_DEVICE = "nothing: there is one device"
_NORMAL = "minidl.Tensor(rng.normal(size=...)), with a np.random.Generator"
_UNIFORM = "minidl.Tensor(rng.random(...)), with a np.random.Generator"

TENSOR = {  # methods and attributes of a tensor t, also as functions: torch.mm(a, b)
    **dict.fromkeys(("to", "type"), "t itself, since there is one device, or t.astype(np.float32)"),
    "float": "t.astype(np.float32)",
    "double": "t.astype(np.float64)",
    **dict.fromkeys(("long", "int"), "t.astype(np.int64)"),
    **dict.fromkeys(("cpu", "cuda", "contiguous"), "t itself, since there is one device"),
    "device": _DEVICE,
    "clone": "t + 0",
    "numel": "t.size",
    "dim": "t.ndim",
    "t": "t.T",
    "tolist": "t.data.tolist()",
    "is_leaf": "t.op is None",
    "grad_fn": "t.op",
    "amax": "t.max(axis=...)",
    "amin": "t.min(axis=...)",
    **{name: f"np.{name}(t.data, axis=...)" for name in ("argmin", "argsort", "sort")},
    "topk": "np.argsort(-t.data, axis=...) for the indices, and t[rows, indices] for the values",
    "gather": "t[np.arange(len(t)), labels]",
    "repeat": "t.tile(...)",
    **dict.fromkeys(("expand", "expand_as"), "t.broadcast_to(...)"),
    "split": "t.chunk(n), or slices such as t[:size]",
    "unbind": "list(t)",
    **dict.fromkeys(("view_as", "reshape_as"), "t.reshape(other.shape)"),
    "pow": "t ** exponent",
    "square": "t ** 2",
    "sign": "np.sign(t.data)",
    **dict.fromkeys(("mm", "bmm", "dot", "mv"), "t @ other"),
    "outer": "t[:, None] * other",
    **dict.fromkeys(("add_", "sub_", "mul_", "div_"), "t += other, t -= other, ... in ``with no_grad():``"),
    **dict.fromkeys(("fill_", "zero_", "normal_", "uniform_"), "nn.init.zeros_(t), ... or t.data = array"),
    "copy_": "t.data = array",
    "detach_": "t = t.detach()",
    "ne": "t.data != other",
    **dict.fromkeys(("eq", "equal"), "t.data == other"),
    **{name: f"np.{name}(t.data)" for name in ("isnan", "isinf", "isfinite", "round", "floor", "any", "all")},
    "allclose": "np.allclose(t, other)",
}
MINIDL = {  # of the module torch
    "tensor": "minidl.Tensor(data), and NumPy arrays of integers for labels",
    **dict.fromkeys(("from_numpy", "as_tensor", "FloatTensor"), "minidl.Tensor(array)"),
    **{name: f"minidl.Tensor(np.{name}(...))" for name in ("zeros", "ones", "full", "linspace", "eye")},
    **{name: f"minidl.Tensor(np.{name}(t.data))" for name in ("zeros_like", "ones_like")},
    "arange": "minidl.Tensor(np.arange(...)), and np.arange(...) for indices",
    **dict.fromkeys(("randn", "normal", "randn_like"), _NORMAL),
    **dict.fromkeys(("rand", "rand_like"), _UNIFORM),
    "randint": "rng.integers(...), with a np.random.Generator",
    "randperm": "rng.permutation(n), with a np.random.Generator",
    "cat": "minidl.concatenate",
    "optim": "minidl.train",
    "utils": "minidl.data.batches(images, labels, 32) for a DataLoader",
    "autograd": "minidl.grad(y, x) for autograd.grad, and minidl.Op for autograd.Function",
    **dict.fromkeys(("inference_mode", "set_grad_enabled"), "minidl.no_grad()"),
    **dict.fromkeys(("save", "load"), "minidl.train.checkpoint, or np.savez(path, **model.state_dict())"),
    "max": "t.max(axis=...), and t.argmax(axis=...) for the indices; minidl.maximum for two tensors",
    "min": "t.min(axis=...), and np.argmin(t.data, axis=...) for the indices; minidl.minimum for two tensors",
    **{name: f"np.{name}" for name in ("float16", "float32", "float64", "int64", "int32", "uint8")},
    **{"float": "np.float32", "double": "np.float64", "long": "np.int64", "int": "np.int32", "bool": "bool"},
    **dict.fromkeys(("device", "cuda"), _DEVICE),
    "is_tensor": "isinstance(t, minidl.Tensor)",
    "cdist": "((a[:, None] - b[None]) ** 2).sum(-1).root()",
}
MODULE = {  # methods of a module
    **dict.fromkeys(("to", "cpu", "cuda"), _DEVICE),
    **dict.fromkeys(("float", "double", "half"), "nothing: parameters are float32"),
    "register_parameter": "module.name = nn.Parameter(...)",
    "register_full_backward_hook": "t.retain_grad() for the output t of the layer, and t.grad afterwards",
    "get_submodule": "module.layer(path)",
    "get_parameter": "dict(module.named_parameters())[path]",
}
FUNCTIONAL = {
    "binary_cross_entropy": "F.binary_cross_entropy_with_logits of the numbers before the sigmoid",
    "conv1d": "F.conv2d of x[:, :, None] and weight[:, :, None]",
    "conv_transpose2d": "F.interpolate(x, scale_factor=2), then F.conv2d",
    "adaptive_max_pool2d": "x.max(axis=(2, 3), keepdims=True) for the size 1",
    "huber_loss": "F.smooth_l1_loss(..., beta=delta) * delta",
    "kl_div": "(p * (log_p - log_q)).sum(axis=1).mean()",
    "normalize": "x / minidl.maximum(x.norm(dim=1, keepdim=True), 1e-12)",
    "cosine_similarity": "(a * b).sum(dim=1) / minidl.maximum(a.norm(dim=1) * b.norm(dim=1), 1e-8)",
    "logsigmoid": "-F.softplus(-x)",
    "mish": "x * F.softplus(x).tanh()",
    "instance_norm": "F.group_norm(x, num_groups=channels)",
    "embedding": "weight[indices]",
}
NN = {
    "BCELoss": "nn.BCEWithLogitsLoss, and no Sigmoid at the end of the model",
    "HuberLoss": "nn.SmoothL1Loss(beta=delta), times delta",
    "KLDivLoss": "(p * (log_p - log_q)).sum(axis=1).mean()",
    "Conv1d": "nn.Conv2d(..., kernel_size=(1, k)) of x[:, :, None]",
    "ConvTranspose2d": "nn.Upsample(scale_factor=2), then nn.Conv2d",
    "AdaptiveMaxPool2d": "x.max(axis=(2, 3), keepdims=True) for the size 1",
    "InstanceNorm2d": "nn.GroupNorm(channels, channels, affine=False)",
    "ModuleDict": "nn.ModuleList({name: module}), and its layer(name)",
    "ParameterList": "one attribute for each: self.w1 = nn.Parameter(...)",
    "Unflatten": "x.reshape(...)",
    "Embedding": "a nn.Parameter (words, features) and its rows, weight[indices]",
    "DataParallel": _DEVICE,
    "utils": "minidl.train.clip_grad_norm(parameters, max_norm) for utils.clip_grad_norm_",
}
TRAIN = {
    "lr_scheduler": "minidl.train.schedules: functions of the step, optimizer.lr = schedule(step)",
    "Adagrad": "RMSprop or Adam: they forget old gradients",
}
SCHEDULES = {
    name: f"optimizer.lr = schedule(step), with {call}"
    for name, call in {
        "StepLR": "step_decay(lr, gamma, step_size)",
        "MultiStepLR": "multi_step(lr, gamma, milestones)",
        "ExponentialLR": "exponential(lr, last_lr, steps)",
        "CosineAnnealingLR": "cosine(lr, eta_min, T_max)",
        "LinearLR": "linear(lr start_factor, lr, total_iters)",
        "LambdaLR": "lr times your function: schedule = lambda step: lr * function(step)",
        "OneCycleLR": "one_cycle(max_lr, total_steps)",
        "ReduceLROnPlateau": "plateau(lr, factor, patience) of the losses so far",
    }.items()
}


def missing(owner: str, name: str, instead: Mapping[str, str]) -> AttributeError:
    """The error for a name that ``owner`` does not have, with the mend if there is one."""
    mend = f": write {instead[name]}" if name in instead else ""
    return AttributeError(f"{owner} has no attribute {name!r}{mend}")


def submodule(package: str, name: str, instead: Mapping[str, str] | None = None) -> ModuleType:
    """A module of a package, imported when first asked for: ``minidl.compress.fuse`` after ``import minidl``.

    AttributeError for other names, in the words of ``missing``.
    """
    if find_spec(f"{package}.{name}") is None:
        raise missing(f"module {package!r}", name, instead or {})
    return importlib.import_module(f"{package}.{name}")
