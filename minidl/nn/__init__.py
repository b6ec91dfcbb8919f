"""Layers and models: ``import minidl.nn as nn``, ``import minidl.nn.functional as F``."""

from minidl.engine.instead import NN, missing
from minidl.nn import functional, init, models
from minidl.nn.activations import ELU, Hardsigmoid, Hardswish, LogSoftmax, SiLU, Softmax, Softplus
from minidl.nn.containers import Concat, ModuleList, Residual, Sequential, Skip
from minidl.nn.layers import (
    GELU,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Dropout2d,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    ReLU,
    ReLU6,
    Sigmoid,
    Tanh,
)
from minidl.nn.losses import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss, SmoothL1Loss
from minidl.nn.module import Hook, Module, Parameter, eval_mode
from minidl.nn.norms import GroupNorm, LayerNorm
from minidl.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d, ZeroPad2d
from minidl.nn.resize import Upsample
from minidl.nn.table import summary

__all__ = [
    "ELU",
    "GELU",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Concat",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "GroupNorm",
    "Hardsigmoid",
    "Hardswish",
    "Hook",
    "Identity",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Skip",
    "SmoothL1Loss",
    "Softmax",
    "Softplus",
    "Tanh",
    "Upsample",
    "ZeroPad2d",
    "eval_mode",
    "functional",
    "init",
    "models",
    "summary",
]


def __getattr__(name: str) -> None:
    raise missing(f"module {__name__!r}", name, NN)
