"""One contract, ``map_unordered(func, items)``, and what can do it."""
