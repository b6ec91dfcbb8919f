"""Arrays in, arrays out: the operations, the kernels, and the graph that differentiates them."""
