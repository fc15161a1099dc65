"""The address of the API and the paths below it: what is refused, and what cannot be escaped."""

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from plangrep_async._endpoint import (
    check_base_url,
    job_path,
    jobs_path,
    project_path,
    result_path,
    segment,
)
from plangrep_async.errors import ConfigurationError

VARIABLE = "PLANGREP_BASE_URL"
DEFAULT = "https://plangrep.com/api/open/v1"

TAKEN = [
    DEFAULT,
    "https://api.plangrep.com",
    "https://plangrep.com:8443/v1",
    "https://203.0.113.7/v1",
    "https://[2001:db8::1]/v1",
    "https://[2001:db8::1]:8443/v1",
    "https://plangrep.com/api//v1",
    "https://plangrep.com/a..b/.../.well-known",
    "https://plangrep.com/caf%C3%A9/a%2Fb",
    "http://localhost",
    "http://localhost:8080/v1",
    "http://127.0.0.1:8080",
    "http://127.0.0.2",
    "http://127.255.255.254/v1",
    "http://[::1]",
    "http://[::1]:8080/v1",
    "http://[0:0:0:0:0:0:0:1]:8080",
]


@pytest.mark.fault("X5")
@pytest.mark.parametrize("url", TAKEN)
def test_an_address_that_is_safe_is_taken_as_it_is(url: str) -> None:
    """Encrypted, or this very machine: nothing of the address changes."""
    assert check_base_url(url) == url


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTPS://Plangrep.COM/API/v1", "https://plangrep.com/API/v1"),
        ("http://LOCALHOST:8080", "http://localhost:8080"),
        ("https://plangrep.com:443/v1", "https://plangrep.com/v1"),
        ("https://plangrep.com:0443", "https://plangrep.com"),
        ("https://plangrep.com:08443", "https://plangrep.com:8443"),
        ("https://plangrep.com:80", "https://plangrep.com:80"),
        ("http://127.0.0.1:80/v1", "http://127.0.0.1/v1"),
        ("http://127.0.0.1:443", "http://127.0.0.1:443"),
        ("https://[2001:DB8::1]:443", "https://[2001:db8::1]"),
    ],
)
def test_other_spellings_of_an_address_are_normalized(url: str, normal: str) -> None:
    """Small letters in scheme and host, no default port (RFC 3986, sections 6.2.2 and 6.2.3)."""
    assert check_base_url(url) == normal


ends = st.sampled_from(["", "/", "/v1", "/%41", "/a|b[c]<d>", "//x", "/..;"])
hosts = st.from_regex(r"[a-zA-Z0-9._~-]{1,9}|\[::[0-9a-f]{1,4}\]", fullmatch=True)


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(["http", "https", "HTTPS"]), hosts, st.integers(0, 70_000), ends)
def test_every_address_that_is_taken_can_be_requested(
    scheme: str, host: str, port: int, end: str
) -> None:
    """Yarl writes what is taken here back unchanged, and checking it again changes nothing."""
    try:
        base = check_base_url(f"{scheme}://{host}{f':{port}' if port else ''}{end}")
    except ConfigurationError:
        assert port > 65_535 or scheme == "http"
        return
    whole = base + jobs_path("proj_1")
    assert str(URL(whole, encoded=True)) == whole
    assert check_base_url(base) == base


@pytest.mark.parametrize("slashes", ["", "/", "///"])
@pytest.mark.parametrize("url", [DEFAULT, "http://[::1]:8080"])
def test_slashes_at_the_end_make_no_difference(url: str, slashes: str) -> None:
    """With or without them it is the same address."""
    assert check_base_url(url + slashes) == url


def test_the_default_the_environment_and_the_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument goes before the environment variable, and that before the default."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert check_base_url(None) == DEFAULT
    monkeypatch.setenv(VARIABLE, "https://staging.plangrep.com/v1/")
    assert check_base_url(None) == "https://staging.plangrep.com/v1"
    assert check_base_url("http://localhost:1") == "http://localhost:1"


