"""Compare participants: a design, permutation inference, and corrected p values."""
