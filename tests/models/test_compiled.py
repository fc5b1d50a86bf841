from __future__ import annotations

from nnrec.models import compiled


def test_without_a_folder_for_the_cache_it_compiles_all_the_same(monkeypatch):
    njit = compiled.numba.njit

    def nowhere(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(compiled.numba, "njit", nowhere)
    assert compiled.compiled(lambda x: x + 1)(2) == 3
