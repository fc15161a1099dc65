"""The cures for the faults of `matrix.py`, and how to switch each one off: see `mutants.py`."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """A cure, and how to switch it off."""

    cure: str
    rows: str  # whose tests must notice
    file: str  # in the package
    text: str  # that stands there once
    instead: str


MUTANTS = [
    Mutant(
        "time-out on reading a body",
        "B5 B11 B12",
        "_transport/body.py",
        "asyncio.timeout(self._read_seconds - self._waited)",
        "asyncio.timeout(None)",
    ),
    Mutant(
        "dripping is no progress",
        "B11",
        "_transport/body.py",
        "_LEAST_BYTES = 1 << 10",
        "_LEAST_BYTES = 1",
    ),
    Mutant(
        "deadline for the headers",
        "H1 H3",
        "_transport/session.py",
        "deadline.reschedule(asyncio.get_running_loop().time() + self._timeouts.read)",
        "deadline.reschedule(None)",
    ),
    Mutant(
        "time-out on connecting",
        "C3 C4",
        "_transport/__init__.py",
        "connect=self._timeouts.connect",
        "connect=None",
    ),
    Mutant(
        "the list and its object must be closed",
        "B6 B7",
        "_jsonarray.py",
        "if is_cut_short(self._rest()):",
        "if False:",
    ),
    Mutant(
        "nothing may stand behind the object",
        "B15",
        "_jsonarray.py",
        "if any(name == self._key for name, _ in read_members(self._rest(), self._place())):",
        "if False:",
    ),
    Mutant(
        "only the root's own key counts",
        "S6",
        "_jsonhead.py",
        "if self._key in names:",
        "if False:",
    ),
    Mutant(
        "a limit for one element",
        "B10 S10",
        "_jsonarray.py",
        "if not ends and self._scanner.position > self._max_element_bytes:",
        "if False:",
    ),
    Mutant(
        "a limit for nesting",
        "S3 B10",
        "_boundaries.py",
        "return self.depth > MAX_DEPTH",
        "return False",
    ),
    Mutant(
        "halves of surrogate pairs are mended",
        "S2",
        "_jsontext.py",
        'text = _half_of_pair.sub(rb"\\\\ufffd", text)',
        "text = text",
    ),
    Mutant(
        "UTF-8 is checked in unknown fields",
        "S2",
        "_mirror.py",
        "if not array.isascii():",
        "if False:",
    ),
    Mutant(
        "a turn for others after each batch",
        "L9",
        "_answer.py",
        "await asyncio.sleep(0)  # while bytes are here nothing else would give one",
        "pass",
    ),
    Mutant(
        "good jobs come before the error",
        "S7",
        "_stream.py",
        "                    break\n                try:",
        "                    return []\n                try:",
    ),
    Mutant(
        "delivered jobs are skipped by their ids",
        "B2",
        "_resume.py",
        "return not is_known",
        "return True",
    ),
    Mutant(
        "newer jobs are skipped",
        "B2",
        "_resume.py",
        "        if job.created_at > self._time:\n            return False\n",
        "        if job.created_at > self._time:\n            return True\n",
    ),
    Mutant(
        "the place must be found",
        "B2",
        "_resume.py",
        "            raise PlaceNotFound\n        self.is_behind = True",
        "            pass\n        self.is_behind = True",
    ),
    Mutant(
        "a stop before the place is no end",
        "B2",
        "_stream.py",
        "if not self._place.is_found:\n                    raise PlaceNotFound",
        "if False:\n                    raise PlaceNotFound",
    ),
    Mutant(
        "a list is opened twenty times at most",
        "B2",
        "_stream.py",
        "if self._openings == _MOST_OPENINGS:",
        "if False:",
    ),
    Mutant(
        "redirects are not followed",
        "X1",
        "_transport/__init__.py",
        "allow_redirects=False",
        "allow_redirects=True",
    ),
    Mutant(
        "Retry-After is a floor",
        "H6",
        "_retry.py",
        'floor = getattr(error, "retry_after", None) or 0.0',
        "floor = 0.0",
    ),
    Mutant(
        "a Retry-After beyond the budget raises at once",
        "H6",
        "_retry.py",
        "if spent + least > policy.budget or not (spared or afford(error)):",
        "if not (spared or afford(error)):",
    ),
    Mutant(
        "408 is tried again",
        "H7",
        "_retry.py",
        "frozenset({408, 429,",
        "frozenset({429,",
    ),
    Mutant(
        "404 is asked once",
        "H8",
        "_retry.py",
        "frozenset({408, 429,",
        "frozenset({404, 408, 429,",
    ),
    Mutant(
        "bad certificates are not tried again",
        "C5",
        "_retry.py",
        "        case TlsFailed():\n            return False\n",
        "",
    ),
    Mutant(
        "requests on the wire equal attempts",
        "C9 H2",
        "_transport/__init__.py",
        ", self._authorize, _send_once)",
        ", self._authorize)",
    ),
    Mutant(
        "a connection with leftover bytes is dropped",
        "H11 X11",
        "_transport/strict.py",
        "if protocol not in self._used or not protocol.should_close:",
        "if True:",
    ),
    Mutant(
        "what had arrived before a cut is delivered",
        "B2 B4",
        "_transport/body.py",
        "if rest := self._rest():",
        'if rest := b"":',
    ),
    Mutant(
        "no limit of the pool",
        "C7",
        "_transport/session.py",
        "StrictConnector(limit=0,",
        "StrictConnector(limit=1,",
    ),
    Mutant(
        "certificates are checked",
        "C5 X6",
        "_transport/session.py",
        "ssl=self._ssl or True)",
        "ssl=self._ssl or False)",
    ),
    Mutant(
        "an error's body is read up to a bound",
        "H10",
        "_status.py",
        "MAX_BODY_BYTES = 64 << 10",
        "MAX_BODY_BYTES = 64 << 30",
    ),
    Mutant(
        "aiohttp's errors are copied, not chained",
        "X4",
        "_transport/failures.py",
        "    failure.__cause__ = cause\n",
        "    failure.__cause__ = error\n",
    ),
    Mutant(
        "the key is hidden in what a server says",
        "X4",
        "_credentials.py",
        'text = text.replace(key, "[API key]")',
        "pass",
    ),
    Mutant(
        "pre-signed URLs stay out of representations",
        "X4",
        "models.py",
        "result_url: str | None = attrs.field(default=None, repr=False)",
        "result_url: str | None = attrs.field(default=None)",
    ),
    Mutant(
        "a path never leads elsewhere",
        "X2",
        "_transport/__init__.py",
        'if not {".", ".."}.isdisjoint(path.split("/")):',
        "if False:",
    ),
    Mutant(
        "ids are quoted",
        "X2",
        "_endpoint.py",
        'return quote(value, safe="")',
        "return value",
    ),
    Mutant(
        "keys are checked",
        "X3",
        "_credentials.py",
        'if not all("!" <= character <= "~" for character in key):',
        "if False:",
    ),
    Mutant(
        "plain http for this machine only",
        "X5",
        "_endpoint.py",
        'if scheme == "http" and not is_loopback:',
        "if False:",
    ),
    Mutant(
        "proxies of the environment are ignored",
        "X7",
        "_transport/session.py",
        "trust_env=self._trust_env",
        "trust_env=True",
    ),
    Mutant(
        "cookies are not kept",
        "X8",
        "_transport/session.py",
        "aiohttp.DummyCookieJar()",
        "aiohttp.CookieJar(unsafe=True)",
    ),
    Mutant(
        "foreign text is escaped",
        "X9 X10",
        "errors.py",
        'c if c.isprintable() else c.encode("unicode_escape").decode()',
        "c",
    ),
    Mutant(
        "unknown encodings are refused",
        "B9",
        "_transport/__init__.py",
        "if body.status == 200 and body.encoding in _ENCODINGS:",
        "if body.status == 200:",
    ),
    Mutant(
        "closing wakes a reader",
        "L2",
        "_interrupt.py",
        "            self._waiting.reschedule(asyncio.get_running_loop().time())",
        "            pass",
    ),
    Mutant(
        "a stream knows that its client was closed",
        "L2",
        "_stream.py",
        "        if self._network.is_aborted:\n            if last is not None:",
        "        if False:\n            if last is not None:",
    ),
    Mutant(
        "leaving closes the connection",
        "L1",
        "_stream.py",
        "    finally:\n        reader.close()\n",
        "    finally:\n        pass\n",
    ),
    Mutant(
        "a session that was brought is not closed",
        "L7",
        "_transport/session.py",
        "if is_owed and self._session is not None and self._at_loop_end is not None:\n"
        "            await self._session.close()\n"
        "            await self._at_loop_end.aclose()\n",
        "if self._session is not None:\n            await self._session.close()\n",
    ),
    Mutant(
        "a fork is noticed",
        "L3",
        "_transport/session.py",
        "return self._process not in (None, os.getpid())",
        "return False",
    ),
    Mutant(
        "another loop is noticed",
        "L3",
        "_transport/session.py",
        "if self._loop not in (None, loop):",
        "if False:",
    ),
    Mutant(
        "a failure ends the other projects",
        "K6 K7",
        "_bulk.py",
        "            self._failures[project_id] = failure\n"
        "            if self._raises:\n"
        "                self._cancel_workers()\n",
        "            self._failures[project_id] = failure\n",
    ),
    Mutant(
        "a failure is owed until it was raised",
        "K6",
        "_bulk.py",
        "            self._final = outcome.error  # now, for the hook may raise or be cancelled\n"
        "        if self._on_project_end is not None:\n"
        "            done = self._on_project_end(outcome)\n"
        "            if isawaitable(done):\n"
        "                await done\n",
        "            pass\n"
        "        if self._on_project_end is not None:\n"
        "            done = self._on_project_end(outcome)\n"
        "            if isawaitable(done):\n"
        "                await done\n"
        "        if outcome.error is not None and self._raises:\n"
        "            self._final = outcome.error\n",
    ),
    Mutant(
        "the block waits for its workers",
        "K4 K6",
        "_bulk.py",
        "await all_done(self._workers or set())",
        "pass",
    ),
    Mutant(
        "a second cancellation does not end that wait",
        "K6",
        "_interrupt.py",
        "        except asyncio.CancelledError as error:\n            cancelled = error\n",
        "        except asyncio.CancelledError:\n            raise\n",
    ),
    Mutant(
        "a worker goes on when its batch was taken",
        "K4 K5",
        "_bulk.py",
        "        await parcel.taken\n",
        "        await asyncio.sleep(0)\n",
    ),
    Mutant(
        "a batch is given out before the next one is taken",
        "K11 L11",
        "_bulk.py",
        "            for job in self._batch:\n"
        "                return job\n"
        "            content = self._take()\n",
        "            if not self._parcels:\n"
        "                return next(self._batch)\n"
        "            content = self._take()\n",
    ),
    Mutant(
        "as many workers as requests",
        "K4 K9",
        "_bulk.py",
        "count = max(1, min(self._most_workers, self._ids.most))",
        "count = 64",
    ),
    Mutant(
        "ids that are cancelled are no end",
        "K9",
        "_bulk.py",
        "if isinstance(error, asyncio.CancelledError) and worker and worker.cancelling():",
        "if isinstance(error, asyncio.CancelledError):",
    ),
    Mutant(
        "each project is fetched once",
        "K9",
        "_ids.py",
        "elif project_id not in self._seen:",
        "else:",
    ),
    Mutant(
        "places are lent out while the consumer works",
        "K8",
        "_limiter.py",
        "self._lending = self._limiter.loop.call_later(_PATIENCE, self.leave)",
        "pass",
    ),
    Mutant(
        "a turn that comes with a cancellation is given back",
        "K6",
        "_limiter.py",
        "                Place(self).leave()\n",
        "                pass\n",
    ),
    Mutant(
        "a pause beyond the budget fails who waits",
        "K10",
        "_limiter.py",
        "if pause <= self._longest_pause:",
        "if True:",
    ),
    Mutant(
        "Retry-After pauses all requests",
        "K10",
        "_pace.py",
        "self.paused_until = max(self.paused_until, now + retry_after)",
        "pass",
    ),
    Mutant(
        "new requests wait for the end of a pause",
        "K10",
        "_pace.py",
        "return max(0.0, self._next - now, self.paused_until - now)",
        "return max(0.0, self._next - now)",
    ),
    Mutant(
        "after a pause requests come one by one",
        "K10",
        "_pace.py",
        "self._next = max(self._next, now - _SLACK) + 1 / self.rate",
        "pass",
    ),
    Mutant(
        "a pause begins before the place is free",
        "K10",
        "_transport/__init__.py",
        "            refusal = await self._refusal(body, what, project_id)\n",
        "            refusal = await self._refusal(body, what, project_id)\n"
        "            body.close()\n",
    ),
    Mutant(
        "throttled requests cost no attempt",
        "K10",
        "_retry.py",
        "failures += not spared",
        "failures += 1",
    ),
    Mutant(
        "all retries of a client have one budget",
        "K2",
        "_retry.py",
        "if self._tokens < cost:",
        "if False:",
    ),
]
