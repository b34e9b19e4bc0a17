"""axe-core on each page of the app, light and dark, wide and narrow: nothing that it calls serious or critical is ours.

What Streamlit itself makes so is in ``STREAMLITS``, by axe's rule and a selector, with the reason.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import support
from app_browser import PAGES, choose, opened, press, said, settled, shoot

support.needs("streamlit", "mcp", "playwright", "axe_playwright_python")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(900),
    pytest.mark.long,
]

AXE = Path(importlib.util.find_spec("axe_playwright_python").origin).with_name("axe.min.js")
STREAMLITS = {
    # the colours of highlighted code, which no theme can set
    ("color-contrast", '[data-testid="stCode"] .token'),
    # st.table puts a wide table into a box that scrolls sideways, and gives the box no tabindex; Chromium itself makes
    # such a box focusable, which axe does not know
    ("scrollable-region-focusable", '[data-testid="stTable"] > div'),
}
LOOKS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "narrow": {"viewport": {"width": 390, "height": 844}},
    "narrow-dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}
FOUND = """
async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
    .filter(one => ["serious", "critical"].includes(one.impact))
    .flatMap(one => one.nodes.map(node => ({
        rule: one.id, target: node.target.flat().join(" "), html: node.html, why: node.failureSummary
    })))
"""
# all that is folded up has a label beside its arrow
LABELLED = """
() => [...document.querySelectorAll("summary")].every(one => {
    const copy = one.cloneNode(true)
    copy.querySelectorAll('[aria-hidden=true], [data-testid="stIconMaterial"]').forEach(part => part.remove())
    return copy.textContent.trim()
})
"""
FITS = "([target, selector]) => [...document.querySelectorAll(target)].every(one => one.matches(selector))"


@pytest.fixture(autouse=True)
def nothing_left():
    """The browser keeps threads and descriptors; servers are looked at in ``started``."""
    return


def complaints(tab):
    """What axe says of a page as it is now, without what is Streamlit's."""
    settled(tab)
    tab.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")
    # Markdown is drawn by a part of Streamlit's page that is loaded when it is first needed
    tab.wait_for_function(LABELLED)
    # colours that fade into one another are at their end
    tab.wait_for_function(
        "document.getAnimations().every(one => one.playState != 'running' || one.effect.getTiming().iterations == Infinity)"
    )
    if not tab.evaluate("'axe' in window"):
        tab.evaluate(AXE.read_text())
    return [
        one
        for one in tab.evaluate(FOUND)
        if not any(one["rule"] == rule and tab.evaluate(FITS, [one["target"], where]) for rule, where in STREAMLITS)
    ]


def called(tab):
    """A call that went well, and one that did not."""
    choose(tab, "one · echo")
    tab.get_by_role("textbox", name="text *").fill("hello there")
    press(tab, "Call")
    said(tab, "Done in")
    press(tab, "Run again")
    said(tab, "Done in")


def refused(tab):
    """What is wrong with what was typed."""
    choose(tab, "one · add")
    press(tab, "Call")
    tab.get_by_role("alert").first.wait_for()


def asked(tab):
    """A question of a server."""
    choose(tab, "one · ask")
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b": {"type": "boolean"}}}
    tab.get_by_role("textbox", name="method *").fill("elicitation/create")
    tab.get_by_role("textbox", name="params").fill(json.dumps({"message": "Which one?", "requestedSchema": schema}))
    press(tab, "Call")
    said(tab, "Which one?")
    tab.get_by_role("button", name="Decline", exact=True).wait_for()


def unfolded(tab):
    """All that is folded up."""
    tab.evaluate("document.querySelectorAll('details:not([open]) > summary').forEach(one => one.click())")
    tab.locator("details[open]").first.wait_for()


@pytest.mark.parametrize("look", LOOKS)
def test_nothing_serious_on_any_page(browser, app, look):
    wrong = {}
    for page in PAGES:
        tab = opened(browser, app, page, **LOOKS[look])
        acts = {"tools": [called, refused, asked], "servers": [unfolded], "messages": [unfolded]}.get(page, [])
        wrong[page] = complaints(tab)
        for act in acts:
            act(tab)
            wrong[f"{page}, {act.__name__}"] = complaints(tab)
        shoot(tab, f"axe-{page}-{look}")
        tab.context.close()
    assert {name: found for name, found in wrong.items() if found} == {}


def test_axe_would_tell(browser, app):
    """A test of the test above: what is not Streamlit's is found."""
    tab = opened(browser, app)
    tab.evaluate(
        "document.querySelector('h1').insertAdjacentHTML('afterend', '<p style=\"color:#aaa;background:#fff\">hard to read</p>')"
    )
    tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<button></button>')")
    assert {one["rule"] for one in complaints(tab)} == {"color-contrast", "button-name"}
    tab.context.close()
