"""Conversations with clients of the handshake era: their state, their streams, what they were asked.

Knows no upstream; `routing` brings the two together.
"""
