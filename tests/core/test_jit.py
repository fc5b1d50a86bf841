from __future__ import annotations

from nnrec.core import jit


def test_without_a_folder_for_the_cache_it_compiles_all_the_same(monkeypatch):
    njit = jit.numba.njit

    def nowhere(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(jit.numba, "njit", nowhere)
    assert jit.compiled(lambda x: x + 1)(2) == 3
