"""Futures: results that arrive later (flux_future_get(3), flux_future_wait_all_create(3)).

One class serves both drivers. Under a blocking handle, `get` and `wait_for` run the connection until
the result is there, and `then` calls back from the reactor. Under asyncio a future is awaited.
A future of a streaming RPC holds its results in order: `get` shows the first, `reset` drops it.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Generator, Iterable

from flux.errors import FluxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.base import Handle

__all__ = ["Future", "FutureExt", "NextFuture", "WaitAllFuture"]


class Future:
    """A result, or a stream of results, to come.

    Args:
        handle: the handle that drives this future; None for one that is fulfilled by hand.
    """

    def __init__(self, handle: Handle | None = None) -> None:
        self._handle = handle
        self._results: deque[Any] = deque()
        # not a closure over self: a future that refers to itself would keep its results until cycles are looked for
        self._callback: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None = None
        self._waiter: Any = None
        self._timer: Any = None
        self._scheduled = False

    _held = False  # whether the reactor runs on for this future

    # -- the producer's side

    def fulfill(self, result: Any = None) -> None:
        """Add a result; wakes whoever waits."""
        self._results.append(result)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            if not waiter.done():
                waiter.set_result(None)
        self._schedule()

    def fulfill_error(self, errnum: int = errno.ENOENT, errstr: str = "") -> None:
        self.fulfill(FluxError(errnum, errstr))

    def expire(self, timeout: float, text: str = "") -> None:
        """Fulfil with ETIMEDOUT unless a result comes within timeout seconds."""
        assert self._handle is not None
        self._timer = self._handle.call_later(timeout, lambda: self._expired(text or f"no answer within {timeout:g}s"))

    def _expired(self, text: str) -> None:
        self._timer = None
        if not self._results:
            self.fulfill_error(errno.ETIMEDOUT, text)

    # -- the consumer's side

    def is_ready(self) -> bool:
        """True when `get` would not block. A future that depends on others looks at them here: `get` and `wait_for`
        under a blocking handle take messages until this is true, and run no callbacks meanwhile.
        """
        return bool(self._results)

    def wait_for(self, timeout: float = -1.0) -> Future:
        """Block until ready; returns itself. FluxError ETIMEDOUT after timeout seconds; negative waits forever."""
        if not self._results:
            if self._handle is None:
                raise FluxError(errno.EDEADLK, "nothing drives this future: it has no handle")
            self._handle.wait_until(self.is_ready, timeout)
        return self

    def get(self) -> Any:
        """The result, blocking until it is there; raises the error it was fulfilled with."""
        if not self._results:
            self.wait_for()
        result = self._results[0]
        if isinstance(result, BaseException):
            raise result
        return self._convert(result)

    def _convert(self, result: Any) -> Any:
        return result

    def reset(self) -> None:
        """Drop the current result, so that `get` gives the next one of a stream."""
        if self._results:
            self._results.popleft()
        self._schedule()

    def then(self, callback: Callable[..., Any], *args: Any, timeout: float = -1.0, **kwargs: Any) -> Future:
        """Call callback(future, *args, **kwargs) from the reactor for each result.

        Args:
            timeout: seconds after which the future is fulfilled with ETIMEDOUT; negative for never.
        """
        if self._callback is not None:
            raise FluxError(errno.EEXIST, "a future takes one callback")
        if self._handle is None:
            raise FluxError(errno.EINVAL, "nothing drives this future: it has no handle")
        self._callback = callback, args, kwargs
        if timeout >= 0 and not self._results:
            self.expire(timeout)
        self._held = True
        self._handle.hold(self)
        self._schedule()
        return self

    def stop(self) -> None:
        """Do not call back any more."""
        self._callback = None
        self._let_go()

    def _let_go(self) -> None:
        if self._held:
            assert self._handle is not None
            self._held = False
            self._handle.release(self)

    def _schedule(self) -> None:
        if self._callback is not None and self._results and not self._scheduled:
            assert self._handle is not None
            self._scheduled = True
            self._handle.call_soon(self._continue)

    def _continue(self) -> None:
        self._scheduled = False
        if self._callback is None or not self._results:
            return
        if not self._more():
            self._let_go()
        callback, args, kwargs = self._callback
        callback(self, *args, **kwargs)

    def _more(self) -> bool:
        """True while further results may come after the current one."""
        return False

    def and_then(self, step: Callable[[Any], Future]) -> Future:
        """Go on with another future once this one has a result (flux_future_and_then(3)).

        Args:
            step: called with this future when it has succeeded; gives the future whose result is then the result. A
                FluxError that it raises is the result, and so is one that this future was fulfilled with.
        """
        return NextFuture(self, step)

    def error_string(self) -> str | None:
        """Text of the error that the future was fulfilled with; None when it was not."""
        result = self._results[0] if self._results else None
        return str(result) if isinstance(result, BaseException) else None

    def get_flux(self) -> Any:
        """The handle that drives this future."""
        return self._handle

    def set_flux(self, flux_handle: Any) -> None:
        """Let a handle drive this future from now on."""
        self._handle = flux_handle

    def get_reactor(self) -> Any:
        return None if self._handle is None else self._handle.get_reactor()

    def incref(self) -> None:
        """Kept for programs written for the C bindings; Python counts references itself."""

    async def wait(self) -> None:
        """Wait under asyncio until ready; then `get` does not block."""
        while not self._results:
            assert self._handle is not None
            self._waiter = self._handle.create_waiter()
            await self._waiter

    def __await__(self) -> Generator[Any, Any, Any]:
        if not self._results:
            yield from self.wait().__await__()
        return self.get()


class FutureExt(Future):
    """A future for a program to fulfil, which begins its work when somebody wants the result.

    Args:
        init_cb: called with this future, args and kw_args at the first `then`, `get` or `wait_for`; `get_flux` gives
            the handle to work with.
        flux_handle: that drives it; else `set_flux` has to say so before.
    """

    def __init__(self, init_cb: Callable[..., Any], *args: Any, flux_handle: Any = None, **kw_args: Any) -> None:
        super().__init__(flux_handle)
        self._begin: Callable[[], Any] | None = lambda: init_cb(self, *args, **kw_args)

    def _begin_once(self) -> None:
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()

    def then(self, callback: Callable[..., Any], *args: Any, timeout: float = -1.0, **kwargs: Any) -> Future:
        super().then(callback, *args, timeout=timeout, **kwargs)
        self._begin_once()
        return self

    def wait_for(self, timeout: float = -1.0) -> Future:
        self._begin_once()
        return super().wait_for(timeout)

    def __await__(self) -> Generator[Any, Any, Any]:
        self._begin_once()
        return super().__await__()


class NextFuture(Future):
    """The result of a step that follows when another future has its result: see `Future.and_then`."""

    def __init__(self, first: Future, step: Callable[[Any], Future]) -> None:
        super().__init__(first._handle)
        self._current = first
        self._step: Callable[[Any], Future] | None = step
        first.then(lambda _first: self.is_ready())

    def is_ready(self) -> bool:
        while not self._results and self._current.is_ready():
            try:
                self._go_on(self._current.get())
            except FluxError as exc:
                self.fulfill(exc)
        return bool(self._results)

    def _go_on(self, result: Any) -> None:
        if self._step is None:
            self.fulfill(result)
            return
        step, self._step = self._step, None
        self._current = step(self._current)
        self._current.then(lambda _current: self.is_ready())


class WaitAllFuture(Future):
    """Fulfilled when all of its children are; `get` gives the list of children, in order."""

    def __init__(self, children: Iterable[Future] | None = None, handle: Handle | None = None) -> None:
        super().__init__(handle)
        self.children: dict[str, Future] = {}
        for child in children or ():
            self.push(child)

    def push(self, child: Future, name: str | None = None) -> None:
        """Add a child, under a name (default: its position)."""
        self._handle = self._handle or child._handle
        key = name if name is not None else str(len(self.children))
        if key in self.children:
            raise FluxError(errno.EEXIST, f"there is a child named {key!r} already")
        self.children[key] = child
        child.then(lambda _child: self.is_ready())

    def is_ready(self) -> bool:
        if not self._results and self.children and all(child.is_ready() for child in self.children.values()):
            self.fulfill(list(self.children.values()))
        return bool(self._results)

    def get_child(self, name: str) -> Future:
        """The child of that name. FluxError ENOENT when there is none."""
        try:
            return self.children[name]
        except KeyError:
            raise FluxError(errno.ENOENT, f"no child named {name!r}") from None
