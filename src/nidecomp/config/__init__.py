"""Every option: declared, read and checked."""
