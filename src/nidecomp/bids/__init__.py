"""What fMRIPrep wrote, and what our files are called."""
