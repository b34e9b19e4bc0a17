"""Servers behind OAuth: a login, tokens that are kept and renewed, credentials of a machine, refusals."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from support import mode

pytest.importorskip("mcp")

from aionest.mcp import AuthError, KeyringTokenStore, TokenStore, UsageError
from aionest.mcp.auth import tokens

FOLDER = Path(__file__).parent.parent.parent / "examples" / "servers"


@pytest.fixture
def serve():
    """Starts the server with some options, and gives its URL."""
    started = []

    def serve(*args):
        process = subprocess.Popen(
            [sys.executable, str(FOLDER / "oauth.py"), "0", *args], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"

    yield serve
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


class Browser:
    """Follows where it is sent, as a person's browser does."""

    def __init__(self):
        self.pages = []

    def __call__(self, url):
        with urllib.request.urlopen(url, timeout=60) as answer:
            self.pages.append(answer.read().decode())


@pytest.fixture
def store(tmp_path):
    return TokenStore(tmp_path / "state" / "tokens.json")


def requests(loader):
    return json.loads(loader.call("web.requests").text)


@pytest.mark.parametrize("auth", ["oauth", {"type": "oauth", "scopes": ["tools"], "client_name": "tests"}])
def test_a_login_is_needed_once(serve, store, make_loader, auth, caplog):
    browser, url = Browser(), serve()
    config = {"web": {"url": url, "auth": auth}}
    with caplog.at_level(logging.DEBUG):
        loader = make_loader(config, authorize=browser, tokens=store)
        assert not loader.errors, loader.errors
        assert loader.call("web.echo", {"text": "in"}).text == "in"
        loader.cleanup()
    assert len(browser.pages) == 1 and "logged in" in browser.pages[0]
    kept = store.file.read_text()
    assert stat.S_IMODE(os.stat(store.file).st_mode) == mode(0o600) and "access-" in kept and url not in kept
    for value in ("access-", "refresh-"):
        token = kept[kept.index(value) :].split('"')[0]
        assert token not in caplog.text and token not in repr(loader.status) + repr(store)
    # another process's loader: nobody is there who could log in
    again = make_loader(config, tokens=store)
    assert not again.errors
    assert requests(again) == {"/register": 1, "/authorize": 1, "/token": 1}


def test_an_expired_token_is_renewed_without_a_person(serve, store, make_loader):
    browser, url = Browser(), serve("--seconds", "1")
    config = {"web": {"url": url, "auth": "oauth"}}
    loader = make_loader(config, authorize=browser, tokens=store)
    loader.cleanup()
    time.sleep(1.5)
    loader = make_loader(config, tokens=store)
    assert not loader.errors, loader.errors
    found = requests(loader)
    assert found["/authorize"] == 1 and found["/token"] >= 2


def test_without_anybody_the_error_says_how_to_log_in(serve, store, make_loader):
    loader = make_loader({"web": {"url": serve(), "auth": "oauth", "connect_timeout": 600}}, tokens=store)
    assert "aionest mcp login web" in loader.errors["web"]
    assert loader.status["web"].error_code == "auth"
    with pytest.raises(AuthError) as caught:
        loader.restart("web")
    seen, one = [], caught.value
    while one is not None:
        assert one not in seen, "who follows the causes is led in a circle"
        seen.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def test_a_login_that_is_refused(serve, store, make_loader):
    browser = Browser()
    config = {"web": {"url": serve("--refuse"), "auth": "oauth", "connect_timeout": 600}}
    loader = make_loader(config, authorize=browser, tokens=store)
    assert "access_denied" in loader.errors["web"] and "failed" in browser.pages[0]
    assert loader.status["web"].error_code == "auth"


@pytest.mark.slow
def test_a_person_may_take_longer_than_a_connection(serve, store, make_loader):
    browser = Browser()

    async def authorize(url):
        import asyncio

        await asyncio.sleep(9)
        await asyncio.to_thread(browser, url)

    config = {"web": {"url": serve(), "auth": "oauth", "connect_timeout": 7}}
    loader = make_loader(config, authorize=authorize, tokens=store)
    assert not loader.errors, loader.errors


