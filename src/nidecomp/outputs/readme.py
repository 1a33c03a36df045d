"""The README of an output folder, of a template in Markdown."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from nidecomp.version import __version__


def readme(template: str, **values: object) -> str:
    """Return a template of ``templates/`` with its values filled in.

    Parameters
    ----------
    template : str
        Name of the file.
    **values
        What it asks for, beside NiDecomp's version; another name is an error.

    Returns
    -------
    str
    """
    environment = Environment(  # noqa: S701  Markdown is not escaped
        loader=PackageLoader("nidecomp.outputs"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(version=__version__, **values)
