"""Declare, read and check the options."""
