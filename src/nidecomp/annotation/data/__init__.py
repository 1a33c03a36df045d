"""Data that NiDecomp ships: networks to name components by, and tissue masks (see README.md)."""
