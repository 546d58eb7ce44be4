"""Tells others how the services do."""
