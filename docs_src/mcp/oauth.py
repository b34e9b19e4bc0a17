"""A server behind OAuth: a person logs in once, the tokens are kept, and renewed without them."""

import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from aionest.mcp import TokenStore, ToolsLoader

command = [sys.executable, "-m", "aionest.examples.oauth", "0"]  # comes with the package
server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
url = f"http://127.0.0.1:{server.stdout.readline().strip()}/mcp"


def authorize(url):
    """In a program of yours: webbrowser.open."""
    print("somebody logs in")
    urllib.request.urlopen(url).read()


with tempfile.TemporaryDirectory() as folder:
    tokens = TokenStore(
        Path(folder) / "tokens.json"
    )  # a file of the user's unless given; get, set and remove is all it takes
    config = {"web": {"url": url, "auth": "oauth"}}
    with ToolsLoader(config=config, authorize=authorize, tokens=tokens) as loader:
        print(loader.call("web.echo", {"text": "hello"}).text)
    with ToolsLoader(config=config, tokens=tokens) as loader:  # nobody is there, and nobody is needed
        print(loader.call("web.echo", {"text": "again"}).text)
        loader.logout("web")
    with ToolsLoader(config=config, tokens=tokens) as loader:
        print(loader.status["web"].error_code)
server.kill()
server.wait()
server.stdout.close()

# Output:
# somebody logs in
# hello
# again
# auth
