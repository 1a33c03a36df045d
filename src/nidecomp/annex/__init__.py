"""Fetch content of git-annex repositories (DataLad datasets) as it is needed, and drop it again."""
