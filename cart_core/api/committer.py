"""The bridge from many concurrent requests to the one thread that writes: what waits together is written together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue

from cart_core.api.problems import ApiProblem
from cart_core.errors import CartError
from cart_core.service import Answer, Ask, CartService, MergeAsk

MAX_GROUP = 256
MAX_WAITING = 4_096
Outcome = Answer | BaseException
Tell = Callable[[Outcome], None]
Job = tuple[Ask | MergeAsk, Tell, bool]
"""What is asked, who is told, and whether in the loop's thread."""


class Committer:
    """Hands asks to the service in one thread, in groups; each asker gets its own answer.

    An ask that was taken will be carried out, even if nobody waits for its answer any more. ``close`` carries out all
    that wait and takes no more.
    """

    def __init__(self, service: CartService, loop: asyncio.AbstractEventLoop) -> None:
        self._service = service
        self._loop = loop
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="committer")
        self._closed = False
        self._thread.start()

    async def ask(self, ask: Ask | MergeAsk) -> Answer:
        """Carry out one command. Raises what ``CartService.ask`` does; ApiProblem 503 where too many wait."""
        waiting: asyncio.Future[Answer] = self._loop.create_future()
        self.put(ask, lambda outcome: _settle(waiting, outcome))
        return await waiting

    def put(self, ask: Ask | MergeAsk, tell: Tell) -> None:
        """Take one command; ``tell`` is called with its outcome in the loop's thread. Raises ApiProblem 503."""
        self._put((ask, tell, True))

    def ask_all(self, asks: Sequence[Ask]) -> list[Answer | CartError]:
        """Carry out many commands from another thread, and wait for them; other errors than CartError are raised."""
        waiting: list[Future[Outcome]] = [Future() for _ in asks]
        for ask, future in zip(asks, waiting, strict=True):
            self._put((ask, future.set_result, False))
        return [_known(future.result()) for future in waiting]

    def close(self) -> None:
        """Carry out what waits and stop. Not to be called from the loop's own thread."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join()

    def _put(self, job: Job) -> None:
        if self._closed or self._jobs.qsize() > MAX_WAITING:
            raise ApiProblem(503, "busy", "too much to do at the moment", headers={"Retry-After": "1"})
        self._jobs.put(job)

    def _work(self) -> None:
        last = False
        while not last and (job := self._jobs.get()) is not None:
            group, last = self._gather(job)
            outcomes = self._outcomes([ask for ask, _, _ in group])
            told: list[tuple[Tell, Outcome]] = []
            for (_, tell, in_loop), outcome in zip(group, outcomes, strict=True):
                if in_loop:
                    told.append((tell, outcome))
                else:
                    tell(outcome)
            self._loop.call_soon_threadsafe(self._tell, told)

    def _tell(self, told: Sequence[tuple[Tell, Outcome]]) -> None:
        for tell, outcome in told:
            self._loop.call_soon(tell, outcome)

    def _gather(self, first: Job) -> tuple[list[Job], bool]:
        group = [first]
        while len(group) < MAX_GROUP and not self._jobs.empty():
            job = self._jobs.get()
            if job is None:
                return group, True
            group.append(job)
        return group, False

    def _outcomes(self, asks: Sequence[Ask | MergeAsk]) -> list[Outcome]:
        single = [ask for ask in asks if isinstance(ask, Ask)]
        try:
            answers: Sequence[Outcome] = self._service.ask_all(single) if single else []
        except BaseException as error:  # noqa: BLE001 - handed to everybody who waits
            answers = [error] * len(single)
        remaining = iter(answers)
        return [next(remaining) if isinstance(ask, Ask) else self._merged(ask) for ask in asks]

    def _merged(self, ask: MergeAsk) -> Outcome:
        try:
            return self._service.merge(ask)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            return error


def _settle(waiting: asyncio.Future[Answer], outcome: Outcome) -> None:
    if waiting.done():
        return
    if isinstance(outcome, BaseException):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)


def _known(outcome: Outcome) -> Answer | CartError:
    if isinstance(outcome, Answer | CartError):
        return outcome
    raise outcome
