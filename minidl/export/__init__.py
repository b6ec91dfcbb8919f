"""Export networks to files that other programs can run."""

from minidl.export.onnx import to_onnx

__all__ = ["to_onnx"]
