"""The version, in one place; the build reads it, too. And those of what decides the numbers."""

from functools import cache

__version__ = "0.1.0"

# With another version of these results may be others; in the order in which outputs list them.
LIBRARIES = ("numpy", "scipy", "numba", "nilearn", "nibabel", "pandas", "pybids", "isal")


@cache
def library_versions() -> dict[str, str]:
    """Return the installed versions of the libraries that decide the results."""
    # Imported here so that `nidecomp --help` does not wait for it.
    from importlib.metadata import version  # noqa: PLC0415

    return {name: version(name) for name in LIBRARIES}


def numerical_versions() -> dict[str, str]:
    """Return those that decide a run's numbers: pybids only says which runs there are."""
    return {name: one for name, one in library_versions().items() if name != "pybids"}
