"""The assistant page: a chat with a model that may call the loaded tools, each with the person's consent.

Contract: the conversation is one object in ``st.session_state``, complete at any moment a rerun can end the script: a
stopped answer keeps its text, and every call that was proposed gets an answer before the model is asked again. A rerun cancels
what runs, but for a call whose server waits for the person's answer. The key is never sent to the browser; one from the environment goes to the environment's endpoint only.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import queue
import threading
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import streamlit as st

import aionest
from aionest._untrusted import for_cell, for_label, for_page
from aionest.app import questions
from aionest.app import state as app_state
from aionest.app.chat import ChatError, Endpoint, Reply, stream
from aionest.app.widgets import code, harmless, wrong
from aionest.mcp import ToolsError
from aionest.mcp.adapters.openai import to_openai
from aionest.streamlit import LOOK

if TYPE_CHECKING:
    from collections.abc import Callable

    from aionest.app.asking import Question, Running
    from aionest.app.chat import Call, Message
    from aionest.mcp import Tool, ToolsLoader

ROUNDS = 10  # answers of the model to one message, before the person is asked
TOOLS = 128  # that endpoints take
TITLE = 100  # characters of one that are shown
LONGEST = 50_000  # characters of a tool's result that go to the model
USUAL_BASE = "https://api.openai.com/v1"

REFUSED = "The user rejected this call."
STOPPED = "The user stopped this call."
PASSED_OVER = "This call was not run: the user continued without it."


@dataclass
class Entry:
    """A message, and what the page shows besides it."""

    message: Message
    note: str = ""
    tool: str = ""
    arguments: str = ""


@dataclass
class Chat:
    """The conversation of a browser session."""

    entries: list[Entry] = field(default_factory=list)
    always: set[str] = field(default_factory=set)
    approved: str = ""  # the id of the call to run in this rerun
    waiting: bool = False  # it is the model's turn
    rounds: int = 0
    error: str = ""
    held: Running | None = None  # the first open call, whose server waits for an answer or has just got one
    _run: int = 0
    _stop: Callable[[], None] | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    # Streamlit starts the next run of the script while the one before is still being stopped, so the new run itself ends
    # the step that is going on, and what the old one does afterwards counts no more.

    def enter(self) -> int:
        """A run of the script begins: whatever step an earlier one has going is stopped. The run's number."""
        with self._guard:
            self._run += 1
            if self._stop is not None:
                self._stop()
                self._stop = None
            return self._run

    def begin(self, run: int, stop: Callable[[], None]) -> bool:
        """A step begins, which ``stop`` ends. False: the run has been replaced."""
        with self._guard:
            if self._run == run:
                self._stop = stop
            return self._run == run

    def finish(self, run: int, *, stopped: bool = False) -> bool:
        """The step is over. False: another run has ended it."""
        with self._guard:
            if self._run != run or self._stop is None:
                return False
            if stopped:
                self._stop()
            self._stop = None
            return True

    def open_calls(self) -> list[Call]:
        """Calls that have no answer yet."""
        answered = set()
        for entry in reversed(self.entries):
            if entry.message["role"] == "tool":
                answered.add(entry.message["tool_call_id"])
            else:
                calls = entry.message.get("tool_calls", [])
                return [one for one in calls if one["id"] not in answered]
        return []

    def answer(self, call: Call, text: str, note: str = "") -> None:
        """The result of a call; after the last one it is the model's turn."""
        function = call["function"]
        if len(text) > LONGEST:
            text = f"{text[:LONGEST]}\n[{len(text) - LONGEST} more characters left out]"
        message: Message = {"role": "tool", "tool_call_id": call["id"], "content": text}
        self.entries.append(Entry(message, note, function["name"], function["arguments"]))
        self.waiting = not self.open_calls()

    def let_go(self) -> None:
        """End the call whose server waits."""
        held, self.held = self.held, None
        if held is not None:
            held.end()

    def cancel(self) -> None:
        """End the first open call, and run none of the others."""
        self.let_go()
        calls = self.open_calls()
        if calls:
            self.answer(calls[0], STOPPED, "stopped")
        self.settle(PASSED_OVER, "not run")

    def settle(self, text: str, note: str) -> None:
        """Answer all open calls without running them, and leave the turn to the person."""
        for one in self.open_calls():
            self.answer(one, text, note)
        self.waiting = False

    def say(self, text: str) -> None:
        """A message of the person."""
        if self.held is not None:
            self.cancel()
        self.settle(PASSED_OVER, "not run")
        self.entries.append(Entry({"role": "user", "content": text}))
        self.waiting, self.rounds, self.error = True, 0, ""

    def messages(self) -> list[Message]:
        """What the model gets; answers that were stopped before their first word are no message."""
        return [
            e.message
            for e in self.entries
            if e.message.get("content") or e.message["role"] != "assistant" or e.message.get("tool_calls")
        ]


