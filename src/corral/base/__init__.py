"""Errors, ids, paths, records and the log: what every layer stands on."""
