"""From the group's maps to each participant: time courses, maps, connectomes."""
