"""Schemas of others, pinned: each with what makes it from its source."""
