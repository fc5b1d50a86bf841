"""Graphs are written with TensorFlow alone."""

import os

collect_ignore_glob = ["*"] if os.environ.get("KERAS_BACKEND") == "jax" else []
