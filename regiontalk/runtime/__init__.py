"""One model run by one of two engines, and decoding over any step."""
