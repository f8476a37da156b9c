"""What was said about photos, in the formats of other programs.

One file a format, pure functions of `ImageResult`.
"""
