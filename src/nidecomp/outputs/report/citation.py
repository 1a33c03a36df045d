"""The methods text and the references as Markdown, HTML and BibTeX."""

from __future__ import annotations

from nidecomp.outputs.report.methods import methods_text
from nidecomp.outputs.report.page import environment
from nidecomp.outputs.report.results import Results


def citation_files(folder: Results) -> dict[str, str]:
    """Return the files of the methods text and references.

    Parameters
    ----------
    folder : Results

    Returns
    -------
    dict
        Name of the file to its text.
    """
    paragraph, references = methods_text(folder)
    listed = "\n".join(f"- {reference.text}" for reference in references)
    page = environment().get_template("citation.html.jinja")
    return {
        "CITATION.md": f"# Methods\n\n{paragraph}\n\n# References\n\n{listed}\n",
        "CITATION.html": page.render(paragraph=paragraph, references=references),
        "CITATION.bib": "\n\n".join(reference.bibtex for reference in references) + "\n",
    }
