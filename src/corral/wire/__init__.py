"""Bytes to records and back: every record of the protocols and files, declared once."""
