"""The README of an output folder, from a template in Markdown."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from nidecomp.version import __version__


def readme(template: str, **values: object) -> str:
    """Return a template of ``templates/`` with its values inserted.

    Parameters
    ----------
    template : str
        Name of the file.
    **values
        The values that it needs, other than the version of NiDecomp; unknown names are errors.

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
