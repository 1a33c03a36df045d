"""From the reduced runs to the group's components: arrays in, arrays out, no files."""
