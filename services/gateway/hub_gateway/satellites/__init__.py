"""The filter and the categorizer as the gateway sees them, with the written answer for when they are away."""
