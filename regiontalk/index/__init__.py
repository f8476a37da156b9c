"""The photo library: region vectors of many photos in LanceDB, found again by words or by an example."""
