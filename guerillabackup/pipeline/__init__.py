"""Pipelines of operating system processes and Python threads that transform a stream of bytes."""