def test_nobody_comes_back(serve, store, make_loader):
    auth = {"type": "oauth", "timeout": 0.5}
    loader = make_loader({"web": {"url": serve(), "auth": auth}}, authorize=lambda url: None, tokens=store)
    assert "timed out waiting for the login" in loader.errors["web"]


def test_a_registration_made_beforehand(serve, store, make_loader):
    # it knows no redirect of this client, so the login fails there, but with this client's id
    auth = {"type": "oauth", "client_id": "known", "client_secret": "hidden-secret", "timeout": 0.5}
    seen = []
    loader = make_loader(
        {"web": {"url": serve("--client", "known:hidden-secret"), "auth": auth}}, authorize=seen.append, tokens=store
    )
    assert "client_id=known" in seen[0] and "hidden" not in seen[0]
    assert "hidden" not in str(loader.errors)


def test_a_machines_credentials(serve, store, make_loader):
    url = serve("--client", "machine:hidden-secret")
    auth = {"type": "client_credentials", "client_id": "machine", "client_secret": "hidden-secret", "scopes": ["a"]}
    loader = make_loader({"web": {"url": url, "auth": auth}}, tokens=store)
    assert not loader.errors, loader.errors
    assert requests(loader) == {"/token": 1}
    wrong = {"web": {"url": url, "auth": {**auth, "client_secret": "wrong-secret"}}}
    loader = make_loader(wrong, tokens=TokenStore(store.file.with_name("other.json")))
    assert loader.status["web"].error_code == "auth" and "wrong-secret" not in loader.errors["web"]


def test_a_token_that_is_no_good_any_more_during_a_session(serve, store, make_loader):
    browser = Browser()
    loader = make_loader({"web": {"url": serve(), "auth": "oauth"}}, authorize=browser, tokens=store)
    loader.call("web.expire")
    assert loader.call("web.echo", {"text": "again"}, timeout=120).text == "again"
    assert len(browser.pages) == 1, "it is renewed without a person"


def test_a_bearer_token(serve, make_loader, store):
    url = serve("--client", "machine:hidden-secret")
    auth = {"type": "client_credentials", "client_id": "machine", "client_secret": "hidden-secret"}
    make_loader({"web": {"url": url, "auth": auth}}, tokens=store)
    token = json.loads(store.file.read_text()).popitem()[1]["tokens"]["access_token"]
    loader = make_loader({"web": {"url": url, "auth": {"type": "bearer", "token": token}}})
    assert loader.call("web.echo", {"text": "in"}).text == "in"
    loader = make_loader({"web": {"url": url, "auth": {"type": "bearer", "token": "wrong"}}})
    assert loader.status["web"].error_code == "auth"


def test_logging_out(serve, store, make_loader):
    url = serve()
    config = {"web": {"url": url, "auth": "oauth"}, "other": {"url": url, "disabled": True}}
    loader = make_loader(config, authorize=Browser(), tokens=store)
    assert loader.logout("web") and not loader.logout("web")
    with pytest.raises(UsageError):
        loader.logout("other")
    loader.cleanup()
    assert "login" in make_loader(config, tokens=store).errors["web"]


@pytest.fixture
def keyring(tmp_path):
    """A real backend, which keeps its entries in a file."""
    pytest.importorskip("keyring")
    file = pytest.importorskip("keyrings.alt.file")
    backend = file.PlaintextKeyring()
    backend.file_path = str(tmp_path / "keyring.cfg")
    return backend


def test_the_systems_keyring(serve, make_loader, keyring):
    config = {"web": {"url": serve(), "auth": "oauth"}}
    store = KeyringTokenStore(keyring=keyring)
    assert not make_loader(config, authorize=Browser(), tokens=store).errors
    loader = make_loader(config, tokens=KeyringTokenStore(keyring=keyring))  # nobody is asked
    assert loader.call("web.echo", {"text": "in"}).text == "in"
    assert loader.logout("web") and not loader.logout("web")
    loader.cleanup()
    assert "login" in make_loader(config, tokens=store).errors["web"]
    assert "access-" not in repr(store)


