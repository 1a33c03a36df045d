"""The HTML report, made of the files in an output folder."""
