"""Reuse of what a network has learned: finetuning, features, few examples."""
