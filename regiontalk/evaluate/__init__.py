"""Protocols of the papers (docs/protocols.md): each is a function from encoded photos to one `Result`."""
