"""The HTTP edge: an API under ``/v1``, one page over it, and the same tools over MCP."""
