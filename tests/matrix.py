"""The table of faults, and which tests show what becomes of each: `python -m tests.matrix`.

A test carries the rows that it shows as a mark: `@pytest.mark.fault("H6", "X9")`. The command
collects the tests, prints each row with their names, and fails where a row has neither a test nor
a reason in `EXCEPTIONS`, and where a mark names no row.
"""

import contextlib
import io
import sys
from collections import defaultdict

import pytest

GROUPS = {
    "C": "Connect",
    "H": "Headers and status",
    "B": "Body",
    "S": "Meaning",
    "K": "Bulk",
    "L": "Lifecycle",
    "X": "Security",
}

ROWS = {
    "C1": "connection refused",
    "C2": "host name cannot be looked up",
    "C3": "SYN dropped, backlog full",
    "C4": "TLS handshake stalls",
    "C5": "certificate of an unknown authority, for another host, expired",
    "C6": "plain HTTP to a TLS port, and the reverse",
    "C7": "pool of connections exhausted",
    "C8": "first of two addresses is dead",
    "C9": "server flaps: two failures, then an answer",
    "H1": "no answer at all",
    "H2": "FIN or RST before the headers",
    "H3": "headers drip for ever, endless 1xx",
    "H4": "malformed status line, contradicting lengths",
    "H5": "huge header, 20,000 headers",
    "H6": "Retry-After in all its forms",
    "H7": "500 502 503 504 408",
    "H8": "400 401 403 404 409 422",
    "H9": "200 with an HTML page, with nothing; 204; 206",
    "H10": "endless body of an error",
    "H11": "idle connection closed, reset, or used for an unsolicited 408",
    "B1": "chunked body cut before the first job",
    "B2": "chunked body cut after some jobs",
    "B3": "Content-Length too long, too short",
    "B4": "RST in the body",
    "B5": "bad chunk size in a later packet",
    "B6": "body without a length, cut at every byte",
    "B7": "compressed body cut, its framing intact",
    "B8": "gzip with a wrong checksum, not gzip, with trailing garbage",
    "B9": "unknown or stacked Content-Encoding",
    "B10": "bombs: zeros, one endless string, endless white space",
    "B11": "body drips byte by byte",
    "B12": "body stalls after some jobs",
    "B13": "pieces of any size",
    "B14": "slow consumer",
    "B15": "bytes behind the root object",
    "S1": "NaN, Infinity, 1e999",
    "S2": "lone surrogates, invalid UTF-8, BOM, raw control characters",
    "S3": "nesting without end",
    "S4": "huge integers, floats for integers",
    "S5": "duplicate keys",
    "S6": "the list missing, of another type, hidden, or imitated",
    "S7": "elements that are no jobs",
    "S8": "an error with status 200",
    "S9": "unknown fields, statuses and root keys",
    "S10": "one object of 200 MiB",
    "K1": "one project of many fails",
    "K2": "all projects fail",
    "K3": "one project stalls",
    "K4": "consumer stops after the first of many jobs",
    "K5": "slow consumer of many fast streams",
    "K6": "cancellation at every await",
    "K7": "two projects fail at the same moment",
    "K8": "streams inside streams, and in lock-step",
    "K9": "ids: duplicates, none, without end, asynchronous, an iterable that raises",
    "K10": "storm of 429 with Retry-After",
    "K11": "any order of producing, failing, cancelling and closing",
    "K12": "callers that share one request: cancelled, failing, late, closed under",
    "K13": "waiting for a job through failures, time-outs and cancellation",
    "L1": "a stream left early, in every way",
    "L2": "the client closed under its streams",
    "L3": "use after close, on another loop, after a fork, before a loop",
    "L4": "the consumer's own time-out",
    "L5": "no time-out of ours across a yield (PEP 789)",
    "L6": "the loop ends under a stream; Ctrl-C",
    "L7": "a session of the caller's",
    "L8": "thousands of requests with faults leave nothing behind",
    "L9": "decoding holds the loop for a bounded time",
    "L10": "a web visitor leaves during a streaming answer",
    "L11": "two consumers of one stream",
    "X1": "redirects",
    "X2": "ids that would choose another endpoint",
    "X3": "API keys that would break a header",
    "X4": "secrets in errors, tracebacks, logs, pickles",
    "X5": "base URLs that would betray the key",
    "X6": "certificates cannot be left unchecked by accident",
    "X7": "proxies and passwords of the environment",
    "X8": "cookies of a server",
    "X9": "control characters and huge texts in messages",
    "X10": "server text in the log",
    "X11": "leftover bytes behind an answer",
    "X12": "endless chain of tiny gzip members",
}

EXCEPTIONS: dict[str, str] = {}
"""Rows without a test, and why there can be none."""


class Collector:
    """A plugin of pytest that notes the marks of what it collects."""

    def __init__(self) -> None:
        self.tests: dict[str, list[str]] = defaultdict(list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note each test once per row, whatever its parameters."""
        for item in items:
            name = item.nodeid.partition("[")[0]
            for mark in item.iter_markers("fault"):
                for row in mark.args:
                    if name not in self.tests[row]:
                        self.tests[row].append(name)


def collect() -> dict[str, list[str]]:
    """Give the names of the tests of each row that has any."""
    collector = Collector()
    arguments = ["--collect-only", "-qq", "--no-header", "--no-summary", "tests"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(arguments, plugins=[collector])
    if code:
        sys.exit(said.getvalue())
    return collector.tests


def main() -> int:
    """Print the table; give the number of rows, or marks, that have no other half."""
    found = collect()
    missing = 0
    for row, title in ROWS.items():
        if row[1:] == "1":
            print(f"\n{GROUPS[row[0]]}")
        print(f"  {row:4} {title}")
        tests, reason = found.pop(row, []), EXCEPTIONS.get(row)
        for test in tests:
            print(f"         {test.removeprefix('tests/')}")
        if reason is not None:
            print(f"         no test: {reason}")
        if bool(tests) == (reason is not None):
            print("         NOTHING SHOWS THIS" if not tests else "         BOTH TEST AND REASON")
            missing += 1
    for row, tests in found.items():
        print(f"\nno such row: {row}, in {', '.join(tests)}")
        missing += 1
    print(f"\n{len(ROWS)} rows, {len(EXCEPTIONS)} without a test and with a reason, {missing} open")
    return missing


if __name__ == "__main__":
    sys.exit(main())
