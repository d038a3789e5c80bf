"""What an explanation is made of: checks before and after the work, parts, provenance."""
