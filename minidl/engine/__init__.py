"""The engine: the operations on arrays, their kernels, and the graph that differentiates them."""
