"""METEOR 1.5 in Python, and its own jar as the judge."""
