"""An upstream whose prompts and answers are judged.

Laws: nothing reaches the model that did not pass; an answer that does not pass ends with the finish reason `content_filter`, one that
could not be judged fails with `safety_unavailable`, and either stops the model before it is told; the end comes after the last
verdict, never before it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from dazi.errors import GenerationError, LogError
from dazi.safety.policy import Policy
from dazi.safety.watch import Risky, Watch
from dazi.upstream import Finish, Lifecycle, Prompt, Sink, Upstream

# The finish reason, and the reason of the retraction, of an answer that did not pass: OpenAI's word.
REFUSED = "content_filter"
_UNFINISHED = "unchecked"


class Guarded:
    """Lets an upstream answer under a policy.

    Args:
        upstream: who answers.
        policy: what is asked of whom; shared by all upstreams of a gateway.
    """

    def __init__(self, upstream: Upstream, policy: Policy) -> None:
        self._upstream = upstream
        self._policy = policy

    def __repr__(self) -> str:
        return repr(self._upstream)

    async def open(self) -> None:
        """Open the policy and the upstream."""
        await self._policy.open()
        if isinstance(self._upstream, Lifecycle):
            await self._upstream.open()

    async def close(self) -> None:
        """Close them; idempotent."""
        if isinstance(self._upstream, Lifecycle):
            await self._upstream.close()
        await self._policy.close()

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        """Answer what passes with what passes."""
        await self._policy.admit(prompt)
        watch = Watch(sink, self._policy, prompt.asker)
        answer = asyncio.create_task(self._upstream.generate(prompt, watch), name="dazi answer under watch")
        judging = asyncio.create_task(watch.judge(), name="dazi watch")
        try:
            await asyncio.wait((answer, judging), return_when=asyncio.FIRST_COMPLETED)
            watch.finish()
            await judging
            return await answer
        except Risky:
            await _stop(watch, answer, judging)
            watch.withdraw(REFUSED)
            return Finish(REFUSED)
        except BaseException as error:
            await _stop(watch, answer, judging)
            # The log may have ended, and then takes nothing back.
            with suppress(LogError):
                watch.withdraw(error.code if isinstance(error, GenerationError) else _UNFINISHED)
            raise
        finally:
            await _stop(watch, answer, judging)


async def _stop(watch: Watch, *tasks: asyncio.Task[Finish] | asyncio.Task[None]) -> None:
    """Let nothing more be said, and wait until whoever says it has let go."""
    watch.shut()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
