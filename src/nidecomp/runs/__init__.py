"""Find, check, clean and reduce single runs, and compute the group mask."""
