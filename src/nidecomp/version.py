"""The version, in one place; the build reads it, too. And those of what decides the numbers."""

from functools import cache

__version__ = "0.1.0"

# With another version of these the numbers may be others.
LIBRARIES = ("isal", "nibabel", "nilearn", "numba", "numpy", "pandas", "scipy")


@cache
def library_versions() -> dict[str, str]:
    """Give the installed versions of the libraries that decide the numbers."""
    # Imported here so that `nidecomp --help` does not wait for it.
    from importlib.metadata import version  # noqa: PLC0415

    return {name: version(name) for name in LIBRARIES}
