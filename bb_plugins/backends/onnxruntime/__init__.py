"""The Backend on onnxruntime, behind the extra `[onnxruntime]`."""
