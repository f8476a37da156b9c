"""The file names by which photos are found in folders."""

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .gif .bmp .tif .tiff .webp .avif .heic .heif .ppm .pgm .jp2".split()
)
