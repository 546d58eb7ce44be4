"""Invokes units when they are due and keeps what they must remember."""
