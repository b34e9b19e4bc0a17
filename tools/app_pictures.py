"""Pictures of the app, made by Chromium of the app itself with two servers that come with the project.

    python tools/app_pictures.py FOLDER [--docs] [--first] [PAGE ...]

All pages, light and dark, wide and on a phone (``--first``: light and wide, dark and on a phone); with ``--docs`` the two of the documentation, under its names.
Wants playwright, and Debian's chromium. Nothing of the machine is in a picture but the time and process ids.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from streamlit_session import Server

BARE = Path(__file__).parent.parent / "examples" / "servers" / "bare.py"
PAGES = ("tools", "resources", "prompts", "messages", "assistant", "servers", "sessions", "about")
DOCS = {"tools": "app-tools", "sessions": "app-sessions"}
LOOKS = {
    "": {"viewport": {"width": 1280, "height": 860}},
    "-dark": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"},
    "-phone": {"viewport": {"width": 390, "height": 844}},
    "-phone-dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"][data-test-connection-state="CONNECTED"]'


def settled(tab):
    tab.locator(IDLE).wait_for(state="attached")


def opened(browser, address, page, look):
    tab = browser.new_context(**look).new_page()
    tab.set_default_timeout(60_000)
    tab.goto(address if page == "tools" else f"{address}/{page}")
    tab.get_by_role("heading", name=page.capitalize(), exact=True).wait_for()
    settled(tab)
    if tab.get_by_role("dialog").count():  # Streamlit may say of a page's own address that there is none
        tab.keyboard.press("Escape")
        tab.get_by_role("dialog").wait_for(state="detached")
    return tab


def call(tab, tool, **fields):
    """Choose a tool in the list, fill in its form, call it."""
    tab.locator(f".st-key-pick-{tool} button").click()
    tab.get_by_test_id("stForm").get_by_role("button", name="Call", exact=True).wait_for()
    tab.get_by_text(f"{tool} of server").wait_for()
    settled(tab)
    for label, text in fields.items():
        tab.get_by_label(label).first.fill(text)
    tab.get_by_role("button", name="Call", exact=True).first.click()
    tab.get_by_text("Done in").first.wait_for()
    settled(tab)


def lived(browser, address, look):
    """The tools' page after some calls."""
    tab = opened(browser, address, "tools", look)
    call(tab, "notes__add", **{"text *": "Book the train to Turin"})
    call(tab, "notes__words")
    call(tab, "notes__list")
    return tab


def whole(tab, look):
    """All of the page is in the window: Streamlit scrolls within its own frame."""
    size = dict(look["viewport"])
    needed = tab.evaluate("document.querySelector('[data-testid=stMain]')?.scrollHeight ?? 0")
    size["height"] = min(max(size["height"], needed), 6000)
    tab.set_viewport_size(size)
    tab.wait_for_timeout(300)


def asked(browser, address, look):
    """The tools' page while a server asks."""
    tab = opened(browser, address, "tools", look)
    tab.locator(".st-key-pick-notes__clear button").click()
    tab.get_by_text("notes__clear of server").wait_for()
    settled(tab)
    tab.get_by_role("button", name="Call", exact=True).first.click()
    tab.get_by_role("button", name="Decline", exact=True).wait_for()
    settled(tab)
    tab.get_by_text("Remove all of them?").wait_for()
    return tab


def main():
    names = [one for one in sys.argv[1:] if not one.startswith("--")]
    docs = "--docs" in sys.argv
    folder, pages = Path(names[0]), names[1:] or (list(DOCS) if docs else PAGES)
    folder.mkdir(parents=True, exist_ok=True)
    servers = {
        "notes": {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]},
        "lab": {"command": sys.executable, "args": [str(BARE)]},
    }
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        home = Path(temporary)
        config = home / "mcp.json"
        config.write_text(json.dumps({"mcpServers": servers}, indent=2))
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with Server(["aionest", "app", "--config", str(config)], home, {"HOME": temporary}) as server:
            server.wait()
            for ending, look in list(LOOKS.items())[: 1 if docs else None : 3 if "--first" in sys.argv else 1]:
                tab = lived(browser, server.address, look)
                for page in pages:
                    if page != "tools":
                        tab.context.close()
                        tab = opened(browser, server.address, page, look)
                    tab.wait_for_function(
                        "!document.querySelector('[data-testid=stSkeleton]')"
                    )  # what is still to be loaded
                    tab.wait_for_timeout(700)  # charts are drawn after the script has ended
                    if not docs:
                        whole(tab, look)
                    name = DOCS[page] if docs else f"{page}{ending}"
                    tab.screenshot(path=folder / f"{name}.png", full_page=not docs)
                    print(folder / f"{name}.png", flush=True)
                tab.context.close()
                if not docs and "tools" in pages:
                    tab = asked(browser, server.address, look)
                    tab.screenshot(path=folder / f"asking{ending}.png")
                    print(folder / f"asking{ending}.png", flush=True)
                    tab.get_by_role("button", name="Decline", exact=True).click()
                    tab.get_by_text("Done in").first.wait_for()
                    tab.context.close()
        browser.close()


if __name__ == "__main__":
    main()
