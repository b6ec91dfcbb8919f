"""Networks that people deploy give in ONNX Runtime the logits that they give here."""

from types import SimpleNamespace

import numpy as np
import pytest
from networks import convnext, mobilenet_v3, squeezenet

import minidl
from minidl import nn
from minidl.export import to_onnx

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
OURS = SimpleNamespace(cat=minidl.concatenate, full=lambda shape, value: np.full(shape, value, np.float32))


@pytest.mark.parametrize("network", [squeezenet, mobilenet_v3, convnext])
def test_logits(network, tmp_path):
    images = np.random.default_rng(0).random((3, 3, 64, 64), np.float32)
    model = network(nn, OURS)
    model.train()(minidl.Tensor(images))  # so that the statistics differ from those of a new network
    to_onnx(model.eval(), images[:1], tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input": images})
    np.testing.assert_allclose(logits, model(minidl.Tensor(images)).data, rtol=1e-5, atol=1e-6)
