"""`dazi chat`: ask a model, and see its answer typed."""

from __future__ import annotations

import asyncio
import importlib
import sys
from contextlib import suppress
from typing import Annotated

from typer import Argument, BadParameter, Exit, Option

from dazi.cli.connection import URL, Url, connected
from dazi.cli.terminal import Terminal, follow
from dazi.client import AsyncAnswer, AsyncClient
from dazi.errors import DaziError
from dazi.events import Done, End

# Seconds that the end of an answer may take to arrive once its abort is certain.
_LAST_EVENT = 2.0
# What a shell reports of a program that Ctrl-C ended.
INTERRUPTED = 130


def chat(
    question: Annotated[
        str | None,
        Argument(metavar="[QUESTION]", help="What to ask. Without it: a conversation, or what comes through a pipe."),
    ] = None,
    *,
    url: Url = URL,
    model: Annotated[str | None, Option(help="Which model to ask.  [default: the gateway's first]")] = None,
) -> None:
    """Ask a model, and see its answer typed.

    Ctrl-C stops the answer, and the model; once more leaves. A connection that breaks is taken up again. The text goes
    to standard output, everything else to standard error.

    Exit status: 0 if the answer is whole, 1 if it failed or the gateway cannot be reached, 2 if the request was wrong,
    130 after Ctrl-C.
    """
    question = _piped() if question is None and not sys.stdin.isatty() else question
    if question is not None:
        _check(question)
    try:
        with connected(url) as (runner, client):
            conversation = _Conversation(runner, client, model)
            if question is None:
                conversation.hold()
            else:
                raise Exit(0 if isinstance(conversation.ask(question), Done) else 1)
    except (KeyboardInterrupt, _StoppedError):
        raise Exit(INTERRUPTED) from None


class _StoppedError(Exception):
    """The answer was stopped by Ctrl-C, and the program may go on."""


class _Conversation:
    """Questions and answers; with each question, the model is told those before it."""

    def __init__(self, runner: asyncio.Runner, client: AsyncClient, model: str | None) -> None:
        self._runner = runner
        self._client = client
        self._model = model
        self._said: list[dict[str, str]] = []

    def hold(self) -> None:
        """Ask until the input ends. What goes wrong with one question is told, and the next one may be asked."""
        with suppress(ImportError):
            importlib.import_module("readline")  # editing and history for `input`, where there is one
        while True:
            try:
                question = input("> ")
            except EOFError:
                print()
                return
            if question.strip():
                self._ask_on(question)

    def ask(self, question: str) -> End:
        """Type the answer, and return how it ended. Raises `_StoppedError` if that was by Ctrl-C."""
        messages = [*self._said, {"role": "user", "content": question}]
        answer, terminal = self._client.start(messages, model=self._model), Terminal()
        try:
            return self._runner.run(_typed(answer, terminal))
        finally:
            terminal.end_line()
            if answer.text:
                self._said = [*messages, {"role": "assistant", "content": answer.text}]

    def _ask_on(self, question: str) -> None:
        try:
            self.ask(question)
        except DaziError as error:
            print(f"dazi: {error}", file=sys.stderr)
        except _StoppedError:
            pass  # it was told; on to the next question


def _piped() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise BadParameter(f"What came through the pipe is no text: {error}.", param_hint="QUESTION") from None


def _check(question: str) -> None:
    if not question.strip():
        raise BadParameter("The question is empty. Write one.", param_hint="QUESTION")
    try:
        question.encode()
    except UnicodeEncodeError:  # bytes that are no text, as Python smuggles them through arguments
        raise BadParameter("The question is not UTF-8. Write it in that.", param_hint="QUESTION") from None


async def _typed(answer: AsyncAnswer, terminal: Terminal) -> End:
    """Type an answer to its end. A cancellation, which is what the first Ctrl-C becomes, aborts the generation."""
    typing = asyncio.create_task(follow(answer, terminal.take))
    try:
        return await asyncio.shield(typing)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        await _stop(answer, typing, terminal)
        raise _StoppedError from None
    except BrokenPipeError:  # whoever read our output has gone
        await answer.abort()
        raise


async def _stop(answer: AsyncAnswer, typing: asyncio.Task[End], terminal: Terminal) -> None:
    """Abort the generation, and type what was said before that."""
    try:
        await answer.abort()
        await asyncio.wait({typing}, timeout=_LAST_EVENT)
    except DaziError as error:
        terminal.remark(str(error))
    finally:
        typing.cancel()
        await asyncio.gather(typing, return_exceptions=True)
