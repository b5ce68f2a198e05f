"""The journeys: one file each, read from top to bottom.

The only rooms where sessions and connections meet. Control passes forward and the answer comes back by `return`.
"""
