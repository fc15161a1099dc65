"""Where the API is: a checked base URL, and paths below it that no id can leave."""

import ipaddress
import os
import re
from urllib.parse import quote, unquote

from plangrep_async.errors import ConfigurationError, printable

ENVIRONMENT_VARIABLE = "PLANGREP_BASE_URL"
DEFAULT_BASE_URL = "https://plangrep.com/api/open/v1"

# RFC 3986, section 3, as far as it is of use here.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9_.~-]+|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?(?P<path>(/.*)?)",
    re.IGNORECASE,
).fullmatch


def check_base_url(given: str | None) -> str:
    """Check the address of the API, from the environment where none is given; normalize it.

    Raises `ConfigurationError` for anything but `https` (or `http` to this very machine), and for
    user names, queries, fragments and relative paths.
    """
    name = "base_url" if given is not None else ENVIRONMENT_VARIABLE
    url = given if given is not None else os.environ.get(ENVIRONMENT_VARIABLE, DEFAULT_BASE_URL)
    try:
        if not isinstance(url, str) or not all("!" <= character <= "~" for character in url):
            raise ConfigurationError(f"{name} must be a text of visible ASCII characters")
        if any(character in url for character in "@?#\\"):
            raise ConfigurationError(f"{name} must have no user name, query, fragment or backslash")
        found = _URL(url)
        if found is None or not 0 < int(found["port"] or 1) < 65_536:
            raise ConfigurationError(f"{name} must look like {DEFAULT_BASE_URL}")
        scheme, host, port = found["scheme"].lower(), found["host"].lower(), found["port"]
        address = _address(host)
        if host[0] == "[" and address is None:
            raise ConfigurationError(f"{name} must have an IPv6 address between its brackets")
        is_loopback = address.is_loopback if address else host == "localhost"
        if scheme == "http" and not is_loopback:
            raise ConfigurationError(
                f"{name} must use https: "
                f"the API key would travel to {printable(host)} in clear text"
            )
        if any(unquote(segment) in (".", "..") for segment in found["path"].split("/")):
            raise ConfigurationError(f"{name} must have no . or .. in its path")
        is_default = port is None or int(port) == {"http": 80, "https": 443}[scheme]
        return (
            f"{scheme}://{host}{'' if is_default else f':{int(port)}'}{found['path'].rstrip('/')}"
        )
    finally:
        del given, url  # may hold a password, and a traceback may be shown with its variables


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.IPv6Address(host[1:-1]) if host[0] == "[" else ipaddress.ip_address(host)
    except ValueError:
        return None


PROJECTS_PATH = "/projects"  # the API's documentation, List Projects


def project_path(project_id: str) -> str:
    """Path of one project (the API's documentation, Get Project)."""
    return f"/projects/{segment('project id', project_id)}"


def jobs_path(project_id: str) -> str:
    """Path of the list of a project's jobs (the API's documentation, List Jobs)."""
    return f"/projects/{segment('project id', project_id)}/jobs"


def job_path(job_id: str) -> str:
    """Path of one job (the API's documentation, Get Job)."""
    return f"/jobs/{segment('job id', job_id)}"


def result_path(job_id: str) -> str:
    """Path of the result of a job (the API's documentation, Get Job Result)."""
    return f"/jobs/{segment('job id', job_id)}/result"


def segment(name: str, value: str) -> str:
    """Quote an id as exactly one segment of a path: RFC 3986, section 3.3."""
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"the {name} must be a text that is not empty")
    if value in (".", ".."):
        raise ConfigurationError(f"the {name} must not be {value!r}")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        pass
    raise ConfigurationError(f"the {name} must be valid Unicode, without halves of a pair")
