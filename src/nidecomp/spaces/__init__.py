"""What a feature is, and how images become features and maps become images."""
