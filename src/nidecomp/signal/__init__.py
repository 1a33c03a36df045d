"""From one run's files to its reduced rows: `geometry`, `read`, `confounds`, `clean`, `reduce`."""
