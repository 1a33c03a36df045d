"""Who does the work, and what it takes: local processes or Dask, progress, memory."""
