"""What was said about photos, in the formats of other programs: one file a format, pure functions of `ImageResult`."""
