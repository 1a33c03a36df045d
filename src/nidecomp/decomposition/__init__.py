"""From reduced runs to group components: arrays in, arrays out."""
