"""The operations: one class each, collected in one registry."""
