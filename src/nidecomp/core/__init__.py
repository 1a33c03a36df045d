"""What every step uses: records, errors, linear algebra, whole files."""
