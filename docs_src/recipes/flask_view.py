"""A Flask view: plain functions in many threads, one session."""

from app_session import ask
from flask import Flask

app = Flask(__name__)


@app.get("/ask/<word>")
def view(word):
    return ask(word)


if __name__ == "__main__":
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as requests:
        answers = requests.map(lambda word: app.test_client().get(f"/ask/{word}").text, ["one", "two", "three"])
        print(*answers)
