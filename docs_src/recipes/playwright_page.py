"""asyncio.run beside Playwright's synchronous API, and in its callbacks."""

import asyncio
import shutil

import aionest

aionest.apply()

from playwright.sync_api import sync_playwright  # noqa: E402


async def translate(word):
    await asyncio.sleep(0.01)
    return word.upper()


def translated(word):  # synchronous, and deep in a library
    return asyncio.run(translate(word))


def main():
    with sync_playwright() as playwright:
        path = shutil.which("chromium")  # None is Playwright's own
        browser = playwright.chromium.launch(executable_path=path)
        page = browser.new_page()
        page.set_content("<h1>one</h1>")
        print(translated(page.inner_text("h1")))  # between two calls
        page.expose_function("translated", translated)
        # twice at once, in callbacks from the page
        print(page.evaluate("Promise.all([translated('two'), translated('three')])"))
        browser.close()


if __name__ == "__main__":
    main()
    print(translated("closed"))
