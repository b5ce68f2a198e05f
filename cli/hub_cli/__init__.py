"""The `mcp-hub` command."""
