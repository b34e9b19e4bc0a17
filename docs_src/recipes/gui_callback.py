"""A GUI callback: the window stays alive while the answer is on its way."""

import tkinter

from app_session import session

import aionest


def build(root):
    entry, label = tkinter.Entry(root), tkinter.Label(root)

    def on_click():
        held = session()
        future = aionest.portal().submit(held.value.ask, entry.get())
        show_when_done(future)

    def show_when_done(future):
        if future.done():
            label.config(text=future.result())
        else:
            root.after(20, show_when_done, future)  # in the GUI's own thread

    button = tkinter.Button(root, text="Ask", command=on_click)
    for widget in (entry, button, label):
        widget.pack()
    return entry, button, label


if __name__ == "__main__":
    root = tkinter.Tk()
    build(root)
    root.mainloop()
