"""Lines by prompt_toolkit: edited, completed, suggested from history, and undisturbed by events. Of the extra `cli`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout


class _Candidates(Completer):
    def __init__(self, complete: Callable[[str], tuple[str, list[str]]]) -> None:
        self._complete = complete

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        word, found = self._complete(document.text_before_cursor)
        for each in found:
            yield Completion(each, -len(word), display=each.rpartition("/")[2] or each)


class _Kept(FileHistory):
    def __init__(self, path: Path, is_secret: Callable[[str], bool]) -> None:
        super().__init__(str(path))
        self._is_secret = is_secret

    def store_string(self, string: str) -> None:
        if not self._is_secret(string):
            super().store_string(string)


class ToolkitReader:
    """See the module. complete: returns the word before the cursor and what it may become. is_secret: of a line."""

    def __init__(
        self, complete: Callable[[str], tuple[str, list[str]]], history: Path | None, is_secret: Callable[[str], bool]
    ) -> None:
        lines: History = InMemoryHistory() if history is None else _Kept(history, is_secret)
        self._session: PromptSession[str] = PromptSession(
            history=lines, completer=_Candidates(complete), complete_in_thread=True, complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(), enable_history_search=True,
        )  # fmt: skip

    def read(self, prompt: str) -> str:
        """Return the next line. Output of other threads appears above it. Raises EOFError, KeyboardInterrupt."""
        with patch_stdout(raw=True):
            return self._session.prompt(prompt)
