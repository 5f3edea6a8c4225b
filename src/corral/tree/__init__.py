"""The znodes, their watches, rights, quotas and digest, as deterministic cores."""