def test_what_is_in_the_keyring(keyring):
    store, other = KeyringTokenStore(keyring=keyring), KeyringTokenStore("other", keyring)
    assert store.get("a") is None and not store.remove("a")
    store.set("a", {"x": 1})
    other.set("a", {"y": 2})
    assert store.get("a") == {"x": 1} and other.get("a") == {"y": 2}
    assert store.remove("a") and store.get("a") is None and other.get("a") == {"y": 2}
    keyring.set_password("other", tokens._mark("a"), "not JSON")
    assert other.get("a") is None


def test_the_store_that_the_environment_names(keyring, monkeypatch, tmp_path):
    import keyring as package

    monkeypatch.setenv("AIONEST_TOKENS", str(tmp_path / "here.json"))
    assert tokens.chosen().file == tmp_path / "here.json"
    monkeypatch.setenv("AIONEST_TOKENS", "keyring")
    before = package.get_keyring()
    try:
        package.set_keyring(keyring)
        tokens.chosen().set("a", {"x": 1})
        assert KeyringTokenStore(keyring=keyring).get("a") == {"x": 1}
        package.set_keyring(package.backends.fail.Keyring())
        with pytest.raises(RuntimeError, match="no backend"):
            tokens.chosen()
    finally:
        package.set_keyring(before)
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ImportError, match=r"aionest\[keyring\]"):
        tokens.chosen()


def test_the_store(store):
    assert store.get("a") is None and not store.remove("a")
    store.set("a", {"x": 1})
    TokenStore(store.file).set("b", {"y": 2})
    assert store.get("a") == {"x": 1} and store.get("b") == {"y": 2}
    assert store.remove("a") and store.get("a") is None
    store.file.write_text("not JSON")
    assert store.get("b") is None


def test_what_another_process_has_renewed_is_kept(store):
    from aionest.mcp.auth import Secrets
    from aionest.mcp.auth.oauth import Storage

    secrets = Secrets()
    storage = Storage(store, "one", secrets)

    async def main():
        await storage.save(tokens={"access_token": "first-token"}, client={"client_id": "c"})
        store.set("one", {"tokens": {"access_token": "renewed-token"}, "client": {"client_id": "c"}})
        await storage.save(metadata={"issuer": "https://example.org"})

    asyncio.run(main())
    expected = {
        "tokens": {"access_token": "renewed-token"},
        "client": {"client_id": "c"},
        "metadata": {"issuer": "https://example.org"},
    }
    assert store.get("one") == expected == storage.kept
    assert "renewed-token" not in secrets.hide("it was renewed-token")


def test_what_was_logged_out_meanwhile_is_written_whole(store):
    from aionest.mcp.auth import Secrets
    from aionest.mcp.auth.oauth import Storage

    storage = Storage(store, "one", Secrets())

    async def main():
        await storage.save(client={"client_id": "c"})
        store.remove("one")
        await storage.save(tokens={"access_token": "new"})

    asyncio.run(main())
    assert store.get("one") == {"client": {"client_id": "c"}, "tokens": {"access_token": "new"}}


def test_a_store_that_does_not_answer_holds_up_nothing(serve, child):
    """As a keyring that waits for a person to unlock it."""
    r = child(
        f"""
        import threading, time
        from aionest.mcp import ToolsLoader
        class Locked:
            def get(self, key):
                threading.Event().wait()
        web = {{"url": {serve()!r}, "auth": "oauth", "connect_timeout": 1}}
        local = {{"command": {sys.executable!r}, "args": [{str(FOLDER / "bare.py")!r}]}}
        loader = ToolsLoader(config={{"web": web, "local": local}}, tokens=Locked())
        begin = time.monotonic()
        loader.load()
        assert time.monotonic() - begin < 20
        print(sorted(loader.errors), loader.call("local.echo", {{"text": "hi"}}).text)
        """
    )
    assert (r.returncode, r.stdout) == (0, "['web'] hi\n"), r
