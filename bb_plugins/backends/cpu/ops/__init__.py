"""ONNX ops on numpy arrays, a family of them in each file; `bb_plugins.backends.cpu.table` says which there are.

A maker takes a `Node` and returns its kernel: what depends on attributes and opset alone is settled once, at install.
"""
