"""Shared by all steps: records, errors, linear algebra and atomic file writing."""
