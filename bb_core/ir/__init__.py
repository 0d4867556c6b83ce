"""The program as data: recorded nodes, and their form in ONNX."""
