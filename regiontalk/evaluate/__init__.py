"""Protocols of the papers (PAPER.md 5): each is a function from encoded photos to one `Result`."""
