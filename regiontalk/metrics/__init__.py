"""Figures of captions, retrieval and places: pure functions of predictions and references."""
