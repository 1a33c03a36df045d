"""The methods section for a paper: what was done, in the order of the processing.

Each setting that changes a number has its sentence; `tests/outputs/report/test_methods.py` turns
each of them on. What was not done is not mentioned.
"""

from __future__ import annotations

from nidecomp.outputs.report.datasets import about_datasets, about_own_options
from nidecomp.outputs.report.methods_comparison import about_comparison
from nidecomp.outputs.report.methods_maps import about_evidence, about_fit, about_maps
from nidecomp.outputs.report.methods_projections import about_projections, about_template
from nidecomp.outputs.report.methods_runs import about_cleaning, about_runs
from nidecomp.outputs.report.references import Reference, with_citations
from nidecomp.outputs.report.results import Results

_UNKNOWN = (
    "The settings of this analysis (logs/settings.toml) cannot be read, so that its methods are "
    "not described here. The analysis was computed with nilearn [@nilearn]."
)

_UNLESS = "Unless said otherwise for a dataset below, what is said here holds for the runs of all. "


def methods_text(folder: Results) -> tuple[str, tuple[Reference, ...]]:
    """Return the methods section and the references that belong to it.

    Parameters
    ----------
    folder : Results

    Returns
    -------
    text : str
        Paragraphs with an empty line between them. Empty where there are no maps.
    references : tuple of Reference
        The publications to cite, in the order of the text.
    """
    if not folder.decompositions:
        return "", ()
    science = folder.science
    if science is None:
        return with_citations(_UNKNOWN)
    of_datasets = about_own_options(folder, science)
    paragraphs = [
        (_UNLESS if of_datasets else "") + about_runs(folder, science),
        about_datasets(folder),
        about_cleaning(folder, science),
        *of_datasets,
    ]
    if folder.is_template:
        paragraphs.append(about_template(folder, science))
    else:
        paragraphs += [
            about_fit(folder, science),
            about_evidence(folder, science),
            about_maps(folder, science),
        ]
    paragraphs += [about_projections(folder, science), about_comparison(folder, science)]
    return with_citations("\n\n".join(text for text in paragraphs if text))
