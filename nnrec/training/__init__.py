"""Training: selection on validation data, refit, test.

Public names are listed in `__init__.pyi` and imported on first access.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
