"""Measurements of the hub beside others, each a command that prints a table and judges nothing."""
