"""From group maps back to each run: dual regression, connectomes, component regression."""
