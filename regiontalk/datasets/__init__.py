"""Readers of data sets, the toy world and the collate; a reader returns its examples and a report."""
