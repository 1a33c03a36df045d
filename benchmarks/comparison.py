"""Measure how fast participants' maps are compared, and in how much memory.

Simulated smooth maps in a brain-sized ellipsoid of 235,000 voxels; two groups and a covariate.
"""
