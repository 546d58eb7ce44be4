"""What files written for the original expect: its names, handed on to ours."""
