"""Finds the elements of a chain, verifies them and writes their content back."""
