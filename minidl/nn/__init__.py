"""Layers and models: ``import minidl.nn as nn``, ``import minidl.nn.functional as F``."""

from minidl.nn import functional, init, models
from minidl.nn.containers import Concat, Residual, Sequential, Skip
from minidl.nn.layers import (
    GELU,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    ReLU6,
    Sigmoid,
    Tanh,
    ZeroPad2d,
)
from minidl.nn.module import Hook, Module, Parameter, eval_mode
from minidl.nn.table import summary

__all__ = [
    "GELU",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Concat",
    "Conv2d",
    "Dropout",
    "Flatten",
    "Hook",
    "Identity",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Module",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Skip",
    "Tanh",
    "ZeroPad2d",
    "eval_mode",
    "functional",
    "init",
    "models",
    "summary",
]
