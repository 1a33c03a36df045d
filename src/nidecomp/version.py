"""The version of NiDecomp (also read by the build), and of libraries that affect the results."""

from functools import cache

__version__ = "0.1.0"

# Libraries whose version may affect the numerical results.
LIBRARIES = ("isal", "nibabel", "nilearn", "numba", "numpy", "pandas", "scipy")


@cache
def library_versions() -> dict[str, str]:
    """Return the installed versions of the libraries that may affect the results."""
    # Imported here to keep `nidecomp --help` fast.
    from importlib.metadata import version  # noqa: PLC0415

    return {name: version(name) for name in LIBRARIES}
