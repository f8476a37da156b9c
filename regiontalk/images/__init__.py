"""Photo files to RGB pixels, and pixels to network input."""