def assistant() -> None:
    """Chat with a model that may call tools."""
    st.title("Assistant")
    state = st.session_state
    if "assistant chat" not in state:
        state["assistant chat"] = Chat()
    chat: Chat = state["assistant chat"]
    run = chat.enter()
    endpoint = _settings(chat)
    ready = bool(endpoint.base and endpoint.model)
    prompt = st.chat_input(
        "Write a message" if ready else "Set an endpoint first", disabled=not ready, key="assistant prompt"
    )
    if prompt and prompt.strip():
        chat.say(prompt)
    if not ready:
        st.info(
            "No endpoint yet. Enter the base URL of any OpenAI-compatible endpoint and a model in the sidebar, or set "
            "`OPENAI_BASE_URL`, `OPENAI_MODEL` and `OPENAI_API_KEY` before the app is started."
        )
    loader = app_state.loader()
    tools = dict(list(loader.tools.items())[:TOOLS]) if loader is not None else {}
    if ready and not chat.entries:
        st.caption(f"{endpoint.model} · {len(tools)} tools. No tool runs unless you say so.")
    if loader is not None and len(loader.tools) > TOOLS:
        st.caption(f"The model sees only the first {TOOLS} of {len(loader.tools)} tools.")
    for entry in chat.entries:
        _show(entry)
    if ready:
        _go_on(chat, run, endpoint, loader, tools)


# -- settings


def _settings(chat: Chat) -> Endpoint:
    """Draw them; the endpoint as it stands."""
    environ = os.environ
    state = st.session_state
    # apart from the widgets' own state, which Streamlit drops when another page is looked at
    if "assistant settings" not in state:
        base = environ.get("OPENAI_BASE_URL") or ""
        state["assistant settings"] = {"base": base, "model": environ.get("OPENAI_MODEL") or "", "key": ""}
    kept: dict[str, str] = state["assistant settings"]

    def take_key() -> None:
        kept["key"] = state["assistant key"].strip()
        state["assistant key"] = ""  # so the browser has it no longer

    with st.sidebar:
        st.subheader("Endpoint")
        base = st.text_input("Base URL", value=kept["base"], placeholder=USUAL_BASE, key="assistant base").strip()
        kept["base"] = base
        kept["model"] = st.text_input("Model", value=kept["model"], key="assistant model").strip()
        # whoever may choose the endpoint must not thereby get the key of the one who started the app
        home = environ.get("OPENAI_BASE_URL") or USUAL_BASE
        inherited = environ.get("OPENAI_API_KEY") or "" if base.rstrip("/") == home.strip().rstrip("/") else ""
        known = "kept for this session" if kept["key"] else "from the environment" if inherited else "none"
        st.text_input("API key", type="password", placeholder=known, key="assistant key", on_change=take_key)
        if kept["key"] and st.button("Forget the key"):
            kept["key"] = ""
            st.rerun()
        if chat.entries and st.button("New chat"):
            chat.let_go()
            state["assistant chat"] = Chat()
            st.rerun()
    return Endpoint(base, kept["model"], kept["key"] or inherited)


# -- what was said


def _show(entry: Entry) -> None:
    message = entry.message
    if message["role"] == "tool":
        with st.expander(f":material/build: {for_label(entry.tool)} · {entry.note}"):
            _show_arguments(entry.arguments)
            st.text(for_page(message["content"]))
        return
    if not message["content"] and not entry.note:
        return  # only calls, which are shown with their results
    with st.chat_message(message["role"]):
        if message["role"] == "user":
            st.text(message["content"])
        elif message["content"]:
            st.markdown(harmless(message["content"]))
        if entry.note:
            st.caption(entry.note)


