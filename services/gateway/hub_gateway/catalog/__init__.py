"""What all upstreams offer, merged and named.

Pure: a catalog is a value computed from offerings; nothing here waits or remembers.
"""
