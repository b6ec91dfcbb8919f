"""Networks as files that other programs run."""

from minidl.export.onnx import to_onnx

__all__ = ["to_onnx"]
