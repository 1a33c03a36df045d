"""Compute group components from reduced runs, on arrays only."""
