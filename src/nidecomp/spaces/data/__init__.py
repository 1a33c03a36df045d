"""Spheres, areas of vertices and medial walls of standard meshes; README.md says whence."""
