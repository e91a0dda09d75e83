"""Opening an ONNX file as a model."""
