"""A Celery task. A prefork worker's child opens a portal and a session of its own with its first task."""

from app_session import ask
from celery import Celery

app = Celery("example", broker="memory://")


@app.task
def ask_task(word):
    return ask(word)


if __name__ == "__main__":
    app.conf.task_always_eager = True  # carried out right here, for the example
    print(ask_task.delay("one").get())
