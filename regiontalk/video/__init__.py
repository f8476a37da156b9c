"""Frames of a film and what is said of them over time."""
