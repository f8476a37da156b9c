"""Words from region vectors: recurrent cells, attention, search."""