@pytest.mark.fault("X5")
@pytest.mark.parametrize("url", ["", "ftp://plangrep.com", "http://plangrep.com"])
def test_the_environment_is_checked_like_the_argument(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad variable is refused, and an empty one is bad."""
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(ConfigurationError, match="PLANGREP_BASE_URL must"):
        check_base_url(None)


@pytest.mark.fault("X5")
@pytest.mark.parametrize(
    "url",
    [
        "ftp://plangrep.com/v1",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "plangrep.com/v1",
        "",
        "https://",
        "https:///v1",
        "https:plangrep.com",
        "https://:8443/v1",
        "https://[::1",
        "https://plangrep.com:0",
        "https://plangrep.com:",
        "http://127.0.0.1%2eevil.example",
        "http://[::1%25lo]",
        "https://plangrep.com:65536",
        "https://plangrep.com:-1",
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    """Other schemes, no host, no possible port: the error shows how it should look."""
    with pytest.raises(ConfigurationError, match=f"must look like {DEFAULT}"):
        check_base_url(url)


@pytest.mark.fault("X5")
@pytest.mark.parametrize(
    "url",
    [
        "https://user@plangrep.com",
        "https://user:canary@plangrep.com",
        "http://localhost:canary@evil.example",
        "https://@plangrep.com",
        "http://localhost\\@evil.example",
        "https://plangrep.com/v1?token=canary",
        "https://plangrep.com/v1?",
        "https://plangrep.com/v1#canary",
        "https://plangrep.com#",
        "https://plangrep.com/a\\..\\b",
        "https://plangrep.com/a/../b",
        "https://plangrep.com/..",
        "https://plangrep.com/./v1/",
        "https://plangrep.com/v1 ",
        " https://plangrep.com/v1",
        "https://plangrep.com/v1\n",
        "https://plan\tgrep.com",
        "https://plangrep.com/\0",
        "https://plangrep.com/\x7f",
        "https://plängrep.com",
        "https://plangrep。com",
        "https://plangrep.com/\udc80",
        b"https://plangrep.com",
        7,
    ],
    ids=ascii,
)
def test_what_could_mean_another_place_is_refused(url: Any) -> None:
    """User names, queries, fragments, dot segments, blanks: refused, and secrets not repeated."""
    with pytest.raises(ConfigurationError, match="base_url must") as caught:
        check_base_url(url)
    assert "canary" not in repr(caught.value)


@pytest.mark.fault("X5")
@pytest.mark.parametrize(
    "host",
    [
        "plangrep.com",
        "127.0.0.1.evil.example",
        "127.0.0.1evil.example",
        "localhost.evil.example",
        "localhost.localdomain",
        "128.0.0.1",
        "169.254.169.254",
        "0.0.0.0",  # noqa: S104
        "[::]",
        "[fe80::1]",
        "[::ffff:192.0.2.1]",
        "[::127.0.0.1]",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "127.0.0.01",
        "127.0.0.1.",
        "localhost.",
    ],
)
def test_clear_text_goes_to_this_machine_only(host: str) -> None:
    """Whatever is not plainly a loopback host needs https, lookalikes and odd spellings too."""
    for url in (f"http://{host}", f"http://{host}:8080/v1", f"HTTP://{host}/localhost"):
        with pytest.raises(ConfigurationError, match="must use https: the API key would travel"):
            check_base_url(url)


@pytest.mark.fault("X5")
@pytest.mark.parametrize("dots", ["%2e", "%2E%2e", ".%2e", "%2e."])
def test_percent_encoded_dot_segments_are_refused(dots: str) -> None:
    """A server may read %2e as a dot (RFC 3986, section 6.2.2.2), so it is no less of one."""
    with pytest.raises(ConfigurationError, match=r"no \. or \.\. in its path"):
        check_base_url(f"https://plangrep.com/api/{dots}/v1")


@pytest.mark.fault("X5")
@pytest.mark.parametrize("host", ["[::1]evil.example", "evil.example[::1]", "x[::1]y:80"])
def test_text_beside_the_brackets_of_an_ipv6_address_is_refused(host: str) -> None:
    """What is around the brackets is no part of an address, though parsers have ignored it."""
    with pytest.raises(ConfigurationError, match="must look like"):
        check_base_url(f"http://{host}/")


@pytest.mark.fault("X5")
@pytest.mark.parametrize(
    "url",
    ["http://[127.0.0.1]:8080", "https://[1]", "https://[...]", "https://[:]", "https://[1:2]"],
)
def test_brackets_hold_an_ipv6_address(url: str) -> None:
    """Yarl has a ValueError for other brackets, so that they are refused here."""
    with pytest.raises(ConfigurationError, match="an IPv6 address between its brackets"):
        check_base_url(url)


@pytest.mark.fault("X2")
@pytest.mark.parametrize("value", ["", ".", "..", "\ud800", "a\udfffb", None, 7, b"id"], ids=ascii)
def test_an_id_that_cannot_be_a_segment_is_refused(value: Any) -> None:
    """The refusal says which id is meant."""
    with pytest.raises(ConfigurationError, match=r"^the job id must "):
        segment("job id", value)


@pytest.mark.fault("X2")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("proj_01hx9z4kqr8e7m3p5n6w2v0abc", "proj_01hx9z4kqr8e7m3p5n6w2v0abc"),
        ("a/b", "a%2Fb"),
        ("../..", "..%2F.."),
        ("...", "..."),
        ("%2e%2e", "%252e%252e"),
        ("?a=b&c", "%3Fa%3Db%26c"),
        ("#", "%23"),
        ("\r\nX-Evil: 1", "%0D%0AX-Evil%3A%201"),
        ("\0", "%00"),
        ("\\", "%5C"),
        ("a;b,c@d:e", "a%3Bb%2Cc%40d%3Ae"),
        ("ü😀", "%C3%BC%F0%9F%98%80"),
        ("//evil.example", "%2F%2Fevil.example"),
    ],
)
def test_an_id_is_quoted_as_one_segment(value: str, expected: str) -> None:
    """What has a meaning in a URL loses it."""
    assert segment("id", value) == expected
    assert jobs_path(value) == f"/projects/{expected}/jobs"
    assert project_path(value) == f"/projects/{expected}"
    assert job_path(value) == f"/jobs/{expected}"
    assert result_path(value) == f"/jobs/{expected}/result"


@pytest.mark.fault("X2")
@settings(derandomize=True, deadline=None)
@given(
    st.text() | st.text("./\\%2eE?#&@:;\r\n\0\ud800ü", max_size=8) | st.just("x/" * 5000),
    st.sampled_from([DEFAULT, "http://[::1]:8080", "http://127.0.0.1:8080/v1"]),
)
def test_an_id_stays_one_segment_or_is_refused(value: str, base: str) -> None:
    """However it is read, the request goes to that host and path, and the id comes back whole."""
    try:
        path = jobs_path(value)
    except ConfigurationError:
        halves = [character for character in value if "\ud800" <= character <= "\udfff"]
        assert value in ("", ".", "..") or halves
        return
    outer, inner = urlsplit(base), urlsplit(base + path)
    assert (inner.netloc, inner.query, inner.fragment) == (outer.netloc, "", "")
    *before, quoted, last = inner.path.split("/")
    assert ("/".join(before), last) == (outer.path + "/projects", "jobs")
    assert unquote(quoted, errors="strict") == value
    sent = URL(base + path, encoded=True)
    assert str(sent) == base + path
    assert (sent.raw_host, sent.port, sent.raw_query_string) == (outer.hostname, URL(base).port, "")
    assert sent.raw_path == outer.path + path
    assert path.isascii()
