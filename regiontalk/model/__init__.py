"""The parts of one model, their sizes, and their folder on disk."""
