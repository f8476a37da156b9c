"""The photo library: region vectors of many photos in LanceDB.

Found again by words or by an example.
"""
