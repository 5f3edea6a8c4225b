"""Agreement on opaque transactions: alone, or (to come) in an ensemble."""
