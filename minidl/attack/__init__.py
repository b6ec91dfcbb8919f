"""Attacks: inputs that fool a network, and training against them."""

from minidl.attack.boundary import deepfool
from minidl.attack.gradient_sign import Robustness, fgsm, pgd, random_signs, robust_accuracy
from minidl.attack.minimal import Perturbation, minimal_perturbation
from minidl.attack.train import adversarial_training, noise_training

__all__ = [
    "Perturbation",
    "Robustness",
    "adversarial_training",
    "deepfool",
    "fgsm",
    "minimal_perturbation",
    "noise_training",
    "pgd",
    "random_signs",
    "robust_accuracy",
]
