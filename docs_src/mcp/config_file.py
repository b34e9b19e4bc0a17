"""A configuration file: problems are collected, secrets stay hidden, and comments survive a change."""

import tempfile
from pathlib import Path

from aionest.mcp import ToolsConfig

TEXT = """\
# the team's servers
mcpServers:
  notes:            # started by a command
    command: notes-server
    args: [--db, "${NOTES_DB:-notes.db}"]
    env: {API_KEY: "${API_KEY}"}
  search:
    url: https://search.example.com/mcp
    headers: {Authorization: "Bearer abc"}
  wrong:
    command: notes-server
    timeout: soon
"""

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "mcp.yaml"
    file.write_text(TEXT)
    config = ToolsConfig(file)
    print(config.list())
    for error in config.errors:
        print(f"line {error.line}, server {error.server!r}, field {error.field!r}: {error.message}")
    print(config.servers["search"])
    config.set("notes", {**config.get("notes"), "timeout": 5})
    config.remove("wrong")
    config.save()
    print(file.read_text())

# Output:
# ['notes', 'search']
# line 12, server 'wrong', field 'timeout': Input should be a valid number, unable to parse string as a number
# name='search' transport='streamable_http' url='https://search.example.com/mcp' headers={'Authorization': '***'}
# # the team's servers
# mcpServers:
#   notes:            # started by a command
#     command: notes-server
#     args: [--db, "${NOTES_DB:-notes.db}"]
#     env: {API_KEY: "${API_KEY}"}
#     timeout: 5
#   search:
#     url: https://search.example.com/mcp
#     headers: {Authorization: "Bearer abc"}
#
