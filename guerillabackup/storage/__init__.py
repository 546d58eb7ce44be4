"""Keeps elements: the interface, the files on disk, a storage in memory."""
