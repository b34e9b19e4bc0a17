"""Tools for other libraries. LangChain and Strands are imported only where they are used."""

import sys
from pathlib import Path

from aionest.mcp import ToolsLoader, ToolsRetriever
from aionest.mcp.adapters.anthropic import to_anthropic
from aionest.mcp.adapters.openai import call_openai, openai_message, to_openai
from aionest.mcp.adapters.python import to_function

SERVER = Path(__file__).parents[2] / "examples" / "servers" / "bare.py"
retriever = ToolsRetriever()  # gets a bundle for each server

with ToolsLoader(retriever, config={"notes": {"command": sys.executable, "args": [str(SERVER)]}}) as loader:
    add = to_function(loader.tools["notes__add"])
    print(add.__name__, add(1, b=2))

    print(to_openai(loader.tools["notes__add"])["function"]["name"], to_anthropic(loader.tools["notes__add"])["name"])
    asked = {"id": "1", "function": {"name": "notes__add", "arguments": '{"a": 40, "b": 2}'}}  # of the model's answer
    print(openai_message(asked, call_openai(loader.tools, asked)))

    print([bundle.name for bundle in retriever.retrieve("add numbers")], retriever.list())

# Output:
# notes__add {'sum': 3}
# notes__add notes__add
# {'role': 'tool', 'tool_call_id': '1', 'content': '42'}
# ['notes'] ['notes']
