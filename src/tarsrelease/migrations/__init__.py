"""Database migrations in pure values: statements, history, locks, dangers, guards, comparison."""
