"""Many photos by many processes and machines, over Ray Data."""
