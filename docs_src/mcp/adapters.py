"""Tools for other libraries. LangChain and Strands are imported only where they are used."""

import sys

from aionest.mcp import ToolsLoader, ToolsRetriever
from aionest.mcp.adapters.anthropic import to_anthropic
from aionest.mcp.adapters.openai import call_openai, openai_message, to_openai
from aionest.mcp.adapters.python import to_function

CONFIG = {"notes": {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}}
retriever = ToolsRetriever()  # gets a bundle for each server

with ToolsLoader(CONFIG, tools_retriever=retriever) as loader:
    read = to_function(loader.tools["notes__read"])
    print(read.__name__, read(1))

    print(to_openai(loader.tools["notes__read"])["function"]["name"], to_anthropic(loader.tools["notes__read"])["name"])
    asked = {"id": "1", "function": {"name": "notes__read", "arguments": '{"id": 2}'}}  # of the model's answer
    print(openai_message(asked, call_openai(loader.tools, asked)))

    print([bundle.name for bundle in retriever.retrieve("count words")], retriever.list())

# Output:
# notes__read {'id': 1, 'text': 'Buy milk and bread', 'tags': ['shop']}
# notes__read notes__read
# {'role': 'tool', 'tool_call_id': '1', 'content': 'Call Ada about the engine'}
# ['notes'] ['notes']
