"""Alembic migrations: forward-only, one head. `medilink db migrate` applies them as medilink_owner."""
