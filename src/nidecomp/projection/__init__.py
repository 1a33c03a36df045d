"""Project group maps to each run: dual regression, connectomes, component regression."""
