"""migrate: plan, up, verify, status and down, statement by statement."""