def _show_arguments(written: str) -> None:
    try:
        written = json.dumps(json.loads(written or "{}"), ensure_ascii=False, indent=1)
    except (ValueError, RecursionError):
        pass  # as the model wrote it
    code(written)


# -- the next step


def _go_on(chat: Chat, run: int, endpoint: Endpoint, loader: ToolsLoader | None, tools: dict[str, Tool]) -> None:
    """One step: a call, a question to the person, or an answer of the model. A step that is done reruns the script."""
    calls = chat.open_calls()
    if calls:
        if chat.held is not None:
            _carry_on(chat, run, calls[0], chat.held)
        _next_call(chat, run, calls[0], loader, tools)
        if len(calls) > 1:
            st.caption(f"{len(calls) - 1} more to decide after this.")
    elif chat.error:
        wrong(chat.error)
        if st.button("Try again", key="assistant again"):
            chat.error, chat.waiting = "", True
            st.rerun()
    elif chat.waiting and chat.rounds >= ROUNDS:
        st.warning(f"The model has taken {ROUNDS} turns on this message and wants to continue.")
        if st.button("Continue", key="assistant more"):
            chat.rounds = 0
            st.rerun()
    elif chat.waiting:
        _ask(chat, run, endpoint, tools)
        st.rerun()


def _next_call(chat: Chat, run: int, proposed: Call, loader: ToolsLoader | None, tools: dict[str, Tool]) -> None:
    function = proposed["function"]
    tool = tools.get(function["name"])
    problem, given = "", {}
    if tool is None or loader is None:
        problem = f"There is no tool {function['name']!r}."
    else:
        try:
            given = json.loads(function["arguments"] or "{}")
            if not isinstance(given, dict):
                raise ValueError("not an object")
            tool.validate(given)
        except (ToolsError, ValueError, RecursionError) as exc:
            problem = f"Invalid arguments: {exc}"
    if problem:  # for the model to mend; there is nothing to consent to
        chat.answer(proposed, problem, "not possible")
        st.rerun()
    assert tool is not None and loader is not None
    if chat.approved == proposed["id"] or tool.name in chat.always:
        chat.approved = ""
        _carry_on(chat, run, proposed, partial(app_state.begin, loader, tool, given, "Assistant"))
    with st.container(border=True):
        # what is asked for stands in our words; what the server says of it is told as that, and is text
        st.markdown(f":material/build: **{for_label(tool.name)}** of server **{for_label(tool.server)}**")
        if tool.title and tool.title not in (tool.name, tool.original_name):
            st.text(f"The server calls it: {for_cell(tool.title, TITLE)}")
        _show_arguments(function["arguments"])
        if tool.destructive:
            st.caption("This tool may change or delete things.")
        always = st.checkbox("Always for this tool in this chat", key=f"assistant always {proposed['id']}")
        left, right, _ = st.columns([1, 1, 4])
        if left.button("Run", type="primary", key=f"assistant run {proposed['id']}"):
            if always:
                chat.always.add(tool.name)
            chat.approved = proposed["id"]
            st.rerun()
        if right.button("Refuse", key=f"assistant refuse {proposed['id']}"):
            chat.answer(proposed, REFUSED, "refused")
            st.rerun()


def _carry_on(chat: Chat, run: int, proposed: Call, held: Running | Callable[[], Running]) -> NoReturn:
    """Wait for a call until it is over, or its server wants an answer of the person.

    :param held: the call, or what begins it.
    """
    question = None if callable(held) else held.question()
    if question is None:
        held, question = _follow(chat, run, proposed, held)
    assert not callable(held)
    with st.expander(f":material/build: {for_label(held.tool.name)} · its server asks"):
        _show_arguments(proposed["function"]["arguments"])
    questions.ask(question, chat.cancel)
    st.stop()
    raise AssertionError("a script that was stopped goes no further")


