"""One run: found, checked, cleaned and reduced, and the mask that all runs share."""
