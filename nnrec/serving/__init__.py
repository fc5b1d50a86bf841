"""Exports a finished run for other programs to serve: as a TensorFlow SavedModel or as ONNX."""
