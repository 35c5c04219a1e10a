"""Severity of an incident, what to do about it, and who is next on the escalation path. Pure."""
