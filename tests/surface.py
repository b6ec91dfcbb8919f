"""One valid call of every public function, for the tests that replace arguments by bad ones."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import minidl
from minidl import Tensor, nn
from minidl.attack import fgsm
from minidl.compress import calibrate, global_magnitude_masks, packed, qat, quantize
from minidl.explain import saliency
from minidl.nn import functional as F
from minidl.nn import models
from minidl.train import SGD, checkpoint, reliability
from minidl.train.intervals import Interval
from minidl.transfer import distillation_loss, fewshot

PACKAGES = ("nn", "train", "data", "transfer", "compress", "explain", "attack", "export", "figures")
MODULES = (
    "nn.functional",
    "nn.init",
    "nn.models",
    "train.calibration",
    "train.checkpoint",
    "train.intervals",
    "train.metrics",
    "train.schedules",
    "transfer.contrastive",
    "transfer.distill",
    "transfer.distill_loss",
    "transfer.fewshot",
    "compress.calibrate",
    "compress.fuse",
    "compress.integer",
    "compress.qat",
    "compress.quantize",
    "figures.pruning",
    "figures.quantization",
    "figures.thresholds",
)
Call = Callable[[], dict[str, Any]]


def public() -> dict[str, Callable[..., Any]]:
    """Every public function and class, by its dotted name."""
    found: dict[str, Callable[..., Any]] = {}
    seen: set[int] = set()
    for path in ("", *PACKAGES, *MODULES):
        room = importlib.import_module(f"minidl.{path}" if path else "minidl")
        for name in getattr(room, "__all__", None) or defined(room):
            value = getattr(room, name)
            if callable(value) and id(value) not in seen:
                seen.add(id(value))
                found[f"{path}.{name}" if path else name] = value
    return found


def defined(room: Any) -> list[str]:
    """The names that a module without ``__all__`` defines itself, private ones aside."""
    return [
        name
        for name, value in vars(room).items()
        if name[0] != "_" and getattr(value, "__module__", "") == room.__name__
    ]


def methods_of_tensor() -> dict[str, Callable[..., Any]]:
    """The public methods of Tensor that take arguments."""
    return {
        f"Tensor.{name}": method
        for name, method in inspect.getmembers(minidl.Tensor, inspect.isfunction)
        if name[0] != "_" and len(inspect.signature(method).parameters) > 1
    }


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return rng().normal(size=shape).astype(np.float32)


def images(n: int = 6, size: int = 8) -> np.ndarray:
    return rng().random((n, 1, size, size)).astype(np.float32)


LABELS = np.array([0, 1, 2, 0, 1, 2])


def network() -> nn.Sequential:
    """A small convolutional network in eval mode that gives three logits; its numbers are always the same."""
    return models.small_cnn(3, 1, (4, 4), rng=rng()).eval()


def classifier(rows: np.ndarray) -> np.ndarray:
    """A linear function of four features, with one output."""
    return rows @ np.arange(4.0)


def worth(present: np.ndarray) -> np.ndarray:
    """The worth of coalitions of four players."""
    return present.sum(axis=-1).astype(float) ** 2


def probabilities() -> np.ndarray:
    return np.array(
        [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]
    )


def histogram() -> calibrate.Histogram:
    filled = calibrate.Histogram(256)
    filled.add(np.abs(numbers(500)))
    return filled


def params() -> quantize.QuantParams:
    return quantize.symmetric_params(1.0, 8)


def tensor(*shape: int) -> Tensor:
    return Tensor(numbers(*shape), requires_grad=True)


def noise(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return x


def data_set() -> tuple[np.ndarray, np.ndarray]:
    return images(), LABELS.copy()


def bands() -> dict[str, np.ndarray]:
    return {"a": numbers(3, 5), "b": numbers(3, 5)}


def figure() -> Any:
    from matplotlib.figure import Figure

    return Figure()


def attacked(**more: Any) -> dict[str, Any]:
    return {"model": network(), "images": images(), "labels": LABELS.copy(), **more}


def explained(**more: Any) -> dict[str, Any]:
    return {"model": network(), "images": images(2), "target": 1, **more}


def scored(**more: Any) -> dict[str, Any]:
    return explained(maps=numbers(2, 8, 8), steps=4, baseline="mean", probability=True, rng=rng(), **more)


def student_terms(**more: Any) -> dict[str, Any]:
    return {
        "student_logits": numbers(6, 3),
        "teacher_logits": numbers(6, 3) + 1,
        "labels": LABELS.copy(),
        **more,
    }


def quantized(**more: Any) -> dict[str, Any]:
    return {
        "model": network(),
        "calibration_images": images(),
        "weight_bits": 8,
        "activation_bits": 8,
        "per_channel": True,
        "calibration": "max",
        **more,
    }


def qat_model() -> nn.Module:
    return qat.prepare_qat(**quantized())


def neighbours() -> dict[str, Any]:
    return {"support": numbers(6, 4), "labels": LABELS.copy(), "queries": numbers(5, 4)}


def training(**more: Any) -> dict[str, Any]:
    return {
        "model": network(),
        "train": data_set(),
        "epochs": 1,
        "batch_size": 4,
        "rng": rng(),
        "progress": False,
        **more,
    }


def sgd(model: nn.Module) -> SGD:
    return SGD(model.parameters(), 0.01)


def with_optimizer(known: dict[str, Any]) -> dict[str, Any]:
    return {**known, "optimizer": sgd(known["model"])}


def parameters() -> list[nn.Parameter]:
    parameter = nn.Parameter(numbers(3))
    parameter.grad = numbers(3)
    return [parameter]


def flat_network() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3, rng=rng()))


def distillation(student: Tensor, teacher: Tensor, labels: np.ndarray | None) -> Any:
    return distillation_loss(student, teacher, labels, alpha=0.5, beta=0.5, temperature=2.0)


def conv() -> dict[str, Any]:
    return {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}


def saved_checkpoint() -> dict[str, Any]:
    checkpoint.save("state.npz", network())
    return {"path": "state.npz", "model": network(), "optimizer": None, "rng": None}


def photographs(n: int) -> np.ndarray:
    return rng().random((n, 3, 8, 8)).astype(np.float32)


def a_picture() -> Path:
    """A picture in the folder of its class, both in the folder ``pictures``."""
    path = Path("pictures/cats/one.png")
    if not path.exists():
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 100, np.uint8)).save(path)
    return path


def a_table() -> Path:
    """The table of what the pictures of a folder show."""
    (a_picture().parents[1] / "classes.csv").write_text("file,classes\ncats/one.png,tabby cat\n")
    return a_picture().parents[1] / "classes.csv"


# One valid call of each function: its arguments by name. "*" holds the arguments for *args.
CALLS: dict[str, Call] = {
    "Tensor": lambda: {"data": numbers(2, 3), "requires_grad": True, "dtype": np.float32, "name": "x"},
    "concatenate": lambda: {"tensors": [tensor(2, 3), tensor(2, 3)], "axis": 0},
    "stack": lambda: {"tensors": [tensor(2, 3), tensor(2, 3)], "axis": 0},
    "grad": lambda: (lambda x: {"output": (x * x).sum(), "inputs": x, "grad_output": None})(tensor(3)),
    "gradcheck": lambda: {
        "function": lambda x: x * x,
        "*": [numbers(3).astype(float)],
        "eps": 1e-6,
        "rtol": 1e-5,
        "atol": 1e-8,
    },
    "maximum": lambda: {"a": tensor(2, 3), "b": tensor(2, 3)},
    "minimum": lambda: {"a": tensor(2, 3), "b": tensor(2, 3)},
    "where": lambda: {"condition": np.array([True, False]), "a": tensor(2), "b": tensor(2)},
    "einsum": lambda: {"equation": "ij,kj->ik", "*": [tensor(2, 3), tensor(2, 3)]},
    "pad": lambda: {"x": tensor(2, 3), "pad_width": ((1, 1), (0, 2)), "value": 0.0},
    # nn
    "nn.AdaptiveAvgPool2d": lambda: {"output_size": 1},
    "nn.AvgPool2d": lambda: {
        "kernel_size": 2,
        "stride": 2,
        "padding": 0,
        "ceil_mode": True,
        "count_include_pad": True,
    },
    "nn.MaxPool2d": lambda: {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": False},
    "nn.ELU": lambda: {"alpha": 1.0, "inplace": False},
    "nn.GELU": lambda: {"approximate": "tanh"},
    "nn.GroupNorm": lambda: {"num_groups": 1, "num_channels": 3, "eps": 1e-5, "affine": True},
    "nn.Hardsigmoid": lambda: {"inplace": False},
    "nn.Hardswish": lambda: {"inplace": False},
    "nn.LayerNorm": lambda: {
        "normalized_shape": (2, 3),
        "eps": 1e-5,
        "elementwise_affine": True,
        "bias": True,
    },
    "nn.Flatten": lambda: {"start_dim": 1, "end_dim": -1},
    "nn.LogSoftmax": lambda: {"dim": 1},
    "nn.ModuleList": lambda: {"modules": [nn.ReLU(), nn.Identity()]},
    "nn.ReLU": lambda: {"inplace": False},
    "nn.ReLU6": lambda: {"inplace": False},
    "nn.SiLU": lambda: {"inplace": False},
    "nn.Softmax": lambda: {"dim": 1},
    "nn.Softplus": lambda: {"beta": 1.0, "threshold": 20.0},
    "nn.Upsample": lambda: {"size": (3, 5), "scale_factor": None, "mode": "bilinear", "align_corners": True},
    "nn.BCEWithLogitsLoss": lambda: {"weight": 1.0, "reduction": "mean", "pos_weight": 2.0},
    "nn.CrossEntropyLoss": lambda: {
        "weight": np.ones(3),
        "ignore_index": 1,
        "reduction": "sum",
        "label_smoothing": 0.1,
    },
    "nn.NLLLoss": lambda: {"weight": np.ones(3), "ignore_index": 1, "reduction": "sum"},
    "nn.L1Loss": lambda: {"reduction": "mean"},
    "nn.MSELoss": lambda: {"reduction": "mean"},
    "nn.SmoothL1Loss": lambda: {"reduction": "mean", "beta": 1.0},
    "nn.BatchNorm1d": lambda: {"num_features": 3, "eps": 1e-5, "momentum": 0.1, "affine": True},
    "nn.BatchNorm2d": lambda: {"num_features": 3, "eps": 1e-5, "momentum": 0.1, "affine": True},
    "nn.Conv2d": lambda: {
        "in_channels": 2,
        "out_channels": 4,
        "kernel_size": 3,
        **conv(),
        "bias": True,
        "rng": rng(),
    },
    "nn.Concat": lambda: {"*": [nn.ReLU(), nn.Identity()]},
    "nn.Sequential": lambda: {"*": [nn.ReLU(), nn.Identity()]},
    "nn.Dropout": lambda: {"p": 0.5, "inplace": False, "rng": rng()},
    "nn.Dropout2d": lambda: {"p": 0.5, "inplace": False, "rng": rng()},
    "nn.LeakyReLU": lambda: {"negative_slope": 0.01, "inplace": False},
    "nn.Linear": lambda: {"in_features": 4, "out_features": 3, "bias": True, "rng": rng()},
    "nn.Parameter": lambda: {"data": numbers(3), "requires_grad": True},
    "nn.Residual": lambda: {"body": nn.ReLU(), "shortcut": nn.Identity()},
    "nn.summary": lambda: {"model": network(), "input_shape": (1, 8, 8)},
    "nn.functional.relu": lambda: {"x": tensor(2, 3), "inplace": False},
    "nn.functional.gelu": lambda: {"x": tensor(2, 3), "approximate": "none"},
    "nn.functional.silu": lambda: {"x": tensor(2, 3), "inplace": False},
    "nn.functional.hardsigmoid": lambda: {"x": tensor(2, 3), "inplace": False},
    "nn.functional.hardswish": lambda: {"x": tensor(2, 3), "inplace": False},
    "nn.functional.elu": lambda: {"x": tensor(2, 3), "alpha": 1.0, "inplace": False},
    "nn.functional.softplus": lambda: {"x": tensor(2, 3), "beta": 1.0, "threshold": 20.0},
    "nn.functional.layer_norm": lambda: {
        "x": tensor(2, 3),
        "normalized_shape": (3,),
        "weight": tensor(3),
        "bias": tensor(3),
        "eps": 1e-5,
    },
    "nn.functional.group_norm": lambda: {
        "x": tensor(2, 4, 3),
        "num_groups": 2,
        "weight": tensor(4),
        "bias": tensor(4),
        "eps": 1e-5,
    },
    "nn.functional.interpolate": lambda: {
        "x": tensor(2, 3, 4, 5),
        "size": None,
        "scale_factor": 2.0,
        "mode": "bilinear",
        "align_corners": False,
    },
    "nn.functional.nll_loss": lambda: {
        "log_probabilities": tensor(6, 3),
        "labels": LABELS.copy(),
        "weight": np.ones(3),
        "ignore_index": 1,
        "reduction": "mean",
    },
    "nn.functional.l1_loss": lambda: {
        "prediction": tensor(2, 3),
        "target": numbers(2, 3),
        "reduction": "mean",
    },
    "nn.functional.smooth_l1_loss": lambda: {
        "prediction": tensor(2, 3),
        "target": numbers(2, 3),
        "reduction": "mean",
        "beta": 1.0,
    },
    "nn.functional.tanh": lambda: {"x": tensor(2, 3)},
    "nn.functional.sigmoid": lambda: {"x": tensor(2, 3)},
    "nn.functional.leaky_relu": lambda: {"x": tensor(2, 3), "negative_slope": 0.1, "inplace": False},
    "nn.functional.softmax": lambda: {"x": tensor(2, 3), "dim": -1, "temperature": 2.0},
    "nn.functional.log_softmax": lambda: {"x": tensor(2, 3), "dim": -1, "temperature": 2.0},
    "nn.functional.linear": lambda: {"x": tensor(2, 4), "weight": tensor(3, 4), "bias": tensor(3)},
    "nn.functional.conv2d": lambda: {
        "x": tensor(2, 3, 6, 6),
        "weight": tensor(4, 3, 3, 3),
        "bias": tensor(4),
        **conv(),
    },
    "nn.functional.max_pool2d": lambda: {
        "x": tensor(2, 3, 6, 6),
        "kernel_size": 2,
        "stride": 2,
        "padding": 0,
        "ceil_mode": False,
    },
    "nn.functional.avg_pool2d": lambda: {
        "x": tensor(2, 3, 6, 6),
        "kernel_size": 2,
        "stride": 2,
        "padding": 0,
        "ceil_mode": True,
        "count_include_pad": False,
    },
    "nn.functional.adaptive_avg_pool2d": lambda: {"x": tensor(2, 3, 6, 6), "output_size": 1},
    "nn.functional.batch_norm": lambda: {
        "x": tensor(4, 3),
        "running_mean": np.zeros(3, np.float32),
        "running_var": np.ones(3, np.float32),
        "weight": tensor(3),
        "bias": tensor(3),
        "training": False,
        "momentum": 0.1,
        "eps": 1e-5,
    },
    "nn.functional.dropout": lambda: {
        "x": tensor(2, 3),
        "p": 0.5,
        "training": True,
        "inplace": False,
        "rng": rng(),
    },
    "nn.functional.dropout2d": lambda: {
        "x": tensor(2, 3, 4, 4),
        "p": 0.5,
        "training": True,
        "inplace": False,
        "rng": rng(),
    },
    "nn.functional.pad": lambda: {
        "x": tensor(1, 1, 3, 3),
        "pad": (1, 1, 1, 1),
        "mode": "constant",
        "value": 0.0,
    },
    "nn.functional.cross_entropy": lambda: {
        "logits": tensor(6, 3),
        "labels": LABELS.copy(),
        "weight": np.ones(3),
        "reduction": "mean",
        "label_smoothing": 0.1,
        "temperature": 1.0,
        "ignore_index": 1,
    },
    "nn.functional.mse_loss": lambda: {
        "prediction": tensor(2, 3),
        "target": numbers(2, 3),
        "reduction": "mean",
    },
    "nn.init.uniform_": lambda: {"tensor": tensor(2, 3), "a": -1.0, "b": 1.0, "rng": rng()},
    "nn.init.normal_": lambda: {"tensor": tensor(2, 3), "mean": 0.5, "std": 2.0, "rng": rng()},
    "nn.init.kaiming_uniform_": lambda: {
        "tensor": tensor(2, 3),
        "a": 0.0,
        "mode": "fan_in",
        "nonlinearity": "relu",
        "rng": rng(),
    },
    "nn.init.kaiming_normal_": lambda: {
        "tensor": tensor(2, 3),
        "a": 0.0,
        "mode": "fan_in",
        "nonlinearity": "relu",
        "rng": rng(),
    },
    "nn.init.xavier_uniform_": lambda: {"tensor": tensor(2, 3), "gain": 1.0, "rng": rng()},
    "nn.init.xavier_normal_": lambda: {"tensor": tensor(2, 3), "gain": 1.0, "rng": rng()},
    "nn.init.constant_": lambda: {"tensor": tensor(2, 3), "val": 0.5},
    "nn.init.zeros_": lambda: {"tensor": tensor(2, 3)},
    "nn.init.ones_": lambda: {"tensor": tensor(2, 3)},
    "nn.models.mlp": lambda: {"in_features": 4, "hidden": 3, "num_classes": 2, "dropout": 0.1, "rng": rng()},
    "nn.models.lenet": lambda: {"num_classes": 3, "in_channels": 1, "image_size": 28, "rng": rng()},
    "nn.models.small_cnn": lambda: {
        "num_classes": 3,
        "in_channels": 1,
        "widths": (4, 4),
        "pool_after": (2,),
        "rng": rng(),
    },
    "nn.models.tiny_resnet": lambda: {
        "num_classes": 3,
        "in_channels": 1,
        "widths": (4, 4),
        "blocks": 1,
        "rng": rng(),
    },
    "nn.models.residual_block": lambda: {"in_channels": 2, "out_channels": 4, "stride": 2, "rng": rng()},
    "nn.models.inception_block": lambda: {
        "in_channels": 4,
        "widths": (2, 2, 2, 2),
        "reduce": 2,
        "rng": rng(),
    },
    "nn.Skip": lambda: {"*": [nn.ReLU(), nn.Identity()]},
    "nn.ZeroPad2d": lambda: {"padding": (1, 1, 0, 2)},
    # train
    "train.supervised": lambda: {"loss": F.cross_entropy, "counts_accuracy": True},
    "train.reestimate_statistics": lambda: {"model": network(), "images": images(), "batch_size": 3},
    "train.match_statistics": lambda: {
        "model": network(),
        "float_model": network(),
        "images": images(),
        "batch_size": 3,
    },
    "train.SGD": lambda: {
        "parameters": parameters(),
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.1,
        "nesterov": True,
        "dampening": 0,
        "maximize": False,
    },
    "train.Adam": lambda: {
        "parameters": parameters(),
        "lr": 0.1,
        "betas": (0.9, 0.99),
        "eps": 1e-8,
        "weight_decay": 0.1,
        "maximize": False,
    },
    "train.AdamW": lambda: {
        "parameters": parameters(),
        "lr": 0.1,
        "betas": (0.9, 0.99),
        "eps": 1e-8,
        "weight_decay": 0.1,
        "maximize": False,
    },
    "train.RMSprop": lambda: {
        "parameters": parameters(),
        "lr": 0.1,
        "alpha": 0.99,
        "eps": 1e-8,
        "weight_decay": 0.1,
        "momentum": 0.9,
        "centered": True,
        "maximize": False,
    },
    "train.accuracy": lambda: {"predictions": numbers(6, 3), "labels": LABELS.copy()},
    "train.clip_grad_norm": lambda: {"parameters": parameters(), "max_norm": 1.0},
    "train.confusion_matrix": lambda: {
        "predictions": numbers(6, 3),
        "labels": LABELS.copy(),
        "num_classes": 3,
    },
    "train.evaluate": lambda: attacked(batch_size=4, loss=F.cross_entropy),
    "train.expected_calibration_error": lambda: {
        "probabilities": probabilities(),
        "labels": LABELS.copy(),
        "bins": 5,
    },
    "train.fit": lambda: (
        lambda known: {
            **known,
            "test": data_set(),
            "optimizer": sgd(known["model"]),
            "schedule": None,
            "augment": None,
            "max_grad_norm": 1.0,
            "drop_last": False,
            "patience": 1,
            "keep_best": True,
            "checkpoint": None,
            "loss": F.cross_entropy,
            "step": None,
            "metric": None,
        }
    )(training()),
    "train.checkpoint.save": lambda: {
        "path": "state.npz",
        "model": network(),
        "optimizer": None,
        "rng": rng(),
        "history": None,
        "step": 3,
        "best": None,
        "settings": {"epochs": 3},
    },
    "train.checkpoint.load": saved_checkpoint,
    "train.fit_temperature": lambda: {
        "logits": numbers(6, 3),
        "labels": LABELS.copy(),
        "bounds": (0.05, 20.0),
    },
    "train.per_class_accuracy": lambda: {
        "predictions": numbers(6, 3),
        "labels": LABELS.copy(),
        "num_classes": 3,
        "confidence": 0.9,
    },
    "train.predict": lambda: {"model": network(), "images": images(), "batch_size": 4},
    "train.reliability": lambda: {"probabilities": probabilities(), "labels": LABELS.copy(), "bins": 5},
    "train.roc_auc": lambda: {"scores": numbers(6), "positive": LABELS == 1},
    "train.intervals.t_interval": lambda: {"values": numbers(5), "confidence": 0.9},
    "train.intervals.paired_difference": lambda: {"a": numbers(5), "b": numbers(5) * 2, "confidence": 0.9},
    "train.intervals.wilson_interval": lambda: {"successes": 3, "n": 5, "confidence": 0.9},
    "train.calibration.entropy": lambda: {"probabilities": probabilities(), "axis": -1},
    "train.schedules.constant": lambda: {"value": 0.1},
    "train.schedules.linear": lambda: {"start": 0.1, "end": 0.0, "steps": 10},
    "train.schedules.cosine": lambda: {"start": 0.1, "end": 0.0, "steps": 10},
    "train.schedules.exponential": lambda: {"start": 0.1, "end": 0.01, "steps": 10},
    "train.schedules.step_decay": lambda: {"value": 0.1, "factor": 0.5, "every": 10},
    "train.schedules.multi_step": lambda: {"value": 0.1, "factor": 0.5, "milestones": [3, 5]},
    "train.schedules.one_cycle": lambda: {
        "highest": 0.1,
        "steps": 10,
        "pct_start": 0.3,
        "div_factor": 25.0,
        "final_div_factor": 1e4,
    },
    "train.schedules.plateau": lambda: {"value": 0.1, "factor": 0.5, "patience": 3, "threshold": 1e-4},
    "train.schedules.with_warmup": lambda: {"schedule": lambda step: 0.1, "warmup_steps": 3},
    # data
    "data.add_marks": lambda: {
        "images": rng().random((4, 3, 16, 16)).astype(np.float32),
        "classes": np.array([0, 1, 2, 3]),
    },
    "data.batches": lambda: {
        "images": images(),
        "labels": LABELS.copy(),
        "batch_size": 4,
        "rng": rng(),
        "shuffle": True,
        "augment": None,
        "drop_last": False,
    },
    "data.brightness": lambda: {"amount": 0.1, "clip": True},
    "data.color_jitter": lambda: {
        "brightness": 0.1,
        "contrast": 0.1,
        "saturation": 0.1,
        "hue": 0.1,
        "clip": True,
    },
    "data.compose": lambda: {"*": [noise, noise]},
    "data.cutout": lambda: {"size": 2, "fill": 0.0},
    "data.gaussian_noise": lambda: {"sigma": 0.1, "clip": True},
    "data.horizontal_flip": lambda: {"p": 0.5},
    "data.load_digits": lambda: {"split": "stratified"},
    "data.make_cue_conflict": lambda: {
        "n": 2,
        "size": 16,
        "domain": "clean",
        "rng": rng(),
        "fixed_place": True,
        "shapes": ("circle", "square", "ring"),
        "textures": ("solid", "checks", "dots"),
    },
    "data.make_shapes": lambda: {
        "n": 2,
        "size": 16,
        "domain": "clean",
        "spurious": 0.5,
        "rng": rng(),
        "label": "shape",
        "tied": 0.0,
        "fixed_place": True,
        "shapes": ("circle", "square", "ring"),
        "textures": ("solid", "checks", "dots"),
    },
    "data.mark_masks": lambda: {"classes": np.array([0, 1]), "size": 16},
    "data.random_resized_crop": lambda: {"min_area": 0.5},
    "data.random_rotation": lambda: {"degrees": 5.0, "fill": 0.0},
    "data.random_shift": lambda: {"pixels": 1, "fill": 0.0},
    "data.salt_and_pepper": lambda: {"p": 0.1},
    "data.load_picture": lambda: {"path": a_picture(), "size": 8, "background": (0.5, 0.5, 0.5), "fill": 0.9},
    "data.load_folder": lambda: {
        "root": a_picture().parents[1],
        "size": 8,
        "background": (0.5, 0.5, 0.5),
        "fill": 0.9,
    },
    "data.picture_files": lambda: {"root": a_picture().parents[1]},
    "data.picture_classes": lambda: {"root": a_table().parent},
    # transfer
    "transfer.ProjectionHead": lambda: {"in_features": 4, "hidden": 4, "out_features": 2, "rng": rng()},
    "transfer.class_similarity": lambda: {
        "teacher": network(),
        "images": images(),
        "labels": LABELS.copy(),
        "temperature": 2.0,
    },
    "transfer.distillation_loss": lambda: student_terms(
        alpha=0.5, beta=0.5, temperature=2.0, teacher_temperature=2.0, scale_by_tau_squared=False, soft="kl"
    ),
    "transfer.logit_matching_loss": lambda: student_terms(alpha=0.5),
    "transfer.extract_features": lambda: {
        "model": network(),
        "images": images(),
        "layer": "flatten",
        "batch_size": 4,
    },
    "transfer.freeze": lambda: {"module": network()},
    "transfer.unfreeze": lambda: {"module": network(), "statistics": True},
    "transfer.frozen_report": lambda: {"model": network()},
    "transfer.gradual_unfreeze": lambda: {
        "model": network(),
        "count": 1,
        "layers": ["block1", "head"],
        "statistics": True,
    },
    "transfer.linear_probe": lambda: {
        "features": numbers(6, 4),
        "labels": LABELS.copy(),
        "l2": 0.1,
        "max_steps": 5,
    },
    "transfer.lr_sweep": lambda: {
        "model": network(),
        "train": data_set(),
        "test": data_set(),
        "lrs": [0.1, 0.01],
        "epochs": 1,
        "batch_size": 4,
        "rng": rng(),
        "optimizer": SGD,
    },
    "transfer.nt_xent": lambda: {"z1": tensor(4, 3), "z2": tensor(4, 3), "temperature": 0.5},
    "transfer.param_groups": lambda: {
        "model": network(),
        "backbone_lr": 0.1,
        "head_lr": 0.1,
        "decay": 0.9,
        "head": "head",
    },
    "transfer.pca_projection": lambda: {"features": numbers(6, 4), "dims": 2},
    "transfer.finetune.layer_rates": lambda: {"count": 3, "top_rate": 0.1, "decay": 0.5},
    "transfer.replace_head": lambda: {"model": network(), "num_classes": 5, "rng": rng(), "head": "head"},
    "transfer.same_or_not": lambda: {"features_a": numbers(4, 3), "features_b": numbers(4, 3)},
    "transfer.shapes_cnn": lambda: {"num_classes": 3, "rng": rng()},
    "transfer.soft_targets": lambda: {"logits": numbers(4, 3), "temperature": 2.0},
    "transfer.standardise": lambda: {"reference": numbers(6, 4), "features": numbers(3, 4)},
    "transfer.two_views": lambda: {"images": images(), "augment": noise, "rng": rng()},
    "transfer.train_simclr": lambda: {
        "encoder": flat_network(),
        "head": nn.Linear(3, 2, rng=rng()),
        "images": images(),
        "augment": noise,
        "epochs": 1,
        "temperature": 0.5,
        "batch_size": 4,
        "optimizer": None,
        "schedule": None,
        "rng": rng(),
        "progress": False,
    },
    "transfer.distill.distill": lambda: {
        "teacher": network(),
        "student": network(),
        "train": data_set(),
        "test": data_set(),
        "loss": distillation,
        "epochs": 1,
        "batch_size": 4,
        "optimizer": None,
        "schedule": None,
        "augment": None,
        "rng": rng(),
        "progress": False,
        "drop_last": False,
    },
    "transfer.fewshot.knn_predict": lambda: {
        **neighbours(),
        "k": 1,
        "metric": "cosine",
        "weights": "distance",
    },
    "transfer.fewshot.nearest_neighbours": lambda: {**neighbours(), "k": 1, "metric": "euclidean"},
    "transfer.fewshot.prototype_predict": lambda: {**neighbours(), "metric": "euclidean"},
    "transfer.fewshot.episodes": lambda: {
        "labels": np.repeat(np.arange(4), 5),
        "ways": 2,
        "shots": 1,
        "queries": 2,
        "count": 2,
        "rng": rng(),
    },
    "transfer.fewshot.evaluate_episodes": lambda: {
        "features": numbers(20, 4),
        "labels": np.repeat(np.arange(4), 5),
        "episodes": fewshot.episodes(np.repeat(np.arange(4), 5), 2, 1, 2, 2, rng()),
        "predict": fewshot.knn_predict,
    },
    # compress
    "compress.ablation_scores": lambda: attacked(layer="block1.conv"),
    "compress.taylor_scores": lambda: attacked(layer="block1.conv"),
    "compress.apply_masks": lambda: {
        "model": network(),
        "masks": {"head.weight": np.ones((3, 4), bool)},
        "x": images(1),
    },
    "compress.filter_mask": lambda: {"scores": np.arange(4.0), "amount": 0.5, "s": None},
    "compress.filter_masks": lambda: {"model": network(), "amount": 0.5, "order": 1, "x": images(1)},
    "compress.filter_norms": lambda: {"conv": numbers(4, 3, 3, 3), "order": 1},
    "compress.global_magnitude_masks": lambda: {"model": network(), "amount": 0.5},
    "compress.iterative_prune": lambda: {
        "model": network(),
        "train": data_set(),
        "validation": data_set(),
        "max_allowed_loss": 5.0,
        "step": 0.5,
        "finetune_epochs": 1,
        "lr": 0.001,
        "rng": rng(),
        "criterion": global_magnitude_masks,
    },
    "compress.magnitude_mask": lambda: {"weight": numbers(4, 3), "amount": 0.5},
    "compress.random_scores": lambda: {"conv": numbers(4, 3, 3, 3), "rng": rng()},
    "compress.remove_filters": lambda: {
        "model": network(),
        "layer": "block1.conv",
        "indices": [0],
        "x": images(1),
    },
    "compress.remove_masked_filters": lambda: {"model": network(), "x": images(1)},
    "compress.sensitivity": lambda: attacked(layer="block1.conv", amounts=[0.5]),
    "compress.sparse_bytes": lambda: {"model": network()},
    "compress.sparsity": lambda: {"model": network()},
    "compress.threshold_mask": lambda: {"weight": numbers(4, 3), "s": 1.0},
    "compress.calibrate.Histogram": lambda: {"bins": 256},
    "compress.calibrate.max_threshold": lambda: {"histogram": histogram()},
    "compress.calibrate.percentile_threshold": lambda: {"histogram": histogram(), "percentile": 99.0},
    "compress.calibrate.mse_threshold": lambda: {"histogram": histogram(), "bits": 4},
    "compress.calibrate.entropy_threshold": lambda: {"histogram": histogram(), "bits": 4},
    "compress.calibrate.mse_curve": lambda: {"histogram": histogram(), "bits": 4},
    "compress.calibrate.kl_curve": lambda: {"histogram": histogram(), "bits": 4},
    "compress.flow.cost": lambda: {"model": network(), "input_shape": (1, 8, 8)},
    "compress.fuse.fuse": lambda: {"model": network(), "x": images(1)},
    "compress.fuse.folded": lambda: {
        "weight": numbers(3, 4),
        "bias": numbers(3),
        "mean": numbers(3),
        "var": np.ones(3),
        "gamma": numbers(3),
        "beta": numbers(3),
        "eps": 1e-5,
    },
    "compress.branches.merge_parallel_convs": lambda: {"model": network()},
    "compress.integer.quantize_model": quantized,
    "compress.integer.model_bytes": lambda: {"model": network()},
    "compress.integer.requantize": lambda: {
        "sums": np.array([1, 2], np.int32),
        "M": 0.5,
        "y_params": params(),
    },
    "compress.integer.fixed_point_multiplier": lambda: {"M": 0.25},
    "compress.qat.prepare_qat": quantized,
    "compress.correct.correct_biases": lambda: {
        "model": qat_model(),
        "float_model": network(),
        "images": images(),
    },
    "compress.packed.pack": lambda: {"q": np.array([1, -2, 3]), "bits": 4},
    "compress.packed.unpack": lambda: {"packed": np.array([241, 3], np.uint8), "bits": 4, "count": 3},
    "compress.packed.quantize_groups": lambda: {"weight": numbers(3, 40), "bits": 4, "group_size": 32},
    "compress.packed.dequantize_groups": lambda: {"grouped": packed.quantize_groups(numbers(3, 40))},
    "compress.packed.pack_weights": lambda: {"model": network(), "bits": 4, "group_size": 32},
    "compress.integer.convert": lambda: {"model": qat_model()},
    "compress.quantize.symmetric_params": lambda: {"absmax": 1.0, "bits": 8, "axis": None},
    "compress.quantize.affine_params": lambda: {
        "rmin": -1.0,
        "rmax": 2.0,
        "bits": 8,
        "signed": True,
        "axis": None,
    },
    "compress.quantize.channel_absmax": lambda: {"r": numbers(3, 4), "axis": 0},
    "compress.quantize.quantize": lambda: {"r": numbers(3, 4), "params": params()},
    "compress.quantize.dequantize": lambda: {"q": np.array([1, 2], np.int8), "params": params()},
    "compress.quantize.fake_quantize": lambda: {"x": tensor(3, 4), "params": params()},
    "compress.precision.sqnr": lambda: {"r": numbers(3, 4), "params": params()},
    "compress.precision.packed_bytes": lambda: {
        "weights": 10,
        "bits": 4,
        "channels": 2,
        "group_size": 32,
    },
    # explain
    "explain.Explainer": lambda: {
        "predict": classifier,
        "background": numbers(3, 4),
        "groups": np.array([0, 0, 1, 2]),
    },
    "explain.area_under": lambda: {"curves": rng().random((2, 5))},
    "explain.deconvnet": explained,
    "explain.guided_backprop": explained,
    "explain.input_gradient": explained,
    "explain.input_x_gradient": explained,
    "explain.saliency": lambda: explained(reduce="max"),
    "explain.smoothgrad": lambda: explained(samples=2, sigma=0.1, rng=rng()),
    "explain.integrated_gradients": lambda: explained(baseline=0.0, steps=4, nodes="gauss", rng=rng()),
    "explain.gradcam": lambda: explained(layer="block1.relu", upsample=True),
    "explain.guided_gradcam": lambda: explained(layer="block1.relu"),
    "explain.occlusion_map": lambda: explained(
        window=4, stride=4, baseline="mean", probability=True, rng=rng()
    ),
    "explain.deletion_curve": scored,
    "explain.insertion_curve": scored,
    "explain.easy_and_hard": attacked,
    "explain.hardest_examples": lambda: attacked(k=2),
    "explain.most_confident_mistakes": lambda: attacked(k=2),
    "explain.per_coalition": lambda: {"worth": lambda players: float(len(players))},
    "explain.kernel_shap": lambda: {"value": worth, "n": 4, "samples": 10, "rng": rng()},
    "explain.kernel_estimate": lambda: {"value": worth, "n": 4, "samples": 10, "rng": rng()},
    "explain.kernel_weights": lambda: {"n": 4},
    "explain.shapley_values": lambda: {"value": worth, "n": 4},
    "explain.shapley_paths": lambda: {"value": worth, "n": 4, "samples": 4, "rng": rng(), "antithetic": True},
    "explain.mass_inside": lambda: {"maps": rng().random((2, 8, 8)), "masks": np.ones((2, 8, 8), bool)},
    "explain.pointing_game": lambda: {"maps": rng().random((2, 8, 8)), "masks": np.ones((2, 8, 8), bool)},
    "explain.patch_groups": lambda: {"height": 8, "width": 8, "size": 4},
    "explain.receptive_field": lambda: {"model": network(), "layer": "block1.conv", "input_shape": (1, 8, 8)},
    "explain.shape_bias": lambda: {
        "predictions": LABELS.copy(),
        "shape_labels": LABELS.copy(),
        "texture_labels": (LABELS + 1) % 3,
    },
    "explain.top_patches": lambda: {"model": network(), "layer": "block1.conv", "images": images(), "k": 2},
    "explain.randomisation_check": lambda: {
        "model": network(),
        "method": saliency,
        "images": images(2),
        "rng": rng(),
    },
    # attack
    "attack.fgsm": lambda: attacked(eps=0.1, targeted=False, bounds=(0, 1), loss="margin"),
    "attack.pgd": lambda: attacked(
        eps=0.1,
        steps=2,
        step_size=0.1,
        random_start=True,
        targeted=False,
        bounds=(0, 1),
        loss="margin",
        rng=rng(),
    ),
    "attack.random_signs": lambda: attacked(eps=0.1, bounds=(0, 1), rng=rng()),
    "attack.robust_accuracy": lambda: attacked(attack=fgsm, eps_list=[0.0, 0.1]),
    "attack.deepfool": lambda: {
        "model": network(),
        "image": images(1)[0],
        "steps": 2,
        "overshoot": 0.02,
        "bounds": (0, 1),
        "num_candidates": 2,
    },
    "attack.minimal_perturbation": lambda: {
        "model": network(),
        "image": images(1)[0],
        "target": 1,
        "lam": 0.1,
        "bounds": (0, 1),
        "max_steps": 5,
    },
    "attack.adversarial_training": lambda: with_optimizer(
        training(eps=0.1, attack=fgsm, drop_last=False, schedule=None, augment=None)
    ),
    "attack.noise_training": lambda: with_optimizer(
        training(sigma=0.1, drop_last=False, schedule=None, augment=None)
    ),
    # figures
    "figures.answers_by_temperature": lambda: {
        "image": images()[0],
        "probabilities": probabilities()[:2],
        "names": ["a", "b", "c"],
        "temperatures": [1.0, 2.0],
        "title": "t",
    },
    "figures.bars_with_intervals": lambda: {
        "labels": ["a", "b"],
        "intervals": [Interval(0.2, 0.1, 0.3, 5), Interval(0.5, 0.4, 0.6, 5)],
        "xlabel": "x",
        "title": "t",
        "zoom": True,
        "share": False,
    },
    "figures.points_with_intervals": lambda: {
        "x": [1.0, 10.0],
        "labels": ["a", "b"],
        "intervals": [Interval(0.2, 0.1, 0.3, 5), Interval(0.5, 0.4, 0.6, 5)],
        "xlabel": "x",
        "ylabel": "y",
        "title": "t",
        "log_x": True,
    },
    "figures.block_diagram": lambda: {
        "boxes": {"x": (0, 0, "data"), "net": (1, 0, "trained"), "loss": (2, 0.5, "loss")},
        "arrows": [("x", "net"), ("net", "loss", "logits")],
        "dashed": [("loss", "net")],
        "pictures": {"x": images()[0]},
        "title": "t",
    },
    "figures.confidence_histogram": lambda: {"confidences": {"a": rng().random(9)}, "bins": 5, "title": "t"},
    "figures.confusion_picture": lambda: {
        "matrix": np.eye(3, dtype=int),
        "class_names": ["a", "b", "c"],
        "title": "t",
    },
    "figures.convergence": lambda: {
        "samples": np.array([1, 10, 100]),
        "errors": {"a": np.array([1.0, 0.5, 0.1])},
        "intervals": {"a": np.array([[0.5, 0.2, 0.05], [2.0, 0.8, 0.2]])},
        "title": "t",
        "xlabel": "x",
        "ylabel": "y",
    },
    "figures.curves_with_bands": lambda: {
        "x": np.arange(5.0),
        "curves": bands(),
        "log_x": False,
        "log_y": False,
        "title": "t",
        "xlabel": "x",
        "ylabel": "y",
    },
    "figures.distributions": lambda: {
        "probabilities": probabilities()[:2],
        "class_names": ["a", "b", "c"],
        "titles": ["x", "y"],
        "xlabel": "x",
        "title": "t",
    },
    "figures.draw_graph": lambda: {"tensor": (tensor(2) * tensor(2)).sum()},
    "figures.draw_model": lambda: {"model": network(), "input_shape": (1, 8, 8), "title": "t"},
    "figures.filters_and_maps": lambda: {
        "filters": numbers(2, 3, 3, 3),
        "maps": numbers(2, 8, 8),
        "titles": ["a", "b"],
        "columns": 2,
        "image": photographs(1)[0],
        "title": "t",
    },
    "figures.heat_map": lambda: {
        "values": numbers(2, 3),
        "rows": ["a", "b"],
        "columns": ["c", "d", "e"],
        "decimals": 1,
        "xlabel": "x",
        "ylabel": "y",
        "label": "l",
        "title": "t",
    },
    "figures.image_grid": lambda: {
        "images": images(),
        "titles": list("abcdef"),
        "columns": 3,
        "right": [True] * 6,
        "vmin": 0.0,
        "vmax": 1.0,
        "scale_each": False,
        "title": "t",
    },
    "figures.overlay": lambda: {
        "images": images(2),
        "maps": numbers(2, 8, 8),
        "titles": ["a"],
        "signed": True,
        "scale_each": False,
        "row_titles": ["r", "s"],
        "title": "t",
    },
    "figures.signed_map": lambda: {
        "maps": numbers(1, 2, 8, 8),
        "titles": ["a", "b"],
        "columns": None,
        "vmax": 1.0,
        "scale_each": False,
        "row_titles": ["r"],
        "title": "t",
    },
    "figures.matrix_steps": lambda: {
        "names": ["a", "b"],
        "left": numbers(2, 3, 3),
        "right": numbers(2, 3, 3),
        "forward": [True, False],
        "titles": ("l", "l + 1"),
        "title": "t",
    },
    "figures.similarity_matrix": lambda: {
        "values": numbers(3, 3),
        "groups": {"one": 1, "two": 2},
        "names": ["a", "b", "c"],
        "label": "cosine",
        "title": "t",
    },
    "figures.reliability_diagram": lambda: {
        "tables": {"a": reliability(probabilities(), LABELS, 5)},
        "title": "t",
    },
    "figures.neighbours_picture": lambda: {
        "queries": images(2),
        "support": images(3),
        "neighbours": {"a": np.array([[0, 1], [1, 2]])},
        "same_class": {"a": np.ones((2, 2), bool)},
        "title": "t",
        "row_titles": ["r", "s"],
    },
    "figures.scatter_by_class": lambda: {
        "clouds": {"a": numbers(6, 2)},
        "labels": LABELS.copy(),
        "class_names": ["a", "b", "c"],
        "xlabel": "x",
        "ylabel": "y",
        "title": "t",
    },
    "figures.shap_summary": lambda: {
        "values": numbers(6, 3),
        "data": numbers(6, 3),
        "names": ["a", "b", "c"],
        "max_shown": 2,
        "xlabel": "x",
        "title": "t",
    },
    "figures.waterfall": lambda: {
        "values": numbers(3),
        "base_value": 0.5,
        "names": ["a", "b", "c"],
        "data": numbers(3),
        "max_shown": 2,
        "xlabel": "x",
        "title": "t",
    },
    "figures.save": lambda: {"figure": figure(), "name": "surface/figure", "alt": "a square"},
    "figures.answers_picture": lambda: {
        "images": photographs(2),
        "titles": ["x", "y"],
        "answers": [[("a", 0.7), ("b", 0.2)]] * 2,
        "maps": rng().random((2, 8, 8)),
        "columns": 2,
    },
    "figures.evidence_by_class": lambda: {
        "image": photographs(1)[0],
        "guided": rng().normal(size=(2, 3, 8, 8)),
        "maps": rng().random((2, 8, 8)),
        "products": rng().normal(size=(2, 3, 8, 8)),
        "names": ["a", "b"],
        "title": "t",
    },
    "figures.patches_beside_patterns": lambda: {
        "patches": [[photographs(1)[0]] * 2],
        "patterns": [[photographs(1)[0]] * 2],
        "names": ["a"],
        "title": "t",
    },
    "figures.perturbation_triple": lambda: {
        "image": photographs(2)[0],
        "changed": np.clip(photographs(2)[0] + 0.01, 0, 1),
        "eps": 0.01,
        "before": ("a", 0.7),
        "after": ("b", 0.9),
        "title": "t",
    },
    "figures.layers_diagram": lambda: {
        "layers": ["stem", "head"],
        "rows": {"the head alone": ["head"]},
        "image": photographs(1)[0],
        "title": "t",
    },
    "figures.photograph_map": lambda: {
        "images": photographs(3),
        "clouds": {"features": numbers(3, 2)},
        "masks": np.ones((3, 8, 8), bool),
        "side": 0.5,
        "title": "t",
    },
    "figures.photograph_strip": lambda: {
        "images": photographs(2),
        "names": ["a", "b"],
        "right": [True, False],
        "columns": 2,
        "title": "t",
    },
    "figures.photograph_with_map": lambda: {
        "image": photographs(1)[0],
        "heat": rng().random((8, 8)),
        "signed": False,
        "title": "t",
        "caption": "c",
    },
    "figures.prediction_bars": lambda: {
        "image": photographs(1)[0],
        "probabilities": np.array([0.7, 0.2, 0.1]),
        "names": ["a", "b", "c"],
        "k": 2,
        "title": "t",
    },
    "figures.thresholds.saturation_lines": lambda: {
        "reals": np.array([-2.0, 0.3, 1.0]),
        "thresholds": {"a": 1.0},
        "bits": 8,
    },
    # methods of Tensor
    "Tensor.broadcast_to": lambda: {"self": tensor(1, 3), "*": [2, 3]},
    "Tensor.clip": lambda: {"self": tensor(2, 3), "low": -1.0, "high": 1.0},
    "Tensor.argmax": lambda: {"self": tensor(2, 3), "axis": -1, "keepdims": False},
    "Tensor.astype": lambda: {"self": tensor(2, 3), "dtype": np.float64},
    "Tensor.chunk": lambda: {"self": tensor(2, 3), "chunks": 2, "axis": 0},
    "Tensor.clamp": lambda: {"self": tensor(2, 3), "min": -1.0, "max": 1.0},
    "Tensor.cumsum": lambda: {"self": tensor(2, 3), "axis": -1},
    "Tensor.flip": lambda: {"self": tensor(2, 3), "axis": -1},
    "Tensor.matmul": lambda: {"self": tensor(2, 3), "other": tensor(3, 2)},
    "Tensor.norm": lambda: {"self": tensor(2, 3), "p": 2, "axis": -1, "keepdims": False},
    "Tensor.permute": lambda: {"self": tensor(2, 3), "*": [1, 0]},
    "Tensor.prod": lambda: {"self": tensor(2, 3), "axis": -1, "keepdims": False},
    "Tensor.std": lambda: {"self": tensor(2, 3), "axis": -1, "ddof": 0, "keepdims": False},
    "Tensor.swapaxes": lambda: {"self": tensor(2, 3), "axis1": 0, "axis2": 1},
    "Tensor.tile": lambda: {"self": tensor(2, 3), "*": [2, 1]},
    "Tensor.unsqueeze": lambda: {"self": tensor(2, 3), "dim": 0},
    "Tensor.view": lambda: {"self": tensor(2, 3), "*": [3, 2]},
    "Tensor.expand_dims": lambda: {"self": tensor(2, 3), "axis": 0},
    "Tensor.flatten": lambda: {"self": tensor(2, 3), "start_dim": 0, "end_dim": -1},
    "Tensor.leaky_relu": lambda: {"self": tensor(2, 3), "negative_slope": 0.1},
    "Tensor.softmax": lambda: {"self": tensor(2, 3), "axis": -1, "temperature": 2.0},
    "Tensor.log_softmax": lambda: {"self": tensor(2, 3), "axis": -1, "temperature": 2.0},
    "Tensor.logsumexp": lambda: {"self": tensor(2, 3), "axis": -1, "keepdims": False},
    "Tensor.max": lambda: {"self": tensor(2, 3), "axis": -1, "keepdims": False, "dim": None},
    "Tensor.min": lambda: {"self": tensor(2, 3), "axis": -1, "keepdims": False, "dim": None},
    "Tensor.mean": lambda: {"self": tensor(2, 3), "axis": -1, "keepdims": False},
    "Tensor.sum": lambda: {"self": tensor(2, 3), "axis": -1, "keepdims": False},
    "Tensor.var": lambda: {"self": tensor(2, 3), "axis": -1, "ddof": 0, "keepdims": False},
    "Tensor.reshape": lambda: {"self": tensor(2, 3), "*": [3, 2]},
    "Tensor.transpose": lambda: {"self": tensor(2, 3), "*": [1, 0]},
    "Tensor.squeeze": lambda: {"self": tensor(2, 1), "axis": 1},
    "Tensor.requires_grad_": lambda: {"self": tensor(2, 3), "requires_grad": True},
    "Tensor.backward": lambda: {"self": tensor(2, 3) * 2, "gradient": numbers(2, 3), "retain_graph": True},
}
if find_spec("onnx"):
    CALLS["export.to_onnx"] = lambda: {
        "model": network(),
        "example": images(1),
        "path": "network.onnx",
        "class_names": ["one", "two", "three"],
        "format": "qdq",
    }
