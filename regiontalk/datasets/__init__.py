"""Readers of data sets, the toy world and the collate.

A reader returns its examples and a report.
"""
