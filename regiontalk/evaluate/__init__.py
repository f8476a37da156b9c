"""Protocols of the papers (docs/protocols.md).

Each is a function from encoded photos to one `Result`.
"""
