"""SVD: its scores."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.models.svd import SVD
from tests.models.test_factors import make_ratings
