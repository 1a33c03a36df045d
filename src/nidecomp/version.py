"""The version of NiDecomp (also read by the build), and of libraries that affect the results."""

from functools import cache

__version__ = "0.1.0"

# Libraries whose version may affect the results, in the order of their list in the outputs.
LIBRARIES = ("numpy", "scipy", "numba", "nilearn", "nibabel", "pandas", "pybids", "isal", "tfce")


@cache
def library_versions() -> dict[str, str]:
    """Return the installed versions of the libraries that may affect the results."""
    # Imported here to keep `nidecomp --help` fast.
    from importlib.metadata import version  # noqa: PLC0415

    return {name: version(name) for name in LIBRARIES}


def numerical_versions() -> dict[str, str]:
    """Return those that decide a run's numbers.

    pybids only says which runs there are, and tfce is for the comparison of participants.
    """
    others = {"pybids", "tfce"}
    return {name: one for name, one in library_versions().items() if name not in others}


@cache
def code_digest() -> str:
    """Return a hash of this package's code, which may change before its version does."""
    import hashlib  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    package, content = Path(__file__).parent, hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return content.hexdigest()
