"""The REST interface for people and scripts: a file per resource, JSON in and JSON out."""
