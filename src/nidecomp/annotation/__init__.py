"""What a component is: thresholds, peaks, regions, network labels, noise flags."""
