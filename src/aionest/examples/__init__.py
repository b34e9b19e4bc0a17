"""Programs to try things out with, which come with the package: ``python -m aionest.examples.notes`` is an MCP server."""