def _follow(chat: Chat, run: int, proposed: Call, call: Running | Callable[[], Running]) -> tuple[Running, Question]:
    """A call, and what its server asks. When it is over, the script runs again."""
    held = None if callable(call) else call

    def stop() -> None:
        if held is not None:
            held.end()
        chat.cancel()

    if not chat.begin(run, stop):
        st.stop()
    try:
        slot, progress = st.empty(), st.empty()
        slot.button("Stop", key="assistant stop")  # any click reruns the script, which ends the call
        if callable(call):
            held = call()
        assert held is not None
        over = held.work.follow(progress, until=held.question)
        text, note = _outcome(held) if over else ("", "")
    except ToolsError as exc:
        over, text, note = True, f"The call failed: {exc}", "failed"
    except concurrent.futures.CancelledError:  # by a later run of the script, or together with its server
        if held is not None:
            held.end()
        if chat.finish(run):
            chat.cancel()
            st.rerun()
        st.stop()
    except BaseException:  # the script is being stopped
        if not chat.finish(run, stopped=True) and held is not None:
            held.end()
        raise
    if not chat.finish(run):
        st.stop()  # no rerun from here: the run that ended this step goes on
    if over:
        chat.held = held
        chat.let_go()
        chat.answer(proposed, text, note)
        st.rerun()
    chat.held = held
    assert held is not None
    question = held.question()
    if question is None:  # withdrawn, or answered by another browser
        st.rerun()
    assert question is not None
    slot.empty()
    progress.empty()
    return held, question


def _outcome(held: Running) -> tuple[str, str]:
    """The result of a call that is over, and a note on it. :raises ToolsError: it failed."""
    result = held.work.future.result()
    note = "failed" if result.is_error else f"done in {result.duration * 1e3:.0f} ms"
    return str(result) or "The tool returned nothing.", note


def _watch(future: concurrent.futures.Future[None], reply: Reply, news: queue.SimpleQueue[None]) -> None:
    """Show what has come of an answer, until it has ended."""
    begin = time.monotonic()
    with st.chat_message("assistant"):
        slot = st.empty()
    st.button("Stop", key="assistant stop")  # any click reruns the script, which ends the answer
    while not future.done():
        try:
            news.get(timeout=LOOK)
            while not news.empty():
                news.get()
        except queue.Empty:
            pass
        # each of these lets Streamlit stop the script here, by an exception
        if reply.text:
            slot.markdown(harmless(reply.text))
        else:
            slot.caption(f"Waiting for the model: {time.monotonic() - begin:.0f} s")


def _ask(chat: Chat, run: int, endpoint: Endpoint, tools: dict[str, Tool]) -> None:
    """Show an answer while it arrives; a stop at any point keeps what has come."""
    messages, described = chat.messages(), [to_openai(tool) for tool in tools.values()]
    reply = Reply()
    entry = Entry({"role": "assistant", "content": ""})
    news: queue.SimpleQueue[None] = queue.SimpleQueue()
    error = ""

    async def pump() -> None:
        async with aclosing(stream(endpoint, messages, described, reply)) as pieces:
            async for _ in pieces:
                news.put(None)

    future = aionest.portal().submit(pump)

    def stop() -> None:
        future.cancel()
        entry.message, entry.note, chat.waiting = {"role": "assistant", "content": reply.text}, "Stopped.", False
        chat.entries.append(entry)

    if not chat.begin(run, stop):
        future.cancel()
        st.stop()
    try:
        _watch(future, reply, news)
        future.result()
    except ChatError as exc:
        error = str(exc)
    except concurrent.futures.CancelledError:
        error = "The request ended because the app is closing."
    except BaseException:  # the script is being stopped
        chat.finish(run, stopped=True)
        raise
    if not chat.finish(run):
        st.stop()  # no rerun from here: the run that ended this step goes on
    chat.waiting, chat.error = False, error
    chat.rounds += 1
    if error:
        if reply.text:
            entry.message["content"], entry.note = reply.text, "Not complete."
            chat.entries.append(entry)
        return
    chat.entries.append(entry)
    entry.message = reply.message(taken=len(chat.entries))
    if reply.finish == "length":
        entry.note = "Cut off: the endpoint's limit was reached."
    elif not reply.text and not reply.calls:
        entry.note = "The model returned an empty answer."
