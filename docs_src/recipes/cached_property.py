"""A class with a synchronous face that keeps a session in functools.cached_property."""

from functools import cached_property

from session import open_session

import aionest


class Answers:
    @cached_property
    def _held(self):
        return aionest.portal().enter(open_session())

    def ask(self, word):
        return self._held.call(self._held.value.ask, word, timeout=10)

    def close(self):
        if "_held" in self.__dict__:
            self._held.close()
            del self._held  # the next use opens a new one


if __name__ == "__main__":
    answers = Answers()
    print(answers.ask("one"), answers.ask("two"))
    answers.close()
    print(answers.ask("three"))
    answers.close()
