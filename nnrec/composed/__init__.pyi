from .blend import Blend as Blend
