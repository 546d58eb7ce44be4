"""Moves elements from storage to storage, by policy, over a byte stream to a peer."""
