"""What is answered: the documents of the API by path and method, and its errors."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from ._data import Organisation, UnknownId
from ._json import encode, encode_list


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body, a list in pieces that are made while it is sent."""

    status: int
    body: bytes | Iterable[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    jobs_of: str | None = None
    """The project whose job list it is."""


def project_named_by(parts: tuple[str, ...]) -> str | None:
    """Return the id of the project that a path names, if any."""
    match parts:
        case ("/", "api", "open", "v1", "projects", project_id, *_) if project_id:
            return project_id
    return None


class Api:
    """The endpoints of one organisation; `pretty` as for `Emulator`."""

    def __init__(self, organisation: Organisation, *, pretty: bool) -> None:
        self._organisation = organisation
        self._pretty = pretty

    def answer(self, method: str, parts: tuple[str, ...]) -> Answer:
        """Return what is at a path, which is split before it is unquoted.

        So a quoted slash stays inside its id.
        """
        try:
            answer = self._document(parts)
        except UnknownId:
            return self.error(404, "There is nothing here for this API key.")
        if method != "GET":
            return self.error(405, "This endpoint answers GET only.", {"Allow": "GET"})
        return answer

    def error(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return an error; its code is what HTTP calls the status."""
        try:
            code = HTTPStatus(status).phrase.lower().replace(" ", "_")
        except ValueError:
            code = "unknown"
        return Answer(status, self._encode({"code": code, "message": message}), headers or {})

    def job_list(self, project_id: str) -> Iterator[bytes]:
        """Return the body of a project's job list in pieces."""
        return encode_list("jobs", self._organisation.jobs(project_id), pretty=self._pretty)

    def _document(self, parts: tuple[str, ...]) -> Answer:
        organisation = self._organisation
        match parts:
            case ("/", "api", "open", "v1", "projects"):
                projects = map(organisation.project, organisation.project_ids)
                return Answer(200, encode_list("projects", projects, pretty=self._pretty))
            case ("/", "api", "open", "v1", "projects", project_id):
                return self._single({"project": organisation.project(project_id)})
            case ("/", "api", "open", "v1", "projects", project_id, "jobs"):
                return Answer(200, self.job_list(project_id), jobs_of=project_id)
            case ("/", "api", "open", "v1", "jobs", job_id):
                return self._single({"job": organisation.job(job_id)})
            case ("/", "api", "open", "v1", "jobs", job_id, "result"):
                return self._single(organisation.result(job_id))
            case _:
                raise UnknownId("/".join(parts))

    def _single(self, value: object) -> Answer:
        return Answer(200, self._encode(value))

    def _encode(self, value: object) -> bytes:
        return encode(value, pretty=self._pretty)
