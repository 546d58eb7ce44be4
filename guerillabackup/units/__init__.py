"""The generator units: each makes the elements of its sources."""
