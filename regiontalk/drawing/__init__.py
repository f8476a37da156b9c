"""Results on images: boxes, labels, attention."""
