from __future__ import annotations

import pytest

from pulsar.client.exceptions import OutputNotFoundException, PulsarClientTransportError
from pulsar.errors import PulsarError


def test_the_attributes_that_galaxy_reads() -> None:
    error = PulsarClientTransportError("timeout", transport_code=28, transport_message="slow")
    assert (error.code, error.message) == ("timeout", "Connection timed out")
    assert (error.transport_code, error.transport_message) == (28, "slow")
    assert str(error) == "Connection timed out (transport code: 28, transport message: slow)"
    assert isinstance(error, PulsarError)


def test_an_error_without_facts_still_says_something() -> None:
    assert str(PulsarClientTransportError()) == "Unknown transport error"


@pytest.mark.parametrize(
    ("status", "transient"),
    [(None, True), (408, True), (429, True), (500, True), (503, True), (400, False), (401, False), (403, False), (404, False)],
)
def test_asking_again_helps_unless_somebody_has_refused(status: int | None, transient: bool) -> None:
    assert PulsarClientTransportError(status=status).transient is transient


def test_a_missing_output_is_named() -> None:
    assert "outputs/a.dat" in str(OutputNotFoundException("outputs/a.dat"))
