"""Authentication providers: one scheme, one file."""
