"""The BIDS-Derivatives dataset and its tables."""
