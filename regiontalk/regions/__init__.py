"""Where to look: boxes and region vectors of a photo."""
