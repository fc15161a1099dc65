"""What the fuzzing run checks, on cases that hypothesis chooses; and that its check can fail."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plangrep_async._jsonarray import ArrayDecoder
from plangrep_async.errors import IncompleteResponse, InvalidResponse
from tests.conftest import document, wire_job
from tests.fuzz import Decoder, Finding, Lanes, check, lanes, main, run
from tests.fuzz_cases import TOKENS, damaged, draw_case, in_any_pieces
from tests.test_elements import jobs, mutated
from tests.test_jsonarray_properties import examples

LANES = lanes()
GOOD = document([wire_job(number) for number in range(3)])

Decode = Callable[[bytes], Iterable[Any]]

fewer = settings(examples, max_examples=examples.max_examples // 2)
randoms = st.randoms(use_true_random=False)


@pytest.mark.fault("S2")
@examples
@given(
    st.sampled_from([b"", b"{", b'{"jobs":[', GOOD[:-2] + b",", GOOD[:-1] + b","]),
    st.binary(max_size=40) | st.lists(st.sampled_from(TOKENS), max_size=6).map(b"".join),
    st.sampled_from([b"", b"]}", b"}", b":0}"]),
    randoms,
)
def test_noise_ends_as_json_says(before: bytes, noise: bytes, after: bytes, random: Random) -> None:
    """Any bytes, alone or in a document, are what `json` finds in them, or a documented error."""
    text = before + noise + after
    check(text, in_any_pieces(random, text), LANES)


@pytest.mark.fault("S2", "S4", "S5")
@fewer
@given(st.lists(mutated(jobs), max_size=3), randoms)
def test_damaged_jobs_end_as_json_says(elements: list[bytes], random: Random) -> None:
    """Jobs with wrong parts come as the converter makes them, and no damage brings a surprise."""
    text = b'{"jobs":[' + b",".join(elements) + b"]}"
    check(text, in_any_pieces(random, text), LANES)
    text = damaged(random, text)
    check(text, in_any_pieces(random, text), LANES)


@fewer
@given(randoms)
def test_the_cases_of_the_command_end_as_json_says(random: Random) -> None:
    """What the command draws, chosen by hypothesis, which makes a finding small."""
    check(*draw_case(random), LANES)


@pytest.mark.slow
def test_a_short_run_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A few seconds meet each way to end, find nothing, and tell how to repeat them."""
    assert main(["--minutes", "0.05", "--seed", "7"]) == 0
    seed, first, *ends, slowest, memory = capsys.readouterr().out.splitlines()
    counts = {name: int(number) for number, name in map(str.split, ends)}
    assert seed == "seed 7"
    assert first == f"{sum(counts.values())} cases, 0 findings"
    assert set(counts) == {"normal", "InvalidResponse", "IncompleteResponse"}
    assert min(counts.values()) > 0
    assert slowest.startswith("slowest: ")
    assert memory.startswith("memory: ")


# The check itself.


def changed(change: Callable[[Any], Any]) -> Lanes:
    """Make lanes that change, or replace, each batch."""

    def lane(decode: Decode) -> Decode:
        return lambda array: [change(list(batch)) for batch in decode(array)]

    return {name: lane(decode) for name, decode in LANES.items()}


def raising(batch: Any) -> Any:
    raise KeyError("canary")


def slowly(batch: Any) -> Any:
    end = time.process_time() + 0.6
    while time.process_time() < end:
        pass
    return batch


class Endless(ArrayDecoder[Any]):
    """Takes every end for a normal one."""

    def close(self) -> None:
        """Say nothing."""


class Hasty(ArrayDecoder[Any]):
    """Takes every fault for an early end."""

    def feed(self, data: bytes) -> Iterator[Sequence[Any]]:
        """Pass it on."""
        try:
            yield from super().feed(data)
        except InvalidResponse:
            fault = True
        else:
            fault = False
        if fault:
            raise IncompleteResponse("too short")


class Telling(ArrayDecoder[Any]):
    """Shows what it has read."""

    def close(self) -> None:
        """Raise an error with another behind it."""
        try:
            int(self._buffer)
        except ValueError as error:
            raise InvalidResponse("wrong") from error


class Forgetful(ArrayDecoder[Any]):
    """Gives nothing but what the first piece holds."""

    fed = 0

    def feed(self, data: bytes) -> Iterator[Sequence[Any]]:
        """Pass on what the first piece gives."""
        self.fed += 1
        for batch in super().feed(data):
            if self.fed == 1:
                yield batch


CUT = GOOD[:-1]
WRONG = GOOD[:-2] + b",{]}"


@pytest.mark.parametrize(
    ("lanes", "decoder", "text", "said"),
    [
        (changed(lambda batch: batch[:-1] or batch), ArrayDecoder, GOOD, "but "),
        (
            changed(lambda batch: [job for job in batch for _ in "12"]),
            ArrayDecoder,
            GOOD,
            "but json gives",
        ),
        (changed(lambda batch: []), ArrayDecoder, GOOD, "None came out"),
        (changed(lambda batch: ["canary"]), ArrayDecoder, GOOD, "'canary' came out"),
        (changed(raising), ArrayDecoder, GOOD, "KeyError('canary') came out"),
        (changed(slowly), ArrayDecoder, GOOD, " s for "),
        ({**LANES, "plain": changed(raising)["plain"]}, ArrayDecoder, GOOD, "KeyError('canary')"),
        ({"fast": LANES["fast"], "plain": changed(list)["plain"]}, Forgetful, GOOD, "in pieces"),
        (
            {**LANES, "plain": changed(lambda batch: batch[:1])["plain"]},
            ArrayDecoder,
            GOOD,
            "(plain lane",
        ),
        (LANES, Endless, CUT, "only"),
        (LANES, Hasty, WRONG, "only"),
        (LANES, Telling, GOOD, "may show ValueError"),
    ],
)
def test_a_wrong_decoder_is_found(lanes: Lanes, decoder: Decoder, text: bytes, said: str) -> None:
    """The check passes the right decoder, and names what a wrong one does."""
    pieces = [text[:900], text[900:]]
    check(text, pieces, LANES)
    with pytest.raises(Finding) as caught:
        check(text, pieces, lanes, decoder)
    assert said in str(caught.value)


def test_a_finding_is_told_with_how_to_repeat_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Seed and number alone bring a finding again, as the first line of a run that fails."""
    report = run(3, range(40), LANES, Forgetful)
    assert report.cases == 40
    assert 0 < len(report.findings) < 40
    repeat, _, _ = report.findings[0].partition(":")
    assert main(repeat.split(), Forgetful) == 1
    assert capsys.readouterr().out.splitlines()[:3] == [
        "seed 3",
        report.findings[0],
        "1 cases, 1 findings",
    ]
    assert main(repeat.split()) == 0


def test_memory_that_grows_is_found() -> None:
    """Something that each case leaves behind is a finding in the end."""
    kept = []

    def keep(batch: Any) -> Any:
        kept.append(b"x" * 1_000_000)
        return batch

    report = run(3, range(60), changed(keep), warm_up=10)
    assert report.growth > 64 << 20
    assert [finding.partition(" by ")[0] for finding in report.findings] == [
        "--seed 3: memory grew"
    ]
