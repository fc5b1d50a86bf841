"""A finished run as something that other programs serve: a TensorFlow SavedModel, or ONNX."""
