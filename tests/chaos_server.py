"""The other side of the chaos run: lists that change between two responses, and never within one.

All streams share one server. A request finds its stream by the project of its path; the answer is
made of one state of that list: its newest one or, from a stale replica, an older one.
"""

import gzip
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from random import Random

from tests.chaos_plan import Plan
from tests.chaos_story import END, SEPARATOR, START, Listed, Story
from tests.conftest import wire_job
from tests.raw_server import CHUNKED, Connection, Script, chunked, head, json_response, response

_STATUSES = ("provisioning", "uploading", "processing", "completed", "failed", "expired")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789 éüß漢字😀"
_FILE = {"id": "file_1", "fileName": 'Plän "A" \\ %s.pdf', "status": "completed"}
_TEMPLATE = json.dumps(
    wire_job(0, id="%s", status="%s", files=[_FILE], createdAt="%s"), ensure_ascii=False
)
_NOW = datetime.fromisoformat("2024-11-02T12:00:00+00:00")


class ChangingList:
    """One project's jobs from new to old, in every state they were ever in."""

    def __init__(self, plan: Plan) -> None:
        random = Random(f"{plan.name}/jobs")
        self.counts: Counter[str] = Counter()
        self._plan = plan
        self._text = "".join(random.choices(_LETTERS, k=4_000 + plan.job_bytes))
        self._born = 0
        self._newest = _NOW
        jobs = [self._bear(random) for _ in range(plan.jobs)]
        self.states: list[Sequence[Listed]] = [jobs[::-1]]
        for _ in range(3):  # so that there is something stale from the first request on
            self._change(random, ())
        self.counts.clear()

    def look(self, random: Random, delivered: Sequence[Listed]) -> tuple[int, Sequence[Listed]]:
        """Change the list, or not, and give the number and the jobs of the state to be sent."""
        self._change(random, delivered)
        version = len(self.states) - 1
        if self._plan.changes and random.random() < 0.15:
            version = random.randrange(len(self.states))
        if version < len(self.states) - 1:
            self.counts["stale"] += 1
        jobs = self.states[version]
        if random.random() < 0.2:  # nothing promises an order among jobs of one moment
            jobs = random.sample(jobs, len(jobs))
            jobs.sort(key=lambda job: job.created, reverse=True)
        return version, jobs

    def _change(self, random: Random, delivered: Sequence[Listed]) -> None:
        likely = self._plan.changes
        before = jobs = list(self.states[-1])
        if random.random() < likely:
            born = [self._bear(random) for _ in range(random.choice([1, 1, 2, 10]))]
            self.counts["births"] += len(born)
            jobs = [*reversed(born), *jobs]
        if random.random() < likely:
            number = random.choices([1, 3, len(jobs)], [12, 12, 1])[0]
            gone = {job.id for job in random.sample(jobs, min(len(jobs), number))}
            if delivered and random.random() < 0.2:
                gone.add(delivered[-1].id)
            kept = [job for job in jobs if job.id not in gone]
            self.counts["removals"] += len(jobs) - len(kept)
            jobs = kept
        if jobs and random.random() < likely:
            place = random.randrange(len(jobs))
            old = jobs[place]
            new = self._write(old.id, old.created, random)
            jobs = [*jobs[:place], new, *jobs[place + 1 :]]
            self.counts["changes"] += new != old
        if jobs != before:
            self.states.append(jobs)

    def _bear(self, random: Random) -> Listed:
        if random.random() >= self._plan.tie:
            self._newest += timedelta(milliseconds=random.choice([1, 7, 900, 60_000]))
        self._born += 1
        return self._write(f"job_{self._born:06}", self._newest, random)

    def _write(self, job_id: str, created: datetime, random: Random) -> Listed:
        status = random.choice(_STATUSES)
        start = random.randrange(4_000)
        text = self._text[start : start + random.randint(0, self._plan.job_bytes)]
        time = created.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = _TEMPLATE % (job_id, status, text, time)
        return Listed(job_id, created, status, body.encode())


class Stream:
    """One stream of the run: its plan, its list and what came of it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.story = Story(f"proj_{plan.number:05}", plan.patience)
        self.jobs = ChangingList(plan)
        self.requests = 0  # that the server saw
        self.refused: Counter[str] = Counter()  # of them, by status
        self.whole_bytes = 0  # of the last response, where all of it was sent

    async def answer(self, conn: Connection) -> None:
        """Answer one request for the list."""
        plan, number = self.plan, self.requests
        self.requests += 1
        self.whole_bytes = 0
        attempt = self.story.attempts[-1]
        if status := plan.refusals.get(number):
            attempt.status = status
            self.refused[str(status)] += 1
            await conn.send(json_response({}, status=status, headers=[("Retry-After", "0")]))
            return
        random = Random(f"{plan.name}/{number}")
        attempt.version, attempt.jobs = self.jobs.look(random, self.story.got)
        attempt.status = 200
        data = _response(plan, attempt.jobs, random)
        await conn.send(data)
        self.whole_bytes = len(data)


def answering(streams: Mapping[str, Stream]) -> Script:
    """Make the server's script; the streams are found by their projects."""

    async def answer(conn: Connection) -> None:
        await streams[conn.request.target.split("/")[2]].answer(conn)

    return answer


def _response(plan: Plan, jobs: Sequence[Listed], random: Random) -> bytes:
    body = START + SEPARATOR.join(job.body for job in jobs) + END
    headers = [("Content-Type", "application/json")]
    if plan.is_compressed:
        body = gzip.compress(body, 1)
        headers.append(("Content-Encoding", "gzip"))
    if plan.framing == "length":
        return response(body, headers=headers)
    size = random.choice([100, 1_000, 16_384]) + len(body) // 1_000
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    return head(headers=[*headers, CHUNKED]) + chunked(pieces)
